"""`legion predict`, the real command on a real model."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

pytestmark = pytest.mark.slow

HEADER = (
    "fixed acidity,volatile acidity,citric acid,residual sugar,chlorides,free sulfur dioxide,"
    "total sulfur dioxide,density,pH,sulphates,alcohol"
)
COLUMNS = HEADER.split(",")
MEANS = [6.85, 0.28, 0.33, 6.4, 0.046, 35.3, 138.4, 0.994, 3.19, 0.49, 10.5]
COMMAND = (sys.executable, "-m", "legion.cli.main", "predict")
MANIFEST = """\
binaries: {type: python, dependencies: conda, conda_path: mlflow/model/conda.yaml}
model: {name: wine, version: 1.0.0-1, workDir: mlflow/model, entrypoint: entrypoint}
legionVersion: '1.0'
toolchain: {name: mlflow, version: 1.0.0, interface: pyfunc}
"""


class Wine(NamedTuple):
    """An artifact's folder, rows that it takes, and what plain mlflow.pyfunc answers to them."""

    folder: Path
    rows: np.ndarray
    answers: list[float]

    def csv(self, path: Path, count: int) -> Path:
        rows = self.rows[np.arange(count) % len(self.rows)]
        np.savetxt(path, rows, delimiter=",", fmt="%.17g", header=HEADER, comments="")
        return path


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Wine:
    import mlflow.pyfunc
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import ElasticNet

    folder = tmp_path_factory.mktemp("wine")
    draw = np.random.default_rng(7)
    rows = draw.normal(MEANS, np.array(MEANS) / 5, size=(2000, len(MEANS))).round(4)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    model = ElasticNet(alpha=0.01).fit(frame, draw.normal(6, 1, len(rows)))
    saved = folder / "mlflow" / "model"
    mlflow.sklearn.save_model(model, saved, signature=mlflow.models.infer_signature(frame, model.predict(frame)))
    answers = mlflow.pyfunc.load_model(str(saved)).predict(frame).tolist()
    cases = [
        {
            "request": {"dataframe_split": {"columns": COLUMNS, "data": rows[i : i + 3].tolist()}},
            "response": {"predictions": answers[i : i + 3]},
        }
        for i in (0, 3)
    ]
    golden = {"format": 1, "deterministic": True, "cases": cases}
    (folder / "legion.golden.json").write_text(json.dumps(golden))
    (folder / "legion.model.yaml").write_text(MANIFEST)
    return Wine(folder, rows, answers)


def legion(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=120, check=False, **options)


def written(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".csv":
        np.savetxt(path, np.column_stack(table.columns), "%.17g", ",", header=HEADER, comments="")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=700)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=700)
    return path


def predictions(path: Path) -> list[Any]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [float(row["prediction"]) for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        return [json.loads(line)["prediction"] for line in path.read_text().splitlines()]
    table = parquet.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    return list(table["prediction"].to_pylist())


@pytest.mark.parametrize(
    ("given", "wanted"), [("csv", "parquet"), ("jsonl", "csv"), ("parquet", "arrow"), ("arrow", "jsonl")]
)
def test_every_format_gives_the_predictions_of_plain_pyfunc(
    wine: Wine, tmp_path: Path, given: str, wanted: str
) -> None:
    # The columns in another order: they are matched by name.
    table = pa.table(dict(zip(COLUMNS[::-1], wine.rows.T[::-1], strict=True)))
    if given == "csv":
        table = table.select(COLUMNS)
    source, out = written(tmp_path / f"in.{given}", table), tmp_path / f"out.{wanted}"
    done = legion(wine.folder, "--env", "local", "-i", source, "-o", out, "--chunk-bytes", 20_000, "--workers", 2)
    assert done.returncode == 0, done.stderr.decode()
    assert predictions(out) == pytest.approx(wine.answers, rel=1e-12)
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, out.name])


def test_a_model_without_a_signature_takes_tables_too(wine: Wine, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(wine.folder, plain)
    (plain / "legion.golden.json").unlink()
    description = plain / "mlflow" / "model" / "MLmodel"
    text, cut, _ = description.read_text().partition("\nsignature:")
    assert cut
    description.write_text(text + "\n")
    table = pa.table(dict(zip(COLUMNS, wine.rows[:50].T, strict=True)))
    source, out = written(tmp_path / "in.parquet", table), tmp_path / "out.jsonl"
    done = legion(plain, "--env", "local", "-i", source, "-o", out)
    assert done.returncode == 0, done.stderr.decode()
    assert predictions(out) == pytest.approx(wine.answers[:50], rel=1e-12)
    assert b"not proven to answer row by row" in done.stderr


def test_it_is_a_filter_between_pipes(wine: Wine, tmp_path: Path) -> None:
    source = wine.csv(tmp_path / "in.csv", 300).read_bytes()
    done = legion(wine.folder, "--env", "local", "-i", "-", "--format", "csv", "--chunk-rows", 7, input=source)
    assert done.returncode == 0, done.stderr.decode()
    header, *lines = done.stdout.decode().splitlines()
    assert header == "prediction"
    assert [float(line) for line in lines] == pytest.approx(wine.answers[:300], rel=1e-12)
    assert b"300 rows" in done.stderr


def test_a_bad_value_is_named_by_row_and_line_and_nothing_is_written(wine: Wine, tmp_path: Path) -> None:
    source = wine.csv(tmp_path / "in.csv", 130_000)
    lines = source.read_text().splitlines()
    cells = lines[123_457].split(",")
    cells[10] = "strong"
    lines[123_457] = ",".join(cells)
    # An empty line, and quotes in the first chunk only: rows are not lines.
    lines[5:5] = [""]
    lines[0] = lines[0].replace("pH", '"pH"')
    source.write_text("\n".join(lines))
    done = legion(wine.folder, "--env", "local", "-i", source, "-o", tmp_path / "out.csv")
    assert done.returncode == 1
    message = done.stderr.decode().splitlines()[-1]
    assert "row 123456 (line 123459)" in message
    assert "'alcohol'" in message
    assert "Traceback" not in done.stderr.decode()
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_header_alone_gives_a_header_alone_and_a_summary(wine: Wine, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEADER)
    out = tmp_path / "out.csv"
    done = legion(wine.folder, "--env", "local", "-i", tmp_path / "in.csv", "-o", out, "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert out.read_text() == "prediction\n"
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["output"], summary["path"]) == (0, str(out), "lowered")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("-i", "missing.csv"), 2, "there is no file missing.csv"),
        (("-i", "-"), 2, "add --format"),
        (("-i", "rows.txt"), 2, "add --format"),
        (("-i", "in.csv", "--json"), 2, "give the predictions a file with -o"),
        (("-i", "in.csv", "-o", "no/such/folder/out.csv"), 2, "cannot write no/such/folder/out.csv"),
        (("-i", "in.csv", "--workers", "0"), 2, "--workers"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_sentence(
    wine: Wine, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    wine.csv(tmp_path / "in.csv", 3)
    (tmp_path / "rows.txt").touch()
    done = legion(wine.folder, "--env", "local", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert b"is ready" not in done.stderr


def test_a_csv_with_the_index_of_pandas_is_refused_with_what_to_do(wine: Wine, tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame(wine.rows[:10], columns=COLUMNS).to_csv(tmp_path / "in.csv")
    done = legion(wine.folder, "--env", "local", "-i", tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert done.returncode == 1
    message = done.stderr.decode().splitlines()[-1]
    assert "the first column has no name, as pandas writes its index" in message
    assert "index=False" in message
    assert os.listdir(tmp_path) == ["in.csv"]


def test_it_ends_quietly_when_its_reader_has_had_enough(wine: Wine, tmp_path: Path) -> None:
    source = wine.csv(tmp_path / "in.csv", 200_000)
    line = (
        f"{shlex.join(map(str, (*COMMAND, wine.folder, '--env', 'local', '-i', source)))} 2>{tmp_path}/log | head -1;"
        "echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, check=True, env={**os.environ, "LEGION_TEST_MARK": str(tmp_path)}
    )
    assert done.stdout.split() == [b"prediction", b"141"]
    assert done.stderr == b""
    log = (tmp_path / "log").read_text().splitlines()
    assert "is ready" in log[-1], log
    assert not marked(str(tmp_path))


def test_without_pyarrow_the_extra_is_named(wine: Wine, tmp_path: Path) -> None:
    (tmp_path / "in.parquet").touch()
    code = (
        "import sys; sys.modules['pyarrow'] = None; sys.argv = ['legion', 'predict', *sys.argv[1:]]; "
        "from legion.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, str(wine.folder), "--env", "local", "-i", str(tmp_path / "in.parquet")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"pip install 'legion-ml[arrow]'" in done.stderr


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [[1.0]]", "row"),
        ("raise RuntimeError('the scales are broken')", "the scales are broken"),
    ],
)
def test_a_model_that_fails_or_does_not_answer_every_row_is_refused(
    gppi_folder: Callable[..., Path], tmp_path: Path, body: str, says: str
) -> None:
    source = f"""
        def init():
            return "matrix"

        def predict_on_matrix(input_matrix, provided_columns_names=None):
            {body}
        """
    (tmp_path / "in.csv").write_text("a,b\n1,2\n3,4\n")
    done = legion(gppi_folder(source), "--env", "local", "-i", tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert done.returncode == 1, done.stderr.decode()
    assert says in done.stderr.decode().splitlines()[-1]
    assert os.listdir(tmp_path) == ["in.csv"]


def marked(mark: str) -> list[int]:
    """The running processes that carry a mark in their environment (Linux); children inherit it."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("when", "stop", "code"),
    [
        (b"predicting", signal.SIGINT, 130),
        (b"is ready", signal.SIGINT, 130),
        (b"is ready", signal.SIGTERM, 130),
        (b"is ready", None, 3),
    ],
)
def test_stopped_half_way_it_leaves_no_file_and_no_process(
    wine: Wine, tmp_path: Path, when: bytes, stop: signal.Signals | None, code: int
) -> None:
    """None stands for the model's process being killed."""
    mark = str(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, wine.folder, "--env", "local", "-i", "-", "--format", "csv", "-o", tmp_path / "out.csv"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LEGION_TEST_MARK": mark},
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        rows = wine.csv(tmp_path / "in.csv", 100).read_bytes()
        (tmp_path / "in.csv").unlink()
        process.stdin.write(rows)
        process.stdin.flush()
        while when not in process.stderr.readline():
            assert process.poll() is None
        if stop is None:
            (worker,) = set(marked(mark)) - {process.pid}
            os.kill(worker, signal.SIGKILL)
            process.stdin.close()
        else:
            process.send_signal(stop)
        log = process.stderr.read().decode()
        assert process.wait(30) == code, log
    finally:
        process.kill()
        process.stdin.close()
        process.stderr.close()
    assert "Traceback" not in log
    assert not os.listdir(tmp_path)
    assert not marked(mark)


def peak_mb(wine: Wine, source: Path, out: Path) -> float:
    """The largest resident size of the command or of its worker, whichever is larger."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [*COMMAND, wine.folder, "--env", "local", "-i", source, "-o", out]
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, check=True)
    return int(done.stdout) / (1024 if sys.platform == "linux" else 1024 * 1024)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ten_times_the_rows_take_no_more_memory(wine: Wine, tmp_path: Path, form: str) -> None:
    def source(count: int) -> Path:
        if form == "csv":
            return wine.csv(tmp_path / f"{count}.csv", count)
        rows = wine.rows[np.arange(count) % len(wine.rows)]
        return written(tmp_path / f"{count}.parquet", pa.table(dict(zip(COLUMNS, rows.T, strict=True))))

    small = peak_mb(wine, source(50_000), tmp_path / "out.csv")
    large = peak_mb(wine, source(500_000), tmp_path / "out.csv")
    assert large < 300
    assert large - small < 30
    with (tmp_path / "out.csv").open() as file:
        assert sum(1 for _ in file) == 500_001
