"""Predictions as Parquet and Arrow IPC. The first rows (and the numbers' width) decide the column types."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, BinaryIO

from legion.errors import MissingExtraError, RefusedError
from legion.scoring.layout import SINGLE, cells, names_of
from legion.scoring.predictions import Predictions

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError:
    raise MissingExtraError("arrow", "writing Parquet and Arrow") from None


class _TableWriter:
    """A table grown batch by batch; a sibling opens the file of its format."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._names: list[str] | None = None
        self._schema: Any = None
        self._file: Any = None
        self._rows = 0

    def write(self, predictions: Predictions) -> None:
        """Append predictions. Raises RefusedError for one of another type than those before it."""
        if not predictions.rows:
            return
        if self._file is None:
            self._names = names_of(predictions.values)
        columns = list(zip(*cells(predictions.values, self._names, self._rows), strict=True))
        try:
            arrays = [self._column(column, i) for i, column in enumerate(columns)]
        except pa.ArrowException as error:
            raise RefusedError(
                f"the predictions from row {self._rows} are of another type than those before "
                f"them ({error}); write JSON lines (--output-format jsonl)"
            ) from error
        if self._file is None:
            self._start([made.type for made in arrays])
        self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows += predictions.rows

    def finish(self) -> None:
        """Write what closes the format; a file without rows has one column of doubles."""
        if self._file is None:
            self._start([pa.float64()])
        self._file.close()

    def _column(self, column: Sequence[Any], index: int) -> Any:
        wanted = None if self._schema is None else self._schema.types[index]
        if wanted in (None, pa.float64()) and set(map(type, column)) == {float}:
            # Not pa.array(): that imports pandas, where it is installed, to ask whether this is a Series.
            return pa.Array.from_buffers(pa.float64(), len(column), [None, pa.py_buffer(array("d", column))])
        made = pa.array(column, type=wanted)
        # Nothing but gaps says nothing: most predictions are numbers.
        return made.cast(pa.float64()) if pa.types.is_null(made.type) else made

    def _start(self, types: list[Any]) -> None:
        names = self._names or [SINGLE]
        self._schema = pa.schema(list(zip(names, types, strict=True)))
        self._file = self._open()

    def _open(self) -> Any:
        raise NotImplementedError


class ParquetWriter(_TableWriter):
    """A Parquet file; a row group a chunk."""

    def _open(self) -> Any:
        return parquet.ParquetWriter(self._stream, self._schema)


class ArrowWriter(_TableWriter):
    """An Arrow IPC file, which every reader of Arrow streams can be told to read as well."""

    def _open(self) -> Any:
        return pa.ipc.new_file(self._stream, self._schema)


class ArrowStreamWriter(_TableWriter):
    """An Arrow IPC stream, for a pipe."""

    def _open(self) -> Any:
        return pa.ipc.new_stream(self._stream, self._schema)
