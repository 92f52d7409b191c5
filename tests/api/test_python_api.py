"""The Python API: its page's examples, its names, its server's end."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

import legion
from legion.api.progress import Advance, Progress
from probe_models import BROKEN, plus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python-api.md").read_text()
LINEAR = ROOT / "tests" / "toolchain" / "models" / "linear"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ROWS = [{"a": 1.0}, {"a": 2.0}]


@pytest.fixture(autouse=True)
def own_home(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the API reads from this process' environment is that of a new user in an empty folder."""
    for name in [name for name in os.environ if name.startswith(("LEGION_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "LEGION_CACHE"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_examples_of_the_page_run_in_their_order(tmp_path: Path, environment: dict[str, str]) -> None:
    assert len(EXAMPLES) == 7
    shutil.copytree(ROOT / "examples" / "wine", tmp_path / "examples" / "wine")
    script = tmp_path / "page.py"
    # Between the examples a line, by which a failure is found.
    script.write_text("".join(f"print('== {number}')\n{text}" for number, text in enumerate(EXAMPLES)))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout.partition("== 6")[2].strip().splitlines()
    assert len(said) == 2
    assert "is missing" in said[0] or "volatile acidity" in said[0]
    assert "nowhere.zip" in said[1]


def test_the_page_describes_each_name() -> None:
    for name in legion.__all__:
        assert f"`legion.{name}`" in PAGE
        found = getattr(legion, name)
        assert found.__doc__
        assert name in dir(legion)
    for name in ("cache", "deployments", "models"):
        module = getattr(legion, name)
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and function.__name__[0] != "_":
                assert f"`legion.{name}.{function.__name__}`" in PAGE or f"`legion.{function.__name__}`" in PAGE
    with pytest.raises(AttributeError, match="nothing"):
        legion.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert set(re.findall(r"legion\.(\w+)", "".join(EXAMPLES))) <= set(legion.__all__)


def test_what_type_checkers_are_told_is_what_is_loaded() -> None:
    stub = ast.parse((ROOT / "src" / "legion" / "__init__.pyi").read_text())
    told: dict[str, str] = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            told |= {str(alias.asname): f"{node.module}:{alias.name}" for alias in node.names}
    loaded = {name: f"{module}:{name}" for name, module in vars(legion)["_WHERE"].items()}
    modules = {name: ":".join(module.rsplit(".", 1)) for name, module in vars(legion)["_MODULES"].items()}
    assert told == {**loaded, **modules}
    assert sorted(told) == sorted(legion.__all__)


def test_importing_the_package_imports_nothing() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); import legion; "
        "print(sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT / "src")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "['legion']\n"


@pytest.mark.slow
def test_rows_in_memory_are_predicted_by_a_model_that_nothing_serves(gppi_folder: Callable[..., Path]) -> None:
    folder = gppi_folder(plus(1))
    assert legion.predict(folder, ROWS, env="local") == [{"result": 2.0}, {"result": 3.0}]
    assert legion.predict(str(folder), [[1], [2]], columns=["a"], env="local") == [{"result": 2.0}, {"result": 3.0}]
    with pytest.raises(legion.errors.InputError, match="row 1"):
        legion.predict(folder, [[1], ["x"]], columns=["a"], env="local")
    with pytest.raises(legion.errors.WorkerError, match="the weights are missing"):
        legion.predict(gppi_folder(BROKEN), ROWS, env="local")


@pytest.mark.slow
def test_files_are_predicted_and_refused_whole(gppi_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = gppi_folder(plus(1))
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    assert legion.predict(folder, "rows.csv", env="local") == [{"result": 2.0}, {"result": 3.0}]
    assert legion.predict(folder, tmp_path / "rows.csv", "out.csv", env="local").rows == 2
    assert Path("out.csv").read_text().split() == ["result", "2.0", "3.0"]
    (tmp_path / "rows.csv").write_text("a\n1\nx\n")
    with pytest.raises(legion.errors.RefusedError, match="row 1"):
        legion.predict(folder, "rows.csv", "refused.csv", env="local")
    assert not Path("refused.csv").exists()
    for arguments, said in (
        (("rows.txt",), "format"),
        (("nowhere.csv",), "no file nowhere.csv"),
        ((ROWS, "out.csv"), "output="),
    ):
        with pytest.raises(legion.errors.UsageError, match=said):
            legion.predict(folder, *arguments, env="local")
    with pytest.raises(legion.errors.UsageError, match="columns="):
        legion.predict(folder, "rows.csv", columns=["a"])


class Told(Progress):
    """What long work told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done: dict[str, int] = {}

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, label: str, total: int | None, unit: str = "bytes") -> Iterator[Advance]:
        self.done[f"{label} {total} {unit}"] = 0

        def advance(amount: int) -> None:
            self.done[f"{label} {total} {unit}"] += amount

        yield advance


@pytest.mark.slow
def test_a_files_format_and_its_chunks_may_be_given_and_progress_is_told(
    gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder, told = gppi_folder(plus(1)), Told()
    (tmp_path / "rows.txt").write_text("a\n1\n2\n3\n")
    options: dict[str, Any] = {"format": "csv", "output_format": "jsonl", "chunk_rows": 1, "env": "local"}
    done = legion.predict(folder, "rows.txt", "out.txt", **options, progress=told)
    assert (done.rows, done.output, done.format) == (3, Path("out.txt"), "jsonl")
    assert Path("out.txt").read_text().splitlines()[-1] == '{"prediction":{"result":4.0}}'
    assert told.done == {"predicting rows.txt 8 bytes": 8}
    assert any(line.startswith("probe 1.0.0-test is ready") for line in told.lines)
    with pytest.raises(legion.errors.UsageError, match="output_format="):
        legion.predict(folder, "rows.txt", format="csv", output_format="jsonl")


def test_an_artifact_is_packed_with_its_answers_and_unpacked(gppi_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder, told = gppi_folder(plus(1)), Told()
    request = {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}
    (tmp_path / "requests.json").write_text(json.dumps([request]))
    made = legion.pack(folder, "probe.zip", golden="requests.json", env="local", progress=told)
    opened = legion.unpack(made, "unpacked", progress=told)
    found = json.loads((tmp_path / "unpacked" / "legion.golden.json").read_text())
    assert [case["response"] for case in found["cases"]] == [{"predictions": [{"result": 2.0}]}]
    assert told.done[f"unpacking {opened.size} bytes"] == opened.size
    with pytest.raises(legion.errors.UsageError, match="is no JAR"):
        legion.pack(folder, "other.zip", jvm_options=["-Xmx1g"])


def test_what_cannot_be_trained_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(legion.errors.UsageError, match="register"):
        legion.train(tmp_path, alias="champion")
    with pytest.raises(legion.errors.UsageError, match="a/b"):
        legion.train(tmp_path, register="a/b")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stack_belongs_to_its_caller(tmp_path: Path) -> None:
    database, told = f"sqlite:///{tmp_path}/own.db", Told()
    with legion.up(data=tmp_path / "data", backend_store_uri=database, progress=told) as running:
        assert requests.get(f"{running.tracking_uri}/health", timeout=10).text == "OK"
        assert running.client.deployments() == []
        assert any(line.startswith("gateway | ready after") for line in told.lines)
        # It may hold a password, and others can read a command line.
        assert running.running_as.database == database
        assert not _of(database)
        assert "running" in repr(running)
    assert "stopped" in repr(running)
    _until_gone(str(tmp_path / "data"))
    with pytest.raises(legion.errors.UsageError, match="database"):
        legion.up(data=tmp_path / "data", backend_store_uri="http://127.0.0.1/")


@pytest.mark.slow
def test_a_server_goes_on_where_its_log_cannot_be_passed_on(
    gppi_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Progress):
        def say(self, line: str) -> None:
            raise RuntimeError("no paper")

    with legion.serve(gppi_folder(plus(1)), env="local", progress=Broken()) as server:
        assert server.client.predict(ROWS) == [{"result": 2.0}, {"result": 3.0}]
        assert "ready after" in server.log
    assert "no paper" in caplog.text


@pytest.mark.slow
def test_several_models_are_served_by_their_names(gppi_folder: Callable[..., Path]) -> None:
    # The folder that the caller works in is no place to import from.
    Path("queue.py").write_text("raise SystemExit('imported')")
    models: dict[str, str | os.PathLike[str]] = {
        "one": gppi_folder(plus(1)),
        "two": str(gppi_folder(plus(2))),
    }
    with legion.serve(models, env="local") as server:
        assert server.client.ready()
        assert server.client.predict(ROWS, "one") == [{"result": 2.0}, {"result": 3.0}]
        assert server.client.predict(ROWS, "two") == [{"result": 3.0}, {"result": 4.0}]
        assert "ready after" in server.log
        assert "running" in repr(server)
    assert "stopped" in repr(server)
    server.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/ping", timeout=5)


@pytest.mark.slow
def test_what_stops_a_server_is_raised(gppi_folder: Callable[..., Path]) -> None:
    broken = gppi_folder(BROKEN)
    with pytest.raises(legion.errors.OutsideError, match="the weights are missing"):
        legion.serve(broken, env="local")
    with pytest.raises(legion.errors.UsageError, match="no model at nowhere"):
        legion.serve("nowhere")
    with pytest.raises(legion.errors.UsageError, match="--port"):
        legion.serve(broken, port=70000)
    with pytest.raises(legion.errors.UsageError, match="nothing to serve"):
        legion.serve()
    # An option's value, never an option.
    with pytest.raises(legion.errors.UsageError):
        legion.serve("--help")
    slow = gppi_folder("import time\ntime.sleep(30)\n" + BROKEN)
    with pytest.raises(legion.errors.OutsideError, match="not ready after 1 s"):
        legion.serve(slow, env="local", ready_timeout=1)
    _until_gone(str(slow))


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_process_that_started_it(
    end: signal.Signals, gppi_folder: Callable[..., Path], environment: dict[str, str]
) -> None:
    folder = gppi_folder(plus(1))
    code = "import legion, sys, time\nserver = legion.serve(sys.argv[1], env='local')\nprint(server.url, flush=True)\n"
    command = [sys.executable, "-c", code + "time.sleep(60)", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert _of(str(folder))
        process.send_signal(end)
        process.wait(10)
        _until_gone(str(folder))
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_an_artifact_is_packed_registered_and_not_promoted_unchecked(gppi_folder: Callable[..., Path]) -> None:
    cases = [
        {
            "request": {"dataframe_split": {"columns": ["a"], "data": [[1.0], [2.0]]}},
            "response": {"predictions": [{"result": 2.0}, {"result": 3.0}]},
        }
    ]
    good = legion.pack(gppi_folder(plus(1), golden=cases), "good.zip", version="1.0.0-a", env="local")
    assert (good.name, good.version, good.path) == ("probe", "1.0.0-a", Path("good.zip"))
    assert good.size == Path(good).stat().st_size
    assert legion.verify(good).digest == good.digest == legion.inspect("good.zip").digest
    first = legion.register(good, "probe", env="local")
    assert (first.version, first.created, first.golden) == ("1", True, "passed 2")
    assert not legion.register(good, "probe", env="local").created
    assert legion.promote("probe", 1, env="local").alias == "champion"

    bad = legion.pack(gppi_folder(plus(5), golden=cases), "bad.zip", version="1.0.0-b", env="local")
    with pytest.raises(legion.errors.VerificationError, match="not registered"):
        legion.register(bad, "probe", env="local")
    second = legion.register(bad, "probe", check=False)
    with pytest.raises(legion.errors.RefusedError):
        legion.promote("probe", second.version, env="local")
    moved = legion.promote("probe", second.version, force="it is a test", env="local")
    assert moved.before == "1"
    assert "it is a test" in str(moved.forced)
    Path("good.zip").write_bytes(Path("good.zip").read_bytes()[:-1])
    with pytest.raises(legion.errors.ArchiveError):
        legion.verify("good.zip")


@pytest.mark.slow
def test_everything_works_where_an_event_loop_is_running(gppi_folder: Callable[..., Path]) -> None:
    cases = [
        {
            "request": {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}},
            "response": {"predictions": [{"result": 2.0}]},
        }
    ]
    folder = gppi_folder(plus(1), golden=cases)

    async def notebook() -> None:
        packed = legion.pack(folder, "probe.zip", env="local")
        assert legion.register(packed, "loop", check=True, env="local").golden == "passed 1"
        assert legion.promote("loop", legion.register(packed, "loop", check=False).version).alias == "champion"
        assert legion.predict("probe.zip", ROWS, env="local") == [{"result": 2.0}, {"result": 3.0}]
        # An MLflow model is asked for its golden answers when it is packed.
        legion.pack(LINEAR, "linear.zip", env="local")
        with legion.serve("probe.zip", env="local") as server:
            assert server.client.predict(ROWS) == [{"result": 2.0}, {"result": 3.0}]

    asyncio.run(notebook())


@pytest.mark.slow
def test_a_declaration_is_deployed_from_its_file(gppi_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = gppi_folder(plus(1))
    file = folder.parent / "wine.yaml"
    file.write_text(f"name: wine\nmodel: {folder.name}\nworkers: {{env: local}}\n")
    with legion.serve(admin=True, state=tmp_path / "state") as server:
        assert legion.deploy(file, gateway=server.url)["state"] == "ready"
        assert server.client.predict(ROWS, "wine") == [{"result": 2.0}, {"result": 3.0}]
        broken = {"name": "wine", "model": str(gppi_folder(BROKEN)), "workers": {"env": "local"}}
        with pytest.raises(legion.errors.RefusedError, match="the weights are missing"):
            legion.deploy(broken, gateway=server.url)
        assert legion.deploy(file, gateway=server.url, wait=False)["state"] in ("starting", "ready")
        server.client.wait("wine")
        with pytest.raises(legion.errors.RefusedError, match=r"limits\.queue"):
            legion.deploy({**broken, "limits": {"queue": "many"}}, gateway=server.url)


def _of(argument: str) -> list[int]:
    """The processes with this argument, from the kernel's own tables."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"legion.cli.main" in line and argument.encode() in line:
                found.append(int(entry.name))
    return found


def _until_gone(argument: str) -> None:
    end = time.monotonic() + 20
    while _of(argument):
        assert time.monotonic() < end, "its server is still there"
        time.sleep(0.05)
