from __future__ import annotations

import platform
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from packaging.markers import Environment, default_environment

from legion.environment import local
from legion.environment.local import mismatches
from legion.environment.spec import EnvironmentSpec

RUNNING = ".".join(platform.python_version_tuple()[:2])


def of(*requirements: str, constraints: tuple[str, ...] = ()) -> list[str]:
    return mismatches(EnvironmentSpec(requirements=requirements, constraints=constraints))


def install(folder: Path, name: str, version: str, *requires: str) -> None:
    """A package as an installer would have recorded it."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n\nVersion: 99\nA long description.\n")


def test_an_empty_spec_fits() -> None:
    assert mismatches(EnvironmentSpec()) == []


@pytest.mark.parametrize("python", [RUNNING, f"{RUNNING}.0", f"{RUNNING}.99", platform.python_version()])
def test_the_patch_version_of_python_does_not_count(python: str) -> None:
    assert mismatches(EnvironmentSpec(python=python)) == []


@pytest.mark.parametrize("python", ["3.9.2", "3.1", f"{RUNNING}9"])
def test_another_python_is_named(python: str) -> None:
    [line] = mismatches(EnvironmentSpec(python=python))
    assert line == f"Python {python} is wanted, {platform.python_version()} is running"


def test_requirements_that_are_met() -> None:
    assert of(f"numpy=={version('numpy')}", "msgspec>=0.18", "click") == []


def test_every_mismatch_is_named() -> None:
    numpy = version("numpy")
    assert of("numpy==1.0", "no-such-package>=1", "click") == [
        f"numpy==1.0 is wanted, {numpy} is installed",
        "no-such-package>=1 is wanted, it is not installed",
    ]


def test_markers_that_exclude_this_machine_do_not_count() -> None:
    assert of('no-such-package ; python_version < "3.0"', 'no-such-package ; sys_platform == "amiga"') == []
    assert len(of('no-such-package ; python_version >= "3.0"')) == 1


def test_constraints_count_only_for_what_is_installed() -> None:
    assert of(constraints=("no-such-package<1",)) == []
    assert len(of(constraints=("numpy<1",))) == 1


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_local_versions_and_pre_releases(packages: Path) -> None:
    install(packages, "torchlike", "2.1.0+cpu")
    install(packages, "early", "3.0.0rc1")
    assert of("torchlike==2.1.0", "torchlike==2.1.0+cpu", "early>=2") == []
    assert len(of("torchlike==2.1.0+cu118", "early>=3")) == 2


def test_the_description_does_not_pass_for_the_version(packages: Path) -> None:
    install(packages, "plain", "1.0")
    assert of("plain==1.0") == []


def test_a_version_that_cannot_be_read_fits_only_where_none_is_wanted(packages: Path) -> None:
    install(packages, "oddone", "unknown-version")
    assert of("oddone") == []
    assert len(of("oddone>=1")) == 1


def test_what_an_extra_adds_is_looked_at(packages: Path) -> None:
    requires = ("click", 'no-such-package>=2 ; extra == "more"', 'numpy ; extra == "fine"', "not a requirement (")
    install(packages, "extended", "1.0", *requires)
    assert of("extended", "extended[fine]") == []
    assert of("extended[more]") == ["no-such-package>=2 (for extended[more]) is wanted, it is not installed"]


def test_the_machine_is_looked_at_once_for_sixty_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Environment] = []

    def look() -> Environment:
        looks.append(default_environment())
        return looks[-1]

    monkeypatch.setattr(local, "default_environment", look)
    lines = tuple(f"{one.name}=={one.version} ; python_version >= '3'" for one in distributions())[:60]
    assert mismatches(EnvironmentSpec(python=RUNNING, requirements=lines)) == []
    assert len(looks) == 1
