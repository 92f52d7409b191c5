"""Legion's REST: `{"columns": [...], "data": [[...]]}` → `{"prediction": [[...]], "columns": [...]}`.

A model that takes objects takes and gives a list of objects.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import msgspec

from legion.errors import InputError
from legion.interface import result
from legion.interface.model import Model
from legion.interface.redaction import shown
from legion.wire import Call
from legion.worker.codecs.request import Request, media_type, objects_table, reader_for
from legion.worker.reading.compiled_rows import QuickReader
from legion.worker.reading.rows import RowReader, parse_json


class LegionRest:
    """The codec for one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._rows = reader_for(model)
        self._objects = model.mode == "objects"
        names = [field.name for field in model.signature.outputs]
        self._outputs = [str(name) for name in names] if names and None not in names else None
        self._quick: Optional[QuickReader] = None
        if isinstance(self._rows, RowReader) and not self._objects:
            self._quick = QuickReader(self._rows, None)

    def decode(self, call: Call) -> Request:
        """Read a JSON body."""
        kind, _ = media_type(call.content_type)
        if kind != "application/json":
            raise InputError(f"the content type {kind!r} is not read here; send application/json", kind="media-type")
        if self._quick is not None:
            read = self._quick.read(call.body)
            if read is not None and read[1] is msgspec.UNSET:
                return Request(read[0])
        document = parse_json(call.body)
        if self._objects:
            return Request(objects_table(self._model, self._rows, document))
        if not isinstance(document, dict) or "data" not in document:
            raise InputError('the body must be a JSON object like {"columns": [...], "data": [[...]]}', kind="syntax")
        unknown = sorted(set(document) - {"columns", "data"})
        if unknown:
            raise InputError(f"unknown field {unknown[0][:60]!r}; send 'columns' and 'data'", kind="syntax")
        return Request(self._rows.split(document.get("columns"), document["data"]))

    def encode(self, items: Any, wanted: Any = None) -> Tuple[bytes, Optional[str]]:
        """The matrix and its column names, or the objects."""
        document = items
        if not self._objects:
            matrix, names = result.matrix_of(items, self._outputs)
            document = {"prediction": matrix, "columns": names}
        own = self._model.encode(document)
        return result.to_json(document) if own is None else own, None

    def refuse(self, error: Exception) -> Tuple[int, bytes]:
        """400 for what cannot be read, 415 for the media type, 422 for what does not fit the signature."""
        if isinstance(error, InputError):
            status = {"syntax": 400, "media-type": 415}.get(error.kind, 422)
            column = None if error.column is None else shown(error.column)
            return status, result.to_json({"message": shown(error), "row": error.row, "column": column})
        return 400, result.to_json({"message": f"Exception during prediction: {shown(error)}"})
