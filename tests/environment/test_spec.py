from __future__ import annotations

from pathlib import Path

import pytest

from legion.environment.conda_yaml import CondaPart
from legion.environment.spec import EnvironmentSpec, read_spec
from legion.errors import EnvironmentRefused

CONDA = (
    "channels: [conda-forge]\ndependencies:\n- python=3.10\n- pip<=23.2.1\n- pip:\n  - six==1.16.0\nname: mlflow-env\n"
)
PYTHON_ENV = (
    "python: 3.10\nbuild_dependencies:\n- pip==23.0.1\n- setuptools==58.1.0\n- wheel\n"
    "dependencies:\n- -r requirements.txt\n"
)


def write(folder: Path, **files: str) -> Path:
    names = {"conda": "conda.yaml", "python_env": "python_env.yaml", "requirements": "requirements.txt"}
    for key, text in files.items():
        (folder / names[key]).write_text(text)
    return folder


def test_conda_yaml(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, conda=CONDA))
    assert (spec.python, spec.requirements, spec.only_conda) == ("3.10", ("six==1.16.0",), ())
    assert spec.conda == CondaPart(("conda-forge",), ("python=3.10",), ("six==1.16.0",))


def test_python_env_yaml_with_its_requirements(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, python_env=PYTHON_ENV, requirements="idna\nsix==1.16.0\n"))
    # 3.10 without quotes is not 3.1, and what only installs packages is left to uv.
    assert spec == EnvironmentSpec(python="3.10", requirements=("idna", "setuptools==58.1.0", "six==1.16.0"))


def test_a_package_whose_name_begins_like_an_installer_stays(tmp_path: Path) -> None:
    lines = "[pip, pip<=23, pipdeptree, wheel-inspect, 'wheel ; python_version>\"3\"']"
    text = f"python: '3.11'\nbuild_dependencies: {lines}\n"
    assert read_spec(write(tmp_path, python_env=text)).requirements == ("pipdeptree", "wheel-inspect")


def test_requirements_txt(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, requirements="six\n")) == EnvironmentSpec(requirements=("six",))


def test_conda_yaml_counts_before_the_others(tmp_path: Path) -> None:
    write(tmp_path, conda=CONDA, python_env=PYTHON_ENV, requirements="idna\n")
    assert read_spec(tmp_path).requirements == ("six==1.16.0",)


def test_no_file_at_all_is_an_empty_spec(tmp_path: Path) -> None:
    assert read_spec(tmp_path) == EnvironmentSpec()


def test_the_manifests_file_counts_before_all(tmp_path: Path) -> None:
    write(tmp_path, conda=CONDA)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mlflow_env.yml").write_text("dependencies:\n- python=3.9\n- pip:\n  - -r more.txt\n")
    (tmp_path / "deep" / "more.txt").write_text("idna\n")
    spec = read_spec(tmp_path, "deep/mlflow_env.yml")
    assert (spec.python, spec.requirements) == ("3.9", ("idna",))


@pytest.mark.parametrize("path", ["../conda.yaml", "/etc/passwd", "link.yaml"])
def test_the_manifests_file_may_not_leave_the_artifact(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    write(tmp_path, conda=CONDA)
    (folder / "link.yaml").symlink_to(tmp_path / "conda.yaml")
    with pytest.raises(EnvironmentRefused, match="leaves the artifact"):
        read_spec(folder, path)


def test_the_manifests_file_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match=r"env\.yml cannot be read"):
        read_spec(tmp_path, "env.yml")


def test_a_constraints_file_as_mlflow_writes_it(tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("numpy<2\n")
    spec = read_spec(write(tmp_path, conda="dependencies:\n- python=3.10\n- pip:\n  - six\n  - -c constraints.txt\n"))
    assert (spec.requirements, spec.constraints) == (("six",), ("numpy<2",))


@pytest.mark.parametrize("python", ["3", "three", "3.11.7.1", "[3.11]", "'>=3.9'"])
def test_a_python_that_is_no_version(tmp_path: Path, python: str) -> None:
    with pytest.raises(EnvironmentRefused, match="python"):
        read_spec(write(tmp_path, python_env=f"python: {python}\n"))


@pytest.mark.parametrize("text", ["python: '3.11'\ndependencies: six\n", "python: '3.11'\ndependencies: [[six]]\n"])
def test_dependencies_that_are_no_list_of_texts(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvironmentRefused, match="dependencies is no list of texts"):
        read_spec(write(tmp_path, python_env=text))


def test_faults_of_every_kind_come_in_one_message(tmp_path: Path) -> None:
    text = "dependencies:\n- python=three\n- 'libgcc;'\n- pip:\n  - -e .\n  - git+https://u:pw@h/x\n"
    with pytest.raises(EnvironmentRefused) as error:
        read_spec(write(tmp_path, conda=text))
    message = str(error.value)
    assert all(part in message for part in ("python=three", "libgcc;", "-e .", "git+https://***@h/x", "4 entries"))


class TestHash:
    def test_order_spelling_and_notes_do_not_count(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        write(one, conda="dependencies: [python=3.10, numpy=1.26, {pip: ['Six==1.16.0', 'idna>=3,<4']}]")
        write(other, conda="dependencies: [{pip: ['idna <4, >=3', 'six==1.16.0', 'numpy==1.26.*']}, python=3.10]")
        first, second = read_spec(one), read_spec(other)
        assert first.notes != second.notes
        assert first.hash == second.hash

    def test_channels_and_packages_count_where_only_conda_has_them(self) -> None:
        def of(*channels: str, packages: tuple[str, ...] = ("cudatoolkit=11",), only: tuple[str, ...] = ("x",)) -> str:
            return EnvironmentSpec(conda=CondaPart(channels, packages, only=only)).hash

        assert len({of("a", "b"), of("b", "a"), of("a"), of("a", packages=("cudatoolkit=12",)), of(only=())}) == 5
        # Where uv can have everything, the channel it might have come from does not matter.
        assert of("a", only=()) == of("b", only=()) == EnvironmentSpec().hash
        # A token that was renewed makes no other environment.
        assert of("https://h.invalid/t/one/c") == of("https://h.invalid/t/two/c")

    def test_it_is_the_same_on_every_machine_and_release(self) -> None:
        spec = EnvironmentSpec(python="3.10", requirements=("idna", "six==1.16.0"))
        assert spec.hash == "9039ec5a5d7ae5883a01aaebd83043aef4f70e507dc0d5165306f640efe7dc3a"

    @pytest.mark.parametrize(
        "other",
        [
            EnvironmentSpec(python="3.11", requirements=("six",)),
            EnvironmentSpec(python="3.1", requirements=("six",)),
            EnvironmentSpec(python=None, requirements=("six",)),
            EnvironmentSpec(python="3.10", requirements=("six", "idna")),
            EnvironmentSpec(python="3.10", requirements=("six",), constraints=("idna",)),
            EnvironmentSpec(python="3.10", requirements=("six",), hashes={"six": ("sha256:00",)}),
        ],
    )
    def test_what_is_installed_does_count(self, other: EnvironmentSpec) -> None:
        assert other.hash != EnvironmentSpec(python="3.10", requirements=("six",)).hash
