"""conda.yaml: the Python version, its conda packages, its channels and its pip list.

MLflow writes `python=…`, `pip<=…` and a pip list. In a file written by hand, a conda package that the Python
index is known to have can be taken from there by uv; anything else only conda can install.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from legion.environment.conda_names import INDEX_NAMES
from legion.environment.requirements import RequirementCollector

_INSTALLERS = ("pip", "wheel")
_CHANNELS = {"conda-forge", "defaults", "main", "anaconda", "pytorch"}
_ENTRY = re.compile(r"(?:(?P<channel>[^\s\[\]\"']+?)::)?(?P<name>[A-Za-z0-9_][\w.\-]*)(?P<rest>(?:[\s=<>!~*\[].*)?)")
_CLAUSE = re.compile(r"(?P<operator>==|!=|<=|>=|~=|=|<|>|)\s*(?P<version>[0-9][\w.!+\-]*?)(?P<any>\.?\*)?")
# The Pythons that the worker runs on, oldest first; a range in conda.yaml is settled within them.
_MINORS = tuple(f"3.{minor}" for minor in range(9, 15))


class CondaPart(msgspec.Struct, frozen=True):
    """What a conda.yaml says to conda.

    `channels` are names or URLs, the most important first. `packages` are conda's requirements as they were
    written, python's among them, sorted; what installs packages (pip, wheel) is left out. `requirements` are
    those of the pip list alone. `only` has a line for each package that conda alone can install, and why.
    """

    channels: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


class CondaFile(msgspec.Struct, frozen=True):
    """A conda.yaml: the Python version that it names, or None, and what it says to conda."""

    python: str | None = None
    conda: CondaPart = CondaPart()


def read_conda(document: dict[str, Any], name: str, folder: Path, into: RequirementCollector) -> CondaFile:
    """Read a conda.yaml; its pip list, and the packages that the Python index has too, are gathered in `into`.

    `name` is how messages call the file, `folder` where its `-r` lines start from.
    """
    channels = _read_channels(document, name, into)
    entries = document.get("dependencies") or []
    if not isinstance(entries, list):
        into.faults.append(f"{name}: dependencies is no list")
        return CondaFile()
    python: str | None = None
    packages, matches = list[str](), list[tuple[re.Match[str], str]]()
    for entry in entries:
        if isinstance(entry, dict):
            _read_pip(entry, name, folder, into)
        elif not isinstance(entry, str):
            into.faults.append(f"{name}: a dependency is no text")
        elif (match := _ENTRY.fullmatch(entry.strip())) is None:
            into.faults.append(f"{name}: {entry}: is no conda package")
        elif match["name"].lower() != "python":
            matches.append((match, entry))
        elif python is not None:
            into.faults.append(f"{name}: {entry}: names a second Python version")
        else:
            python = _python_version(match["rest"].strip(), entry, name, into)
            packages.append(_spelled(entry))
    # Before the index's packages are added: with conda they are not for uv.
    requirements = tuple(sorted(into.requirements))
    packages += [_spelled(entry) for match, entry in matches if not _is_installer(match)]
    reasons = [(entry, _read_package(match, entry, name, into)) for match, entry in matches]
    only = tuple(f"{name}: {entry}: {reason}" for entry, reason in reasons if reason)
    return CondaFile(python, CondaPart(channels, tuple(sorted(packages)), requirements, only))


def _is_installer(match: re.Match[str]) -> bool:
    return not match["channel"] and INDEX_NAMES.get(canonicalize_name(match["name"])) in _INSTALLERS


def _spelled(entry: str) -> str:
    return " ".join(entry.split())


def _read_channels(document: dict[str, Any], name: str, into: RequirementCollector) -> tuple[str, ...]:
    channels = document.get("channels") or []
    if isinstance(channels, str):
        return (channels,)
    if not isinstance(channels, list) or not all(isinstance(channel, str) for channel in channels):
        into.faults.append(f"{name}: channels is no list of texts")
        return ()
    return tuple(dict.fromkeys(channel.strip() for channel in channels))


def _read_pip(entry: dict[str, Any], name: str, folder: Path, into: RequirementCollector) -> None:
    if set(entry) != {"pip"}:
        into.faults.append(f"{name}: {', '.join(map(str, entry))}: only pip may hold a list of its own")
        return
    lines = entry["pip"] or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        into.faults.append(f"{name}: pip is no list of texts")
        return
    for line in lines:
        into.add(line, name, folder)


def _read_package(match: re.Match[str], entry: str, name: str, into: RequirementCollector) -> str | None:
    """Gather what the Python index calls this package; returns why it cannot be had there, if it cannot."""
    known = INDEX_NAMES.get(canonicalize_name(match["name"]))
    if match["channel"] and match["channel"] not in _CHANNELS:
        return f"comes from the conda channel {match['channel']}"
    if known is None:
        return "only conda can install it (a Python package belongs under pip:)"
    if known in _INSTALLERS or not known:
        return None  # What installs packages, or only picks a variant; a model does not import it.
    specifiers = pep440(match["rest"])
    if specifiers is None:
        return "names a build of conda, or a version that the Python index has no word for"
    requirement = f"{known}{specifiers}"
    into.add(requirement, name, into.root)
    into.notes.append(f"{entry} is taken from the Python index as {requirement}, not from conda")
    return None


def pep440(text: str) -> SpecifierSet | None:
    """What follows the name in a conda requirement (`=1.2`, `>=1,<2`, ` 1.2.*`) as PEP 440 has it.

    conda's single = matches every version that starts so; a version after a space is that very version. None
    where PEP 440 cannot say it: builds, alternatives (`|`), brackets.
    """
    text = text.strip()
    if text in ("", "*", "=*", "==*"):
        return SpecifierSet()
    clauses = []
    for part in text.split(","):
        clause = _CLAUSE.fullmatch(part.strip())
        if clause is None:
            return None
        operator, version = clause["operator"], clause["version"]
        starts_so = operator == "=" or (clause["any"] and operator in ("", "==", "!="))
        clauses.append(
            f"{'!=' if operator == '!=' else '=='}{version}.*" if starts_so else f"{operator or '=='}{version}"
        )
    try:
        return SpecifierSet(",".join(clauses))
    except InvalidSpecifier:
        return None


def _python_version(rest: str, entry: str, name: str, into: RequirementCollector) -> str | None:
    """One Python version out of `=3.10`, `==3.9.2`, `>=3.9,<3.12`; a build behind it is dropped."""
    pinned = re.fullmatch(r"(?:==?|\s*)\s*(?P<version>\d+\.\d+(?:\.\d+)?)(?:\.\*|\*)?(?:[=\s]\s*\w+)?", rest)
    if pinned:
        return pinned["version"]
    allowed = pep440(rest)
    if allowed is None:
        into.faults.append(f"{name}: {entry}: is no Python version; write python=3.11")
        return None
    if not len(allowed):
        return None
    bounded_below = any(one.operator in (">=", ">", "~=", "==") for one in allowed)
    # .99 stands for the newest patch version, so that >=3.9.2 allows 3.9 and <3.12 does not allow 3.12.
    minors = [minor for minor in _MINORS if allowed.contains(f"{minor}.99")]
    if not minors:
        into.faults.append(f"{name}: {entry}: allows no Python from {_MINORS[0]} to {_MINORS[-1]}; write python=3.11")
        return None
    # The bound is what the author worked with; the far end of the range may not have existed then.
    chosen = minors[0] if bounded_below else minors[-1]
    into.notes.append(f"{entry} is a range; Python {chosen} is taken")
    return chosen


def checked_python(text: Any, name: str, into: RequirementCollector) -> str | None:
    """A Python version such as `3.11.7` or `3.10`, normalised; a fault for anything else."""
    if text in (None, ""):
        return None
    try:
        version = Version(text)
    except (InvalidVersion, TypeError):
        into.faults.append(f"{name}: python: {text}: is no version; write one such as 3.11")
        return None
    if not 2 <= len(version.release) <= 3:
        into.faults.append(f"{name}: python: {text}: needs a minor version, such as 3.11")
        return None
    return str(version)
