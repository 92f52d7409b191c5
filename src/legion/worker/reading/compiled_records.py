"""The quick way into rows sent as objects: {KEY: [{column: value, …}, …]}, by a decoder compiled from the signature.

Like compiled_rows.py it takes what it is sure to read as the slow path would, and returns None for everything else.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import msgspec

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Signature
from legion.worker.reading.rows import RowReader

# msgspec looks for a key among all fields of a struct, one after another, unless it comes where the last record had
# it. For wider rows a dict costs less, whatever the order of the keys.
_WIDEST_STRUCT = 64

Absent = Union[msgspec.Raw, msgspec.UnsetType]


class QuickRecords:
    """Reads bodies whose one form is under any of `keys`; columns that may be missing go the slow path."""

    def __init__(self, rows: RowReader, signature: Signature, keys: Tuple[str, ...]) -> None:
        self._rows = rows
        self._decode = None
        if rows.quick_row is None or not signature.named or not all(field.required for field in signature.inputs):
            return
        kinds = rows.quick_row.__args__
        names = [str(field.name) for field in signature.inputs]
        if len(names) > _WIDEST_STRUCT and not rows.uniform:
            return
        record, self._values = _struct(names, kinds) if len(names) <= _WIDEST_STRUCT else _mapping(names, kinds[0])
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

    def read(self, body: bytes) -> Optional[Tuple[Table, Any]]:
        """The table and the raw params (UNSET where there are none), or None: take the slow path."""
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
        rows = self._values(forms[0])
        try:
            return None if rows is None else (self._rows.quick(rows, None), request.params)
        except InputError:
            return None


# From records to rows in the signature's order; None where a record has other keys.
Values = Callable[[List[Any]], Optional[List[Sequence[Any]]]]


def _struct(names: Sequence[str], kinds: Sequence[Any]) -> Tuple[Any, Values]:
    places = [f"f{i}" for i in range(len(names))]
    record = msgspec.defstruct(
        "Record",
        list(zip(places, kinds)),
        rename=dict(zip(places, names)),
        forbid_unknown_fields=True,
        gc=False,
    )
    if len(places) == 1:
        return record, lambda records: [(item.f0,) for item in records]
    values = attrgetter(*places)
    return record, lambda records: [values(item) for item in records]


def _mapping(names: Sequence[str], kind: Any) -> Tuple[Any, Values]:
    values, width = itemgetter(*names), len(names)

    def rows(records: List[Any]) -> Optional[List[Sequence[Any]]]:
        try:
            return [values(item) for item in records] if all(len(item) == width for item in records) else None
        except KeyError:
            return None

    return Dict[str, kind], rows
