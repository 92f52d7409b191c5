"""A record is one line, and no text in it can be taken for another record."""

from __future__ import annotations

import io
import logging

import pytest

from legion.logs import OneLineFormatter, one_line

FORGED = "fine\r\nERROR legion.gateway: forged \x1b[2K\x85\u2028\u202e\ud800 end"


class Log(logging.Logger):
    stream: io.StringIO

    def lines(self) -> list[str]:
        return self.stream.getvalue().split("\n")[:-1]


@pytest.fixture
def log() -> Log:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter())
    logger = Log("probe")
    logger.stream = stream
    logger.addHandler(handler)
    return logger


def test_what_is_not_seen_is_written_out(log: Log) -> None:
    log.warning("a model says %s", FORGED)
    said = r"fine\r\nERROR legion.gateway: forged \x1b[2K\x85\u2028\u202e\ud800 end"
    assert log.lines() == [f"WARNING probe: a model says {said}"]


def test_the_lines_of_a_traceback_are_indented(log: Log) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("it failed", stack_info=True)
    first, *rest = log.lines()
    assert first == "ERROR probe: it failed"
    assert r"  ERROR legion.gateway: forged \x1b[2K\x85\u2028\u202e\ud800 end" in rest
    assert all(line.startswith("  ") for line in rest)


def test_other_writing_is_left_as_it_is() -> None:
    text = "Größe 数 données → 10 µs 🙂"
    assert one_line(text) == text
