"""`legion pack` on the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Server, legion
from legion.artifact import golden
from legion.artifact.archive import digest, open_artifact

LINEAR = Path(__file__).parents[1] / "toolchain" / "models" / "linear"
DOUBLE = """
def init():
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    return [[2 * cell for cell in row] for row in input_matrix]
"""


def test_a_folder_with_a_manifest_is_packed_as_it_is(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> None:
    folder = gppi_folder(DOUBLE, name="double")
    done = legion("pack", folder, "-o", "double.zip", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = open_artifact(tmp_path / "double.zip")
    assert {member.name for member in found.members} == {"legion.model.yaml", "conda.yaml", "entrypoint.py"}
    assert found.read("entrypoint.py") == (folder / "entrypoint.py").read_bytes()
    assert found.digest in done.stdout
    assert "next: legion serve double.zip" in done.stdout


def test_another_name_and_version_are_written_into_the_artifact(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> None:
    args: list[str | Path] = ["pack", gppi_folder(DOUBLE), "--name", "other", "--version", "2.0.0-rc1", "--json"]
    done = legion(*args, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    made = tmp_path / said["path"]
    assert made.name == "other-2.0.0-rc1.zip"
    assert (said["digest"], said["size"]) == (digest(made), made.stat().st_size)
    assert open_artifact(made).manifest.model.version == "2.0.0-rc1"


def test_a_folder_with_a_manifest_is_asked_for_its_answers_to_the_requests_that_are_given(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path], start_server: Callable[..., Server]
) -> None:
    folder = gppi_folder(DOUBLE, name="double")
    bodies = [{"dataframe_split": {"columns": ["a", "b"], "data": [[value, 1.5]]}} for value in (1.0, 2.0, 3.0)]
    (tmp_path / "golden.json").write_text(json.dumps(bodies))
    args: list[str | Path] = ["pack", folder, "--golden", "golden.json", "--env", "local", "-o", "double.zip"]
    done = legion(*args, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    artifact = open_artifact(tmp_path / "double.zip")
    found = golden.parse(artifact.read(golden.FILE_NAME))
    assert [case.request for case in found.cases] == bodies
    assert [case.response for case in found.cases] == [{"predictions": [[2 * v, 3.0]]} for v in (1.0, 2.0, 3.0)]
    assert artifact.read("entrypoint.py") == (folder / "entrypoint.py").read_bytes()
    # The folder itself stays as it is.
    assert not (folder / golden.FILE_NAME).exists()
    assert "merges requests" in start_server(tmp_path / "double.zip", "--env", "local").log.read_text()


def test_a_request_that_the_model_refuses_is_not_packed(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> None:
    (tmp_path / "golden.json").write_text('[{"inputs": [[1]]}, {"inputs": [["x"]]}]')
    folder = gppi_folder(DOUBLE.replace("2 * cell", "cell / 2"))
    args: list[str | Path] = ["pack", folder, "--golden", "golden.json", "--env", "local", "-o", "out.zip"]
    done = legion(*args, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the model refuses 1 of the requests in golden.json; correct them" in done.stderr
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.slow
def test_an_mlflow_model_is_exported(tmp_path: Path, environment: dict[str, str]) -> None:
    done = legion("pack", LINEAR, "-o", tmp_path, "--env", "local", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("linear-1.0.0-*.zip")
    assert "legion.golden.json" in {member.name for member in open_artifact(made).members}


def test_a_damaged_manifest_is_refused_with_every_fault(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> None:
    folder = gppi_folder(DOUBLE)
    manifest = folder / "legion.model.yaml"
    manifest.write_text(manifest.read_text().replace("type: python", "type: cobol").replace("name: probe", "name: a b"))
    done = legion("pack", folder, "-o", "x.zip", env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert "binaries.type" in done.stderr
    assert "model.name" in done.stderr
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("source", "code"), [("nowhere", 2), ("", 2), ("models:/$(touch x)/1", 2), ("models:/wine", 2), (".", 1)]
)
def test_what_cannot_be_packed_is_one_sentence(
    tmp_path: Path, environment: dict[str, str], source: str, code: int
) -> None:
    done = legion("pack", source, env=environment, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith("legion: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_mlflow_a_reference_needs_the_extra(tmp_path: Path, environment: dict[str, str]) -> None:
    program = "import sys; sys.modules['mlflow'] = None; from legion.cli.main import main; main()"
    for args in (["pack", "models:/wine@champion"], ["train", "."]):
        command = [sys.executable, "-c", program, *args]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert "pip install 'legion-ml[mlflow]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_with_a_manifest_needs_no_mlflow(
    tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> None:
    program = (
        "import sys; sys.modules['mlflow'] = sys.modules['pandas'] = None; from legion.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "pack", str(gppi_folder(DOUBLE)), "-o", "x.zip"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.zip").is_file()
