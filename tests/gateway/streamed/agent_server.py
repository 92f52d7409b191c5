"""MLflow's own agent server around the same agent: `agent_server.py PORT`."""

from __future__ import annotations

import sys

import uvicorn
from agent import Agent
from mlflow.genai.agent_server import AgentServer, invoke, stream

agent = Agent()


@invoke()
def answer(request):
    """The whole answer."""
    return agent.predict(request)


@stream()
def pieces(request):
    """The answer in pieces."""
    yield from agent.predict_stream(request)


if __name__ == "__main__":
    uvicorn.run(AgentServer("ResponsesAgent").app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
