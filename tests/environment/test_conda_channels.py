from __future__ import annotations

import pytest

from legion.documents.redaction import redacted
from legion.environment.channels import addresses, all_addresses
from legion.errors import EnvironmentRefused


@pytest.mark.parametrize(
    ("channel", "urls"),
    [
        ("conda-forge", ["https://conda.anaconda.org/conda-forge/"]),
        ("conda-forge/label/rc", ["https://conda.anaconda.org/conda-forge/label/rc/"]),
        ("defaults", ["https://repo.anaconda.com/pkgs/main/", "https://repo.anaconda.com/pkgs/r/"]),
        ("pkgs/main", ["https://repo.anaconda.com/pkgs/main/"]),
        ("nodefaults", []),
        ("https://h.invalid:8443/own", ["https://h.invalid:8443/own/"]),
        ("https://h.invalid/own/linux-64/", ["https://h.invalid/own/"]),
        ("https://h.invalid/own/noarch", ["https://h.invalid/own/"]),
        ("https://u:p@h.invalid/t/tok/own", ["https://u:p@h.invalid/t/tok/own/"]),
        ("file:///srv/channel", ["file:///srv/channel/"]),
    ],
)
def test_names_and_addresses(channel: str, urls: list[str]) -> None:
    assert list(addresses(channel)) == urls


@pytest.mark.parametrize(
    "channel",
    [
        *("", "http://h.invalid/c", "file://h.invalid/c", "file:relative", "s3://b/c", "oci://h/c", "https://", "../c"),
        *(
            "./c",
            "/srv/c",
            "-c",
            "a b",
            "a/../b",
            "https://h/c?x=1",
            "https://h/c#x",
            "https://h:port/c",
            "https://h/[c]",
        ),
        *("https://h/c\nd", "https://h/'c", "conda-forge\n", "a//b", "{{x}}", "$(touch x)"),
    ],
)
def test_what_is_no_channel(channel: str) -> None:
    with pytest.raises(EnvironmentRefused, match="neither a name nor a URL"):
        addresses(channel)


def test_the_order_stays_and_without_any_it_is_conda_forge() -> None:
    assert all_addresses(["b", "a", "b"]) == ("https://conda.anaconda.org/b/", "https://conda.anaconda.org/a/")
    assert all_addresses([]) == all_addresses(["nodefaults"]) == ("https://conda.anaconda.org/conda-forge/",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://h.invalid/t/tok-1/own/noarch failed", "at https://h.invalid/t/***/own/noarch failed"),
        ("https://u:p@h.invalid/conda/t/tok-1", "https://***@h.invalid/conda/t/***"),
        ("https://h.invalid/test/own", "https://h.invalid/test/own"),
    ],
)
def test_tokens_of_channels_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
