"""What a model's environment must hold, read from conda.yaml, python_env.yaml or requirements.txt.

conda.yaml is read first where MLflow left several: it alone names conda packages and channels, and the other two are
derived from it. Reading installs nothing and runs nothing.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from legion.documents.redaction import redacted
from legion.environment.conda_yaml import CondaPart, checked_python, read_conda
from legion.environment.requirements import RequirementCollector
from legion.environment.text_files import read_mapping
from legion.errors import EnvironmentRefused

NEIGHBOURS = ("conda.yaml", "python_env.yaml", "requirements.txt")
# They install packages and are not imported by models; uv takes their place.
_INSTALLER = re.compile(r"(?:pip|wheel)\s*(?:[<>=!~;].*)?", re.I)


class EnvironmentSpec(msgspec.Struct, frozen=True):
    """An environment to be made.

    `python` is a version such as `3.11.7` or `3.10`, None where the model names none. `requirements` and
    `constraints` are PEP 508, normalised and sorted; `hashes` holds, for a requirement, the `sha256:<hex>` of
    the files that may be installed. `notes` are lines for the user of uv. `conda` is what a conda.yaml says to
    conda; `requirements` hold as much of it as the Python index has.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    hashes: dict[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()
    conda: CondaPart | None = None

    @property
    def only_conda(self) -> tuple[str, ...]:
        """A line for each package that only conda can install."""
        return () if self.conda is None else self.conda.only

    @property
    def hash(self) -> str:
        """sha256 (64 hex digits) of what is installed; the order of lines and the notes do not count.

        conda's packages and channels count where only conda can install some of them: elsewhere the Python
        index gives the same, whatever file asked for it.
        """
        content: tuple[object, ...] = (
            self.python,
            sorted(self.requirements),
            sorted(self.constraints),
            sorted(self.hashes.items()),
        )
        if self.conda is not None and self.conda.only:
            content = (*content, [redacted(channel) for channel in self.conda.channels], sorted(self.conda.packages))
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def read_spec(folder: Path, conda_path: str | None = None) -> EnvironmentSpec:
    """The environment that a model's folder asks for.

    `conda_path` is the file that the artifact's manifest names, relative to `folder`; without it the first of
    conda.yaml, python_env.yaml and requirements.txt in `folder` counts; none there gives an empty spec.
    Raises EnvironmentRefused with everything that cannot be installed.
    """
    if conda_path is None:
        found = next((folder / name for name in NEIGHBOURS if (folder / name).is_file()), None)
        return EnvironmentSpec() if found is None else _read(found, folder)
    path = folder / conda_path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise EnvironmentRefused(f"conda_path {conda_path!r} leaves the artifact; name a file inside it")
    return _read(path, folder)


def _read(path: Path, root: Path) -> EnvironmentSpec:
    collector = RequirementCollector(root)
    python: Any = None
    conda: CondaPart | None = None
    if path.suffix == ".txt":
        collector.add_file(path)
    else:
        document = read_mapping(path, path.name)
        if document.keys() & {"python", "build_dependencies"}:
            python = _read_python_env(document, path.name, path.parent, collector)
        else:
            read = read_conda(document, path.name, path.parent, collector)
            python, conda = read.python, read.conda
        python = checked_python(python, path.name, collector)
    collector.check(path.name)
    return EnvironmentSpec(
        python=python,
        requirements=tuple(sorted(collector.requirements)),
        constraints=tuple(sorted(collector.constraints)),
        hashes={name: tuple(sorted(values)) for name, values in sorted(collector.hashes.items())},
        notes=tuple(collector.notes),
        conda=conda,
    )


def _read_python_env(document: dict[str, Any], name: str, folder: Path, into: RequirementCollector) -> str | None:
    """Gather the requirements of MLflow's python_env.yaml; returns the Python version as written."""
    for key in ("build_dependencies", "dependencies"):
        lines = document.get(key) or []
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            into.faults.append(f"{name}: {key} is no list of texts")
            continue
        for line in lines:
            if key == "dependencies" or not _INSTALLER.fullmatch(line.strip()):
                into.add(line, name, folder)
    python = document.get("python")
    if python is not None and not isinstance(python, str):
        into.faults.append(f"{name}: python is no version")
        return None
    return python
