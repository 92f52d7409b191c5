"""A piece of the input: the call that a worker answers, and where its rows stand in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from legion.wire import Call

MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """How the input is cut.

    `size` is about how many bytes a chunk holds; `rows` is the most rows it holds (None: as many as fit);
    `record` is the most bytes that one record may take before the input is refused.
    """

    size: int = MIB
    rows: int | None = None
    record: int = 16 * MIB


class Chunk(msgspec.Struct, frozen=True):
    """Some rows of the input, in its order.

    `rows` is how many; for CSV it is the number of line ends, which is the same unless the data has empty
    lines or line ends inside quotes. `lines()` settles it: one entry a row, the line (from 1) where the
    row begins; None where the format has no lines. `size` is how far the progress advances with it.
    """

    call: Call
    rows: int
    size: int
    lines: Callable[[], Sequence[int]] | None = None
