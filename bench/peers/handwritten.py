"""What a good engineer writes by hand: FastAPI, pydantic models of the requests, scikit-learn on a plain array.

handwritten.py MODEL_FOLDER PORT. One process of uvicorn with uvloop and httptools.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skops.io
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, create_model

model = skops.io.load(Path(sys.argv[1]) / "model.skops", trusted=["sklearn.tree._tree.Tree"])
COLUMNS = model.feature_names_in_.tolist()
# Rows come as arrays in this order; without names scikit-learn does not warn about it at every call.
del model.feature_names_in_
app = FastAPI()


class Split(BaseModel):
    """Column names, and rows of numbers."""

    columns: list[str]
    data: list[list[float]]


class Request(BaseModel):
    """MLflow's form dataframe_split."""

    dataframe_split: Split


class Response(BaseModel):
    """One number a row."""

    predictions: list[float]


Wine = create_model("Wine", **dict.fromkeys(COLUMNS, (float, ...)))


class Records(BaseModel):
    """MLflow's form dataframe_records, of typed objects."""

    dataframe_records: list[Wine]


class Quality(BaseModel):
    """One object a row."""

    quality: float


class Qualities(BaseModel):
    """The answer to records."""

    predictions: list[Quality]


@app.get("/ping")
async def ping() -> None:
    """Ready."""


@app.post("/invocations")
async def invocations(request: Request) -> Response:
    """Predict the rows."""
    split = request.dataframe_split
    if split.columns != COLUMNS:
        raise HTTPException(400, f"the columns are {COLUMNS}")
    try:
        matrix = np.array(split.data, dtype=np.float64).reshape(-1, len(COLUMNS))
    except ValueError as error:
        raise HTTPException(400, "every row has one number a column") from error
    return Response(predictions=model.predict(matrix).tolist())


@app.post("/records")
async def records(request: Records) -> Qualities:
    """Predict the objects."""
    rows = [[getattr(wine, name) for name in COLUMNS] for wine in request.dataframe_records]
    found = model.predict(np.array(rows)).tolist() if rows else []
    return Qualities(predictions=[Quality(quality=quality) for quality in found])


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
