"""MLflow's database before its server starts: new, current, older (then migrated), or newer than this MLflow (refused).

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
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec

from legion.artifact.durable import new_file
from legion.environment.redaction import redacted
from legion.errors import LegionError, MissingExtraError, OutsideError, RefusedError

State = Literal["new", "current", "migrated"]
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
    """Make the database at this SQLAlchemy address fit for the installed MLflow.

    An empty one is left to MLflow's server, which makes its tables; an older one is migrated by MLflow's own code.
    Raises RefusedError, with nothing changed, for a schema that this MLflow does not know and for a database of another
    program, OutsideError where it cannot be reached, MissingExtraError where its driver is not installed.
    """
    import sqlalchemy  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        engine = utils.create_sqlalchemy_engine(uri)
    except ModuleNotFoundError as error:
        raise _no_driver(uri, error) from None
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError):
        raise RefusedError(f"{redacted(uri)} is no address of a database that MLflow can use") from None
    try:
        with engine.connect():
            pass
        return _fitted(engine, uri, say)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise OutsideError(
            f"the database {redacted(uri)} cannot be used ({_reason(error)}); check that it is there and its address"
        ) from None
    finally:
        engine.dispose()


def _fitted(engine: Any, uri: str, say: Say) -> State:
    import sqlalchemy  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    shown = redacted(uri)
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if all(table.startswith("alembic_") for table in tables):
        return "new"
    if not tables >= _MLFLOWS:
        raise RefusedError(f"the database {shown} holds tables of another program; name one that is empty")
    latest, found = utils._get_latest_schema_revision(), utils._get_schema_version(engine)
    if found == latest:
        return "current"
    if found is not None and found not in _known_revisions():
        raise RefusedError(
            f"the database {shown} was made by a newer MLflow than {version('mlflow')} (its schema is {found}, "
            f"this one knows {latest}); install that MLflow, or name another database"
        )
    backup = _backed_up(uri, found)
    if backup is not None:
        say(f"the database is copied to {backup}")
    say(f"migrating the database from schema {found or 'none'} to {latest} of MLflow {version('mlflow')} …")
    try:
        utils._upgrade_db(engine)
    except Exception as error:  # Migrations are code of their own and raise anything.
        hint = f"; the copy from before is {backup}" if backup else ""
        raise OutsideError(
            f"the database {shown} could not be migrated ({_reason(error)}){hint}; see `mlflow db upgrade`"
        ) from error
    say(f"the database is migrated to schema {latest}")
    return "migrated"


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415

    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return {revision.revision for revision in script.walk_revisions()}


def _backed_up(uri: str, found: str | None) -> Path | None:
    """Copy an SQLite database beside itself; others migrate in one transaction, or have backups of their own."""
    path = sqlite_path(uri)
    if path is None:
        return None
    backup = path.with_name(f"{path.name}.schema-{found or 'none'}")
    with (
        new_file(backup) as file,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(file.name)) as target,
    ):
        source.backup(target)
    return backup


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
