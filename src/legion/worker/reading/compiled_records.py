"""The quick way into rows sent as objects: {KEY: [{column: value, …}, …]}, by a decoder compiled from the signature.

Like quick.py it takes what it is sure to read as the patient way would, and returns None for everything else.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, List, Optional, Tuple, Union

import msgspec

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Signature
from legion.worker.reading.rows import RowReader

Absent = Union[msgspec.Raw, msgspec.UnsetType]


class QuickRecords:
    """Reads bodies whose one form is under any of `keys`; columns that may be missing go the patient way."""

    def __init__(self, rows: RowReader, signature: Signature, keys: Tuple[str, ...]) -> None:
        self._rows = rows
        self._decode = None
        if rows.quick_row is None or not signature.named or not all(field.required for field in signature.inputs):
            return
        places = [f"f{i}" for i in range(len(signature.inputs))]
        kinds = rows.quick_row.__args__
        record = msgspec.defstruct(
            "Record",
            list(zip(places, kinds)),
            rename={place: str(field.name) for place, field in zip(places, signature.inputs)},
            forbid_unknown_fields=True,
            gc=False,
        )
        form: Any = Union[List[record], msgspec.UnsetType]  # type: ignore[valid-type]
        forms: List[Any] = [(f"form_{i}", form, msgspec.UNSET) for i in range(len(keys))]
        body = msgspec.defstruct(
            "Body",
            [*forms, ("other", Absent, msgspec.UNSET), ("params", Absent, msgspec.UNSET)],
            rename={**{f"form_{i}": key for i, key in enumerate(keys)}, "other": "dataframe_split"},
            gc=False,
        )
        self._decode = msgspec.json.Decoder(body).decode
        self._forms = attrgetter(*(f"form_{i}" for i in range(len(keys)))) if len(keys) > 1 else None
        self._values = attrgetter(*places)
        self._single = len(places) == 1

    def read(self, body: bytes) -> Optional[Tuple[Table, Any]]:
        """The table and the raw params (UNSET where there are none), or None: take the patient way."""
        if self._decode is None:
            return None
        try:
            request: Any = self._decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        forms = [
            form for form in (self._forms(request) if self._forms else (request.form_0,)) if form is not msgspec.UNSET
        ]
        if len(forms) != 1 or request.other is not msgspec.UNSET or not forms[0]:
            return None
        values = self._values
        rows: List[Any] = [(values(item),) if self._single else values(item) for item in forms[0]]
        try:
            return self._rows.quick(rows, None), request.params
        except InputError:
            return None
