"""A model that answers in pieces: as many words as it is asked for."""

from __future__ import annotations

import time
from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel


class Words(PythonModel):
    """`before` and `pause` are seconds; `mark` is a file: a byte a word, and an x when the generator is closed."""

    def predict(self, context, model_input, params=None):
        return model_input["n"].tolist()

    def predict_stream(self, context, model_input, params=None):
        mark = Path(model_input.get("mark") or "/dev/null")
        attempts = mark.read_bytes().count(b"(") if mark.is_file() else 0
        with mark.open("ab", buffering=0) as log:
            log.write(b"(")
            time.sleep(model_input.get("before") or 0 if not attempts else 0)
            try:
                for i in range(int(model_input["n"])):
                    if i == model_input.get("fail", -1):
                        raise ValueError("no more words")
                    log.write(b".")
                    yield {"word": i, "filling": "x" * int(model_input.get("size") or 0)}
                    time.sleep(model_input.get("pause") or 0)
            finally:
                log.write(b"x")


mlflow.models.set_model(Words())
