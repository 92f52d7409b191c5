"""JARs for the tests, made by the JDK that is there."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTERFACE = ROOT / "src" / "legion" / "interface" / "java" / "LegionModel.java"
SERVICES = "META-INF/services/legion.gjpi.LegionModel"

needs_jdk = pytest.mark.skipif(
    shutil.which("javac") is None, reason="there is no javac here; install a JDK to run this"
)


def compiled(folder: Path, **sources: str) -> Path:
    """A folder of classes: the interface, and each source under its class's name."""
    classes = folder / "classes"
    files = [INTERFACE]
    for name, text in sources.items():
        files.append(folder / f"{name}.java")
        files[-1].write_text(text)
    subprocess.run(["javac", "--release", "11", "-nowarn", "-d", classes, *files], check=True, capture_output=True)
    return classes


def jar(path: Path, classes: Path, *services: str, leave_out: str = "never") -> Path:
    """The classes as a JAR whose services file names these classes; without any there is no such file."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(classes.rglob("*.class")):
            name = file.relative_to(classes).as_posix()
            if leave_out not in name:
                archive.write(file, name)
        if services:
            archive.writestr(SERVICES, "\n".join(services) + "\n")
    return path


def wine_jar(folder: Path) -> Path:
    """The example, as `make java` builds it."""
    example = ROOT / "examples" / "java-wine"
    classes = compiled(folder, WineModel=(example / "WineModel.java").read_text())
    path = jar(folder / "wine.jar", classes, (example / SERVICES).read_text().strip())
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(example / "weights.csv", "example/weights.csv")
    return path
