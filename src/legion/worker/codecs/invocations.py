"""MLflow's scoring protocol: `POST /invocations`.

JSON with exactly one of dataframe_split, dataframe_records, instances, inputs, and optionally params; or CSV.
Source: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union

import msgspec

from legion.errors import InputError
from legion.interface import result
from legion.interface.model import Model
from legion.interface.redaction import shown
from legion.interface.table import Table
from legion.wire import Call
from legion.worker.codecs.delimited import read_csv
from legion.worker.codecs.request import Request, as_objects, media_type, objects_table, reader_for
from legion.worker.reading.compiled_records import QuickRecords
from legion.worker.reading.compiled_rows import QuickReader
from legion.worker.reading.rows import RowReader, check_names, parse_json
from legion.worker.reading.scalars import ARRAY_READERS

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Invocations:
    """The codec for one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._rows = reader_for(model)
        self._objects = model.mode == "objects"
        self._width = len(model.signature.inputs)
        self._named = self._width > 0 and model.signature.named
        self._quick: Tuple[Union[QuickReader, QuickRecords], ...] = ()
        if isinstance(self._rows, RowReader) and not self._objects:
            records = QuickRecords(self._rows, model.signature, FORMS[1:])
            self._quick = (QuickReader(self._rows, FORMS[0], FORMS[1:]), records)

    def decode(self, call: Call) -> Request:
        """Read a JSON or CSV body."""
        if call.content_type is not None:
            kind, parameters = media_type(call.content_type)
            _check_charset(parameters)
            if kind == "text/csv":
                return Request(self._csv(call.body))
            if kind != "application/json":
                raise InputError(
                    f"the content type {kind!r} is not read here; send application/json or text/csv",
                    kind="media-type",
                )
        for quick in self._quick:
            read = quick.read(call.body)
            if read is not None:
                table, raw = read
                return Request(table, None if raw is msgspec.UNSET else self._params(parse_json(bytes(raw))))
        return self._patient(parse_json(call.body))

    def _patient(self, document: Any) -> Request:
        if not isinstance(document, dict):
            raise InputError(f"the body must be a JSON object with exactly one of {', '.join(FORMS)}", kind="syntax")
        given = [form for form in FORMS if form in document]
        if len(given) != 1:
            got = ", ".join(given) if given else ", ".join(repr(key)[:40] for key in list(document)[:5]) or "nothing"
            raise InputError(f"the body must have exactly one of {', '.join(FORMS)}, and it has {got}", kind="syntax")
        form = given[0]
        table = self._table(form, document[form])
        return Request(table, self._params(document.get("params")))

    def _table(self, form: str, data: Any) -> Table:
        if self._objects:
            return objects_table(self._model, self._rows, _records(data) if form == FORMS[0] else data)
        if form == "dataframe_split":
            return self._split(data)
        if form == "dataframe_records":
            if not self._named and isinstance(data, list) and data and isinstance(data[0], list):
                return self._rows.split(None, data)
            return self._rows.records(data)
        return self._arrays(form, data)

    def _arrays(self, form: str, data: Any) -> Table:
        """`instances` and `inputs`: rows as objects, columns as lists, or rows as lists."""
        objects = isinstance(data, list) and bool(data) and all(isinstance(item, dict) for item in data)
        if self._width and not self._named and (objects or isinstance(data, dict)):
            raise InputError(f"{form!r} must be a list of rows: the columns have no names")
        if isinstance(data, dict):
            return self._rows.columns(data, ARRAY_READERS)
        if objects:
            return self._rows.records(data, ARRAY_READERS)
        flat = isinstance(data, list) and not any(isinstance(item, (list, dict)) for item in data)
        if self._named and not (flat and self._width == 1):
            raise InputError(f"{form!r} must be a list of objects or an object of columns: the columns have names")
        if self._width == 1 and not isinstance(data, list):
            data = [data]
        return self._rows.split(None, data, ARRAY_READERS)

    def _split(self, data: Any) -> Table:
        if not isinstance(data, dict) or "data" not in data or set(data) - {"columns", "data", "index"}:
            raise InputError("'dataframe_split' must be an object with 'data' and, where wanted, 'columns' and 'index'")
        table = self._rows.split(data.get("columns"), data["data"])
        index = data.get("index")
        if index is not None and (not isinstance(index, list) or len(index) != table.n):
            raise InputError("'index' must be a list with one entry a row")
        return table

    def _csv(self, body: bytes) -> Table:
        table = read_csv(self._rows, body)
        return as_objects(table) if self._objects else table

    def _params(self, params: Any) -> Optional[Dict[str, Any]]:
        if params is not None and not isinstance(params, dict):
            raise InputError("'params' must be an object of parameter names and values")
        # Where parameters are declared, none of them means the defaults, however it is said.
        return None if not params and self._model.signature.params is not None else params

    def encode(self, items: Any, wanted: Any = None) -> Tuple[bytes, Optional[str]]:
        """`{"predictions": …}`."""
        own = self._model.encode({"predictions": items})
        return result.predictions(items) if own is None else own, None

    def refuse(self, error: Exception) -> Tuple[int, bytes]:
        """MLflow's error object; the trace stays in the log."""
        status = 415 if isinstance(error, InputError) and error.kind == "media-type" else 400
        text = shown(error)
        named = f"{type(error).__name__}: {text}"
        message = text if isinstance(error, InputError) else f"the model raised {named}"
        return status, result.to_json({"error_code": "BAD_REQUEST", "message": message, "stack_trace": named})


def _check_charset(parameters: Dict[str, str]) -> None:
    if parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise InputError("only UTF-8 is read here; send the body as UTF-8", kind="media-type")
    unknown: List[str] = sorted(set(parameters) - {"charset"})
    if unknown:
        raise InputError(f"unknown content type parameters: {', '.join(unknown)}", kind="media-type")


def _records(split: Any) -> List[Any]:
    columns = split.get("columns") if isinstance(split, dict) else None
    rows = split.get("data") if isinstance(split, dict) else None
    if (
        not isinstance(columns, list)
        or not all(isinstance(name, str) for name in columns)
        or not isinstance(rows, list)
    ):
        raise InputError(
            "'dataframe_split' must be an object with 'columns', a list of names, and 'data', a list of rows"
        )
    check_names(columns)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise InputError(f"row {number}: {len(columns)} values expected, one a column", row=number)
    return [dict(zip(columns, row)) for row in rows]
