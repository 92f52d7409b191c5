"""The manifest of an artifact: `legion.model.yaml` as frozen values. docs/format.md describes the fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from legion.artifact import manifest_rules as rules
from legion.artifact.limits import DEFAULT
from legion.documents import strict_yaml
from legion.documents.faults import Faults
from legion.documents.fields import Fields, text
from legion.errors import Fault, ManifestError

FILE_NAME = "legion.model.yaml"
# What earlier tools called it. The name says nothing of the content; each is read in the same way.
FILE_NAMES = (FILE_NAME, "legion.project.yaml", "odahuflow.project.yaml", "odahuflow.model.yaml")
FORMAT_VERSION = "1.0"


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


def _text(rule: rules.Rule) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        found = text(value)
        if (wrong := rule(found)) is not None:
            raise ValueError(wrong)
        return found

    return read


def _further(section: Fields, path: str) -> dict[str, Any]:
    """The fields that are not known, as they are."""
    found: dict[str, Any] = strict_yaml.typed(section.rest())
    rules.plain(path, found, section.faults)
    return found


def _normal(path: str) -> str:
    """A path without the `./` before it and the `/` behind it, which mean nothing."""
    while path.startswith("./") and len(path) > 2:
        path = path[2:]
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _path(value: Any) -> str:
    return _text(rules.path)(_normal(text(value)))


def _format(root: Fields) -> str:
    """The format's version. Legion's own must be known; the older key stands for the same layout."""
    older = root.optional("odahuflowVersion", _text(rules.label), None)
    if older is None:
        return root.required("legionVersion", _text(rules.format_version), FORMAT_VERSION)
    if root.optional("legionVersion", _text(rules.format_version), None) is not None:
        root.fault("odahuflowVersion", "stands beside legionVersion; remove it")
    return FORMAT_VERSION


def _binaries(root: Fields) -> Binaries:
    section = root.required_section("binaries")
    kind = section.required("type", _text(rules.one_of("python", "java")), "")
    dependencies = section.required("dependencies", _text(rules.one_of("conda", "docker")), "")
    conda = (kind, dependencies) == ("python", "conda")
    read = section.required if conda else section.optional
    conda_path = read("conda_path", _path, None)
    return Binaries(kind, dependencies, conda_path, _further(section, "binaries"))


def _model(root: Fields, is_java: bool, version: rules.Rule) -> Model:
    section = root.required_section("model")
    found = Model(
        section.required("name", _text(rules.name), ""),
        section.required("version", _text(version), ""),
        section.optional("workDir", _path, "."),
        section.required("entrypoint", _text(rules.jar), "")
        if is_java
        else section.optional("entrypoint", _text(rules.module), "entrypoint"),
    )
    section.refuse_rest()
    return found


def _toolchain(root: Fields) -> Toolchain:
    section = root.required_section("toolchain")
    return Toolchain(
        section.required("name", _text(rules.label), ""),
        section.required("version", _text(rules.label), ""),
        _further(section, "toolchain"),
    )


def _read(tree: Any, faults: Faults, version: rules.Rule) -> Manifest | None:
    """The manifest of a tree of text, with all its faults added to `faults`."""
    if not isinstance(tree, dict):
        faults.add("(file)", "must be a mapping with binaries, model, legionVersion and toolchain")
        return None
    root = Fields(tree, "", faults)
    binaries = _binaries(root)
    model = _model(root, binaries.type == "java", version)
    toolchain = _toolchain(root)
    output = _further(root.section("output"), "output")
    manifest = Manifest(model, toolchain, binaries, output, _format(root))
    root.refuse_rest()
    return manifest


def parse(content: bytes, source: str, *, most: int = DEFAULT.manifest_bytes) -> Manifest:
    """Read a manifest of at most so many bytes, under any of its names. `source` names it in the error.

    Raises ManifestError with every fault and its field's path. Text is taken as written; nothing is repaired.
    """
    if len(content) > most:
        raise ManifestError(source, [Fault("(file)", f"is larger than {most:,} bytes; shorten it")])
    tree, faults = strict_yaml.read(content)
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
    faults = Faults()
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
