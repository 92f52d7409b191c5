"""The models that are served and the files that go with them: made once, kept in build/bench."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
CACHE = WORK / "cache"
BIN = Path(sys.executable).parent

_MANIFEST = """\
binaries: {{type: python, dependencies: conda, conda_path: conda.yaml}}
model: {{name: {name}, version: 1.0.0-bench, workDir: ., entrypoint: entrypoint}}
legionVersion: '1.0'
toolchain: {{name: bench, version: 1.0.0}}
"""
_TINY = """\
def init():
    return "matrix"


def predict_on_matrix(input_matrix, provided_columns_names=None):
    return [[sum(row)] for row in input_matrix]
"""


class Model(msgspec.Struct, frozen=True):
    """A model as each side wants it: MLflow's `folder`, Legion's `artifact`; request bodies of one and 1,000 rows."""

    name: str
    folder: Path
    artifact: Path
    one: Path
    thousand: Path


def get(name: str) -> Model:
    """`wine`, `wide` or `forest`: trained, packed and kept until a version or a source file changes."""
    home = WORK / name
    model = Model(name, home / "model", home / f"{name}.zip", home / "one.json", home / "thousand.json")
    here = Path(__file__).parent
    once(home, f"train {name}", stamp([here / "fit.py", ROOT / "examples/wine/wine_data.py"]), _fit)
    once(home, f"pack {name}", legion_stamp(), _pack)
    return model


def _fit(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    run([sys.executable, str(Path(__file__).with_name("fit.py")), home.name, str(home)])


def _pack(home: Path) -> None:
    name = home.name
    options = ["--name", name, "--env", "local", "-o", str(home / f"{name}.zip")]
    run([str(BIN / "legion"), "pack", str(home / "model"), *options])


def once(home: Path, what: str, mark: str, make: Callable[[Path], None]) -> None:
    """Call `make` unless it was done with the same mark; what is made anew empties `home` before it is."""
    done = home / f"{what.replace(' ', '-')}.stamp"
    if done.is_file() and done.read_text() == mark:
        return
    print(f"{what} …", flush=True)
    make(home)
    done.write_text(mark)


def stamp(sources: Iterable[Path]) -> str:
    """Changes with these files and with the libraries that a model is made of."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    for name in ("mlflow", "scikit-learn", "numpy", "skops"):
        digest.update(f"{name}=={version(name)}\n".encode())
    return digest.hexdigest()


def legion_stamp() -> str:
    """Changes with Legion's own sources."""
    return stamp(sorted((ROOT / "src/legion").rglob("*.py")))


def tiny(count: int) -> list[Path]:
    """Folders of models in pure Python that sum a row, m1, m2 …"""
    return [gppi(WORK / "tiny" / f"m{number}", _TINY) for number in range(1, count + 1)]


def weights(megabytes: int) -> Path:
    """The folder of a model with an array of so many MB; its values have the precision of 32-bit floats."""
    folder = WORK / f"weights-{megabytes}"
    file = folder / "weights.npy"
    if not file.is_file():
        gppi(folder, _TINY)
        run([sys.executable, str(Path(__file__).with_name("draw.py")), "weights", str(megabytes), str(file)])
    return folder


def wine_rows(rows: int) -> Path:
    """A CSV file of so many wines without their quality, a header first."""
    file = WORK / f"wine-{rows}.csv"
    if not file.is_file():
        run([sys.executable, str(Path(__file__).with_name("draw.py")), "wine", str(rows), str(file)])
    return file


def gppi(folder: Path, source: str) -> Path:
    """A model of GPPI, generation 2, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "legion.model.yaml").write_text(_MANIFEST.format(name=folder.name))
    (folder / "conda.yaml").write_text("dependencies:\n- pip:\n  - numpy\n")
    (folder / "entrypoint.py").write_text(source)
    return folder


def environment(**variables: str) -> dict[str, str]:
    """The caller's, the same for every side: without settings of either, with Legion's cache the benchmark's own.

    `variables` are set on top.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEGION_", "MLFLOW_"))}
    # Without compiled modules every start would compile its imports anew, which no user's does.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join([str(BIN), kept.get("PATH", "")])
    # Telemetry would only take mlflow's time.
    return {**kept, "PATH": path, "LEGION_CACHE": str(CACHE), "MLFLOW_DISABLE_TELEMETRY": "true", **variables}


def run(command: list[str], **variables: str) -> None:
    """Run a command to its end; ends the whole run, with its last words, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(**variables), cwd=WORK)
    if done.returncode:
        sys.exit(f"{Path(command[0]).name} {Path(command[1]).name} failed: {(done.stderr or done.stdout)[-1500:]}")
