"""MLflow's database before its server starts: empty, current, older (then migrated), or too new (then refused).

Opening it takes MLflow's own code, which takes seconds and memory, so `legion up` does it in a process that ends:

    MLFLOW_BACKEND_STORE_URI=… python -m legion.stack.database

writes one line of JSON (`Report`) to standard output for each thing it has to say; the last one has the verdict. The
address comes by the environment because others can read a command line.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec

from legion.disk.durable import new_file
from legion.documents.redaction import redacted
from legion.errors import LegionError, MissingExtraError, OutsideError, RefusedError

State = Literal["made", "current", "migrated"]
Kind = Literal["refused", "outside", "extra"]
Say = Callable[[str], None]

# Tables that MLflow has had from its first schema on.
_MLFLOWS = frozenset({"experiments", "runs", "metrics", "params", "tags"})
# Seconds until an address that swallows packets counts as one that does not answer.
_PATIENCE = "10"


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from this process to the one that started it; the last has `state` or `error`."""

    say: str | None = None
    state: State | None = None
    error: str | None = None
    kind: Kind = "outside"


def prepare(uri: str, say: Say) -> State:
    """Make the database at this SQLAlchemy address fit for the installed MLflow, by MLflow's own code.

    An empty one gets MLflow's tables, an older one is migrated. Killed on the way, an SQLite file is as it was before,
    and so is PostgreSQL, which does each in a transaction. Raises RefusedError, with nothing changed, for a schema
    that this MLflow does not know and for a database of another program, OutsideError where it cannot be reached,
    MissingExtraError where its driver is not installed.
    """
    import sqlalchemy  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    shown = redacted(uri)
    try:
        with _engine(uri) as engine:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
            found = utils._get_schema_version(engine) if tables >= _MLFLOWS else None
        if all(table.startswith("alembic_") for table in tables):
            say("the database is empty: making MLflow's tables …")
            with _rewritten(uri) as changed, _engine(changed) as engine:
                utils._initialize_tables(engine)
            return "made"
        latest = _checked(shown, tables, found)
        if found == latest:
            return "current"
        say(f"migrating the database from schema {found or 'none'} to {latest} of MLflow {version('mlflow')} …")
        with _rewritten(uri, kept=f"schema-{found or 'none'}") as changed, _engine(changed) as engine:
            utils._upgrade_db(engine)
    except LegionError:
        raise
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise OutsideError(
            f"the database {shown} cannot be used ({_reason(error)}); check that it is there and its address"
        ) from None
    except Exception as error:  # Migrations are code of their own and raise anything.
        raise OutsideError(
            f"the database {shown} cannot be migrated ({_reason(error)}); see `mlflow db upgrade`"
        ) from error
    before = (
        "" if sqlite_path(uri) is None else f"; the file from before is kept beside it as .schema-{found or 'none'}"
    )
    say(f"the database is migrated{before}")
    return "migrated"


@contextmanager
def _engine(uri: str) -> Iterator[Any]:
    import sqlalchemy  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    try:
        engine = utils.create_sqlalchemy_engine(uri)
    except ModuleNotFoundError as error:
        raise _no_driver(uri, error) from None
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError):
        raise RefusedError(f"{redacted(uri)} is no address of a database that MLflow can use") from None
    try:
        yield engine
    finally:
        engine.dispose()


def _checked(shown: str, tables: set[str], found: str | None) -> str:
    """The schema that the installed MLflow wants. Raises RefusedError for a database that is not its to migrate."""
    from mlflow.store.db import utils  # noqa: PLC0415

    latest: str = utils._get_latest_schema_revision()
    if not tables >= _MLFLOWS:
        raise RefusedError(f"the database {shown} holds tables of another program; name one that is empty")
    if found is not None and found not in _known_revisions():
        raise RefusedError(
            f"the database {shown} was made by a newer MLflow than {version('mlflow')} (its schema is {found}, "
            f"this one knows {latest}); install that MLflow, or name another database"
        )
    return latest


@contextmanager
def _rewritten(uri: str, *, kept: str | None = None) -> Iterator[str]:
    """The address to change the database at. An SQLite file is changed as a copy, which takes its place at the end.

    SQLite commits each change of a table by itself, so a killed migration could never be taken up again. The
    file from before stays beside it under the suffix `kept`.
    """
    path = sqlite_path(uri)
    if path is None:
        yield uri
        return
    real = path.resolve()
    with new_file(real) as file:
        if kept is not None:
            with closing(sqlite3.connect(real)) as source, closing(sqlite3.connect(file.name)) as target:
                source.backup(target)
        yield uri.replace(f":///{path}", f":///{file.name}", 1)
        if kept is not None:
            backup = real.with_name(f"{real.name}.{kept}")
            backup.unlink(missing_ok=True)
            backup.hardlink_to(real)


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return {revision.revision for revision in script.walk_revisions()}


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite address; None for another database, or one in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(?P<path>[^?]+)(?:\?.*)?", uri)
    return Path(found["path"]) if found and found["path"] != ":memory:" else None


def _no_driver(uri: str, error: ModuleNotFoundError) -> LegionError:
    if uri.startswith("postgresql"):
        return MissingExtraError("team", "A PostgreSQL database")
    return OutsideError(f"the driver of {redacted(uri)} is not installed: pip install {error.name}")


def _reason(error: Exception) -> str:
    """The first line that says something, without what SQLAlchemy adds around it."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return redacted(text.splitlines()[0].strip().rstrip("."))[:300]


def main() -> int:
    """Prepare the database that MLFLOW_BACKEND_STORE_URI names; 0 when it is fit."""
    # A migration is not left half-way; who cannot wait any longer kills it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ.setdefault("PGCONNECT_TIMEOUT", _PATIENCE)
    try:
        state = prepare(os.environ["MLFLOW_BACKEND_STORE_URI"], lambda line: _write(Report(say=line)))
    except LegionError as error:
        _write(Report(error=str(error), kind=_kind(error)))
        return 1
    _write(Report(state=state))
    return 0


def _kind(error: LegionError) -> Kind:
    if isinstance(error, RefusedError):
        return "refused"
    return "extra" if isinstance(error, MissingExtraError) else "outside"


def _write(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
