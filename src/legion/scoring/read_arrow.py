"""Parquet and Arrow IPC: record batches, sliced to size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from legion import wire
from legion.errors import MissingExtraError, RefusedError, UsageError
from legion.scoring.chunk import Chunk, Limits

try:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    from legion.scoring.columns import columns_body, split_body
except ImportError:
    raise MissingExtraError("arrow", "reading Parquet and Arrow") from None

_FILE_MAGIC = b"ARROW1"
_TEXT_WIDTH = 32


def read_parquet(stream: BinaryIO, limits: Limits, name: str, *, whole: bool = False) -> Iterator[Chunk]:
    """Chunks of a Parquet file; the progress counts rows.

    Raises UsageError for a stream that cannot seek, RefusedError for a file that is not whole Parquet.
    """
    if not stream.seekable():
        raise UsageError("Parquet cannot be read from a pipe; give the file's path, or send Arrow or CSV")
    try:
        # A buffered column reader holds pages, not whole row groups.
        file = parquet.ParquetFile(stream, buffer_size=limits.size, pre_buffer=False)
        rows = _rows(file.schema_arrow, limits)
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            if batch.num_rows:
                yield _chunk(batch, batch.num_rows, whole)
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Parquet", error) from error


def read_arrow(stream: BinaryIO, limits: Limits, name: str, *, whole: bool = False) -> Iterator[Chunk]:
    """Chunks of an Arrow IPC file or stream, told apart by its first bytes; the progress counts bytes.

    Raises RefusedError for data that is not whole Arrow IPC.
    """
    try:
        for batch in _batches(stream):
            rows = _rows(batch.schema, limits)
            for start in range(0, batch.num_rows, rows):
                piece = batch.slice(start, rows)
                yield _chunk(piece, piece.nbytes, whole)
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Arrow IPC", error) from error


def _batches(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
    # The file format is the stream format between a magic and a footer. Eight bytes in, a stream reader
    # takes either from first to last and needs no seeking, so that both come through a pipe.
    magic = stream.peek(8)[:8] if hasattr(stream, "peek") else b""
    if magic.startswith(_FILE_MAGIC):
        stream.read(8)
    yield from ipc.open_stream(stream)


def _chunk(batch: pa.RecordBatch, size: int, whole: bool) -> Chunk:
    if whole:
        call = wire.Call(wire.MLFLOW, split_body(batch), "application/json")
    else:
        call = wire.Call(wire.COLUMNS, columns_body(batch))
    return Chunk(call, batch.num_rows, size)


def _rows(schema: pa.Schema, limits: Limits) -> int:
    """How many rows make a chunk of about the wanted size; what has no fixed width is guessed."""
    width = 0
    for field in schema:
        try:
            width += max(1, field.type.bit_width // 8)
        except ValueError:
            width += _TEXT_WIDTH
    rows = max(1, limits.size // max(1, width))
    return rows if limits.rows is None else min(rows, limits.rows)


def _broken(name: str, kind: str, error: Exception) -> Exception:
    # pyarrow also raises OSError for what it cannot parse; the system's own has a number.
    if isinstance(error, OSError) and error.errno is not None:
        return error
    reason = str(error).splitlines()[0].rstrip(".")
    return RefusedError(f"{name} is not whole {kind} ({reason}); check how it was written")


# For a model that reads requests whole, and so takes JSON only.
read_parquet_whole = partial(read_parquet, whole=True)
read_arrow_whole = partial(read_arrow, whole=True)
