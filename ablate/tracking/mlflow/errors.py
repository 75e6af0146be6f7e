"""Tell what passes (a server away, a locked or full database) from what stays. Used by the `tracking` modules alone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ablate.study import InputError, RunDiscarded, StoreUnavailable
from ablate.trainers.errors import PERMISSION_ERRNOS, STORAGE_ERRNOS
from ablate.untrusted.addresses import redacted

# MLflow's codes for a request that will never be answered otherwise. All others pass, or are worth a second try.
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
OF_THE_CALLER = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError)
# It says so with the same codes as much else.
DISCARDED = re.compile(r"The run \w+ must be in the 'active' state")
LONGEST = 300  # characters of a reason: SQLAlchemy adds the whole statement


class Translated:
    """An MlflowClient whose calls raise StoreUnavailable for a fault that may pass, RunDiscarded for a deleted run."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return _translated(found) if callable(found) else found


def translated(client: MlflowClient) -> MlflowClient:
    """`client`, its passing faults raised as StoreUnavailable."""
    return cast(MlflowClient, Translated(client))


def _translated(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with passing_faults():
            return call(*args, **kwargs)

    return guarded


@contextmanager
def passing_faults() -> Iterator[None]:
    """Raise StoreUnavailable, with one line of reason, in place of a fault that may pass; RunDiscarded, of its own."""
    try:
        yield
    except InputError as error:  # of the reader of SQLite files
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
        cause = error.__cause__
        return error.error_code not in LASTING and not isinstance(cause, OF_THE_CALLER)
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return not isinstance(error, OF_THE_CALLER)
    if isinstance(error, requests.RequestException):
        return True
    # shutil.copytree raises an OSError without a number, with one reason a file
    number = getattr(error, "errno", None)
    return number is None or number in STORAGE_ERRNOS | PERMISSION_ERRNOS


def _reason(error: BaseException) -> str:
    """The first line: what follows is an SQL statement or a page of HTML."""
    if unreached := reason_unreached(error):
        return unreached
    origin = error.__cause__ if isinstance(error, MlflowException) and error.__cause__ else error
    driver = getattr(origin, "orig", None) or origin
    line = next(iter(str(driver).strip().splitlines()), "") or type(driver).__name__
    return redacted(line)[:LONGEST]


def reason_unreached(error: BaseException | None) -> str:
    """Server and reason, in the system's words, where no connection came about; "" for any other fault.

    requests, urllib3 and MLflow wrap the reason four times, each with an address and a sentence of its own.
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
