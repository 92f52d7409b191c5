"""conda.yaml: the Python version, its conda packages as far as the Python index has them, and its pip list.

MLflow writes `python=…`, `pip<=…` and a pip list. In a file written by hand, a conda package that the Python
index is known to have is taken from there; anything else is refused, since only conda can install it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from legion.environment.conda_names import INDEX_NAMES
from legion.environment.requirements import RequirementCollector

_CHANNELS = {"conda-forge", "defaults", "main", "anaconda", "pytorch"}
_ENTRY = re.compile(r"(?:(?P<channel>[\w.\-/]+)::)?(?P<name>[A-Za-z0-9_][\w.\-]*)\s*(?P<rest>.*)")
_CLAUSE = re.compile(r"(?P<operator>==|!=|<=|>=|~=|=|<|>|)\s*(?P<version>[0-9][\w.!+\-]*?)(?P<any>\.?\*)?")
# The Pythons that the worker runs on, oldest first; a range in conda.yaml is settled within them.
_MINORS = tuple(f"3.{minor}" for minor in range(9, 15))


def read_conda(document: dict[str, Any], name: str, folder: Path, into: RequirementCollector) -> str | None:
    """Gather the packages of a conda.yaml; returns the Python version that it names, or None.

    `name` is how messages call the file, `folder` where its `-r` lines start from.
    """
    entries = document.get("dependencies") or []
    if not isinstance(entries, list):
        into.faults.append(f"{name}: dependencies is no list")
        return None
    python: str | None = None
    for entry in entries:
        if isinstance(entry, dict):
            _read_pip(entry, name, folder, into)
        elif not isinstance(entry, str):
            into.faults.append(f"{name}: a dependency is no text")
        elif match := _ENTRY.fullmatch(entry.strip()):
            if match["name"].lower() != "python":
                _read_package(match, entry, name, into)
            elif python is not None:
                into.faults.append(f"{name}: {entry}: names a second Python version")
            else:
                python = _python_version(match["rest"], entry, name, into)
        else:
            into.faults.append(f"{name}: {entry}: is no conda package")
    return python


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


def _read_package(match: re.Match[str], entry: str, name: str, into: RequirementCollector) -> None:
    known = INDEX_NAMES.get(canonicalize_name(match["name"]))
    if match["channel"] and match["channel"] not in _CHANNELS:
        into.faults.append(f"{name}: {entry}: comes from the conda channel {match['channel']}")
        return
    if known is None:
        into.faults.append(f"{name}: {entry}: only conda can install it (a Python package belongs under pip:)")
        return
    if known in ("pip", "wheel", ""):
        return  # What installs packages, or only picks a variant; a model does not import it.
    specifiers = pep440(match["rest"])
    if specifiers is None:
        into.faults.append(
            f"{name}: {entry}: names a build of conda, or a version that the Python index has no word for"
        )
        return
    requirement = f"{known}{specifiers}"
    into.add(requirement, name, into.root)
    into.notes.append(f"{entry} is taken from the Python index as {requirement}, not from conda")


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
