"""CSV bodies, read as pandas would read them under the signature's types, without pandas."""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Union

import numpy as np

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Field
from legion.worker.reading import simdjson_parser
from legion.worker.reading.rows import Reorder, RowReader
from legion.worker.reading.schemaless_rows import FreeReader

# What pandas.read_csv takes for a missing value.
_MISSING = frozenset(("", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "n/a", "NULL", "null", "None")) | frozenset(
    ("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")
)
_NAN = float("nan")
_BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?", re.ASCII | re.IGNORECASE)
_COMMA, _LINE_FEED = b",\n"
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def read_csv(rows: Union[RowReader, FreeReader], body: bytes) -> Table:
    """A header line, then one record a row. Raises InputError naming row and column."""
    table = _numbers(rows, body)
    if table is not None:
        return table
    records = _records(body)
    try:
        header = next(records, None)
        if header is None:
            raise InputError("the CSV is empty; its first line must name the columns", kind="syntax")
        if isinstance(rows, FreeReader):
            return rows.split(header, [[_guess(cell) for cell in record] for record in records])
        return _patient(rows, header, records)
    except UnicodeDecodeError as error:
        raise InputError(f"the CSV is not valid UTF-8: {error}", kind="syntax") from None
    except csv.Error as error:
        raise InputError(f"the CSV cannot be read: {error}", kind="syntax") from None


def _records(body: bytes) -> Iterator[List[str]]:
    """The header and the records, without empty lines; decoded on the way, so that no copy of the body is made."""
    text = io.TextIOWrapper(io.BytesIO(body), "utf-8", newline="")
    if body.startswith(codecs.BOM_UTF8):
        text.read(1)
    reader = csv.reader(text, strict=True)
    width = 0
    for record in reader:
        # pandas takes a line of blanks for an empty one, but where there is one column only.
        if record and not (width > 1 and len(record) == 1 and record[0].isspace()):
            width = width or len(record)
            yield record


def _numbers(rows: Union[RowReader, FreeReader], body: bytes) -> Optional[Table]:
    """All numbers at once, or None where one is missing, wrong, or there is something else than numbers."""
    # Digits of other scripts, hexadecimal floats, quotes and brackets are for the patient way.
    if isinstance(rows, FreeReader) or not set(rows.kinds) <= {"double", "float"} or not body.isascii():
        return None
    head, _, rest = body.lstrip(b"\r\n").partition(b"\n")
    rest = rest.rstrip(b"\r\n")
    if not rest or rest.isspace() or any(odd in rest for odd in (b'"', b"x", b"X", b"[", b"{")):
        return None
    if b"\r" in rest and rest.count(b"\r") != rest.count(b"\r\n"):
        # A line end of its own, which the quick ways would take for a blank.
        return None
    try:
        (header,) = csv.reader([head.decode()], strict=True)
        fields, reorder = _order(rows, header)
        if not len(fields) == len(header) == len(rows.kinds):
            return None
        block = _parsed(rest, len(header))
    except (ValueError, csv.Error):
        return None
    # How nan and infinity may be written is for the patient way too.
    if block.shape[1] != len(header) or not np.isfinite(block).all():
        return None
    if reorder is not None:
        block = block[:, list(reorder(range(len(header))))]
    return Table(rows.names or tuple(header), len(block), block=block)


def _order(rows: RowReader, header: List[str]) -> Tuple[Tuple[Field, ...], Reorder]:
    """As RowReader.order; a first column without a name, which no signature has, is told for what it is."""
    expected = rows.names or header[1:]
    if header[:1] == [""] and "" not in expected and len(expected) == len(rows.fields):
        raise InputError(
            "the first column has no name, as pandas writes its index; write the CSV with to_csv(..., index=False)",
            column="",
        )
    return rows.order(header)


def _parsed(rest: bytes, width: int) -> Any:
    """The records as one float64 block. Raises ValueError where they are not all numbers."""
    if simdjson_parser.available and _even(rest, width):
        # Most numbers are written as JSON writes them; so read, they cost a tenth.
        try:
            cells = simdjson_parser.PARSER.parse(b"[%b]" % rest.replace(b"\n", b",")).as_buffer(of_type="d")
            return np.frombuffer(cells, dtype="<f8").reshape(-1, width)
        except (ValueError, TypeError, RuntimeError):
            pass
    return np.loadtxt(io.BytesIO(rest), dtype="f8", delimiter=",", comments=None, ndmin=2)


def _even(rest: bytes, width: int) -> bool:
    """Whether every record has `width` cells, so that all of them may be read in a row."""
    characters = np.frombuffer(rest, dtype=np.uint8)
    separators = characters[(characters == _COMMA) | (characters == _LINE_FEED)]
    if (len(separators) + 1) % width:
        return False
    ends = separators[width - 1 :: width]
    return bool((ends == _LINE_FEED).all()) and len(ends) == rest.count(b"\n")


def _patient(rows: RowReader, header: List[str], data: Iterable[List[str]]) -> Table:
    fields, _ = _order(rows, header)
    kinds = dict(zip((field.name for field in fields), (field.type for field in fields)))
    by_position = [kinds.get(name) for name in header] if rows.named else list(rows.kinds)
    values = []
    for number, record in enumerate(data):
        if len(record) != len(header):
            raise InputError(
                f"row {number}: {len(header)} values expected, one a column, got {len(record)}", row=number
            )
        row = []
        for name, kind, cell in zip(header, by_position, record):
            try:
                row.append(_cell(kind, cell))
            except ValueError as error:
                raise InputError(f"row {number}, column {name!r}: {error}", row=number, column=name) from None
        values.append(row)
    return rows.split(list(header), values)


def _cell(kind: Optional[str], cell: str) -> Any:
    if kind in ("string", "datetime"):
        return _NAN if cell in _MISSING else cell
    if kind == "binary":
        return cell
    stripped = cell.strip()
    if kind in ("double", "float"):
        if cell in _MISSING:
            return None
        if _NUMBER.fullmatch(stripped) is None:
            raise ValueError(f"expected a number, got the text {cell[:40]!r}")
        return float(stripped)
    if kind in ("long", "integer"):
        if _INTEGER.fullmatch(stripped) and len(stripped) <= 20:
            return int(stripped)
        if _NUMBER.fullmatch(stripped) and float(stripped).is_integer():
            return int(float(stripped))
        raise ValueError(f"expected a whole number, got the text {cell[:40]!r}")
    if stripped not in _BOOLEANS:
        raise ValueError(f"expected true or false, got the text {cell[:40]!r}")
    return _BOOLEANS[stripped]


def _guess(cell: str) -> Any:
    """A cell of a table whose types nobody declared."""
    stripped = cell.strip()
    if _INTEGER.fullmatch(stripped) and len(stripped) < 20:
        return int(stripped)
    if _NUMBER.fullmatch(stripped):
        return float(stripped)
    return None if cell in _MISSING else _BOOLEANS.get(stripped, cell)
