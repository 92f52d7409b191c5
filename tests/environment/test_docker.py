"""Real containers, where docker or podman runs: an image made of this machine's Python, no registry.

LEGION_CONTAINER and LEGION_CONTAINER_RUN_OPTIONS count as they do for Legion; without them podman is tried by runc.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from conftest import MANIFEST, Server, free_port, legion
from legion import wire
from legion.environment import docker
from legion.environment.docker import Mount, Program, checked_image, find_program, run_command
from legion.errors import EnvironmentRefused, UsageError
from legion.provision.resolve import resolve
from legion.replica import Replica
from legion.toolchain.job import Job, TrainedRun

IMAGE = "legion-test-python:1"
RUNC = {
    "LEGION_CONTAINER": "podman --runtime runc",
    "LEGION_CONTAINER_RUN_OPTIONS": "--ulimit nofile=20000:20000 --ulimit nproc=1000:1000",
}
SETTINGS = {name: os.environ.get(name, value) for name, value in RUNC.items()}
# What tells the containers of this run from others.
LABEL = f"legion-test={os.getpid()}"
SETTINGS["LEGION_CONTAINER_RUN_OPTIONS"] += f" --label {LABEL}"


def fake(folder: Path, name: str, text: str) -> Path:
    """A program of that name in `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


class TestImages:
    @pytest.mark.parametrize(
        "name",
        [
            "python",
            "python:3.11-slim",
            "registry.example:5000/team/model_a/b:1.0.0-x",
            "localhost/x",
            f"ghcr.io/a/b@sha256:{'0' * 64}",
            f"a/b:1@sha256:{'f' * 64}",
        ],
    )
    def test_names_as_registries_spell_them(self, name: str) -> None:
        assert checked_image(name) == name

    @pytest.mark.parametrize(
        "name",
        [
            *("", "-v", "--privileged", "a b", "a;b", "$(touch x)", "A/b:", "a\n", "../a", "a/../b", "a:b:c", "é"),
            *("{{.Id}}", "a" * 256, None, 1, ["a"], "http://h/a", "a/", "/a", "a//b", "a@sha256:0"),
        ],
    )
    def test_anything_else_is_refused(self, name: object) -> None:
        with pytest.raises(UsageError, match="is no image"):
            checked_image(name)


class TestPrograms:
    def test_docker_is_first_where_its_daemon_answers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(tmp_path / "bin", "podman", "")
        fake(tmp_path / "bin", "docker", "")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert find_program({}, "x") == Program(("docker",))
        fake(tmp_path / "bin", "docker", "import sys\nsys.exit('Cannot connect to the Docker daemon')")
        assert find_program({docker.RUN_OPTIONS: "--gpus all"}, "x") == Program(("podman",), ("--gpus", "all"))

    def test_where_neither_runs_the_reason_is_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(tmp_path / "bin", "docker", "import sys\nsys.exit('Cannot connect to the Docker daemon')")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        with pytest.raises(EnvironmentRefused, match="a model needs docker or podman, and neither runs here") as error:
            find_program({}, "a model")
        assert "docker: Cannot connect to the Docker daemon; podman: not installed" in str(error.value)

    def test_the_users_choice_is_the_only_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(tmp_path / "bin", "docker", "")
        fake(tmp_path / "bin", "nerdctl", "")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert find_program({docker.PROGRAM: "nerdctl --host 'a b'"}, "x").command == ("nerdctl", "--host", "a b")
        with pytest.raises(EnvironmentRefused, match="x needs none, which LEGION_CONTAINER names"):
            find_program({docker.PROGRAM: "none"}, "x")
        with pytest.raises(UsageError, match="quote it"):
            find_program({docker.PROGRAM: "'podman"}, "x")


class TestCommands:
    def test_the_users_options_come_last_and_the_container_has_no_rights(self) -> None:
        command = run_command(Program(("podman",), ("--gpus", "all")), "0" * 64, ["-c", "1"])
        assert command[-6:] == ["--gpus", "all", "--entrypoint=python3", "0" * 64, "-c", "1"]
        assert {"--rm", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(command)

    @pytest.mark.parametrize("path", ["/a,dst=/b", '/a"b', "relative", "/a\nb"])
    def test_a_path_that_would_be_read_as_more_than_a_path(self, path: str) -> None:
        with pytest.raises(UsageError, match="cannot be given to a container"):
            run_command(Program(("podman",)), "0" * 64, [], mounts=[Mount(Path(path))])


@pytest.mark.parametrize("name", ["python", "a b/python"])
def test_a_launcher_says_what_became_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also where Legion's own Python is at a path that no first line of a script can hold."""
    python = tmp_path / name
    python.parent.mkdir(exist_ok=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    client = fake(tmp_path / "bin", "client", "import sys\nsys.exit(9)")
    # A kernel starts no script by another script.
    monkeypatch.setattr(sys, "executable", str(python) if " " in name else sys.executable)
    script = tmp_path / "launcher"
    script.write_text(docker._script())
    script.chmod(0o755)
    launch = docker.Launch((str(client),), "0" * 64, str(tmp_path))
    (tmp_path / "launch.json").write_bytes(msgspec.json.encode(launch))
    ours, theirs = os.pipe()
    command = [str(script), "worker.py", str(theirs), str(ours)]
    done = subprocess.run(command, pass_fds=(ours, theirs), capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert done.stderr == "the container ended with 9 before it ran anything; see its output above\n"


def works() -> bool:
    try:
        find_program(SETTINGS, "a test")
    except EnvironmentRefused:
        return False
    return True


needs_containers = pytest.mark.skipif(not works(), reason="neither docker nor podman runs here")


def tool(*arguments: str) -> str:
    command = [*shlex.split(SETTINGS["LEGION_CONTAINER"]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def libraries(paths: list[Path]) -> set[str]:
    """The shared libraries that these files load."""
    lines = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False).stdout.split()
    found = {word for word in lines if word.startswith("/") and not word.endswith(":")}
    # Parts of glibc that older binaries load by name.
    glibc = next(Path(path).parent for path in found if "/libc.so" in path)
    names = ("librt", "libpthread", "libdl", "libutil", "libresolv")
    return found | {str(path) for name in names for path in glibc.glob(f"{name}.so.*")}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with this Python, numpy and msgspec, and nothing else: no shell."""
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    python, library = Path(os.path.realpath(sys.executable)), Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    needed = [
        python,
        *library.glob("lib-dynload/*.so"),
        *packages.glob("numpy/**/*.so"),
        *packages.glob("msgspec/*.so"),
    ]
    skipped = ("test", "tests", "idlelib", "site-packages", "__pycache__", "ensurepip", "lib2to3")

    def wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if Path(info.name).name in skipped else info

    with tarfile.open(archive, "w") as tar:
        tar.add(library, str(library), filter=wanted)
        tar.add(python, str(python))
        tar.add(python, "/usr/bin/python3")
        for path in packages.iterdir():
            if path.name.startswith(("numpy", "msgspec")):
                tar.add(path, str(library / "site-packages" / path.name), filter=wanted)
        for needs in sorted(libraries(needed)):
            if not needs.startswith(str(packages)):
                tar.add(os.path.realpath(needs), needs)
        for name in ("tmp", "etc", "proc", "dev", "sys", "run"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
    tool("import", "--change", "ENV PATH=/usr/bin", str(archive), IMAGE)
    archive.unlink()
    yield IMAGE
    tool("image", "rm", "--force", IMAGE)


MODEL = """
import os
import sys
import time
from pathlib import Path

def init():
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    if float(input_matrix[0][0]) == 13:
        os._exit(3)
    if float(input_matrix[0][0]) == 99:
        time.sleep(1000)
    shell = float(Path("/bin/sh").exists())
    try:
        Path("written").write_text("")
        kept = 0.0
    except OSError:
        kept = 1.0
    return [[2 * float(row[0]), shell, kept] for row in input_matrix], ["double", "shell", "readonly"]
"""


@pytest.fixture
def model(tmp_path: Path, image: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "entrypoint.py").write_text(MODEL)
    manifest = MANIFEST.format(name="contained").replace("conda_path: conda.yaml", f"image: {image}")
    (folder / "legion.model.yaml").write_text(manifest.replace("dependencies: conda", "dependencies: docker"))
    return folder


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, **SETTINGS, "LEGION_CACHE": str(tmp_path / "cache"), "SECRET": "s3cret"}


@pytest.fixture
def serve(tmp_path: Path, surroundings: dict[str, str]) -> Iterator[Callable[[Path], Server]]:
    """Start `legion serve` with the settings of these tests; it is ended with the test."""
    started: list[Server] = []

    def start(model: Path) -> Server:
        port, log = free_port(), tmp_path / "log.txt"
        command = [sys.executable, "-m", "legion.cli.main", "serve", str(model), "--port", str(port)]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=surroundings, text=True)
            started.append(Server(process, log, port))
        return started[-1].wait()

    yield start
    for server in started:
        server.stop()


def running() -> set[str]:
    """The containers that these tests have started and that are still there."""
    return set(tool("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split())


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@needs_containers
class TestServing:
    def test_a_model_predicts_in_its_image(self, model: Path, surroundings: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("a\n2\n4\n")
        output = tmp_path / "out.csv"
        done = legion("predict", model, "-i", tmp_path / "rows.csv", "-o", output, env=surroundings)
        assert done.returncode == 0, done.stderr
        # The image has no shell, this machine has one; the model's folder cannot be written.
        assert [list(map(float, line.split(","))) for line in output.read_text().splitlines()[1:]] == [
            [4.0, 0.0, 1.0],
            [8.0, 0.0, 1.0],
        ]
        assert f"the model runs in image {IMAGE}" in done.stderr
        assert until(lambda: not running())
        again = legion("predict", model, "-i", tmp_path / "rows.csv", "-o", output, env=surroundings)
        assert again.returncode == 0, again.stderr
        assert "trying the Python" not in again.stderr

    def test_env_local_is_the_running_python_and_others_are_refused(
        self, model: Path, surroundings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "rows.csv").write_text("a\n2\n")
        output = tmp_path / "out.csv"
        done = legion("predict", model, "-i", tmp_path / "rows.csv", "-o", output, "--env", "local", env=surroundings)
        assert done.returncode == 0, done.stderr
        assert output.read_text().splitlines()[1].startswith("4.0,1.0,")
        refused = legion("predict", model, "-i", tmp_path / "rows.csv", "--env", "uv", env=surroundings)
        assert refused.returncode == 2
        assert "runs in an image" in refused.stderr
        (model / "legion.model.yaml").write_text(MANIFEST.format(name="plain"))
        (model / "conda.yaml").write_text("dependencies: [numpy]")
        refused = legion("predict", model, "-i", tmp_path / "rows.csv", "--env", "docker", env=surroundings)
        assert refused.returncode == 2
        assert "plain names no image to run in" in refused.stderr

    def test_it_is_served_and_a_worker_that_dies_is_replaced_and_all_ends_with_the_server(
        self, model: Path, serve: Callable[[Path], Server]
    ) -> None:
        server = serve(model)
        url = f"{server.url}/invocations"
        body: Any = {"dataframe_split": {"columns": ["a"], "data": [[3.0]]}}
        assert requests.post(url, json=body, timeout=30).json()["predictions"][0]["double"] == 6.0
        assert len(running()) == 1
        bad = requests.post(url, json={"dataframe_split": {"columns": ["a"], "data": [[13.0]]}}, timeout=30)
        assert bad.status_code >= 500
        assert until(lambda: requests.post(url, json=body, timeout=30).status_code == 200, 30)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert until(lambda: not running())

    def test_a_container_ends_with_a_parent_that_is_killed(self, model: Path, serve: Callable[[Path], Server]) -> None:
        server = serve(model)
        assert len(running()) == 1
        server.process.kill()
        assert until(lambda: not running())


@pytest.mark.slow
@needs_containers
def test_a_worker_that_hangs_is_ended_with_its_container(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    found = resolve(str(model), env="docker", cache=tmp_path / "cache", say=lambda _: None)
    answers: list[object] = []

    async def hang() -> None:
        replica = await Replica.start(found.plan, found.python)
        replica.on_replies = answers.append
        replica.post([wire.Call(wire.MLFLOW, b'{"inputs": [[99.0]]}')])
        await asyncio.sleep(1)
        assert len(running()) == 1
        await replica.kill()

    asyncio.run(hang())
    assert answers == []
    assert until(lambda: not running())


@pytest.mark.slow
@needs_containers
def test_what_keeps_a_model_from_its_image_is_said(
    model: Path, surroundings: dict[str, str], tmp_path: Path, image: str
) -> None:
    (tmp_path / "rows.csv").write_text("a\n2\n")

    def refusal(code: int, **settings: str) -> str:
        done = legion("predict", model, "-i", tmp_path / "rows.csv", env={**surroundings, **settings})
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "cannot run a model" in refusal(3, LEGION_CONTAINER_RUN_OPTIONS="--no-such-option")
    assert "needs no-such-program, which LEGION_CONTAINER names" in refusal(1, LEGION_CONTAINER="no-such-program")
    manifest = model / "legion.model.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace(image, "localhost:1/not/there:1"))
    assert "image localhost:1/not/there:1 is not here and cannot be pulled" in refusal(3)
    manifest.write_text(text.replace(image, "'--privileged'"))
    assert "'--privileged' is no image" in refusal(2)
    manifest.write_text(text.replace(f"  image: {image}\n", ""))
    assert "names no image; write binaries.image" in refusal(2)
    assert not running()


TRAIN = """
import os
import sys
import time
from pathlib import Path
import mlflow

class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2

print("shell", Path("/bin/sh").exists(), "secret", os.environ["TRAIN_SECRET"], flush=True)
with mlflow.start_run():
    mlflow.log_param("seen", sys.argv[1])
    if sys.argv[1] == "wait":
        print("waiting", flush=True)
        time.sleep(1000)
    if sys.argv[1] == "fail":
        sys.exit(7)
    mlflow.pyfunc.log_model(name="model", python_model=Twice(), pip_requirements=["mlflow"])
"""
PROGRAM = """
import sys, msgspec
from legion.errors import LegionError
from legion.toolchain.job import Job
from legion.toolchain.project import run_project
try:
    print("RUN", msgspec.json.encode(run_project(msgspec.json.decode(sys.argv[1], type=Job))).decode())
except LegionError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@needs_containers
class TestTraining:
    @pytest.fixture
    def project(self, tmp_path: Path, image: str) -> Path:
        folder = tmp_path / "project"
        folder.mkdir()
        mlproject = {
            "name": "contained",
            "docker_env": {
                "image": image,
                "volumes": [f"{sysconfig.get_path('purelib')}:/packages:ro"],
                "environment": [["PYTHONPATH", "/packages"], "TRAIN_SECRET"],
            },
            "entry_points": {"main": {"parameters": {"x": "string"}, "command": "python3 train.py {x}"}},
        }
        (folder / "MLproject").write_text(json.dumps(mlproject))
        (folder / "train.py").write_text(TRAIN)
        return folder

    def start(
        self, project: Path, surroundings: dict[str, str], x: str, env: str = "auto", **more: str
    ) -> subprocess.Popen[str]:
        folder = project.parent
        job = Job(str(project), "main", {"x": x}, env, str(folder / "cache"), str(folder / "model"))
        command = [sys.executable, "-c", PROGRAM, msgspec.json.encode(job).decode()]
        variables = {**surroundings, "TRAIN_SECRET": "s3cret", **more}
        variables.pop("MLFLOW_TRACKING_URI", None)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=folder, env=variables, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def runs(self, project: Path) -> list[tuple[str, str]]:
        with sqlite3.connect(project.parent / "mlflow.db") as database:
            return database.execute("select run_uuid, status from runs").fetchall()

    def test_the_entry_point_runs_in_the_image_and_its_model_is_found(
        self, project: Path, surroundings: dict[str, str]
    ) -> None:
        evil = "a b;$(touch x)`touch x`'\"&& touch x"
        out, err = self.start(project, surroundings, evil).communicate(timeout=200)
        kind, _, rest = out.splitlines()[-1].partition(" ")
        assert kind == "RUN", out + err
        done = msgspec.json.decode(rest, type=TrainedRun)
        assert "shell False secret s3cret" in out.splitlines()
        assert f"the project runs in image {IMAGE}" in err
        assert self.runs(project) == [(done.run_id, "FINISHED")]
        assert done.folder is not None
        assert (Path(done.folder) / "MLmodel").is_file()
        with sqlite3.connect(project.parent / "mlflow.db") as database:
            assert database.execute("select value from params where key = 'seen'").fetchall() == [(evil,)]
            tags = dict(database.execute("select key, value from tags").fetchall())
        assert tags["mlflow.project.env"] == "docker"
        assert tags["mlflow.docker.image.uri"] == IMAGE
        assert not list(project.parent.rglob("x"))
        assert until(lambda: not running())

    def test_a_failure_is_the_runs(self, project: Path, surroundings: dict[str, str]) -> None:
        out, err = self.start(project, surroundings, "fail").communicate(timeout=200)
        assert out.splitlines()[-1].startswith("TrainingError"), out + err
        assert [status for _, status in self.runs(project)] == ["FAILED"]
        with sqlite3.connect(project.parent / "mlflow.db") as database:
            assert database.execute("select value from params where key = 'seen'").fetchall() == [("fail",)]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_the_container_ends_with_whoever_trains(
        self, project: Path, surroundings: dict[str, str], number: signal.Signals
    ) -> None:
        process = self.start(project, surroundings, "wait")
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "waiting":
                break
        assert len(running()) == 1
        # No secret is on a command line, nor in what the program keeps of the container.
        assert "s3cret" not in tool("inspect", *running())
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not [line for line in lines if b"s3cret" in line]
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()
        assert until(lambda: not running())
        assert until(lambda: [status for _, status in self.runs(project)] == ["FAILED"])

    def test_what_cannot_be_meant_starts_no_run(self, project: Path, surroundings: dict[str, str]) -> None:
        def refusal(env: str = "auto", **more: str) -> str:
            out, err = self.start(project, surroundings, "1", env, **more).communicate(timeout=100)
            assert "Traceback" not in err
            return out

        assert "UsageError the project runs in an image, so --env uv" in refusal("uv")
        assert "EnvironmentRefused a project that runs in the image" in refusal(LEGION_CONTAINER="no-such-program")
        text = (project / "MLproject").read_text()
        (project / "MLproject").write_text(text.replace('"TRAIN_SECRET"', '"NOT_SET_AT_ALL"'))
        assert "UsageError the project's docker_env wants the variable NOT_SET_AT_ALL" in refusal()
        (project / "MLproject").write_text(text.replace(IMAGE, "--privileged"))
        assert "UsageError '--privileged' is no image" in refusal()
        assert not (project.parent / "mlflow.db").exists()
