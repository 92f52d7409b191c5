from __future__ import annotations

from pathlib import Path

import pytest

from legion.environment.conda_names import INDEX_NAMES
from legion.environment.conda_yaml import CondaFile, CondaPart, pep440, read_conda
from legion.environment.requirements import RequirementCollector


def read(folder: Path, *dependencies: object) -> tuple[CondaFile, RequirementCollector]:
    collector = RequirementCollector(folder)
    document = {"channels": ["conda-forge"], "dependencies": list(dependencies)}
    return read_conda(document, "conda.yaml", folder, collector), collector


@pytest.mark.parametrize(
    ("conda", "index"),
    [
        ("", ""),
        ("*", ""),
        ("=1.2", "==1.2.*"),
        ("=1.2.*", "==1.2.*"),
        ("=1.2*", "==1.2.*"),
        ("==1.2", "==1.2"),
        ("==1.2.*", "==1.2.*"),
        (" 1.2", "==1.2"),
        (" 1.2.*", "==1.2.*"),
        (" = 1.2", "==1.2.*"),
        (">=1.2,<2", "<2,>=1.2"),
        (">=1.2, <2.0a0", "<2.0a0,>=1.2"),
        (">=1.2.*", ">=1.2"),
        ("!=1.2.*", "!=1.2.*"),
        ("~=1.2", "~=1.2"),
    ],
)
def test_versions_of_conda_become_versions_of_the_index(conda: str, index: str) -> None:
    specifiers = pep440(conda)
    assert specifiers is not None
    assert ",".join(sorted(str(one) for one in specifiers)) == index


@pytest.mark.parametrize(
    "conda", ["=1.2=py39_0", " 1.2 py39_0", ">=1|<3", "[version='>=1']", "=1.2|1.3", "=x", "=1.2;x"]
)
def test_what_the_index_has_no_word_for(conda: str) -> None:
    assert pep440(conda) is None


def test_what_mlflow_writes(tmp_path: Path) -> None:
    file, found = read(tmp_path, "python=3.10.4", "pip<=23.2.1", {"pip": ["mlflow==3.4.0", "scikit-learn==1.5.0"]})
    lines = ("mlflow==3.4.0", "scikit-learn==1.5.0")
    assert file == CondaFile("3.10.4", CondaPart(("conda-forge",), ("python=3.10.4",), lines))
    assert found.requirements == {"mlflow==3.4.0", "scikit-learn==1.5.0"}
    assert found.notes == found.faults == []


def test_known_conda_packages_come_from_the_index_with_a_note_each(tmp_path: Path) -> None:
    file, found = read(
        tmp_path, "numpy=1.26", "pytorch==2.1.0", "conda-forge::PyYAML", "py-xgboost>=1.7,<2", "cpuonly", "wheel"
    )
    assert found.faults == []
    # With conda they come from its channels; uv then has none of them to install.
    assert file.conda.requirements == file.conda.only == ()
    assert "pytorch==2.1.0" in file.conda.packages
    assert "cpuonly" in file.conda.packages
    assert "wheel" not in file.conda.packages
    assert found.requirements == {"numpy==1.26.*", "torch==2.1.0", "pyyaml", "xgboost<2,>=1.7"}
    assert len(found.notes) == 4
    assert found.notes[0] == "numpy=1.26 is taken from the Python index as numpy==1.26.*, not from conda"
    assert "torch==2.1.0" in found.notes[1]


def test_everything_that_only_conda_can_install_is_named_at_once(tmp_path: Path) -> None:
    packages = [
        "cudatoolkit=11.8",
        "libgcc-ng",
        "_libgcc_mutex=0.1=main",
        "graphviz",
        "numpy=1.26.4=py311h64a7726_0",
        "nvidia::numpy",
        "scipy[version='>=1']",
        "pandas>=1|<0.5",
        "https://user:pw@channels.invalid/own::scipy=1.11",
    ]
    file, found = read(tmp_path, "python=3.11", *packages, "numpy", {"pip": ["six"]})
    assert len(file.conda.only) == len(packages)
    assert all(package in line for package, line in zip(packages, file.conda.only, strict=True))
    assert found.faults == []
    assert found.requirements == {"numpy", "six"}
    assert file.conda.requirements == ("six",)
    assert set(file.conda.packages) == {"python=3.11", "numpy", *packages}


@pytest.mark.parametrize(
    "entry", ["https://user:pw@files.invalid/x.tar.bz2", "", "./x.conda", "numpy;x", "-c x", "a::"]
)
def test_what_is_no_package_at_all(tmp_path: Path, entry: str) -> None:
    _, found = read(tmp_path, entry)
    assert len(found.faults) == 1
    assert "is no conda package" in found.faults[0]


@pytest.mark.parametrize(
    ("channels", "read_as"),
    [(["b", "a", "b"], ("b", "a")), (None, ()), ("", ()), ("own", ("own",)), ({"a": "b"}, None), ([["a"]], None)],
)
def test_channels_keep_their_order(tmp_path: Path, channels: object, read_as: tuple[str, ...] | None) -> None:
    collector = RequirementCollector(tmp_path)
    file = read_conda({"channels": channels}, "conda.yaml", tmp_path, collector)
    assert collector.faults == ([] if read_as is not None else ["conda.yaml: channels is no list of texts"])
    assert file.conda.channels == (read_as or ())


@pytest.mark.parametrize(
    ("dependency", "python"),
    [
        ("python=3.10", "3.10"),
        ("python==3.9.2", "3.9.2"),
        ("python 3.10", "3.10"),
        ("python = 3.10", "3.10"),
        ("python=3.10.*", "3.10"),
        ("python=3.11.7=h955ad1f_0", "3.11.7"),
        ("conda-forge::python=3.12", "3.12"),
        ("python", None),
        ("python>=3.10", "3.10"),
        ("python>=3.10.4,<3.12", "3.10"),
        ("python>=3.6", "3.9"),
        ("python<3.12", "3.11"),
        ("python<=3.12", "3.11"),
        ("python>3.9,<3.13", "3.9"),
        ("python~=3.11.2", "3.11"),
    ],
)
def test_the_python_version(tmp_path: Path, dependency: str, python: str | None) -> None:
    file, found = read(tmp_path, dependency)
    assert (file.python, found.faults) == (python, [])
    assert bool(found.notes) == any(sign in dependency for sign in "<>~")


@pytest.mark.parametrize("dependency", ["python=three", "python>=3.99", "python<3.8", "python>=3.9|<2"])
def test_a_python_that_cannot_be_meant(tmp_path: Path, dependency: str) -> None:
    _, found = read(tmp_path, dependency)
    assert len(found.faults) == 1
    assert "python=3.11" in found.faults[0]


def test_faults_of_shape(tmp_path: Path) -> None:
    _, found = read(tmp_path, "python=3.9", "python=3.10", {"pip": "six"}, {"npm": ["x"]}, ["six"], {"pip": [["six"]]})
    assert len(found.faults) == 5
    collector = RequirementCollector(tmp_path)
    assert read_conda({"dependencies": "numpy"}, "conda.yaml", tmp_path, collector) == CondaFile()
    assert collector.faults == ["conda.yaml: dependencies is no list"]


def test_the_table_is_normalised_and_holds_what_everybody_uses() -> None:
    assert all(name == name.lower() and "_" not in name and "." not in name for name in INDEX_NAMES)
    expected = {"numpy": "numpy", "pytorch": "torch", "scikit-learn": "scikit-learn", "pytables": "tables"}
    assert {name: INDEX_NAMES[name] for name in expected} == expected
