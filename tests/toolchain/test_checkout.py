"""A project's source becomes a folder; git repositories at a branch, a tag or a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from legion.errors import TrainingError, UsageError
from legion.toolchain.checkout import checked_out


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits: `one` (tagged v1), `two` (on main), `three` (on the branch topic/x)."""
    folder = tmp_path / "repository"
    (folder / "sub" / "project").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for text in ("one", "two", "three"):
        if text == "three":
            git(folder, "checkout", "-q", "-b", "topic/x")
        (folder / "sub" / "project" / "MLproject").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", text)
        if text == "one":
            git(folder, "tag", "v1")
    git(folder, "checkout", "-q", "main")
    return folder


def content(source: str, version: str | None = None) -> str:
    with checked_out(source, version) as folder:
        return (folder / "MLproject").read_text()


def test_a_local_folder_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with checked_out(str(tmp_path), None) as folder:
        assert folder == tmp_path
    with checked_out(f"{tmp_path}#inner", None) as folder:
        assert folder == tmp_path / "inner"


def test_branch_tag_and_commit_of_a_repository(repository: Path) -> None:
    uri = f"file://{repository}/.git#sub/project"
    commit = git(repository, "rev-parse", "v1")
    assert content(uri) == "two"
    assert content(uri, "v1") == "one"
    assert content(uri, "topic/x") == "three"
    assert content(uri, commit) == content(uri, commit[:8]) == "one"


def test_a_version_of_a_local_folder_leaves_the_folder_alone(repository: Path) -> None:
    mine = repository / "sub" / "project" / "MLproject"
    mine.write_text("not committed")
    assert content(f"{repository}/sub/project", "v1") == "one"
    assert mine.read_text() == "not committed"
    assert git(repository, "branch", "--show-current") == "main"


def test_the_clone_is_gone_afterwards(repository: Path) -> None:
    with checked_out(f"{repository}#sub/project", "v1") as folder:
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize("version", ["nope", "--upload-pack=touch x", "v1;touch x", "$(touch x)"])
def test_a_version_that_is_not_there_is_refused(
    repository: Path, tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--git-version"), checked_out(f"{repository}#sub/project", version):
        pass
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "source", ["", "no/such/folder", "#sub", "--upload-pack=x.git", ".#../..", ".#/etc", ".#missing", "ext::sh -c x"]
)
def test_what_is_no_project_is_refused(source: str) -> None:
    with pytest.raises(UsageError), checked_out(source, None):
        pass


def test_a_repository_that_cannot_be_had_says_why_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught, checked_out("https://me:secret@127.0.0.1:9/x.git", None):
        pass
    assert "cannot be cloned" in str(caught.value)
    assert "secret" not in str(caught.value)
