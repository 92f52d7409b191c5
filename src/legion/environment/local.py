"""Whether the running interpreter satisfies a model's environment."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from legion.environment.spec import EnvironmentSpec

_VERSION = re.compile(r"^Version:\s*(\S+)", re.M)


def mismatches(spec: EnvironmentSpec) -> list[str]:
    """What differs between the running interpreter and `spec`, one line each; empty where it satisfies it.

    Patch versions of Python do not count, nor do requirements whose marker excludes this machine. Hashes are
    not checked: the files that packages were installed from are gone.
    """
    found = []
    running = platform.python_version()
    if spec.python is not None and running.split(".")[:2] != spec.python.split(".")[:2]:
        found.append(f"Python {spec.python} is wanted, {running} is running")
    # The same for every requirement, and slow to find out.
    environment = {key: str(value) for key, value in default_environment().items()}
    for line in spec.requirements:
        found += _missing(Requirement(line), environment)
    for line in spec.constraints:
        constraint = Requirement(line)
        if _installed(constraint.name):
            found += _missing(constraint, environment)
    return found


def _missing(wanted: Requirement, environment: dict[str, str], because: str = "") -> list[str]:
    if wanted.marker is not None and not wanted.marker.evaluate(environment):
        return []
    name = f"{wanted.name}{wanted.specifier}{because}"
    version = _installed(wanted.name)
    if version is None:
        return [f"{name} is wanted, it is not installed"]
    if not _satisfies(version, wanted.specifier):
        return [f"{name} is wanted, {version} is installed"]
    return [line for extra in sorted(wanted.extras) for line in _missing_extra(wanted.name, extra, environment)]


def _missing_extra(name: str, extra: str, environment: dict[str, str]) -> list[str]:
    """What an extra of an installed package adds and is not there. Extras of those are not followed."""
    found = []
    for line in distribution(name).requires or ():
        try:
            part = Requirement(line)
        except InvalidRequirement:
            continue  # Old packages hold such lines; pip passes over them too.
        # The extra's own lines are those that only it switches on.
        if part.marker is None or part.marker.evaluate({**environment, "extra": ""}):
            continue
        part.extras = set()
        found += _missing(part, {**environment, "extra": extra}, f" (for {name}[{extra}])")
    return found


def _installed(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    # `.version` parses the whole metadata, the package's long description too: most of this function's time.
    header = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").partition("\n\n")[0]
    match = _VERSION.search(header)
    return match[1] if match else found.version


def _satisfies(version: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not specifier
