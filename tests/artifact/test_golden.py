"""Golden answers keep their values; what is no such file is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from legion.artifact.golden import Case, Golden, dump, load, parse
from legion.errors import VerificationError

GOLDEN = Golden(
    (Case({"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}, {"predictions": [2.5]}),), deterministic=False
)


def test_dump_and_load(tmp_path: Path) -> None:
    path = tmp_path / "legion.golden.json"
    path.write_bytes(dump(GOLDEN))
    assert load(path) == GOLDEN
    assert list(json.loads(path.read_bytes())) == ["format", "deterministic", "cases"]
    assert dump(GOLDEN) == dump(load(path))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 2, "deterministic": true, "cases": []}',
        b'{"format": 1, "deterministic": "yes", "cases": []}',
        b'{"format": 1, "deterministic": true, "cases": [{"request": []}]}',
        b'{"format": 1, "deterministic": true, "cases": [{"request": {}}]}',
        b'{"format": 1, "deterministic": true, "cases": [{"request": {"a": ' + b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError, match="pack") as found:
        parse(data)
    assert "\n" not in str(found.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="cannot be read"):
        load(tmp_path / "legion.golden.json")
