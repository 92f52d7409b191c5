"""Real environments of tiny packages, made by the real uv."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import MARKER, environment_folder, realise
from legion.errors import EnvironmentBuildError, EnvironmentRefused, LegionError

SIX = EnvironmentSpec(requirements=("six==1.16.0",))
# Of the only wheel of six 1.16.0, as the index gives it.
SIX_HASH = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
BUILDER = """
import sys
from pathlib import Path
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import realise
from legion.errors import LegionError
spec = EnvironmentSpec(requirements=tuple(sys.argv[2:]))
try:
    print(realise(spec, cache=Path(sys.argv[1]), say=lambda line: print(line, flush=True)), flush=True)
except LegionError as error:
    print(error, flush=True)
    sys.exit(3)
"""


def make(spec: EnvironmentSpec, cache: Path) -> tuple[Path, list[str]]:
    said: list[str] = []
    return realise(spec, cache=cache, say=said.append), said


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def builder(cache: Path, *requirements: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(cache), *requirements]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, **env})


def left(cache: Path) -> list[str]:
    """What is in the cache besides locks, which stay."""
    return [name for name in os.listdir(cache / "environments") if not name.endswith(".lock")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The environment of SIX and the cache that it is in."""
    cache = tmp_path_factory.mktemp("cache")
    return make(SIX, cache)[0], cache


class TestFolder:
    def test_the_same_spec_is_in_the_same_place(self, tmp_path: Path) -> None:
        noted = EnvironmentSpec(requirements=("six==1.16.0",), notes=("a note",))
        assert environment_folder(SIX, tmp_path) == environment_folder(noted, tmp_path)
        assert environment_folder(SIX, tmp_path).parent == tmp_path / "environments"

    def test_no_python_is_the_running_one(self, tmp_path: Path) -> None:
        named = EnvironmentSpec(python="3.9", requirements=SIX.requirements)
        assert environment_folder(SIX, tmp_path) != environment_folder(named, tmp_path)


@pytest.mark.slow
class TestRealise:
    def test_it_holds_the_requirements_and_what_the_worker_needs(self, made: tuple[Path, Path]) -> None:
        python, cache = made
        assert python == environment_folder(SIX, cache) / "bin" / "python"
        assert run(python, "import six, msgspec, numpy; print(six.__version__)") == "1.16.0"
        marker = msgspec.json.decode((environment_folder(SIX, cache) / MARKER).read_bytes())
        assert marker["requirements"] == ["six==1.16.0"]
        assert "numpy" in marker["worker"]
        assert run(python, "import platform; print(platform.python_version())") == marker["python"]
        for wish in marker["worker"]:
            if wish.startswith("pysimdjson"):
                run(python, "import simdjson")

    def test_it_does_not_hold_legion(self, made: tuple[Path, Path]) -> None:
        code = "import importlib.util as u; print(u.find_spec('legion'))"
        assert run(made[0], code) == "None"

    def test_the_second_time_it_is_only_looked_up(
        self, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv("UV_OFFLINE", "1")
        python, said = make(SIX, made[1])
        assert python == made[0]
        assert len(said) == 1
        assert said[0].endswith("is ready")

    def test_progress_is_said(self, tmp_path: Path) -> None:
        _, said = make(EnvironmentSpec(requirements=("idna",)), tmp_path)
        assert any("making environment" in line and "1 requirement" in line for line in said)
        assert any(line.startswith("uv: Installed") for line in said)

    def test_constraints_hold(self, tmp_path: Path) -> None:
        python, _ = make(EnvironmentSpec(requirements=("six",), constraints=("six<1.16", "attrs<1")), tmp_path)
        assert run(python, "import six; print(six.__version__)") == "1.15.0"
        assert run(python, "import importlib.util as u; print(u.find_spec('attr'))") == "None"

    def test_an_environment_whose_python_is_gone_is_made_again(self, tmp_path: Path) -> None:
        python, _ = make(SIX, tmp_path)
        python.unlink()
        python.symlink_to(tmp_path / "removed")
        again, said = make(SIX, tmp_path)
        assert any("making it again" in line for line in said)
        assert run(again, "import six; print(six.__version__)") == "1.16.0"


@pytest.mark.slow
class TestHashes:
    def test_the_right_one_is_installed(self, tmp_path: Path) -> None:
        python, _ = make(EnvironmentSpec(requirements=SIX.requirements, hashes={"six==1.16.0": (SIX_HASH,)}), tmp_path)
        assert run(python, "import six; print(six.__version__)") == "1.16.0"

    def test_another_one_is_refused(self, tmp_path: Path) -> None:
        wrong = EnvironmentSpec(requirements=SIX.requirements, hashes={"six==1.16.0": ("sha256:" + "0" * 64,)})
        with pytest.raises(EnvironmentBuildError, match="six"):
            make(wrong, tmp_path)
        assert left(tmp_path) == []


@pytest.mark.slow
class TestOldPython:
    @pytest.mark.parametrize("version", ["3.9.2", "3.10"])
    def test_a_model_of_an_older_python(self, tmp_path: Path, version: str) -> None:
        minor = ".".join(version.split(".")[:2])
        try:
            python, said = make(EnvironmentSpec(python=version, requirements=("six",)), tmp_path)
        except EnvironmentBuildError as error:
            if "is not on this machine" not in str(error):
                raise
            pytest.skip(f"Python {minor} is neither here nor can it be fetched")
        code = "import six, msgspec, numpy, pkg_resources, platform; print(platform.python_version())"
        running = run(python, code)
        assert running.startswith(f"{minor}.")
        if minor != version and running != version:
            assert any(f"Python {version} is not here" in line for line in said)


@pytest.mark.slow
class TestFailure:
    def test_a_package_that_does_not_exist_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentBuildError) as error:
            make(EnvironmentSpec(requirements=("legion-no-such-package-exists==1",)), tmp_path)
        message = str(error.value)
        assert "legion-no-such-package-exists" in message
        assert "\n" not in message
        assert left(tmp_path) == []

    def test_requirements_that_contradict_each_other(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentBuildError, match="six"):
            make(EnvironmentSpec(requirements=("six<1.15", "six>1.15")), tmp_path)
        assert left(tmp_path) == []

    def test_an_index_that_does_not_answer_and_its_password(self, tmp_path: Path) -> None:
        env: dict[str, Any] = {
            "UV_DEFAULT_INDEX": "http://user:hunter2@127.0.0.1:9/simple",
            "UV_HTTP_RETRIES": "0",
            "UV_CACHE_DIR": str(tmp_path / "uv"),
        }
        with builder(tmp_path, "six", **env) as process:
            output = process.communicate()[0]
        assert process.returncode == 3
        assert "127.0.0.1:9" in output
        assert "hunter2" not in output
        assert left(tmp_path) == []


class TestRefusal:
    def test_a_python_that_the_worker_cannot_run_on(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentRefused, match=r"Python 3\.8"):
            make(EnvironmentSpec(python="3.8.18"), tmp_path)
        assert left(tmp_path) == []

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(EnvironmentBuildError, match="LEGION_CACHE") as error:
            make(SIX, tmp_path / "cache")
        assert isinstance(error.value, LegionError)


@pytest.mark.slow
class TestSeveralProcesses:
    def test_two_builders_make_one_environment(self, tmp_path: Path) -> None:
        with builder(tmp_path, "idna") as first, builder(tmp_path, "idna") as second:
            outputs = [process.communicate()[0].splitlines() for process in (first, second)]
        assert first.returncode == second.returncode == 0
        assert outputs[0][-1] == outputs[1][-1]
        assert sum("making environment" in line for output in outputs for line in output) == 1
        other = next(output for output in outputs if not any("making environment" in line for line in output))
        assert "waiting for it" in other[0] or other[0].endswith("is ready")

    def test_a_builder_killed_midway_is_cleared_up_by_the_next(self, tmp_path: Path) -> None:
        spec = EnvironmentSpec(requirements=("idna",))
        with builder(tmp_path, "idna") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "making environment" in line:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        folder = environment_folder(spec, tmp_path)
        assert folder.is_dir()
        assert not (folder / MARKER).exists()
        python, said = make(spec, tmp_path)
        assert any("is unfinished" in line for line in said)
        assert run(python, "import idna, numpy") == ""
        assert left(tmp_path) == [folder.name]

    def test_an_interrupted_builder_leaves_nothing(self, tmp_path: Path) -> None:
        with builder(tmp_path, "idna") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "making environment" in line:
                    os.kill(process.pid, signal.SIGINT)
                    break
        assert process.returncode != 0
        assert left(tmp_path) == []

    def test_the_folder_one_stands_in_does_not_count(self, tmp_path: Path) -> None:
        project = tmp_path / "project"
        project.mkdir()
        index = '[[tool.uv.index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n'
        (project / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "1"\n{index}')
        (project / ".python-version").write_text("3.77\n")
        (project / ".venv").mkdir()
        (project / "six.py").write_text("")
        env = {"VIRTUAL_ENV": str(project / ".venv"), "UV_SYSTEM_PYTHON": "1", "UV_HTTP_RETRIES": "0"}
        with builder(tmp_path / "cache", "six==1.16.0", cwd=project, **env) as process:
            output = process.communicate()[0]
        assert process.returncode == 0, output
        assert run(Path(output.splitlines()[-1]), "import six; print(six.__version__)") == "1.16.0"
