"""MLflow's store: where it is, opening it, and saying in one line what is wrong with it.

Without MLFLOW_TRACKING_URI it is the workspace's SQLite file. Its schema takes seconds to make, in steps that a kill
or a full disk can part: it is made aside and renamed, so that there is a whole database or none. One lock keeps
writers one after the other; another tracking server takes many, and the lock then keeps this workspace's apart.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, locked

# Set before MLflow is imported: it reads them once. The suite sends nothing anywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # its seven keep an absent server's user five minutes
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
from mlflow import MlflowClient
from mlflow.store.db.utils import _get_latest_schema_revision
from sqlalchemy.exc import SQLAlchemyError

# Migrations announce themselves table by table; an error of the database is told by us, in one line.
logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT = "delrec-bench"
VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
EXPERIMENT_TAGS = {
    # What MLflow's page asks to show training runs; without it the page opens on traces of language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Runs of delrec-bench: a study holds its methods, a method its runs.",
}
BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Opened:
    """An open store.

    Attributes:
        client: Speaks to it.
        experiment: Id of the experiment `EXPERIMENT`.
        uri: The address as MLflow takes it.
        place: The address as people read it.
    """

    client: MlflowClient
    experiment: str
    uri: str
    place: str

    @contextmanager
    def fluent(self) -> Iterator[None]:
        """Let MLflow's flavours, which know no client, speak to this store; the process's own settings come back."""
        before = os.environ.get(VARIABLE)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # unset, which its hints do not know
            mlflow.set_registry_uri(None)  # type: ignore[arg-type]
            if before is not None:
                os.environ[VARIABLE] = before


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI, else the workspace's database, as ``mlflow ui --backend-store-uri`` takes it."""
    return os.environ.get(VARIABLE) or f"{SQLITE}{Path(workspace.database).absolute()}"


def database_of(workspace: Workspace) -> Path | None:
    """The SQLite file of the store; None for a server."""
    uri = tracking_uri(workspace)
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


@contextmanager
def opened(workspace: Workspace, seconds: float = 60.0) -> Iterator[Opened]:
    """The store, made if it is not there, with its lock held.

    Raises:
        BenchError: it cannot be opened, or failed meanwhile; one line with the remedy.
    """
    database = database_of(workspace)
    place = tracking_uri(workspace) if database is None else str(database)
    with locked(database or workspace.database, seconds), _told(place):
        if database is not None:
            if not database.exists():
                _make(database)
            _examine(database)
        client = MlflowClient(uri := _fresh(workspace, database))
        yield Opened(client, _experiment(client, workspace, database), uri, place)


def _experiment(client: MlflowClient, workspace: Workspace, database: Path | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        folder = None if database is None else Path(workspace.artifacts).absolute().as_uri()
        return str(client.create_experiment(EXPERIMENT, artifact_location=folder, tags=EXPERIMENT_TAGS))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for name, value in EXPERIMENT_TAGS.items():
        if found.tags.get(name) != value:
            client.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)


def _make(database: Path) -> None:
    """A database with its schema, made in a folder beside and renamed; what killed calls left there is swept."""
    prefix = f".{database.name}.new-"
    for stale in database.parent.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=database.parent))
    try:
        draft = folder / database.name
        MlflowClient(f"{SQLITE}{draft}").search_experiments()
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        draft.replace(database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _examine(database: Path) -> None:
    """Tell a database that MLflow would fail on, or begin to migrate, before it does."""
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        connection.execute("BEGIN IMMEDIATE")  # fails where it is locked or read-only
        connection.execute("ROLLBACK")
        if "alembic_version" not in tables or "runs" not in tables:
            raise BenchError(
                f"MLflow database {database} has no finished schema: delete it and sync again, "
                "the records hold everything"
            )
        versions = [version for (version,) in connection.execute("SELECT version_num FROM alembic_version")]
    head = _get_latest_schema_revision()
    if versions != [head]:
        raise BenchError(
            f"MLflow database {database} has the schema {', '.join(versions) or 'of no version'}, "
            f"MLflow {mlflow.__version__} has {head}: "
            f"run 'mlflow db upgrade {SQLITE}{database}', or move it away and sync again"
        )


_generations: dict[Path, tuple[int, int]] = {}


def _fresh(workspace: Workspace, database: Path | None) -> str:
    """The address, different from any used before for a file that has been deleted or replaced since.

    MLflow keeps an open engine per address for the life of the process and would go on writing to a deleted file.
    A timeout of another second is the same database under another address.
    """
    if database is None or "?" in tracking_uri(workspace):
        return tracking_uri(workspace)
    path = database.absolute()
    inode = path.stat().st_ino
    generation, before = _generations.get(path, (0, inode))
    generation += inode != before
    _generations[path] = (generation, inode)
    return f"{SQLITE}{path}" + (f"?timeout={30 + generation}" if generation else "")


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except BenchError:
        raise
    except (sqlite3.Error, SQLAlchemyError, mlflow.MlflowException, OSError) as error:
        raise BenchError(f"MLflow's store {place} {what_is_wrong(error)}") from error


_REMEDIES = {
    ("database is locked", "database table is locked"): (
        "is locked by another program: close it (a viewer of SQLite files, another sync) and sync again"
    ),
    ("readonly database", "read-only file system", "permission denied"): (
        f"cannot be written: make it and its folder writable, or set {VARIABLE} to another place, and sync again"
    ),
    ("disk is full", "no space left", "disk quota"): "cannot grow, the disk is full: make room and sync again",
    ("not a database", "malformed", "disk i/o error", "no such table", "no such column"): (
        "is not a database that can be read: move it away and sync again, the records hold everything"
    ),
    ("out-of-date", "can't locate revision"): (
        "is of another MLflow: run 'mlflow db upgrade', or move it away and sync again"
    ),
    ("unable to open", "is a directory"): (
        f"cannot be opened: see that it is a file in a folder that exists, or set {VARIABLE}"
    ),
    ("max retries", "connection", "timed out", "api request"): (
        f"does not answer: start the server that {VARIABLE} names, or unset it, and sync again"
    ),
}


def what_is_wrong(error: BaseException) -> str:
    """What an error of the database, the file system or a server means, and what to do."""
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    for words, told in _REMEDIES.items():
        if any(word in text.lower() for word in words):
            return told
    with suppress(AttributeError):
        text = str(error.message)  # type: ignore[attr-defined]
    return f"failed ({type(error).__name__}: {' '.join(text.split())[:200]}); the records are whole, sync again"
