"""The manifest of an artifact: `legion.model.yaml` as frozen values. docs/format.md describes the fields."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from legion.artifact import manifest_rules as rules
from legion.documents import strict_yaml
from legion.errors import Fault, ManifestError

FILE_NAME = "legion.model.yaml"
# What earlier tools called it. The name says nothing of the content; each is read in the same way.
FILE_NAMES = (FILE_NAME, "legion.project.yaml", "odahuflow.project.yaml", "odahuflow.model.yaml")
FORMAT_VERSION = "1.0"

_SECTIONS = ("binaries", "model", "legionVersion", "odahuflowVersion", "toolchain", "output")
_MODEL_FIELDS = ("name", "version", "workDir", "entrypoint")


class Binaries(msgspec.Struct, frozen=True):
    """What runs the model: `type` is python or java, `dependencies` conda or docker.

    `conda_path` is the environment's file, from the artifact's root. `further` holds all other fields.
    """

    type: str = "python"
    dependencies: str = "conda"
    conda_path: str | None = None
    further: dict[str, Any] = {}


class Model(msgspec.Struct, frozen=True):
    """`work_dir` is relative to the artifact's root, `entrypoint` (a module or a JAR) to `work_dir`."""

    name: str
    version: str
    work_dir: str = "."
    entrypoint: str = "entrypoint"


class Toolchain(msgspec.Struct, frozen=True):
    """What made the model. `further` holds all other fields."""

    name: str
    version: str
    further: dict[str, Any] = {}


class Manifest(msgspec.Struct, frozen=True):
    """What an artifact says of itself. `output` is what the training left behind, such as its `run_id`."""

    model: Model
    toolchain: Toolchain
    binaries: Binaries = Binaries()
    output: dict[str, Any] = {}
    legion_version: str = FORMAT_VERSION


class _Section:
    """One mapping of the manifest while it is read; faults are collected, never raised."""

    def __init__(self, tree: dict[str, Any], name: str, faults: list[Fault]) -> None:
        self._name, self._faults = name, faults
        value = tree.get(name)
        self._fields: dict[str, Any] = value if isinstance(value, dict) else {}
        if value is None:
            faults.append(Fault(name, "is missing"))
        elif not isinstance(value, dict):
            faults.append(Fault(name, "must be a mapping of fields"))
        # With the whole section at fault, each missing field would say it once more.
        self._silent = not isinstance(value, dict)

    def text(self, field: str, rule: rules.Rule, default: str | None = None) -> str:
        """A field's text, checked; the default (None where the field must be there) if it is missing."""
        value = self._fields.get(field)
        if value is None:
            if default is None and not self._silent:
                self._fault(field, "is empty" if field in self._fields else "is missing")
            return default or ""
        if not isinstance(value, str):
            self._fault(field, "must be one text")
            return ""
        if (wrong := rule(value)) is not None:
            self._fault(field, wrong)
        return str(value)

    def optional(self, field: str, rule: rules.Rule) -> str | None:
        """A field's text, checked, or None."""
        return None if self._fields.get(field) is None else self.text(field, rule)

    def further(self, known: tuple[str, ...]) -> dict[str, Any]:
        """The fields that are not known, as they are."""
        found = {key: strict_yaml.typed(value) for key, value in self._fields.items() if key not in known}
        self._faults.extend(Fault(*fault) for fault in rules.plain(self._name, found))
        return found

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        """Note each field that is not known."""
        self._faults.extend(
            Fault(f"{self._name}.{key}", _unknown(key, known)) for key in self._fields if key not in known
        )

    def _fault(self, field: str, message: str) -> None:
        self._faults.append(Fault(f"{self._name}.{field}", message))


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key.lower(), [name.lower() for name in known], 1)
    meant = next((name for name in known if near and name.lower() == near[0]), None)
    return f"is no field; did you mean {meant}?" if meant else f"is no field; known are {', '.join(known)}"


def _normal(path: str) -> str:
    """A path without the `./` before it and the `/` behind it, which mean nothing."""
    while path.startswith("./") and len(path) > 2:
        path = path[2:]
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _path_rule(text: str) -> str | None:
    return rules.path(_normal(text))


def _format(tree: dict[str, Any], faults: list[Fault]) -> str:
    """The format's version. Legion's own must be known; the older key stands for the same layout."""
    own, older = tree.get("legionVersion"), tree.get("odahuflowVersion")
    if own is not None and older is not None:
        faults.append(Fault("odahuflowVersion", "stands beside legionVersion; remove it"))
    field, value = ("odahuflowVersion", older) if own is None and older is not None else ("legionVersion", own)
    if value is None:
        faults.append(Fault(field, f"is missing; write {field}: '{FORMAT_VERSION}'"))
    elif not isinstance(value, str):
        faults.append(Fault(field, "must be one text"))
    elif (wrong := rules.format_version(value) if field == "legionVersion" else rules.label(value)) is not None:
        faults.append(Fault(field, wrong))
    else:
        return str(value) if field == "legionVersion" else FORMAT_VERSION
    return FORMAT_VERSION


def _binaries(tree: dict[str, Any], faults: list[Fault]) -> Binaries:
    section = _Section(tree, "binaries", faults)
    found = Binaries(
        section.text("type", rules.one_of("python", "java")),
        section.text("dependencies", rules.one_of("conda", "docker")),
        conda_path := section.optional("conda_path", _path_rule),
        section.further(("type", "dependencies", "conda_path")),
    )
    if found.type == "python" and found.dependencies == "conda" and conda_path is None:
        faults.append(Fault("binaries.conda_path", "is missing; name the conda.yaml, from the archive's root"))
    return found if conda_path is None else msgspec.structs.replace(found, conda_path=_normal(conda_path))


def _model(tree: dict[str, Any], is_java: bool, version: rules.Rule, faults: list[Fault]) -> Model:
    section = _Section(tree, "model", faults)
    section.refuse_unknown(_MODEL_FIELDS)
    return Model(
        section.text("name", rules.name),
        section.text("version", version),
        _normal(section.text("workDir", _path_rule, ".")),
        section.text("entrypoint", rules.jar if is_java else rules.module, None if is_java else "entrypoint"),
    )


def _output(tree: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    value = strict_yaml.typed(tree.get("output"))
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(Fault("output", "must be a mapping of fields"))
        return {}
    faults.extend(Fault(*fault) for fault in rules.plain("output", value))
    return value


def _read(tree: Any, faults: list[Fault], version: rules.Rule) -> Manifest | None:
    """The manifest of a tree of text, with all its faults added to `faults`."""
    if not isinstance(tree, dict):
        faults.append(Fault("(file)", "must be a mapping with binaries, model, legionVersion and toolchain"))
        return None
    faults.extend(Fault(key, _unknown(key, _SECTIONS)) for key in tree if key not in _SECTIONS)
    binaries = _binaries(tree, faults)
    model = _model(tree, binaries.type == "java", version, faults)
    section = _Section(tree, "toolchain", faults)
    toolchain = Toolchain(
        section.text("name", rules.label),
        section.text("version", rules.label),
        section.further(("name", "version")),
    )
    return Manifest(model, toolchain, binaries, _output(tree, faults), _format(tree, faults))


def parse(text: bytes, source: str) -> Manifest:
    """Read a manifest under any of its names. `source` names it in the error.

    Raises ManifestError with every fault and its field's path. Text is taken as written; nothing is repaired.
    """
    tree, faults = strict_yaml.read(text)
    # A file that cannot be read at all has told its one fault already.
    manifest = None if tree is None and faults else _read(tree, faults, rules.version)
    if faults or manifest is None:
        raise ManifestError(source, faults)
    return manifest


def as_tree(manifest: Manifest) -> dict[str, Any]:
    """The manifest as its file has it: the file's keys in the file's order, further fields last."""
    binaries, model, toolchain = manifest.binaries, manifest.model, manifest.toolchain
    tree: dict[str, Any] = {
        "binaries": {
            "type": binaries.type,
            "dependencies": binaries.dependencies,
            **({} if binaries.conda_path is None else {"conda_path": binaries.conda_path}),
            **binaries.further,
        },
        "model": {
            "name": model.name,
            "version": model.version,
            "workDir": model.work_dir,
            "entrypoint": model.entrypoint,
        },
        "legionVersion": manifest.legion_version,
        "toolchain": {"name": toolchain.name, "version": toolchain.version, **toolchain.further},
    }
    return tree | {"output": manifest.output} if manifest.output else tree


def render(manifest: Manifest) -> bytes:
    """The file's bytes, always the same for the same values.

    Raises ManifestError where a value breaks the format. The version needs its suffix here, unlike in `parse`.
    """
    tree = as_tree(manifest)
    faults: list[Fault] = []
    if _read(tree, faults, rules.full_version) is None or faults:
        raise ManifestError(FILE_NAME, faults)
    return strict_yaml.write(tree)


def check_paths(manifest: Manifest, files: set[str], source: str) -> None:
    """Raise ManifestError where the manifest names a file or folder that the archive does not hold."""
    folders = {name[:at] for name in files for at, letter in enumerate(name) if letter == "/"}
    binaries, model = manifest.binaries, manifest.model
    faults = rules.missing_files({"model.workDir": model.work_dir}, (), folders)
    wanted = {} if binaries.conda_path is None else {"binaries.conda_path": binaries.conda_path}
    if binaries.type == "java":
        prefix = "" if model.work_dir == "." else f"{model.work_dir}/"
        wanted["model.entrypoint"] = prefix + model.entrypoint
    faults += rules.missing_files(wanted, files, ())
    if faults:
        raise ManifestError(source, [Fault(*fault) for fault in faults])
