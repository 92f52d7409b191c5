"""JSON into values through one simdjson parser that is kept: its memory, once touched, makes the next text cheaper.

`available` is False in environments for which no wheel exists.
"""

from __future__ import annotations

from typing import Any

try:
    import simdjson
except ImportError:
    simdjson = None  # type: ignore[assignment]

available = simdjson is not None
# A parser keeps several times the longest text it has read; longer ones get one of their own.
_KEPT = 2 * 1024 * 1024


class Parser:
    """A parser for one thread."""

    def __init__(self) -> None:
        self._parser: Any = simdjson.Parser() if available else None

    def parse(self, text: bytes) -> Any:
        """The document, read lazily. Raises ValueError for what simdjson does not take.

        The kept parser serves one document at a time; while one is still held the next gets another parser.
        """
        if len(text) > _KEPT:
            return simdjson.Parser().parse(text)
        try:
            return self._parser.parse(text)
        except RuntimeError:
            self._parser = simdjson.Parser()
            return self._parser.parse(text)


# The worker's only thread has one for all of its codecs.
PARSER = Parser()
