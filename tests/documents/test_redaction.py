from __future__ import annotations

import pytest

from legion.documents.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/simple", "https://***@host/simple"),
        ("https://token@host/simple", "https://***@host/simple"),
        ("https://user:p@ss@host/simple", "https://***@host/simple"),
        ("https://user:p/a?s#s@host/simple", "https://***@host/simple"),
        (
            "--index-url=https://user:pass@host/x --extra https://a:b@c",
            "--index-url=https://***@host/x --extra https://***@c",
        ),
        ("git+ssh://git:pw@host/r.git@v1", "git+ssh://***@v1"),
        ("https://host/x?token=abc&page=2", "https://host/x?token=***&page=2"),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x?X-Amz-Signature=***"),
        ("postgresql://u:p@db/mlflow", "postgresql://***@db/mlflow"),
        ("https://host:5000/simple", "https://host:5000/simple"),
        ("mail a@b.c about six==1.0", "mail a@b.c about six==1.0"),
    ],
)
def test_credentials_go_and_the_rest_stays(text: str, shown: str) -> None:
    assert redacted(text) == shown
