"""The manifest: values as written, every fault at once with its path, the historical names, a stable rendering."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain, parse, render
from legion.errors import ManifestError

TEXT = """\
binaries:
  type: python
  dependencies: conda
  conda_path: mlflow/model/mlflow_env.yml
model:
  name: wine-quality
  version: 1.0.0-12333122
  workDir: mlflow/model
  entrypoint: entrypoint
legionVersion: '1.0'
toolchain: {name: mlflow, version: 1.0.0}
output: {run_id: 0a1b2c}
"""
MANIFEST = Manifest(
    Model("wine-quality", "1.0.0-12333122", "mlflow/model", "entrypoint"),
    Toolchain("mlflow", "1.0.0"),
    Binaries("python", "conda", "mlflow/model/mlflow_env.yml"),
    {"run_id": "0a1b2c"},
)


def faults(text: str | bytes) -> dict[str, str]:
    with pytest.raises(ManifestError) as found:
        parse(text if isinstance(text, bytes) else text.encode(), "legion.model.yaml")
    return {fault.path: fault.message for fault in found.value.faults}


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new)


def test_the_specification_s_example() -> None:
    assert parse(TEXT.encode(), "x") == MANIFEST
    assert parse(b"\xef\xbb\xbf" + TEXT.encode(), "x") == MANIFEST


def test_the_older_key() -> None:
    assert parse(changed("legionVersion: '1.0'", "odahuflowVersion: 1.5.0-rc2").encode(), "x") == MANIFEST
    assert list(faults(changed("legionVersion", "odahuflowVersion: '1.0'\nlegionVersion"))) == ["odahuflowVersion"]


def test_rendering_is_stable_and_every_reader_sees_the_same_text() -> None:
    rendered = render(MANIFEST)
    assert parse(rendered, "x") == MANIFEST
    assert render(parse(rendered, "x")) == rendered
    seen = yaml.safe_load(rendered)
    assert list(seen) == ["binaries", "model", "legionVersion", "toolchain", "output"]
    assert seen["legionVersion"] == "1.0"
    assert seen["model"]["version"] == "1.0.0-12333122"


@pytest.mark.parametrize("name", ["no", "on", "y", "NULL-1", "1e5", "0x1F", "007", "12", "1-2", "true", "2001-01-01"])
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    assert parse(changed("wine-quality", name).encode(), "x").model.name == name
    manifest = Manifest(Model(name, "1.0.0-1"), Toolchain("t", "1"), Binaries(conda_path="c.yaml"))
    rendered = render(manifest)
    assert yaml.safe_load(rendered)["model"]["name"] == name
    assert parse(rendered, "x") == manifest


@pytest.mark.parametrize("version", ["1.0.0", "1.10", "1.0", "3", "1.0.0-rc.1-x"])
def test_versions_are_read_as_written(version: str) -> None:
    assert parse(changed("1.0.0-12333122", version).encode(), "x").model.version == version


@pytest.mark.parametrize("version", ["1:30", "latest", "1.0.0-", "1.0.0-a b", "v1.0.0", "1..0", "1.0.0+x", "١.0.0-1"])
def test_versions_that_are_none(version: str) -> None:
    assert list(faults(changed("1.0.0-12333122", version))) == ["model.version"]


@pytest.mark.parametrize("version", ["1.0.0", "1.0-1", "1"])
def test_only_full_versions_are_written(version: str) -> None:
    with pytest.raises(ManifestError, match=r"model\.version"):
        render(Manifest(Model("a", version), Toolchain("t", "1"), Binaries(conda_path="c.yaml")))


def test_all_faults_at_once() -> None:
    text = """\
binaries: {type: ruby, dependencies: pip, conda_path: ../x}
model: {name: a b, version: one, workdir: x, workDir: /abs, entrypoint: a.py}
legionVersion: '2.0'
toolchain: {version: [1]}
output: text
extra: 1
"""
    found = faults(text)
    assert set(found) == {
        "binaries.type", "binaries.dependencies", "binaries.conda_path", "model.name", "model.version",
        "model.workdir", "model.workDir", "model.entrypoint", "legionVersion", "toolchain.name", "toolchain.version",
        "output", "extra",
    }  # fmt: skip
    assert "workDir" in found["model.workdir"]
    assert "'a'" in found["model.entrypoint"]


def test_what_is_missing() -> None:
    assert list(faults("{}")) == ["binaries", "model", "toolchain", "legionVersion"]
    assert list(faults("binaries: {}\nmodel: {}\nlegionVersion: '1.0'\ntoolchain: {}")) == [
        "binaries.type", "binaries.dependencies", "model.name", "model.version", "toolchain.name", "toolchain.version",
    ]  # fmt: skip
    assert list(faults(changed("  conda_path: mlflow/model/mlflow_env.yml\n", ""))) == ["binaries.conda_path"]
    assert list(faults(changed("wine-quality", "~"))) == ["model.name"]
    assert list(faults(changed("wine-quality", ""))) == ["model.name"]


def test_defaults_and_paths_without_a_meaning() -> None:
    text = changed("  workDir: mlflow/model\n", "").replace("  entrypoint: entrypoint\n", "")
    assert parse(text.encode(), "x").model == Model("wine-quality", "1.0.0-12333122", ".", "entrypoint")
    assert parse(changed("workDir: mlflow/model", "workDir: ./mlflow/model/").encode(), "x") == MANIFEST


def test_java() -> None:
    text = changed("type: python", "type: java").replace("entrypoint: entrypoint", "entrypoint: lib/model.jar")
    assert parse(text.encode(), "x").model.entrypoint == "lib/model.jar"
    assert list(faults(changed("type: python", "type: java"))) == ["model.entrypoint"]


def test_further_fields_are_kept() -> None:
    text = changed("  type: python", "  gpu: true\n  memory: 1.10\n  n: 3\n  q: '3'\n  t: 1:30\n  type: python")
    text = text.replace("version: 1.0.0}", "version: 1.0.0, integration: [a, {b: no}], none: null}")
    manifest = parse(text.encode(), "x")
    assert manifest.binaries.further == {"gpu": True, "memory": "1.10", "n": 3, "q": "3", "t": "1:30"}
    assert manifest.toolchain.further == {"integration": ["a", {"b": "no"}], "none": None}
    assert parse(render(manifest), "x") == manifest


HOSTILE = [
    "$(x)",
    "`x`",
    "{{x}}",
    'a"b',
    "a'b",
    "a\\b",
    "a;b",
    "a|b",
    "a&b",
    "a\tb",
    "a\nb",
    "a\x7fb",
    "-x",
    "a/../../b",
]
FIELDS = {
    "binaries.conda_path": "mlflow/model/mlflow_env.yml",
    "model.name": "wine-quality",
    "model.version": "1.0.0-12333122",
    "model.workDir": "workDir: mlflow/model",
    "model.entrypoint": "entrypoint: entrypoint",
    "legionVersion": "'1.0'",
    "toolchain.name": "mlflow, ",
    "toolchain.version": "1.0.0}",
}


# The specification allows a name of hyphens and letters in any order.
ALLOWED = ("model.name", "-x")


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [(*item, value) for item in FIELDS.items() for value in HOSTILE if (item[0], value) != ALLOWED],
)
def test_what_could_end_in_a_shell_or_a_template(field: Any, written: Any, value: Any) -> None:
    quoted = '"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"'
    key, found, rest = written.rpartition(": ")
    new = f"{key}{found}{quoted}" + (rest[-1] if rest.endswith("}") else ", " if rest.endswith(", ") else "")
    assert field in faults(changed(written, new))
    path, _, name = field.rpartition(".")
    section = {"workDir": "work_dir"}.get(name, name)
    if path:
        part = getattr(MANIFEST, path)
        values = {key: getattr(part, key) for key in part.__struct_fields__} | {section: value}
        sections = {"model": MANIFEST.model, "toolchain": MANIFEST.toolchain, "binaries": MANIFEST.binaries}
        with pytest.raises(ManifestError):
            render(Manifest(**(sections | {path: type(part)(**values)})))


@pytest.mark.parametrize("place", ["output: {a: %s}", "output: {%s: a}", "output: {a: [{b: %s}]}"])
def test_no_control_characters_pass_through(place: str) -> None:
    text = changed("output: {run_id: 0a1b2c}", place % '"a\\nb\\e[2J"')
    found = faults(text)
    assert all(path.isprintable() and message.isprintable() for path, message in found.items())


def test_a_large_one_is_refused() -> None:
    text = TEXT + "#" * 64 * 1024
    assert faults(text) == {"(file)": "is larger than 65,536 bytes; shorten it"}
    assert parse(text.encode(), "x", most=len(text)) == MANIFEST


def test_of_many_faults_the_first_are_told_and_the_rest_counted() -> None:
    found = faults(TEXT + "".join(f"field{number}: 1\n" for number in range(1000)))
    assert len(found) == 51
    assert found["(file)"] == "and 950 more"


def test_a_field_that_is_nearly_known_is_named() -> None:
    assert faults(changed("workDir", "workdir"))["model.workdir"].endswith("did you mean workDir?")
