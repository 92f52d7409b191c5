"""Python requirements from text: requirements.txt, and the pip lists of conda.yaml and python_env.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from legion.documents.redaction import redacted
from legion.environment.text_files import read_text
from legion.errors import EnvironmentRefused

_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(r"(?P<option>-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<file>\S.*)")
_HASH = re.compile(r"\s--hash[=\s]+(?P<hash>sha(?:256|384|512):[0-9a-fA-F]+)(?=\s|$)")
_FILE_ENDINGS = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".egg", ".txt")
_SOURCE = re.compile(r"^(?:[A-Za-z][\w+.\-]*:|[./~\\]|[^\s\[;<>=!~@]*[/\\])")


def normalised(requirement: Requirement) -> str:
    """One spelling for each requirement: PEP 503 name, sorted extras and specifiers, the marker as parsed."""
    name = canonicalize_name(requirement.name)
    extras = ",".join(sorted(canonicalize_name(extra) for extra in requirement.extras))
    specifiers = ",".join(sorted(str(one) for one in requirement.specifier))
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{name}{f'[{extras}]' if extras else ''}{specifiers}{marker}"


class RequirementCollector:
    """Gathers requirements, constraints and hashes out of several files, and every fault in them.

    `root` is the folder that included files may not leave.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requirements: set[str] = set()
        self.constraints: set[str] = set()
        self.hashes: dict[str, set[str]] = {}
        self.notes: list[str] = []
        self.faults: list[str] = []
        self._open: list[Path] = []

    def add_file(self, path: Path, *, constraint: bool = False) -> None:
        """Every line of a requirements file."""
        name = path.name
        if path in self._open:
            self.faults.append(f"{name}: includes itself")
            return
        self._open.append(path)
        for number, line in logical_lines(read_text(path, name)):
            self.add(line, f"{name} line {number}", path.parent, constraint=constraint)
        self._open.pop()

    def add(self, line: str, where: str, folder: Path, *, constraint: bool = False) -> None:
        """One requirement, or one `-r` or `-c` line relative to `folder`; anything else becomes a fault."""
        line = _COMMENT.sub("", line).strip()
        if not line:
            return
        if include := _INCLUDE.fullmatch(line):
            is_constraint = constraint or "c" in include["option"].lstrip("-")[:1]
            self._include(include["file"], where, folder, constraint=is_constraint)
            return
        hashes = {match["hash"].lower() for match in _HASH.finditer(line)}
        text = _HASH.sub("", line).strip()
        if fault := _refusal(text):
            self.faults.append(f"{where}: {text}: {fault}")
            return
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            self.faults.append(f"{where}: {text}: is no requirement ({reason})")
            return
        if requirement.url:
            self.faults.append(f"{where}: {text}: comes from a URL")
            return
        spelled = normalised(requirement)
        (self.constraints if constraint else self.requirements).add(spelled)
        if hashes:
            self.hashes.setdefault(spelled, set()).update(hashes)

    def _include(self, file: str, where: str, folder: Path, *, constraint: bool) -> None:
        target = (folder / file.strip("\"'")).resolve()
        if not target.is_relative_to(self.root.resolve()):
            self.faults.append(f"{where}: {file}: lies outside the model's folder")
        elif not target.is_file():
            self.faults.append(f"{where}: {file}: is not there")
        else:
            self.add_file(target, constraint=constraint)

    def check(self, source: str) -> None:
        """Raise EnvironmentRefused with every fault found so far, if there is one."""
        if not self.faults:
            return
        lines = "".join(f"\n  {redacted(fault)}" for fault in self.faults)
        count = "one entry" if len(self.faults) == 1 else f"{len(self.faults)} entries"
        raise EnvironmentRefused(
            f"{source} has {count} that cannot be installed; keep to Python packages by name and version "
            f"(UV_DEFAULT_INDEX chooses the package index), or make the environment yourself and run in it "
            f"with --env local:{lines}"
        )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, and the number (from 1) of their first."""
    start, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        start = start if parts else number
        # A comment line ends a continuation, and a backslash in it joins nothing: as pip does it.
        comment = line.lstrip().startswith("#")
        parts.append("" if comment else line.removesuffix("\\"))
        if line.endswith("\\") and not comment:
            continue
        yield start, " ".join(parts)
        parts = []
    if parts:
        yield start, " ".join(parts)


def _refusal(text: str) -> str | None:
    """Why this line is not taken, or None for what looks like a requirement."""
    if text.startswith("-"):
        return "is an option of pip"
    if " --" in text:
        return "carries an option of pip"
    if _SOURCE.match(text):
        return "comes from a URL, a repository or a local path"
    if text.lower().endswith(_FILE_ENDINGS) and not re.search(r"[\s;<>=!~]", text):
        return "comes from a local path"
    return None
