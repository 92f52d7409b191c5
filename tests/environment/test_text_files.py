from __future__ import annotations

from pathlib import Path

import pytest

from legion.environment.text_files import MAX_BYTES, read_mapping
from legion.errors import EnvironmentRefused


def read(folder: Path, text: str | bytes) -> dict[str, object]:
    path = folder / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_mapping(path, "file.yaml")


def test_scalars_stay_the_text_that_was_written(tmp_path: Path) -> None:
    text = "a: 3.10\nb: no\nc: 1:30\nd: 2024-01-01\ne: ~\nf: 0x10\ng: [1.0]\n"
    assert read(tmp_path, text) == {
        "a": "3.10",
        "b": "no",
        "c": "1:30",
        "d": "2024-01-01",
        "e": None,
        "f": "0x10",
        "g": ["1.0"],
    }


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing\n") == {}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: b\n") == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: is there twice (line 3)"),
        ("a: {b: 1, b: 2}\n", "a.b: is there twice"),
        ("a: &x [1]\nb: *x\n", "line 1: the anchor &x is not read"),
        ("a: &x\n  <<: *x\n", "the anchor &x"),
        ("a: *x\n", "the alias *x"),
        ("a: !!python/object/apply:os.system ['true']\n", "the tag "),
        ("a: !!float 3\n", "the tag "),
        ("? [a]\n: b\n", "a key must be plain text"),
        ("a: " + "[" * 30 + "]" * 30, "levels"),
        ("a: " + "[" * 50_000, "levels"),
        ("a: [1\n", "write it as plain YAML"),
        ("a: b\n---\nc: d\n", "write it as plain YAML"),
        ("a: \x00\n", "write it as plain YAML"),
        ("- a\n", "is no mapping"),
        ("a\n", "is no mapping"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a" * (MAX_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_what_could_mean_something_else_than_it_shows_is_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(EnvironmentRefused, match=r"^file\.yaml") as refused:
        read(tmp_path, text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match=r"file\.yaml cannot be read \(No such file or directory\)"):
        read_mapping(tmp_path / "file.yaml", "file.yaml")
