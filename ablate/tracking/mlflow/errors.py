"""Translate MLflow's errors: faults that may pass (server away, database locked, disk full) become StoreUnavailable."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
import sqlalchemy
from mlflow.exceptions import MlflowException

from ablate.study import InputError, RunDiscarded, StoreUnavailable
from ablate.trainers.errors import PERMISSION_ERRNOS, STORAGE_ERRNOS
from ablate.untrusted.addresses import redacted

# MLflow's error codes for requests that fail the same way every time. With any other code a second try may succeed.
LASTING = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_CONFLICT",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "ENDPOINT_NOT_FOUND",
    "INVALID_STATE",
    "FEATURE_DISABLED",
    "NOT_IMPLEMENTED",
}
LASTING_SQL = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError)
# MLflow uses the same error codes for other faults, so only the message tells.
DISCARDED = re.compile(r"The run \w+ must be in the 'active' state")
REASON_LIMIT = 300  # characters

S = TypeVar("S")


class _Translated:
    """A client or reader of a store whose calls run inside `passing_faults`."""

    def __init__(self, store: object) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        return passing_faults()(attribute) if callable(attribute) else attribute


def translated(store: S) -> S:
    """`store` with StoreUnavailable for faults that may pass, and RunDiscarded for a deleted run."""
    return cast(S, _Translated(store))


@contextmanager
def passing_faults() -> Iterator[None]:
    """Raise StoreUnavailable, with a one-line reason, for a fault that may pass, and RunDiscarded for a deleted run."""
    try:
        yield
    except InputError as error:  # raised by sqlite_reader
        fault = error.__context__
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnavailable(str(fault)) from fault
        raise
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, requests.RequestException, OSError) as error:
        if isinstance(error, MlflowException) and DISCARDED.search(str(error.message)):
            raise RunDiscarded(error.message) from error
        if not _passes(error):
            raise
        raise StoreUnavailable(_reason(error)) from error


def _passes(error: BaseException) -> bool:
    if isinstance(error, MlflowException):
        return error.error_code not in LASTING and not _is_lasting_sql(error.__cause__)
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return not _is_lasting_sql(error)
    if isinstance(error, requests.RequestException):
        return True
    # shutil.copytree raises an OSError without a number, which lists one reason per file
    number = getattr(error, "errno", None)
    return number is None or number in STORAGE_ERRNOS | PERMISSION_ERRNOS


def _is_lasting_sql(error: BaseException | None) -> bool:
    """Not so where two processes add a dataset at once: MLflow looks whether it is there, then inserts it."""
    if isinstance(error, sqlalchemy.exc.IntegrityError) and "datasets" in str(error.orig):
        return False
    return isinstance(error, LASTING_SQL)


def _reason(error: BaseException) -> str:
    """The first line of the message; after it comes an SQL statement or a page of HTML."""
    if unreachable := connection_failure(error):
        return unreachable
    origin = error.__cause__ if isinstance(error, MlflowException) and error.__cause__ else error
    driver = getattr(origin, "orig", None) or origin
    line = next(iter(str(driver).strip().splitlines()), "") or type(driver).__name__
    return redacted(line)[:REASON_LIMIT]


def connection_failure(error: BaseException | None) -> str:
    """`http://host:port: Connection refused` where no connection was made; "" for any other fault.

    Walks the chain of causes: requests, urllib3 and MLflow wrap the operating system's error four times.
    """
    server = ""
    while error is not None:
        if isinstance(error, requests.ConnectionError) and error.request is not None and error.request.url:
            parts = urlsplit(str(error.request.url))
            server = redacted(f"{parts.scheme}://{parts.netloc}")
        elif server and isinstance(error, OSError) and error.strerror:
            return f"{server}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return ""
