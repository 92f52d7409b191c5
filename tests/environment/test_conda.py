"""Real conda environments out of channels that are made here: solved, installed and run, with no network but uv's."""

from __future__ import annotations

import bz2
import fcntl
import hashlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rattler.explicit_environment.environment import ExplicitEnvironmentSpec

from conftest import MANIFEST, legion
from legion.disk.cache import read_note, record_of
from legion.environment import conda
from legion.environment.conda_install import EXPLICIT
from legion.environment.conda_yaml import CondaPart
from legion.environment.interpreter import interpreter, is_made
from legion.environment.spec import EnvironmentSpec, read_spec
from legion.environment.uv import MARKER
from legion.errors import EnvironmentBuildError, EnvironmentRefused, MissingExtraError

SUBDIR = "osx-arm64" if sys.platform == "darwin" else "linux-aarch64" if platform.machine() == "aarch64" else "linux-64"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{MINOR}/site-packages"
Content = bytes | Path
Made = tuple[Path, Path, EnvironmentSpec, list[str]]


class Channel:
    """A conda channel in a folder: packages as conda-build would leave them, and their index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()
        self._index: dict[str, dict[str, object]] = {}
        for subdir in ("noarch", SUBDIR):
            (folder / subdir).mkdir(parents=True, exist_ok=True)
            self._write_index(subdir)

    def add(
        self,
        name: str,
        version: str,
        files: dict[str, Content],
        *,
        depends: tuple[str, ...] = (),
        noarch: bool = False,
        mode: int = 0o644,
    ) -> Path:
        """Make a package; a file that is given as a path becomes a symbolic link to it."""
        subdir = "noarch" if noarch else SUBDIR
        record: dict[str, object] = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "subdir": subdir,
            "depends": list(depends),
        }
        if noarch:
            record["noarch"] = "python"
        paths = [
            {"_path": path, "path_type": "softlink" if isinstance(content, Path) else "hardlink", **_sums(content)}
            for path, content in files.items()
        ]
        members: dict[str, Content] = {
            "info/index.json": json.dumps(record).encode(),
            "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
            **files,
        }
        path = self.folder / subdir / f"{name}-{version}-0.tar.bz2"
        with tarfile.open(path, "w:bz2") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.mode = mode
                if isinstance(content, Path):
                    info.type, info.linkname = tarfile.SYMTYPE, str(content)
                    archive.addfile(info)
                else:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        whole = path.read_bytes()
        sums = {"md5": hashlib.md5(whole).hexdigest(), "sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole)}
        self._index[f"{subdir}/{path.name}"] = {**record, **sums}
        self._write_index(subdir)
        return path

    def _write_index(self, subdir: str) -> None:
        packages = {key.split("/")[1]: one for key, one in self._index.items() if key.startswith(f"{subdir}/")}
        index = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (self.folder / subdir / "repodata.json").write_text(json.dumps(index))


def _sums(content: Content) -> dict[str, object]:
    data = Path(content).read_bytes() if isinstance(content, Path) and content.is_file() else content
    if isinstance(data, Path):
        return {}
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}


def add_python(channel: Channel) -> None:
    """A package `python` whose interpreter truly runs and has the prefix as its own.

    It holds a copy of the running interpreter's binary and, for its library, symbolic links to the one that is
    installed here; its site-packages are empty.
    """
    binary = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    files: dict[str, Content] = {f"bin/python{MINOR}": binary.read_bytes(), "bin/python": Path(f"python{MINOR}")}
    for entry in library.iterdir():
        if entry.name not in ("site-packages", "__pycache__", "test") and "EXTERNALLY" not in entry.name:
            files[f"lib/python{MINOR}/{entry.name}"] = entry
    files[f"{SITE}/README.txt"] = b"empty\n"
    shared = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("LDLIBRARY"))
    if shared.is_file():
        files[f"lib/{shared.name}"] = shared
    channel.add("python", platform.python_version(), files, mode=0o755)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A channel with a Python, two versions of a native package, and a Python package that needs it."""
    made = Channel(tmp_path_factory.mktemp("channel"))
    add_python(made)
    made.add("tiny", "1.0", {"share/tiny": b"1.0"})
    made.add("tiny", "1.5", {"share/tiny": b"1.5"})
    made.add("tiny", "2.0", {"share/tiny": b"2.0"})
    made.add("tiny-tool", "1.0", {"bin/tiny-tool": b"#!/bin/sh\necho 0.5\n"}, mode=0o755)
    made.add("needs-glibc", "1.0", {"share/glibc": b""}, depends=("__glibc >=2.17",))
    made.add("needs-the-future", "1.0", {"share/glibc": b""}, depends=("__glibc >=99",))
    module = b"from pathlib import Path\nimport sys\nvalue = Path(sys.prefix, 'share/tiny').read_text()\n"
    made.add("py-tiny", "1.0", {"site-packages/tiny.py": module}, depends=("python", "tiny <2"), noarch=True)
    return made


def spec_of(tmp_path: Path, text: str) -> EnvironmentSpec:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "conda.yaml").write_text(text)
    return read_spec(folder)


def yaml(channels: list[str], *packages: str, pip: tuple[str, ...] = ()) -> str:
    return json.dumps({"channels": channels, "dependencies": [*packages, *([{"pip": list(pip)}] if pip else [])]})


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def left(cache: Path) -> list[str]:
    """What is in the cache besides locks, which stay."""
    folder = cache / "environments"
    return [name for name in os.listdir(folder) if not name.endswith(".lock")] if folder.exists() else []


@pytest.fixture(scope="module")
def made(channel: Channel, tmp_path_factory: pytest.TempPathFactory) -> Made:
    cache = tmp_path_factory.mktemp("cache")
    said: list[str] = []
    text = yaml([channel.url], f"python={MINOR}", "py-tiny", "pip", pip=("six==1.16.0",))
    spec = spec_of(cache, text)
    return interpreter(spec, "conda", cache=cache, say=said.append), cache, spec, said


@pytest.mark.slow
class TestRealise:
    def test_conda_packages_the_pip_list_and_the_workers_needs_are_there(self, made: Made) -> None:
        python, *_ = made
        code = "import sys, tiny, six, numpy, msgspec; print(sys.base_prefix, sys.prefix, tiny.value, six.__version__)"
        # py-tiny allows no tiny 2.
        prefix = python.parent.parent
        assert run(python, code) == f"{prefix} {prefix} 1.5 1.16.0"

    def test_it_says_what_it_does(self, made: Made, channel: Channel) -> None:
        *_, said = made
        told = "\n".join(said)
        assert f"conda: choosing packages from {channel.url}/" in said
        assert "conda: 3 packages chosen" in said
        assert "conda: packages installed" in told
        assert "uv: Installed" in told

    def test_what_was_installed_is_listed_with_hashes(self, made: Made, channel: Channel) -> None:
        python, *_ = made
        folder = python.parent.parent
        lines = (folder / EXPLICIT).read_text().splitlines()
        package = channel.folder / SUBDIR / "tiny-1.5-0.tar.bz2"
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        assert f"{package.as_uri()}#sha256:{digest}" in lines
        assert lines[1:3] == [f"# platform: {SUBDIR}", "@EXPLICIT"]
        assert len(ExplicitEnvironmentSpec.from_path(folder / EXPLICIT).packages) == 3
        assert json.loads((folder / MARKER).read_text())["packages"] == [
            "py-tiny=1.0=0",
            f"python={platform.python_version()}=0",
            "tiny=1.5=0",
        ]

    def test_the_second_time_it_is_taken_as_it_is(self, made: Made) -> None:
        python, cache, spec, _ = made
        said: list[str] = []
        assert is_made(spec, "conda", cache=cache)
        # The cache knows what it is, and that this process may run it.
        record = record_of(python.parent.parent)
        assert record is not None
        assert read_note(record).what == "3 conda packages"
        assert (read_note(record).size or 0) > 1000
        with record.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert interpreter(spec, "conda", cache=cache, say=said.append) == python
        assert said == [f"environment {python.parent.parent.name[:12]} is ready"]

    def test_an_unfinished_one_is_made_again(self, made: Made) -> None:
        python, cache, spec, _ = made
        (python.parent.parent / MARKER).unlink()
        (python.parent.parent / "left").write_text("")
        assert not is_made(spec, "conda", cache=cache)
        said: list[str] = []
        assert interpreter(spec, "conda", cache=cache, say=said.append) == python
        assert "making it again" in said[0]
        assert not (python.parent.parent / "left").exists()

    def test_auto_takes_conda_where_only_conda_has_a_package(
        self, made: Made, channel: Channel, tmp_path: Path
    ) -> None:
        _, cache, *_ = made
        spec = spec_of(tmp_path, yaml([channel.url], "tiny=1.0"))
        said: list[str] = []
        assert not is_made(spec, "auto", cache=cache)
        python = interpreter(spec, "auto", cache=cache, say=said.append)
        assert "only conda can install it" in said[0]
        assert (python.parent.parent / "share" / "tiny").read_text() == "1.0"
        assert is_made(spec, "auto", cache=cache)
        # No Python was named, so it is the one that is running.
        assert run(python, "import platform; print(platform.python_version())") == platform.python_version()


@pytest.mark.slow
def test_channels_are_strict_in_their_order_and_a_package_may_name_its_own(channel: Channel, tmp_path: Path) -> None:
    first, other = Channel(tmp_path / "first"), Channel(tmp_path / "other")
    first.add("tiny", "0.1", {"share/tiny": b"first"})
    other.add("rare", "1.0", {"share/rare": b"other"})
    other.add("tiny", "9.0", {"share/tiny": b"other"})

    def value(name: str, channels: list[str], *packages: str) -> str:
        spec = spec_of(tmp_path, yaml(channels, *packages))
        python = interpreter(spec, "conda", cache=tmp_path / "cache", say=lambda _: None)
        return (python.parent.parent / "share" / name).read_text()

    assert value("tiny", [first.url, channel.url], "tiny") == "first"
    assert value("tiny", [channel.url, first.url], "tiny") == "2.0"
    assert value("tiny", [channel.url], f"{first.url}::tiny") == "first"
    assert value("rare", [channel.url], f"{other.url}::rare", "tiny") == "other"
    with pytest.raises(EnvironmentBuildError, match=r"conda's packages cannot be chosen: .*tiny"):
        value("tiny", [first.url, channel.url], "tiny=2")


@pytest.mark.slow
class TestRefusals:
    """Each leaves nothing behind in the cache's environments."""

    def refused(self, tmp_path: Path, text: str, kind: type[Exception], match: str) -> str:
        with pytest.raises(kind, match=match) as error:
            interpreter(spec_of(tmp_path, text), "conda", cache=tmp_path / "cache", say=lambda _: None)
        assert left(tmp_path / "cache") == []
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_a_package_that_is_nowhere(self, channel: Channel, tmp_path: Path) -> None:
        self.refused(tmp_path, yaml([channel.url], "no-such"), EnvironmentBuildError, "cannot be chosen: .*no-such")

    def test_no_python_of_that_version(self, channel: Channel, tmp_path: Path) -> None:
        self.refused(
            tmp_path, yaml([channel.url], "python=3.10.99"), EnvironmentBuildError, "cannot be chosen: .*python"
        )

    def test_a_python_that_the_worker_does_not_run_on(self, channel: Channel, tmp_path: Path) -> None:
        self.refused(tmp_path, yaml([channel.url], "python=3.8"), EnvironmentRefused, "3.9 and later")

    def test_what_the_machine_is_counts(self, channel: Channel, tmp_path: Path) -> None:
        self.refused(tmp_path, yaml([channel.url], "needs-the-future"), EnvironmentBuildError, "__glibc")
        spec = spec_of(tmp_path, yaml([channel.url], "needs-glibc"))
        assert interpreter(spec, "conda", cache=tmp_path / "cache", say=lambda _: None).is_file()

    def test_a_channel_that_is_not_there(self, tmp_path: Path) -> None:
        url = (tmp_path / "nowhere").as_uri()
        self.refused(tmp_path, yaml([url], "tiny"), EnvironmentBuildError, "cannot be (read|chosen)")

    @pytest.mark.parametrize(
        "spelled", ["http://u:pw@h.invalid/c", "s3://b/c", "../c", "file://host/c", "https://", "a b"]
    )
    def test_a_channel_that_is_none(self, tmp_path: Path, spelled: str) -> None:
        said = self.refused(tmp_path, yaml([spelled], "tiny"), EnvironmentRefused, "neither a name nor a URL")
        assert "pw" not in said

    def test_a_requirement_that_is_none(self, channel: Channel, tmp_path: Path) -> None:
        self.refused(tmp_path, yaml([channel.url], "tiny >=1,,2 ["), EnvironmentRefused, "is no requirement of conda")

    def test_a_package_that_is_not_what_the_index_says(self, tmp_path: Path) -> None:
        own = Channel(tmp_path / "own")
        add_python(own)
        path = own.add("tiny", "1.0", {"share/tiny": b"1.0"})
        changed = bz2.compress(bz2.decompress(path.read_bytes()).replace(b"1.0", b"6.6"))
        path.write_bytes(changed)
        self.refused(tmp_path, yaml([own.url], "tiny"), EnvironmentBuildError, "cannot be installed")

    def test_a_pip_list_that_cannot_be_installed(self, channel: Channel, tmp_path: Path) -> None:
        text = yaml([channel.url], "tiny", pip=("legion-no-such-package==1",))
        self.refused(tmp_path, text, EnvironmentBuildError, "uv could not install the pip list")

    def test_uv_cannot_do_what_only_conda_can(self, channel: Channel, tmp_path: Path) -> None:
        spec = spec_of(tmp_path, yaml([channel.url], "tiny=1", "https://u:secret@h.invalid/t/tok/c::numpy"))
        with pytest.raises(EnvironmentRefused, match="use --env conda") as error:
            interpreter(spec, "uv", cache=tmp_path / "cache", say=print)
        assert "tiny=1" in str(error.value)
        assert "secret" not in str(error.value)
        assert "/t/tok/" not in str(error.value)


def test_without_rattler_the_line_that_brings_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conda, "available", lambda: False)
    spec = spec_of(tmp_path, yaml([], "cudatoolkit=11.8"))
    for mode in ("auto", "conda"):
        with pytest.raises(MissingExtraError, match=r"pip install 'legion-ml\[conda\]'"):
            interpreter(spec, mode, cache=tmp_path / "cache", say=lambda _: None)
    assert left(tmp_path / "cache") == []


def test_the_folder_depends_on_channels_packages_and_pip_but_not_on_a_token(tmp_path: Path) -> None:
    def of(channels: tuple[str, ...], packages: tuple[str, ...], pip: tuple[str, ...] = ()) -> Path:
        return conda.environment_folder(EnvironmentSpec(conda=CondaPart(channels, packages, pip)), tmp_path)

    different = {of(("a", "b"), ("x",)), of(("b", "a"), ("x",)), of(("a",), ("x",)), of(("a",), ("y",))}
    assert len({*different, of(("a",), ("y",), ("six",))}) == 5
    assert of(("https://h/t/one/c",), ("x",)) == of(("https://h/t/two/c",), ("x",))


@pytest.mark.slow
class TestTokens:
    """A channel on a server that wants a token in the path, as private ones do."""

    @pytest.fixture
    def served(self, channel: Channel) -> Iterator[tuple[str, list[str]]]:
        asked: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, directory=str(channel.folder), **kwargs)  # type: ignore[arg-type]

            def translate_path(self, path: str) -> str:
                asked.append(path)
                return super().translate_path(path.removeprefix("/t/tok-secret/private"))

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/t/tok-secret/private", asked
            server.shutdown()

    def test_a_package_that_is_not_what_the_index_says(
        self, served: tuple[str, list[str]], channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, _ = served
        monkeypatch.setattr(conda, "all_addresses", lambda _: (f"{url}/",))
        path = channel.add("odd", "1.0", {"share/odd": b"1.0"})
        path.write_bytes(bz2.compress(bz2.decompress(path.read_bytes()).replace(b"1.0", b"6.6")))
        spec = spec_of(tmp_path, yaml([], "odd"))
        with pytest.raises(EnvironmentBuildError, match="cannot be installed") as error:
            interpreter(spec, "conda", cache=tmp_path / "cache", say=lambda _: None)
        assert "tok-secret" not in str(error.value)
        assert left(tmp_path / "cache") == []

    def test_a_token_is_used_and_never_kept(
        self, served: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, asked = served
        # Only TLS is taken from a model's file; the server of this test has none.
        monkeypatch.setattr(conda, "all_addresses", lambda _: (f"{url}/",))
        said: list[str] = []
        spec = spec_of(tmp_path, yaml(["https://x.invalid/t/tok-secret/private"], "tiny=1.0"))
        python = interpreter(spec, "conda", cache=tmp_path / "cache", say=said.append)
        assert any(path.startswith("/t/tok-secret/private/") and path.endswith(".tar.bz2") for path in asked)
        assert "tok-secret" not in "".join(said)
        assert {"conda: fetching tiny", "conda: fetching python"} <= set(said)
        folder = python.parent.parent
        kept = [folder / MARKER, folder / EXPLICIT, *(folder / "conda-meta").iterdir()]
        assert len(kept) >= 4
        assert not [path for path in kept if b"tok-secret" in path.read_bytes()]


BUILDER = """
import sys
from pathlib import Path
from legion.environment.interpreter import interpreter
from legion.environment.spec import read_spec
print(interpreter(read_spec(Path(sys.argv[1])), "conda", cache=Path(sys.argv[2]), say=lambda l: print(l, flush=True)))
"""


@pytest.mark.slow
def test_two_builders_make_one_and_a_killed_one_leaves_nothing_in_the_way(channel: Channel, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, yaml([channel.url], "tiny=1.0", pip=("idna==3.7",)))
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "model"), str(tmp_path / "cache")]
    folder = conda.environment_folder(spec, tmp_path / "cache")
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    end = time.monotonic() + 60
    while not (folder / "conda-meta").is_dir() and time.monotonic() < end:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    assert not (folder / MARKER).exists()
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [builder.communicate(timeout=120)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sum("making it again" in text for text in told) == 1
    assert sum("is ready" in text for text in told) == 1
    assert run(folder / "bin" / "python", "import idna; print(idna.__version__)") == "3.7"


MODEL = """
import subprocess
import tiny

def init():
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    half = float(subprocess.run(["tiny-tool"], capture_output=True, check=True).stdout)
    return [[float(tiny.value) * float(row[0]) * half] for row in input_matrix], ["out"]
"""


@pytest.mark.slow
def test_a_model_of_conda_packages_predicts_on_the_command_line(channel: Channel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "conda.yaml").write_text(yaml([channel.url], f"python={MINOR}", "py-tiny", "tiny-tool"))
    (folder / "entrypoint.py").write_text(MODEL)
    (folder / "legion.model.yaml").write_text(MANIFEST.format(name="tiny"))
    (tmp_path / "rows.csv").write_text("a\n2\n4\n")
    env = {**os.environ, "LEGION_CACHE": str(tmp_path / "cache")}
    for mode in ("auto", "conda"):
        output = tmp_path / f"{mode}.csv"
        done = legion("predict", folder, "-i", tmp_path / "rows.csv", "-o", output, "--env", mode, env=env)
        assert done.returncode == 0, done.stderr
        assert [float(line) for line in output.read_text().splitlines()[1:]] == [1.5, 3.0]
    refused = legion("predict", folder, "-i", tmp_path / "rows.csv", "--env", "uv", env=env)
    assert refused.returncode == 1
    assert "use --env conda" in refused.stderr
    assert "py-tiny: only conda can install it" in refused.stderr


@pytest.mark.slow
def test_a_project_of_conda_packages_trains(channel: Channel, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    command = "python -c 'import os, tiny; print(tiny.value, os.environ[\"CONDA_PREFIX\"])' && tiny-tool"
    project = {"conda_env": "conda.yaml", "entry_points": {"main": {"command": command}}}
    (folder / "MLproject").write_text(json.dumps(project))
    (folder / "conda.yaml").write_text(yaml([channel.url], f"python={MINOR}", "py-tiny", "tiny-tool"))
    env = {**os.environ, "LEGION_CACHE": str(tmp_path / "cache")}
    env.pop("MLFLOW_TRACKING_URI", None)
    done = legion("train", folder, "--env", "conda", env=env, cwd=tmp_path)
    (prefix,) = [tmp_path / "cache" / "environments" / name for name in left(tmp_path / "cache")]
    assert f"1.5 {prefix}\n0.5\n" in done.stdout + done.stderr


@pytest.mark.slow
def test_an_interrupt_ends_a_download_at_once_and_leaves_nothing(channel: Channel, tmp_path: Path) -> None:
    asked, ended = threading.Event(), threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(channel.folder), **kwargs)  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if "tiny-1.0" in self.path:
                asked.set()
                ended.wait(60)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    spec_of(tmp_path, yaml([], "tiny=1.0"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Only TLS is taken from a model's file; the server of this test has none.
        there = f"conda.all_addresses = lambda _: ('http://127.0.0.1:{server.server_port}/',)"
        program = f"from legion.environment import conda\n{there}\n{BUILDER}"
        command = [sys.executable, "-c", program, str(tmp_path / "model"), str(tmp_path / "cache")]
        builder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert asked.wait(60)
        builder.send_signal(signal.SIGINT)
        builder.communicate(timeout=10)
        ended.set()
        server.shutdown()
    assert builder.returncode != 0
    assert left(tmp_path / "cache") == []
