"""Connect to an MLflow store: create or migrate its database first, and fail quickly when it cannot be reached.

It must not know what is stored.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock

from ablate.study import InputError, Problem
from ablate.tracking.mlflow import relocation
from ablate.tracking.mlflow.errors import connection_failure
from ablate.tracking.mlflow.sqlite_reader import reading
from ablate.trainers.atomic_write import write_whole
from ablate.untrusted.addresses import (
    checked,
    database_file,
    default_uri,
    is_postgres,
    local_path,
    redacted,
    with_driver,
    without_login,
)

# MLflow reads these when it is imported: no telemetry, no git warning, no links or progress bars on stdout.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # `ablate` itself waits for a server that is away, with a message; MLflow would retry for minutes in silence.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
# A script that logs its scores itself has nobody who waits for a server: it gets the user's values, or MLflow's own.
FOR_SCRIPTS = {
    name: os.environ.get(name, default)
    for name, default in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "120"))
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # MLflow 3.17 maps tables in a way SQLAlchemy 2.1 deprecates
    from mlflow import MlflowClient, db
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.utils import credentials, rest_utils

# These parts of MLflow have no type annotations.
stores: Any = sqlalchemy_store
schema: Any = db
rest: Any = rest_utils
passwords: Any = credentials

CONNECT_TIMEOUT_S = 5  # of the first request to a server or database; later ones keep MLflow's own retries
TRIES, PAUSE_S = 5, 2.0  # to create the tables of a database while another machine may be doing the same
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
INITIALISING = ".initialise.lock"  # beside a SQLite file, or in `mlruns`: held while a database is created or migrated
SQLITE_HEADER = b"SQLite format 3\0"  # the first bytes of every SQLite file
logging.getLogger("alembic").setLevel(logging.WARNING)
for _noisy in ("mlflow.store.db.utils", "urllib3.connectionpool"):  # they log what they also raise
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


def usable(uri: str) -> str:
    """The address for MLflow. A login is moved into environment variables: MLflow repeats addresses in its errors.

    Raises InputError for an address in which it is not clear where the password ends and the host begins.
    """
    uri = with_driver(checked("--tracking-uri", uri))
    if not uri.startswith(("http://", "https://")):
        return uri
    bare, user, password = without_login(uri)
    if user:
        os.environ.update(MLFLOW_TRACKING_USERNAME=user, MLFLOW_TRACKING_PASSWORD=password)
    return bare


def connect(uri: str, root: Path) -> MlflowClient:
    """A client of the store at `uri`, whose database exists at the current schema afterwards.

    Artifacts of a database store go under `root/artifacts`. Raises InputError for an address that cannot be used.
    """
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme in ("http", "https"):
        _probe_server(uri)
    elif scheme in DATABASES:
        _check_database(uri)
        _writable(root)
        file = database_file(uri)
        folder = file.parent if file is not None and file.parent.is_dir() else root
        with FileLock(folder / INITIALISING):  # two processes that migrate at once both crash
            _prepare_database(uri, root / "artifacts")
    else:
        hint = "use sqlite:///<file>, postgresql://…, mysql://…, http://… or https://…"
        raise _refusal(uri, "unknown kind of store", nearest=hint)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: MlflowClient, uri: str, root: Path, name: str) -> str:
    """The id of an experiment, which is created or restored where necessary."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        local = not uri.startswith("http")  # a server chooses the address of the artifacts itself
        location = (root / "artifacts" / name).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def artifacts(address: str, uri: str) -> ArtifactRepository:
    """The artifacts at a known address. MlflowClient would request the address first, once per run and model."""
    return get_artifact_repository(address, tracking_uri=uri)


def _refusal(address: str, rule: str, value: object = "", nearest: str = "") -> InputError:
    first_line = redacted(next(iter(str(value).splitlines()), ""))
    return InputError(Problem("tracking store", redacted(address), rule, first_line[:300], nearest))


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _refusal(str(folder), "must be a folder that can be written", error) from None


def _probe_server(uri: str) -> None:
    try:
        answer = rest.http_request(
            passwords.get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "POST",
            max_retries=0,
            timeout=CONNECT_TIMEOUT_S,
            raise_on_status=False,
            json={"max_results": 1},
        )
    except MlflowException as error:
        reason = connection_failure(error).removeprefix(f"{redacted(uri.rstrip('/'))}: ") or error
        hint = "is `mlflow server` running there?"
        raise _refusal(uri, "the tracking server does not answer", reason, hint) from None
    if answer.status_code != 200:
        raise _refusal(uri, "the tracking server refuses", f"HTTP {answer.status_code} {answer.reason}")


def _check_database(uri: str) -> None:
    """Raises InputError for what is no database, or cannot be reached, before any file is created for it."""
    file = database_file(uri)
    if file is None:
        _open_database(uri).dispose()
        return
    if file.is_symlink() and not file.exists():  # to a disk that is not mounted: the link would be replaced by a file
        raise _refusal(uri, "the database cannot be opened", "it is a link to a file that does not exist")
    if file.exists() and not file.is_file():
        raise _refusal(uri, "the database cannot be opened", "it is no plain file")
    _writable(file.parent)
    if file.exists():  # read without SQLite, which would wait for another process's first migration
        try:
            with file.open("rb") as stream:
                header = stream.read(len(SQLITE_HEADER))
        except OSError as error:
            raise _refusal(uri, "the database cannot be opened", error) from None
        if header not in (b"", SQLITE_HEADER):
            raise _refusal(uri, "the database cannot be opened", "file is not a database")


def _open_database(uri: str) -> sqlalchemy.Engine:
    # MLflow's own function retries an unusable database for more than an hour.
    try:
        url = sqlalchemy.make_url(uri)
        timeout = {"connect_timeout": CONNECT_TIMEOUT_S} if url.get_backend_name() in ("postgresql", "mysql") else {}
        engine = sqlalchemy.create_engine(url, connect_args=timeout)
        sqlalchemy.inspect(engine).get_table_names()
    except ImportError as error:
        hint = "install ablate with its extra 'postgres'" if is_postgres(uri) else ""
        raise _refusal(uri, "the database cannot be opened", error, hint) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _refusal(uri, "the database cannot be opened", error) from None
    return engine


def _prepare_database(uri: str, artifacts: Path) -> None:
    file = database_file(uri)
    if file is None:
        _migrate(uri, artifacts)
        return
    if file.is_file() and file.stat().st_size:
        with reading(file):  # refuses other contents than MLflow's, before MLflow writes to it
            pass
        _migrate(uri, artifacts)
        relocation.rewrite(file)
        return
    # Created in a temporary folder and then moved: a database whose first migration was killed cannot be migrated.
    with tempfile.TemporaryDirectory(prefix="ablate-store-") as scratch:
        _migrate(default_uri(Path(scratch)), artifacts)
        try:
            write_whole(file, [Path(scratch, "mlflow.db").read_bytes()])
        except OSError as error:
            raise _refusal(uri, "the database cannot be opened", error) from None


def _migrate(uri: str, artifacts: Path) -> None:
    """Bring a database to this MLflow's schema, with a default experiment whose artifacts are in our folder.

    Of two machines that create the tables of one PostgreSQL at once, one fails: it tries again.
    """
    _open_database(uri).dispose()  # fails at once where MLflow would retry for more than an hour
    tries = 1 if database_file(uri) else TRIES
    for tries_left in reversed(range(tries)):
        try:
            _make_tables(uri, artifacts)
            return
        except Exception as error:  # alembic: a schema of a newer MLflow, or tables that are not MLflow's
            if not (tries_left and isinstance(error, (sqlalchemy.exc.SQLAlchemyError, MlflowException))):
                raise _refusal(uri, "the database cannot be brought to this MLflow's schema", error) from None
        time.sleep(PAUSE_S)


def _make_tables(uri: str, artifacts: Path) -> None:
    location = artifacts.resolve().as_uri()
    try:
        store = stores.SqlAlchemyStore(uri, location)  # creates missing tables
    except MlflowException as error:
        if "out-of-date database schema" not in str(error):
            raise
        schema.upgrade.main([uri], standalone_mode=False)  # what `mlflow db upgrade` does
        store = stores.SqlAlchemyStore(uri, location)
    store.engine.dispose()


def check_own_folder(run_id: str, address: str) -> None:
    """Raise InputError, before a file is written to it, for a local artifact address that is not the run's own."""
    folder = local_path(address)
    if folder is not None and not is_own_folder(folder, run_id):
        rule = "its artifact address must be the folder that MLflow made for it"
        raise InputError(Problem("tracking store", f"run {run_id}", rule, redacted(address)[:200]))


def is_own_folder(folder: Path, run_id: str) -> bool:
    """Whether it is the folder that MLflow makes for a run. An address in a store from elsewhere may lead anywhere."""
    return folder.parent.name == run_id
