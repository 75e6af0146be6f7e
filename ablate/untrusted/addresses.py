"""Addresses of servers and databases: check and convert them, and remove passwords from texts. Opens nothing."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ablate.untrusted.problems import InputError, Problem

HIDDEN = "***"
# `user:password@` up to the last @ of the word, because a password may contain / and @; host:port/…@ has no password.
_USERINFO = r"(?<=://)(?:[^/\s:@]*:(?!\d{1,5}(?:[/\s]|$))%s*|[^/\s@]*)@"
IN_TEXT = re.compile(_USERINFO % r"\S")
IN_ARGUMENT = re.compile(_USERINFO % r"[\s\S]")  # an argument is one address, whose password may contain blanks
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&;'"]+)"""
NAMED = re.compile(rf"""(?i)([\w-]*(?:password|passwd|passphrase|pwd)["']?\s*[=:]\s*){_VALUE}""")
IN_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:token|secret|key|signature|credential)[\w-]*=)[^&\s'\"]+")
ESCAPES_HINT = "@ : / ? # and blanks in a user name or password are written %40 %3A %2F %3F %23 %20"


def redacted(text: object) -> str:
    """`text` without passwords: user:password@ of addresses, password=… of connection strings, keys in queries.

    Where it is unclear what the password is, more than the password is hidden.
    """
    return _without_named(IN_TEXT.sub(f"{HIDDEN}@", str(text)))


def _without_named(text: str) -> str:
    """`text` without values of names like "password" and "token"."""
    return IN_QUERY.sub(rf"\1{HIDDEN}", NAMED.sub(rf"\1{HIDDEN}", text))


def has_password(address: str) -> bool:
    """Whether the address has a password, as user:password@ or in its query."""
    return bool(without_login(address)[2]) or _without_named(address) != address


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as a shell command, without passwords."""
    return shlex.join(_without_named(IN_ARGUMENT.sub(f"{HIDDEN}@", argument)) for argument in arguments)


def checked(option: str, address: str) -> str:
    """`address`, if every library takes the same part of it as the password.

    Raises InputError otherwise: a library could take part of the password for the host and show it in an error.
    """
    scheme, separator, rest = address.partition("://")
    authority = rest.partition("/")[0]
    login, at, _ = authority.rpartition("@")
    port = authority.rpartition(":")[2] if ":" in authority.rpartition("]")[2] else ""
    at_in_path = port.isdigit() and scheme.startswith("http")  # only the path of a web page may have an @
    cut_off = not at and "@" in rest and bool(port) and not at_in_path
    if separator and (cut_off or re.search(r"[@?#\s]", login)):
        raise InputError(Problem(option, "", "is not a well-formed address", f"{scheme}://{HIDDEN}", ESCAPES_HINT))
    try:
        urlsplit(address)
    except ValueError as error:  # for example an IPv6 address without its bracket
        raise InputError(Problem(option, "", "is not a well-formed address", redacted(address), str(error))) from None
    return address


def with_driver(address: str) -> str:
    """`postgresql://…` with psycopg, which the extra `postgres` installs: SQLAlchemy's default driver varies."""
    if address.startswith("postgresql://") and importlib.util.find_spec("psycopg"):
        return address.replace("://", "+psycopg://", 1)
    return address


def sqlite_address(file: Path) -> str:
    """The address of a SQLite database, with % and ? escaped: SQLAlchemy reads %41 as A, and options after ?."""
    return f"sqlite:///{_quoted(file.absolute())}"


def default_uri(mlruns: Path) -> str:
    """The address of the default store: one SQLite file in the `mlruns` folder."""
    return sqlite_address(mlruns / "mlflow.db")


def database_file(uri: str) -> Path | None:
    """The file of an `sqlite:///…` address; None for any other store.

    Raises InputError for one without a file name or with options: taken for a file name, it would be another store.
    """
    scheme, _, rest = uri.partition(":")
    if scheme.partition("+")[0] != "sqlite":
        return None
    path = rest.removeprefix("///")
    if not rest.startswith("///") or path in ("", ":memory:") or "?" in path:
        raise InputError(Problem("tracking store", uri, "must name one file", nearest="sqlite:////folder/mlflow.db"))
    return Path(unquote(path))


def local_path(address: str) -> Path | None:
    """The local path of an artifact address (`file://…` or a plain path); None for an address elsewhere."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(address)


def absolute(address: str, folder: Path) -> str:
    """The address with the absolute path, where it names a SQLite file relative to `folder`; other addresses as is."""
    scheme, _, file = address.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not file or file.startswith(("/", ":", "file:")):
        return address
    return f"{scheme}:///{_quoted(folder)}/{file}"


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3F")


def is_postgres(address: str | None) -> bool:
    """Whether this is an address of a PostgreSQL database."""
    return bool(address) and str(address).partition(":")[0].partition("+")[0] == "postgresql"


def without_login(address: str) -> tuple[str, str, str]:
    """(address without `user:password@`, user, password); the last two are "" where the address has no login."""
    parts = urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return (parts._replace(netloc=host).geturl() if at else address), unquote(user), unquote(password)


def unreachable(address: str, error: Exception) -> Problem:
    """The problem of a database that cannot be opened, with a reason of one line and without the password."""
    reason = getattr(error, "orig", None) or error
    first_line = next(iter(str(reason).strip().splitlines()), "") or type(reason).__name__
    hint = "install ablate with its extra 'postgres'" if isinstance(error, ImportError) else ""
    return Problem(redacted(address), "", "the database cannot be opened", redacted(first_line)[:300], hint)
