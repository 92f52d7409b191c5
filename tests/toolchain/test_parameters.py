"""Entry-point parameters are refused before anything starts, and the refusal names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from legion.errors import UsageError
from legion.toolchain.parameters import check, check_quoting


@dataclass
class Parameter:
    name: str
    type: str = "string"
    default: Any = None


DECLARED = {
    "alpha": Parameter("alpha", "float", 0.1),
    "trees": Parameter("trees", "int", 100),
    "uri": Parameter("uri", "uri", "models:/a/1"),
    "label": Parameter("label", "string", ""),
}


@pytest.mark.parametrize(
    "given",
    [{}, {"alpha": "1e-3"}, {"alpha": "3"}, {"trees": "-7"}, {"uri": "s3://b/k"}, {"label": "any $(text)"}],
)
def test_values_of_their_type_pass(given: dict[str, str]) -> None:
    check(given, DECLARED, "main")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"alpha": "much"}, "alpha"),
        ({"alpha": "nan"}, "alpha"),
        ({"alpha": ""}, "alpha"),
        ({"trees": "1.5"}, "trees"),
        ({"trees": "1_0"}, "trees"),
        ({"uri": "here"}, "uri"),
        ({"label": "a\x00b"}, "label"),
        ({"aplha": "1"}, "aplha"),
    ],
)
def test_other_values_and_unknown_names_are_refused_by_name(given: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        check(given, DECLARED, "main")


def test_a_parameter_without_a_default_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"'path'.*-P path=VALUE"):
        check({}, {"path": Parameter("path", "path")}, "main")


@pytest.mark.parametrize("command", ["run '{label}'", 'run "x {label}"', 'run "it\'s {label}"', "a \\\" '{label}'"])
def test_a_value_for_the_shell_is_refused_where_the_command_quotes_it_itself(command: str) -> None:
    with pytest.raises(UsageError, match="label"):
        check_quoting({"label": "$(touch x)"}, DECLARED, command)
    check_quoting({"label": "plain-1.0"}, {"label": DECLARED["label"]}, command)


@pytest.mark.parametrize("command", ["run {label}", "run 'a' {label} 'b'", "run \\' {label}", 'run "a\\"b" {label}'])
def test_mlflows_own_quoting_is_left_alone(command: str) -> None:
    check_quoting({"label": "$(touch x)"}, DECLARED, command)
