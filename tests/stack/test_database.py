"""MLflow's database before its server starts: each state, on SQLite and on PostgreSQL, with MLflow's own migrations."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from legion.errors import OutsideError, RefusedError
from legion.stack.database import prepare

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    made: Callable[[], str] = request.getfixturevalue("postgres")
    return made().replace("postgresql:", "postgresql+psycopg2:")


def make(uri: str, *, older: bool = False) -> str:
    """Let MLflow make its tables, and go back by one migration where `older`; the schema's revision."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(uri)
    try:
        utils._initialize_tables(engine)
        if older:
            config = utils._get_alembic_config(str(engine.url))
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                before = ScriptDirectory.from_config(config).get_revision("head").down_revision
                command.downgrade(config, str(before))
        return str(utils._get_schema_version(engine))
    finally:
        engine.dispose()


def look(uri: str) -> tuple[str, list[str]]:
    """The state that is found or made, and what is said on the way."""
    said: list[str] = []
    return prepare(uri, said.append), said


def execute(uri: str, statement: str) -> list[Any]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        with engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def test_an_empty_one_gets_mlflows_tables_and_a_current_one_is_left_alone(database: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    state, said = look(database)
    assert state == "made"
    assert len(said) == 1
    assert look(database) == ("current", [])
    assert SqlAlchemyStore(database, "/nowhere").get_experiment("0").name == "Default"


def test_killed_while_it_makes_the_tables_the_next_one_makes_them(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "legion.stack.database"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": uri},
    )
    with process:
        for _ in range(6000):
            # Half-way: some of the tables are there.
            if any(part.stat().st_size > 100_000 for part in tmp_path.glob(".mlflow.db.*.part")):
                break
            time.sleep(0.01)
        process.kill()
        assert process.stdout is not None
        assert b'"state"' not in process.stdout.read()
    assert look(uri)[0] == "made"
    assert look(uri) == ("current", [])


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.db import utils

    make(f"sqlite:///{tmp_path}/mlflow.db", older=True)
    before = (tmp_path / "mlflow.db").read_bytes()
    upgrade = utils._upgrade_db

    def fail(engine: object) -> None:
        upgrade(engine)
        raise RuntimeError("no space left\nand more")

    monkeypatch.setattr(utils, "_upgrade_db", fail)
    with pytest.raises(OutsideError, match=r"cannot be migrated \(no space left\); see"):
        look(f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]


def test_an_older_one_is_migrated_and_keeps_what_it_holds(database: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    older = make(database, older=True)
    execute(database, "insert into experiments (experiment_id, name, lifecycle_stage) values (7, 'kept', 'active')")
    state, said = look(database)
    assert state == "migrated"
    assert any(f"from schema {older} to" in line for line in said)
    assert look(database) == ("current", [])
    # MLflow's own store refuses a schema that is not its own.
    assert SqlAlchemyStore(database, "/nowhere").get_experiment_by_name("kept").experiment_id == "7"


def test_the_sqlite_file_from_before_is_kept(tmp_path: Path) -> None:
    older = make(f"sqlite:///{tmp_path}/mlflow.db", older=True)
    _, said = look(f"sqlite:///{tmp_path}/mlflow.db")
    assert said[-1].endswith(f"kept beside it as .schema-{older}")
    with closing(sqlite3.connect(tmp_path / f"mlflow.db.schema-{older}")) as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [(older,)]


def test_a_newer_one_is_refused_and_left_alone(database: str) -> None:
    make(database)
    execute(database, "update alembic_version set version_num = 'ffffffffffff'")
    with pytest.raises(RefusedError, match=r"made by a newer MLflow .* schema is ffffffffffff") as refused:
        look(database)
    assert "not%2Fso" not in str(refused.value)
    assert execute(database, "select version_num from alembic_version") == [("ffffffffffff",)]


def test_another_programs_is_refused_and_left_alone(database: str) -> None:
    execute(database, "create table runs (a int)")
    execute(database, "create table alembic_version (version_num varchar(32))")
    execute(database, "insert into alembic_version values ('abc')")
    with pytest.raises(RefusedError, match="another program"):
        look(database)
    assert execute(database, "select * from alembic_version") == [("abc",)]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql+psycopg2://legion:pass-word@127.0.0.1:9/mlflow", "refused"),
        ("sqlite:////proc/none/mlflow.db", "unable to open"),
    ],
)
def test_one_that_cannot_be_reached_is_said_in_one_sentence(address: str, reason: str) -> None:
    with pytest.raises(OutsideError, match="cannot be used") as failed:
        look(address)
    assert reason in str(failed.value).lower()
    assert "pass-word" not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(OutsideError, match="not a database"):
        look(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("address", ["oracle9://h/d", "postgresql+psycopg2//typo", "nonsense"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(RefusedError, match="no address of a database"):
        look(address)


@pytest.mark.parametrize(
    ("address", "code", "verdict"),
    [
        ("sqlite:///{}/new.db", 0, {"state": "made"}),
        ("nonsense", 1, {"kind": "refused"}),
        ("sqlite:////proc/x/y", 1, {}),
    ],
)
def test_as_a_process_it_says_so_in_json(tmp_path: Path, address: str, code: int, verdict: dict[str, str]) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "legion.stack.database"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": address.format(tmp_path)},
    )
    last = json.loads(found.stdout.splitlines()[-1])
    assert found.returncode == code
    assert last.items() >= verdict.items()
    assert ("error" in last) == (code != 0)
    assert "Traceback" not in found.stderr
