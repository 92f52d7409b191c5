"""Example requests for a model: its input example, variations of it, or rows drawn from its signature.

Bodies of MLflow's scoring protocol, the same every time for the same model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from legion.signature import Field, Signature

# The least number of rows that are aimed at, and the most that are kept of an input example.
LEAST, MOST = 3, 8
# A larger example (an image, say) would weigh more than it proves.
_MAX_BYTES = 8 * 1024 * 1024
_SCALES = (0.9, 1.1, 0.75, 1.3)

Request = dict[str, Any]


def example_requests(folder: Path, signature: Signature, serving_example: str | None = None) -> list[Request]:
    """Requests to try the MLflow model in `folder` with, the most telling one first; empty where nothing is known.

    `serving_example` is the path of its saved example, where that is not MLflow's usual one.
    """
    given = _input_example(folder, serving_example or "serving_input_example.json")
    if signature.kind != "columns":
        if given is not None:
            return [given]
        return [_tensors(signature)] if signature.kind == "tensor" else []
    if given is not None and not _has_rows(given):
        return [given, *_singly(*_drawn(signature))]
    if given is None:
        names, rows = _drawn(signature)
        return [_table(names, rows), *_singly(names, rows)]
    split = given["dataframe_split"]
    names, rows = split.get("columns"), split["data"][:MOST]
    whole = given | {"dataframe_split": _split(names, rows)}
    return [whole, *_further(names, rows, signature)]


def _further(names: list[Any] | None, rows: list[list[Any]], signature: Signature) -> list[Request]:
    """Single rows that bring a short example to LEAST: its first one varied, else rows drawn from the signature."""
    missing = LEAST - len(rows)
    if missing <= 0:
        return []
    # One more than needed, as the model may refuse one.
    varied = [row for row in (_varied(rows[0], scale) for scale in _SCALES[: missing + 1]) if row != rows[0]]
    return _singly(names, varied) if varied else _singly(*_drawn(signature))


def _input_example(folder: Path, name: str) -> Request | None:
    """The serving input example that MLflow saved with the model, if there is a readable one."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            return None
        if path.stat().st_size > _MAX_BYTES:
            return None
        # The standard library's reader, because MLflow writes NaN into these files.
        body = json.loads(path.read_text(encoding="utf-8"))
    # A name that no file can have, a file that is no JSON.
    except (OSError, ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _has_rows(request: Request) -> bool:
    split = request.get("dataframe_split")
    rows = split.get("data") if isinstance(split, dict) else None
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, list) for row in rows)


def _split(names: list[Any] | None, rows: list[list[Any]]) -> dict[str, Any]:
    return {"data": rows} if names is None else {"columns": names, "data": rows}


def _table(names: list[Any] | None, rows: list[list[Any]]) -> Request:
    return {"dataframe_split": _split(names, rows)}


def _singly(names: list[Any] | None, rows: list[list[Any]]) -> list[Request]:
    return [_table(names, [row]) for row in rows]


def _varied(row: list[Any], scale: float) -> list[Any]:
    """The row with its numbers moved a little; whatever is no number may be a category and stays."""
    return [_moved(cell, scale) for cell in row]


def _moved(cell: Any, scale: float) -> Any:
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, int):
        return cell + round((scale - 1) * max(abs(cell), 10))
    return float(f"{cell * scale:.6g}") if isinstance(cell, float) else cell


def _drawn(signature: Signature) -> tuple[list[Any] | None, list[list[Any]]]:
    names = [field.name for field in signature.inputs] if signature.named else None
    rows = [[_value(field, row, column) for column, field in enumerate(signature.inputs)] for row in range(LEAST)]
    return names, rows


def _value(field: Field, row: int, column: int) -> Any:
    """A sensible cell of the field's type, different from row to row."""
    values: dict[str, Any] = {
        "boolean": (row + column) % 2 == 0,
        "integer": row + column + 1,
        "long": row + column + 1,
        "float": 0.5 * (row + 1) + 0.25 * column,
        "double": 0.5 * (row + 1) + 0.25 * column,
        "string": "abc"[row % 3],
        "binary": "YWJj" if row % 2 else "ZGVm",
        "datetime": f"2024-01-{row + 1:02d}T12:00:00",
    }
    return values[field.type]


def _tensors(signature: Signature) -> Request:
    tensors = {field.name: _tensor(field, list(field.shape or ())) for field in signature.inputs}
    return {"inputs": next(iter(tensors.values())) if None in tensors else tensors}


def _tensor(field: Field, shape: list[int], seed: int = 0) -> Any:
    """Nested lists of the field's shape, with free dimensions of LEAST."""
    if shape:
        size = LEAST if shape[0] == -1 else shape[0]
        return [_tensor(field, shape[1:], seed * size + number) for number in range(size)]
    dtype = field.dtype or ""
    if dtype.startswith(("int", "uint")):
        return seed % 7
    if dtype == "bool":
        return seed % 2 == 0
    return 0.25 * (seed % 13) if dtype.startswith("float") else f"text {seed}"
