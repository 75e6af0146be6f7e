"""No password is shown: of an address, a connection string, a command line or an error that quotes one."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.study import InputError
from ablate.untrusted import addresses
from ablate.untrusted.addresses import checked, command_line, redacted, with_driver, without_login

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql+psycopg://me:{SECRET}@db:5432/x", "postgresql+psycopg://***@db:5432/x"),
        (f"cannot reach http://{SECRET}@host/api: away", "cannot reach http://***@host/api: away"),
        (f"http://me:{SECRET}/with@signs@host/x and http://b:{SECRET}@c", "http://***@host/x and http://***@c"),
        (f"postgresql://db/x?user=me&password={SECRET}&a=b", "postgresql://db/x?user=me&password=***&a=b"),
        (f"host=db password={SECRET} dbname=x", "host=db password=*** dbname=x"),
        (f"host=db password = 'two {SECRET}' dbname=x", "host=db password = *** dbname=x"),
        (f"PGPASSWORD={SECRET} psql", "PGPASSWORD=*** psql"),
        (f'{{"password": "{SECRET}", "a": 1}}', '{"password": ***, "a": 1}'),
        (f"https://s3/x?X-Amz-Signature={SECRET}&b=1", "https://s3/x?X-Amz-Signature=***&b=1"),
    ],
)
def test_a_password_is_hidden_and_the_rest_is_not(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1",
        "http://127.0.0.1:5000/models/m@champion",
        "sqlite:////home/me@work/mlruns/mlflow.db",
        "tcp://10.0.0.1:8786",
        "arm 'a': password authentication failed",
        "ask me@example.org about x://",
    ],
)
def test_a_text_without_a_password_is_unchanged(text: str) -> None:
    assert redacted(text) == text


@given(secret=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()))
def test_no_command_line_shows_a_password(secret: str) -> None:
    secret = f"<{secret}>"  # so that it is part of nothing else
    address = f"postgresql://me:{secret}@db/x"
    shown = command_line(["ablate", "run", "a b.toml", "--storage", address, f"--tracking-uri={address}"])
    assert secret not in shlex.join(shlex.split(shown))
    assert shlex.split(shown) == [
        "ablate", "run", "a b.toml", "--storage", "postgresql://***@db/x", "--tracking-uri=postgresql://***@db/x"
    ]  # fmt: skip


@pytest.mark.parametrize("secret", ["p@ss", "p/ss", "p#ss", "p?ss", "p ss", "12/x"])
def test_an_address_that_libraries_read_differently_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(InputError) as caught:
        checked("--storage", f"postgresql://me:{secret}@db/x")
    assert "%40" in str(caught.value)
    assert secret not in str(caught.value)


def test_an_address_without_its_bracket_is_refused_without_its_password() -> None:
    with pytest.raises(InputError, match="not a well-formed address") as caught:
        checked("--tracking-uri", f"http://me:{SECRET}@[::1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:p%40ss%2F@db:5432/x?sslmode=require",
        "postgresql:///x",
        "postgresql://me@[::1]:5432/x",
        "http://127.0.0.1:5000/a@b",
        "sqlite:////tmp/a@b: c/x.db",
        "mlruns",
    ],
)
def test_a_well_formed_address_passes(address: str) -> None:
    assert checked("--storage", address) == address


def test_the_login_is_separated_from_the_address() -> None:
    assert without_login("http://me:p%40ss@host:5000/x") == ("http://host:5000/x", "me", "p@ss")
    assert without_login("http://host:5000/x") == ("http://host:5000/x", "", "")


def test_the_installed_driver_is_added() -> None:
    pytest.importorskip("psycopg")
    assert with_driver("postgresql://db/x") == "postgresql+psycopg://db/x"
    for other in ("postgresql+psycopg2://db/x", "sqlite:///x.db", "http://db/postgresql://x"):
        assert with_driver(other) == other
    assert addresses.is_postgres("postgresql+psycopg://db/x")
    assert not addresses.is_postgres(None)
