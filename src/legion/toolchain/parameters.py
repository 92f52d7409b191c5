"""An entry point's parameters, checked before anything is started. MLflow itself checks no types.

Source: https://mlflow.org/docs/latest/ml/projects (MLproject file, parameters)
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from legion.errors import UsageError

# What matters of a shell command here: an escaped character, a quote, a placeholder.
_SHELL = re.compile(r"""\\.|'|"|\{[^{}]*\}""", re.S)


class Declared(Protocol):
    """A parameter as the MLproject declares it; `default` is None where it must be given."""

    name: str
    type: str
    default: Any


def check(given: Mapping[str, str], declared: Mapping[str, Declared], entry_point: str) -> None:
    """Raise UsageError for a parameter that is unknown, missing, or whose value is not of its type."""
    for name in given:
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise UsageError(f"the entry point {entry_point} has no parameter {name!r}; it has: {known}")
    for name, parameter in declared.items():
        value = given.get(name, parameter.default)
        if value is None:
            raise UsageError(f"the entry point {entry_point} needs the parameter {name!r}; add -P {name}=VALUE")
        fits, what = _TYPES.get(parameter.type, _ANY)
        if not fits(str(value)):
            raise UsageError(f"the parameter {name!r} is {str(value)!r} and must be {what}; correct -P {name}")


def check_quoting(given: Mapping[str, str], declared: Mapping[str, Declared], command: str) -> None:
    """Raise UsageError for a value that the shell would read as more than one word, or run.

    An entry point's command is a shell template. MLflow quotes each value; where the template has quotes of its
    own around a placeholder, the two undo each other.
    """
    quoted = _placeholders_in_quotes(command)
    for name, parameter in declared.items():
        value = str(given.get(name, parameter.default))
        if name in quoted and shlex.quote(value) != value:
            raise UsageError(
                f"the project's command has quotes around {{{name}}}, which undo MLflow's own, so {value!r} is not "
                f"safe there; remove those quotes from the MLproject file, or use letters, digits and @%+=:,./-_"
            )


def _placeholders_in_quotes(command: str) -> set[str]:
    """The names of the {placeholders} that stand inside shell quotes."""
    found: set[str] = set()
    open_quote = ""
    for match in _SHELL.finditer(command):
        token = match.group()
        if token in ("'", '"'):
            if not open_quote:
                open_quote = token
            elif open_quote == token:
                open_quote = ""
        elif token.startswith("{") and open_quote:
            found.add(token[1:-1])
    return found


def _is_float(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _is_int(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def _is_bool(text: str) -> bool:
    return text.lower() in ("true", "false", "0", "1", "yes", "no")


def _is_uri(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:.", text) is not None


_ANY: Final = (lambda text: "\x00" not in text, "a text")
_TYPES: Final = MappingProxyType[str, tuple[Callable[[str], bool], str]](
    {
        "float": (_is_float, "a number"),
        "double": (_is_float, "a number"),
        "int": (_is_int, "a whole number"),
        "integer": (_is_int, "a whole number"),
        "bool": (_is_bool, "true or false"),
        "uri": (_is_uri, "a URI such as models:/wine@champion"),
    }
)
