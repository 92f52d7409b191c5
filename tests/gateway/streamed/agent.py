"""An agent of MLflow's kind: it spells its answer."""

from __future__ import annotations

import mlflow
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent

ITEM = "item-1"


class Agent(ResponsesAgent):
    """Says what it was told, in capitals."""

    def predict(self, request):
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=told(request), id=ITEM)])

    def predict_stream(self, request):
        text = told(request)
        for letter in text:
            if letter == "!":
                raise ValueError("no shouting")
            yield ResponsesAgentStreamEvent(**self.create_text_delta(delta=letter, item_id=ITEM))
        done = self.create_text_output_item(text=text, id=ITEM)
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=done)


def told(request):
    """The last message's text."""
    return request.input[-1].content.upper()


mlflow.models.set_model(Agent())
