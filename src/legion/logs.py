"""Log lines that stay one line each, whatever text of a model or a caller gets into them. Runs on Python 3.9."""

import logging
import re

_PATTERN = "%(levelname)s %(name)s: %(message)s"
_INDENT = "  "


# Control characters; then what is not seen: marks of width and of the writing direction, line separators, surrogates.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text with every character that is not seen written out: a newline becomes a backslash and an n."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class OneLineFormatter(logging.Formatter):
    """One line for each record; the lines of a traceback follow it indented, so none can be taken for a record."""

    def __init__(self, pattern: str = _PATTERN) -> None:
        super().__init__(pattern)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return one_line(super().formatMessage(record))

    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]  # noqa: N802
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _indented(super().formatStack(stack_info))


def configure(pattern: str = _PATTERN, level: int = logging.WARNING) -> None:
    """Send this process's records to standard error, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter(pattern))
    logging.basicConfig(handlers=[handler], level=level)


def _indented(text: str) -> str:
    # Only real line ends part it; str.splitlines would take others that a message may hold.
    return "\n".join(_INDENT + one_line(line) for line in text.split("\n"))
