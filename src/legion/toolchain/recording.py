"""The golden answers of a model that is not MLflow's: its answers to requests that were given or drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from legion.artifact import golden as goldens
from legion.errors import UsageError
from legion.toolchain.examples import Request
from legion.toolchain.export import Say
from legion.toolchain.reference_answers import reference_answers
from legion.wire import Plan

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def record(tree: Path, plan: Plan, python: Path, requests: list[Request], examples: Path | None, say: Say) -> int:
    """Write the model's answers into the tree that is packed; returns how many requests there are.

    Raises UsageError where the model refuses one of the file `examples`, WorkerError where it does not load.
    """
    if not requests:
        return 0
    say("asking the model for its golden answers")
    answers = reference_answers(plan, python, requests, say)
    count = 0 if answers is None else len(answers.golden.cases)
    if examples is not None and count < len(requests):
        raise UsageError(f"the model refuses {len(requests) - count} of the requests in {examples}; correct them")
    if answers is not None:
        (tree / goldens.FILE_NAME).write_bytes(goldens.dump(answers.golden))
    return count


def read_examples(path: Path) -> list[Request]:
    """The requests of a JSON file: a body of MLflow's scoring protocol, a list of them, or a list of objects.

    Raises UsageError.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a JSON file of example requests") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON ({error}); write example requests as JSON") from None
    found = document if isinstance(document, list) else [document]
    if not found or not all(isinstance(item, dict) for item in found):
        raise UsageError(
            f"{path} holds no requests; write one body of /invocations, a list of them, or a list of objects"
        )
    bodies = [_is_body(item) for item in found]
    if all(bodies):
        return found
    if any(bodies) or not isinstance(document, list):
        raise UsageError(f"{path} mixes or lacks requests; each body has one of {', '.join(_FORMS)}")
    return [{"dataframe_records": found}]


def _is_body(item: dict[str, Any]) -> bool:
    return sum(form in item for form in _FORMS) == 1 and set(item) <= {*_FORMS, "params"}
