"""An example request of MLflow's protocol as one of the Open Inference Protocol."""

from __future__ import annotations

import math
from typing import Any

from legion.gateway.openapi.model_tensors import INPUT, columns, inputs
from legion.signature import Field
from legion.wire import Report

_FORMS = ("dataframe_records", "instances", "inputs")


def converted(report: Report, example: dict[str, Any]) -> dict[str, Any] | None:
    """The same values as tensors; None where tensors cannot hold them."""
    made = _own(inputs(report), example) if report.signature.kind == "tensor" else _columns(report, example)
    tensors = [tensor for tensor in made if tensor is not None]
    return {"inputs": tensors} if tensors and len(tensors) == len(made) else None


def _own(fields: tuple[Field, ...], example: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The tensors that the signature has."""
    value = next((example[form] for form in _FORMS if form in example), None)
    named = value if isinstance(value, dict) else {INPUT: value}
    tensors = []
    for field in fields:
        name = INPUT if field.name is None else field.name
        tensors.append(_made(name, field.datatype, *_flat(named.get(name))))
    return tensors


def _columns(report: Report, example: dict[str, Any]) -> list[dict[str, Any] | None]:
    """One tensor a column, or one of all columns where these have no names."""
    known = {str(field.name): field for field in columns(report)}
    names, rows = _rows(example)
    names = names or list(known)
    if not rows or any(len(row) != len(names or rows[0]) for row in rows):
        return []
    if not names:
        datatypes = {field.datatype for field in inputs(report)}
        datatype = None if not datatypes else datatypes.pop() if len(datatypes) == 1 else "FP64"
        return [_made(INPUT, datatype, *_flat(rows))]
    tensors = []
    for name, *values in zip(names, *rows, strict=True):
        field = known.get(name)
        if known and field is None:
            # No scalar, and so not needed.
            continue
        tensor = _made(name, None if field is None or field.type == "any" else field.datatype, [len(rows)], values)
        # A column that the request may lack is left out where its values are missing.
        if tensor is not None or field is None or field.required:
            tensors.append(tensor)
    return tensors


def _rows(example: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The names, where there are any, and the rows; no rows where the example holds something else."""
    split = example.get("dataframe_split")
    if isinstance(split, dict):
        names, rows = split.get("columns") or [], split.get("data")
    else:
        names, rows = [], next((example[form] for form in _FORMS if form in example), None)
    if isinstance(rows, dict) and all(isinstance(values, list) for values in rows.values()):
        names, rows = list(rows), [list(row) for row in zip(*rows.values(), strict=False)]
    elif isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        names = list(rows[0])
        rows = [[row.get(name) for name in names] for row in rows]
    if not isinstance(rows, list) or not all(isinstance(row, list) and row for row in rows):
        return [], []
    return [str(name) for name in names], rows


def _flat(value: Any) -> tuple[list[int], list[Any]]:
    """The shape of a nest of lists, and its values in a row."""
    shape: list[int] = []
    level = [value]
    while level and all(isinstance(item, list) for item in level):
        shape.append(len(level[0]))
        level = [inner for item in level for inner in item]
    return shape, level


def _made(name: str, datatype: str | None, shape: list[int], values: list[Any]) -> dict[str, Any] | None:
    """The tensor; None where the values are not of the datatype, or of none at all."""
    found = _datatype(values)
    fitting = {found}
    if found == "INT64":
        fitting |= {one for one in ("FP64", "FP32", "FP16", str(datatype)) if "FP" in one or "INT" in one}
    elif found == "FP64":
        fitting |= {"FP32", "FP16"}
    datatype = found if datatype is None else datatype
    if found is None or datatype not in fitting or not shape or math.prod(shape) != len(values):
        return None
    return {"name": name, "shape": shape, "datatype": datatype, "data": values}


def _datatype(values: list[Any]) -> str | None:
    kinds = {type(value) for value in values}
    if kinds & {int, float} and kinds <= {int, float, type(None)}:
        return "INT64" if kinds == {int} else "FP64"
    return {bool: "BOOL", str: "BYTES"}.get(kinds.pop()) if len(kinds) == 1 else None
