"""Advisory locks of a PostgreSQL database, which the server frees when their holder dies. Knows studies by name only.

The address must reach the server itself, or a pooler in session mode: these locks belong to a session.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from ablate.edges.addresses import redacted, with_driver
from ablate.edges.locks import refusal
from ablate.edges.signals import end_this_process
from ablate.study import InputError, Problem

CONNECT_S = 5
PING_S = 10.0  # a lock that was lost with its session is taken again after this, at the latest
NAME_BYTES = 63  # of application_name, PostgreSQL's
# A server notices after about a minute that the machine of a holder is gone; its own default is two hours.
KEEPALIVE = ("SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")
PATIENCE = {"connect_timeout": CONNECT_S, "tcp_user_timeout": 15_000, "keepalives_idle": 30}  # s, ms, s
LIBPQ = ("psycopg", "psycopg2")  # drivers whose connections take libpq's arguments
HOLDER = """
    SELECT a.pid, a.application_name, to_char(a.backend_start, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM'), a.client_addr::text
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid::bigint = :high AND l.objid::bigint = :low
"""


@contextmanager
def hold(
    address: str, study: str, *, lost: Callable[[str], None] = end_this_process, ping_s: float = PING_S
) -> Iterator[None]:
    """Hold the lock of `study` in the database at `address`.

    Raises InputError when another process holds it, saying who, or when the database cannot be reached. A database
    that goes away takes the lock with it: it is taken again when it is back, and where another process was quicker,
    `lost` is called in a thread, with the reason. By default that ends this process as SIGTERM does.
    """
    lease = Lease(address, study)
    lease.take()
    over = threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(over, ping_s, lost), daemon=True, name=f"lock of {study}")
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join(2 * CONNECT_S)
        if not keeper.is_alive():  # else it waits for a server that does not answer: the session ends with the process
            lease.release()


@contextmanager
def alone(address: str, what: str) -> Iterator[None]:
    """Wait until no other process does `what` in this database. Raises InputError when it cannot be reached."""
    lease = Lease(address, what)
    lease.take(wait=True)
    try:
        yield
    finally:
        lease.release()


class Lease:
    """One advisory lock and the session that holds it."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.key = int.from_bytes(hashlib.sha256(f"ablate {name}".encode()).digest()[:8], "big", signed=True)
        # the mark tells an old session of ours from another process of the same number, in another container
        self.mark = secrets.token_hex(4)
        self.engine: sqlalchemy.Engine | None = None
        self.session: sqlalchemy.Connection | None = None

    def take(self, *, wait: bool = False) -> None:
        """Raises InputError when another process holds the lock, or the database cannot be reached."""
        try:
            holder = self._take(wait)
        except (SQLAlchemyError, ImportError) as error:
            self.release()
            raise InputError(unreachable(self.address, error)) from None
        if holder is not None:
            raise InputError(self._refusal(holder))

    def _take(self, wait: bool = False) -> str | None:
        """None when the lock was taken, else who holds it."""
        self.release()
        self.engine, self.session = self._connect()
        if wait:
            self._ask("SELECT pg_advisory_lock(:key)", key=self.key)
            return None
        if self._try() or self._try_after_own():
            return None
        who = self._holder()
        self.release()
        return who

    def _try(self) -> bool:
        return bool(self._ask("SELECT pg_try_advisory_lock(:key)", key=self.key)[0][0])

    def _connect(self) -> tuple[sqlalchemy.Engine, sqlalchemy.Connection]:
        url = sqlalchemy.make_url(with_driver(self.address))
        arguments: dict[str, Any] = {}
        if url.get_driver_name() in LIBPQ:
            # host last: it is what may be cut off
            name = f"ablate {os.getpid()} {self.mark} {socket.gethostname()}".encode()[:NAME_BYTES]
            arguments = {"application_name": name.decode(errors="ignore"), **PATIENCE}
        engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
        )
        session = engine.connect()
        for statement in KEEPALIVE:
            session.execute(sqlalchemy.text(statement))
        return engine, session

    def _ask(self, statement: str, **values: Any) -> list[Any]:
        assert self.session is not None
        return list(self.session.execute(sqlalchemy.text(statement), values))

    def _try_after_own(self) -> bool:
        """End the session that held the lock before the connection was lost, where the server has not noticed."""
        own = [pid for pid, name, *_ in self._holders() if self.mark in str(name).split()]
        for pid in own:
            self._ask("SELECT pg_terminate_backend(:pid)", pid=pid)
        ended = time.monotonic() + CONNECT_S
        while own and time.monotonic() < ended:
            if self._try():
                return True
            time.sleep(0.1)
        return False

    def _holders(self) -> list[Any]:
        unsigned = self.key % 2**64
        return self._ask(HOLDER, high=unsigned >> 32, low=unsigned & 0xFFFFFFFF)

    def _holder(self) -> str:
        for _, name, since, client in self._holders():
            parts = str(name or "").split(" ", 3)
            process, host = (parts[1], parts[3]) if len(parts) == 4 and parts[0] == "ablate" else ("?", client or "?")
            return f"process {process} on {host}, since {since}"
        return "a process that has just ended, or of another database user"

    def _refusal(self, holder: str) -> Problem:
        return refusal(redacted(self.address), holder)

    def keep(self, over: threading.Event, ping_s: float, lost: Callable[[str], None]) -> None:
        """Take the lock again whenever its session was lost, until `over`."""
        while not over.wait(ping_s):
            try:
                if self.session is None:
                    holder = self._take()
                    if holder is not None:
                        lost(str(self._refusal(holder)))
                        return
                else:
                    self._ask("SELECT 1")
            except (SQLAlchemyError, OSError):  # away; whether to go on without it is for the driver to say
                self.release()

    def release(self) -> None:
        """Free the lock, if it is held."""
        session, self.session = self.session, None
        engine, self.engine = self.engine, None
        with suppress(SQLAlchemyError, OSError):
            if session is not None:
                session.close()
        if engine is not None:
            engine.dispose()


def unreachable(address: str, error: Exception) -> Problem:
    """What to say of a database that cannot be opened: one line, no password."""
    reason = getattr(error, "orig", None) or error
    first_line = next(iter(str(reason).strip().splitlines()), "") or type(reason).__name__
    hint = "install ablate with its extra 'postgres'" if isinstance(error, ImportError) else ""
    return Problem(redacted(address), "", "the database cannot be opened", redacted(first_line)[:300], hint)
