"""The cache: who holds an entry keeps it, the others go by their last use; real processes, killed where it hurts."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from legion.artifact.archive import cached, open_artifact, pack, unpacked
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain
from legion.disk import cache as holds
from legion.disk.prune import entries, prune
from legion.disk.sizes import DEFAULT, budget, shown, size_from, size_of
from legion.environment.docker import Launch
from legion.errors import UsageError

HEAD = """
import pathlib, signal, sys, time, os
from legion.disk import cache as holds
from legion.disk import prune as pruning
from legion.artifact.archive import open_artifact, unpacked
args = [pathlib.Path(a) for a in sys.argv[1:]]
"""
HOLDER = "held = holds.hold(args[0])\nprint(held is not None, flush=True)\nsys.stdin.read()"


# What has to be imported may be out of this user's reach.
OTHER_USER = """
opened = open_artifact(args[0])
os.setgroups([])
os.setegid(65534)
os.seteuid(65534)
assert not os.access(args[1] / "in-use", os.W_OK, effective_ids=True)
print(unpacked(opened, args[1]), flush=True)
sys.stdin.read()
"""


def start(code: str, *args: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEAD + code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read()
    return line


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def artifact(folder: Path, name: str, *, size: int = 1000, files: int = 1) -> Path:
    """An artifact whose files hold its own name over and over, so that a mix of two shows."""
    source = folder / f"{name}-source"
    source.mkdir(parents=True)
    for number in range(files):
        (source / f"{number}.bin").write_bytes((name.encode() * size)[:size])
    (source / "conda.yaml").write_text("dependencies: []\n")
    out = folder / f"{name}.zip"
    pack(source, Manifest(Model(name, "1.0.0-1"), Toolchain("t", "1"), Binaries(conda_path="conda.yaml")), out)
    return out


def place(path: Path, cache: Path) -> Path:
    """Unpacked, and held by nobody."""
    folder = unpacked(open_artifact(path), cache)
    holds.let_go(0)
    return folder


def record_of(folder: Path) -> Path:
    record = holds.record_of(folder)
    assert record is not None
    return record


def hold(folder: Path) -> holds.Hold:
    held = holds.hold(folder)
    assert held is not None
    return held


def used(folder: Path, seconds_ago: float) -> None:
    moment = time.time() - seconds_ago
    os.utime(record_of(folder), (moment, moment))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[Any]:
    yield
    holds.let_go(0)


class TestHolding:
    def test_what_another_process_holds_stays_until_it_is_killed(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        holder = start(HOLDER, folder)
        assert said(holder) == "True"
        assert [entry.in_use for entry in entries(cache, probe=True)] == [True]
        done = prune(cache, 0)
        assert (done.removed, done.left > 0) == ((), True)
        assert (folder / "0.bin").is_file()
        kill(holder)
        assert [entry.path for entry in prune(cache, 0).removed] == [folder]
        assert not folder.exists()
        assert not record_of(folder).exists()

    def test_what_is_unpacked_or_found_is_kept_for_this_process(self, tmp_path: Path, cache: Path) -> None:
        opened = open_artifact(artifact(tmp_path, "one"))
        folder = unpacked(opened, cache)
        assert prune(cache, 0).removed == ()
        holds.let_go(60)
        assert prune(cache, 0).removed == ()
        holds.let_go(0)
        assert cached(opened.digest, cache) == folder
        assert prune(cache, 0).removed == ()
        holds.let_go(0)
        assert len(prune(cache, 0).removed) == 1
        assert cached(opened.digest, cache) is None

    def test_two_holds_are_two(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        first, second = hold(folder), hold(folder)
        first.close()
        assert prune(cache, 0).removed == ()
        second.close()
        assert len(prune(cache, 0).removed) == 1

    def test_a_hold_that_nobody_refers_to_is_none(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        held = hold(folder)
        del held
        assert len(prune(cache, 0).removed) == 1

    def test_what_is_in_no_cache_is_left_alone(self, tmp_path: Path) -> None:
        model = tmp_path / "artifacts" / "mine"
        model.mkdir(parents=True)
        assert holds.hold(model) is None
        assert holds.hold(tmp_path / "artifacts" / "gone") is None
        assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]

    def test_what_an_older_release_left_is_held_and_counted_too(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        record_of(folder).unlink()
        held = hold(folder)
        assert prune(cache, 0).removed == ()
        held.close()
        record_of(folder).unlink()
        os.utime(folder, (1e9, 1e9))
        assert [entry.used.timestamp() for entry in entries(cache)] == [1e9]
        assert entries(cache)[0].size == size_of(folder)
        assert len(prune(cache, 0).removed) == 1

    def test_the_end_of_use_is_the_last_use(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        held = hold(folder)
        used(folder, 5000)
        held.close()
        assert time.time() - entries(cache)[0].used.timestamp() < 100

    def test_a_record_that_went_while_it_was_waited_for_is_none(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        record = record_of(folder)
        with record.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            user = start("print(1, flush=True)\n" + HOLDER, folder)
            said(user)
            time.sleep(0.5)
            record.unlink()
        assert said(user) == "True"
        assert prune(cache, 0).removed == ()
        kill(user)
        assert len(prune(cache, 0).removed) == 1

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    def test_a_cache_that_may_only_be_read_is_used_and_what_is_used_of_it_is_held(self, cache: Path) -> None:
        """By another user, whom nothing keeps from reading."""
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            os.chmod(folder, 0o755)
            path, cache = artifact(Path(folder), "one"), Path(folder) / "cache"
            place(path, cache)
            reader = start(OTHER_USER, path, cache)
            found = Path(said(reader))
            assert prune(cache, 0).removed == ()
            kill(reader)
            record_of(found).unlink()
            reader = start(OTHER_USER, path, cache)
            assert Path(said(reader)) == found
            kill(reader)


class TestBudget:
    def test_the_longest_unused_go_first_and_no_more_than_needed(self, tmp_path: Path, cache: Path) -> None:
        folders = [place(artifact(tmp_path, f"model{number}", size=100_000), cache) for number in range(5)]
        for number, folder in enumerate(folders):
            used(folder, 1000 - (number * 7 % 5) * 100)
        by_use = sorted(range(5), key=lambda number: number * 7 % 5)
        assert [entry.path for entry in entries(cache)] == [folders[number] for number in by_use]
        held = hold(folders[by_use[0]])
        used(folders[by_use[0]], 5000)
        done = prune(cache, 320_000)
        held.close()
        assert [entry.path for entry in done.removed] == [folders[by_use[1]], folders[by_use[2]]]
        assert done.left == sum(size_of(folder) for folder in folders if folder.exists()) <= 320_000
        assert done.freed == sum(entry.size for entry in done.removed)
        assert prune(cache, 320_000).removed == ()

    def test_exports_count_too(self, tmp_path: Path, cache: Path) -> None:
        export = cache / "exports" / "a.zip"
        export.parent.mkdir(parents=True)
        export.write_bytes(b"x" * 5000)
        place(artifact(tmp_path, "one"), cache)
        used_before = [entry.kind for entry in entries(cache)]
        assert sorted(used_before) == ["artifacts", "exports"]
        os.utime(record_of(export), (1, 1))
        assert [entry.path for entry in prune(cache, 2000).removed] == [export]

    def test_a_size_is_looked_up_not_measured(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        measured = size_of(folder)
        monkeypatch.setattr("legion.disk.prune.size_of", lambda path: pytest.fail(f"walked through {path}"))
        assert [(entry.size, entry.what) for entry in entries(cache)] == [(measured, "one 1.0.0-1")]

    def test_a_record_that_was_cut_off_counts_as_none(self, tmp_path: Path, cache: Path) -> None:
        folder = place(artifact(tmp_path, "one"), cache)
        record_of(folder).write_bytes(b'{"size":1')
        assert entries(cache)[0].size == size_of(folder)

    def test_a_cache_that_is_not_there(self, cache: Path) -> None:
        assert prune(cache, 0).removed == ()
        assert entries(cache) == []
        assert not cache.exists()

    def test_linked_files_count_by_their_share(self, tmp_path: Path) -> None:
        folder = tmp_path / "linked"
        folder.mkdir()
        (tmp_path / "package").write_bytes(b"x" * 3000)
        os.link(tmp_path / "package", folder / "a")
        os.link(tmp_path / "package", folder / "b")
        (folder / "loop").symlink_to(folder)
        assert size_of(folder) == 2000

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("0", 0),
            ("1234", 1234),
            ("12 B", 12),
            ("20GiB", 20 * 2**30),
            ("500 MB", 500 * 10**6),
            ("1.5k", 1536),
            ("2tb", 2 * 10**12),
        ],
    )
    def test_sizes_are_read(self, text: str, size: int) -> None:
        assert size_from(text) == size

    @pytest.mark.parametrize("text", ["", "-1", "GiB", "1e9", "5 XB", "1,5G", "١", "5 iB"])
    def test_other_sizes_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="is no size; write"):
            size_from(text)

    def test_the_environment_says_the_budget(self) -> None:
        assert budget({}) == DEFAULT == 20 * 2**30
        assert budget({"LEGION_CACHE_SIZE": "7M"}) == 7 * 2**20
        with pytest.raises(UsageError, match="LEGION_CACHE_SIZE"):
            budget({"LEGION_CACHE_SIZE": "much"})

    @pytest.mark.parametrize(
        ("size", "text"),
        [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20 - 1, "1.0 MiB"), (3 * 2**50, "3072.0 TiB")],
    )
    def test_sizes_are_shown(self, size: int, text: str) -> None:
        assert shown(size) == text


KILLED = """
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
pruning.{step} = die
pruning.prune(args[0], 0)
"""


PULLING = """
with holds.scratch(args[0]) as folder:
    (folder / "a").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""
BUILDING = """
import fcntl
file = args[0].open("w")
fcntl.flock(file, fcntl.LOCK_EX)
print("building", flush=True)
sys.stdin.read()
"""


def test_what_starts_a_model_in_a_container_goes_with_it(tmp_path: Path, cache: Path) -> None:
    folders = [place(artifact(tmp_path, name), cache) for name in ("one", "two")]
    for folder in folders:
        launcher = cache / "containers" / folder.name[:32]
        launcher.mkdir(parents=True)
        (launcher / "python").touch()
        launch = Launch(("docker",), "0" * 64, str(folder.resolve()))
        (launcher / "launch.json").write_bytes(msgspec.json.encode(launch))
    used(folders[0], 1000)
    assert len(prune(cache, size_of(folders[1])).removed) == 1
    assert os.listdir(cache / "containers") == [folders[1].name[:32]]


class TestKilled:
    @pytest.mark.parametrize("step", ["_forget", "_delete"])
    def test_in_the_middle_of_a_prune(self, tmp_path: Path, cache: Path, step: str) -> None:
        """Before the record is gone, and before the files are: what is left counts as nothing, and goes next time."""
        path = artifact(tmp_path, "one", files=5)
        folder = place(path, cache)
        process = start(KILLED.format(step=step), cache)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not folder.exists()
        assert [name.endswith(".pruned") for name in os.listdir(cache / "artifacts")] == [True]
        assert entries(cache) == []
        # Made anew beside it.
        assert place(path, cache) == folder
        assert len(list(folder.iterdir())) == 7
        assert len(prune(cache, 0).removed) == 1
        assert os.listdir(cache / "artifacts") == []
        assert os.listdir(cache / "in-use") == [".prune"]

    def test_in_the_middle_of_unpacking(self, tmp_path: Path, cache: Path) -> None:
        path = artifact(tmp_path, "one", files=3)
        code = """
        from legion.artifact import archive
        from legion.disk import durable
        archive._write_file = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        unpacked(open_artifact(args[0]), args[1])
        """
        process = start("\n".join(line.strip() for line in code.splitlines()), path, cache)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(os.listdir(cache / "artifacts")) == 2
        assert entries(cache) == []
        prune(cache, DEFAULT)
        assert os.listdir(cache / "artifacts") == []
        assert os.listdir(cache / "in-use") == [".prune"]

    def test_in_the_middle_of_a_pull(self, cache: Path) -> None:
        process = start(PULLING, cache)
        folder = Path(said(process))
        prune(cache, DEFAULT)
        assert (folder / "a").is_file()
        kill(process)
        prune(cache, DEFAULT)
        assert os.listdir(cache / "pulls") == []
        with holds.scratch(cache) as folder:
            assert folder.is_dir()
        assert os.listdir(cache / "pulls") == []
        assert os.listdir(cache / "in-use") == [".prune"]


class TestEnvironments:
    """As folders; tests/environment/test_uv.py makes real ones."""

    def made(self, cache: Path, name: str) -> Path:
        folder = cache / "environments" / name
        with holds.claim(folder) as held:
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").write_bytes(b"x" * 1000)
            held.note(holds.Note(1000, "Python 3.11"))
        return folder

    def test_who_runs_its_python_holds_it(self, cache: Path) -> None:
        folder = self.made(cache, "a" * 32)
        held = hold(holds.environment_of(folder / "bin" / "python"))
        assert prune(cache, 0).removed == ()
        held.close()
        assert [entry.path for entry in prune(cache, 0).removed] == [folder]

    def test_one_where_something_is_built_stays(self, cache: Path) -> None:
        folder = self.made(cache, "a" * 32)
        builder = start(BUILDING, folder.with_suffix(".lock"))
        said(builder)
        downloads = cache / "conda" / "packages"
        downloads.mkdir(parents=True)
        assert prune(cache, 0, uncounted=True).removed == ()
        assert [entry.counted for entry in entries(cache)] == [True, False]
        kill(builder)
        assert [entry.kind for entry in prune(cache, 0).removed] == ["environments"]
        assert [entry.kind for entry in prune(cache, 0, uncounted=True).removed] == ["conda"]
        assert not (cache / "conda").exists()


USER = """
import random
turns, seed, cache, *paths = args
random.seed(str(seed))
opened = [open_artifact(path) for path in paths]
end = time.monotonic() + float(str(turns))
count = 0
while time.monotonic() < end:
    one = random.choice(opened)
    folder = unpacked(one, cache)
    for _ in range(3):
        names = sorted(os.listdir(folder))
        assert len(names) == len(one.members), names
        for member in one.members:
            content = (folder / member.name).read_bytes()
            assert len(content) == member.size, (member.name, len(content))
    holds.let_go(0)
    count += 1
print(count)
"""
PRUNER = """
turns, cache = args
end = time.monotonic() + float(str(turns))
count = 0
while time.monotonic() < end:
    count += len(pruning.prune(cache, 0).removed)
print(count)
"""


@pytest.mark.slow
def test_pruners_and_makers_at_once(tmp_path: Path, cache: Path) -> None:
    """Six processes make and read three artifacts while three remove all that they can: nobody misses anything."""
    paths = [artifact(tmp_path, f"model{number}", files=8) for number in range(3)]
    seconds = Path("8")
    users = [start(USER, seconds, Path(str(number)), cache, *paths) for number in range(6)]
    pruners = [start(PRUNER, seconds, cache) for _ in range(3)]
    killed = start(PRUNER, Path("60"), cache)
    time.sleep(3)
    kill(killed)
    results = [process.communicate(timeout=120) for process in users + pruners]
    assert [error for _, error in results if error] == []
    made, removed = ([int(out) for out, _ in some] for some in (results[:6], results[6:]))
    assert min(made) > 5, made
    assert sum(removed) > 20, removed
    prune(cache, 0)
    assert os.listdir(cache / "artifacts") == []
    assert os.listdir(cache / "in-use") == [".prune"]
