from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from legion.environment.requirements import RequirementCollector, logical_lines, normalised
from legion.errors import EnvironmentRefused


def collected(folder: Path, text: str) -> RequirementCollector:
    path = folder / "requirements.txt"
    path.write_text(text)
    collector = RequirementCollector(folder)
    collector.add_file(path)
    return collector


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Scikit_Learn == 1.3.0", "scikit-learn==1.3.0"),
        ("numpy>=1,<2", "numpy <2, >=1"),
        ("uvicorn[Standard,b]", "uvicorn[b,standard]"),
        ("six; python_version<'3.12'", 'six ;python_version < "3.12"'),
        ("ruamel.yaml", "ruamel-yaml"),
    ],
)
def test_one_spelling_for_each_requirement(one: str, other: str) -> None:
    assert normalised(Requirement(one)) == normalised(Requirement(other))


def test_markers_and_local_versions_are_kept() -> None:
    assert normalised(Requirement("Torch==2.1.0+cpu; sys_platform=='linux'")) == (
        'torch==2.1.0+cpu ; sys_platform == "linux"'
    )


def test_comments_continuations_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    text = "# all of it\r\nsix==1.16.0  # the last\r\n\r\nidna \\\r\n  >=3\\\r\n  ,<4\r\n"
    found = collected(tmp_path, text)
    assert found.requirements == {"six==1.16.0", "idna<4,>=3"}
    assert found.faults == []


def test_a_comment_ends_a_continuation_as_pip_does_it() -> None:
    assert [line.strip() for _, line in logical_lines("a \\\n# b \\\nc\nd \\")] == ["a", "c", "d"]


def test_hashes_are_kept_with_their_requirement(tmp_path: Path) -> None:
    one, two = "a" * 64, "b" * 64
    text = f"six==1.16.0 \\\n    --hash=sha256:{two} \\\n    --hash=sha256:{one}\nidna\n"
    found = collected(tmp_path, text)
    assert found.requirements == {"six==1.16.0", "idna"}
    assert found.hashes == {"six==1.16.0": {f"sha256:{one}", f"sha256:{two}"}}


def test_included_files_and_constraints_are_read(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "extra.txt").write_text("idna\n-r third.txt\n")
    (tmp_path / "more" / "third.txt").write_text("attrs\n")
    (tmp_path / "constraints.txt").write_text("numpy<2\n")
    found = collected(tmp_path, "six\n-r more/extra.txt\n-c constraints.txt\n--constraint=constraints.txt\n")
    assert found.faults == []
    assert found.requirements == {"six", "idna", "attrs"}
    assert found.constraints == {"numpy<2"}


def test_what_a_constraints_file_includes_are_constraints_too(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("-r d.txt\n")
    (tmp_path / "d.txt").write_text("numpy<2\n")
    found = collected(tmp_path, "-c c.txt\n")
    assert (found.requirements, found.constraints) == (set(), {"numpy<2"})


def test_everything_refused_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.txt"
    outside.write_text("six\n")
    (tmp_path / "link.txt").symlink_to(outside)
    refused = [
        "--index-url https://user:hunter2@index.invalid/simple",
        "--extra-index-url=https://index.invalid/simple",
        "-i https://index.invalid/simple",
        "--find-links /wheels",
        "--trusted-host index.invalid",
        "--pre",
        "-e .",
        "-e git+https://code.invalid/x.git#egg=x",
        "git+https://user:hunter2@code.invalid/x.git@main",
        "x @ git+https://code.invalid/x.git",
        "x@https://user:hunter2@code.invalid/x.whl",
        "https://files.invalid/x-1.0.tar.gz",
        "file:///tmp/x",
        "./x",
        "../x",
        "/srv/x",
        "x/y",
        "x\\y",
        "x-1.0-py3-none-any.whl",
        "six --config-settings=a=b",
        "six --global-option=x",
        "six --hash=md5:00",
        "six = 1",
        "$(touch x)",
        "six; import_os",
        f"-r ../{outside.name}",
        "-r link.txt",
        "-r nowhere.txt",
        "-r requirements.txt",
        "-r https://files.invalid/r.txt",
    ]
    found = collected(tmp_path, "six\n" + "\n".join(refused) + "\nidna\n")
    with pytest.raises(EnvironmentRefused) as error:
        found.check("requirements.txt")
    message = str(error.value)
    assert f"has {len(refused)} entries that cannot be installed" in message
    lines = message.splitlines()[1:]
    assert len(lines) == len(refused)
    for number, line in enumerate(lines, 2):
        # The file that includes itself is named by its name alone.
        assert f"requirements.txt line {number}: " in line or "includes itself" in line
    assert "hunter2" not in message
    assert "--env local" in message


def test_nothing_is_raised_without_a_fault(tmp_path: Path) -> None:
    collected(tmp_path, "six\n").check("requirements.txt")
