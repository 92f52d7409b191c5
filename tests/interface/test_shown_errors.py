"""What a caller may see of an exception."""

from __future__ import annotations

import pytest

from legion.interface.redaction import shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("[Errno 2] No such file or directory: '/srv/models/wine/weights.bin'", "…/weights.bin'"),
        ('File "/usr/lib/python3.11/json/__init__.py", line 3', 'File "…/__init__.py", line 3'),
        ("cannot open /srv/my-model/a.b/c_1.pkl, sorry", "cannot open …/c_1.pkl, sorry"),
        ("paths=/a/b:/c/d", "paths=…/b:…/d"),
        ("~/models/secret/w.bin is missing", "…/w.bin is missing"),
    ],
)
def test_folders_are_left_out(text: str, seen: str) -> None:
    assert shown(ValueError(text)).endswith(seen)
    assert "/srv" not in shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "expected 1/2 of a/b/c on 6/5/2024, got n/a",
        "see https://mlflow.org/docs/latest/model for more",
        "row 0, column 'fixed acidity': expected a number, got the text 'x'",
        "50 m/s / 2",
    ],
)
def test_what_is_no_path_stays(text: str) -> None:
    assert shown(text) == text


def test_always_text_that_json_can_hold_and_never_long() -> None:
    assert shown("\ud800") == "?"
    assert len(shown("x" * 1_000_000)) == 2000
