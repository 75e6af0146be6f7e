"""A finished study moves by commands from a local store to a server and back: the same bytes, and nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from servers import PASSWORD, QUOTED, Postgres, TrackingServer
from toy_project import Project, as_json

from ablate.cli.progress_count import ProgressCount
from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

NOTHING = "linear: 0 runs and 0 models imported: what the file holds is here already, or was discarded here\n"
Cli = Callable[..., Any]


def unnamed(project: Project) -> list[tuple[Record, list[dict[str, float]]]]:
    """Records with their curves: every store has ids of its own."""
    records = project.records()
    store = LocalStore(project.folder / "mlruns" / "mlflow.db")
    curves = dict(store.histories("linear", [record.run_id for record in records]))
    return [(replace(record, run_id=""), curves.get(record.run_id, [])) for record in records]


def test_there_and_back(
    zipped: Path,
    finished: Project,
    project: Project,
    tracking_server: TrackingServer,
    postgres: Postgres,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres.hide_studies(tracking_server.database)
    said = []
    address = tracking_server.address.replace("://", f"://{QUOTED}:{QUOTED}@")  # a login that nobody asks for

    def call(*arguments: str) -> Any:
        answer = cli(*arguments)
        said.append(answer.out + answer.err)
        assert answer.code == 0, answer.err
        return answer

    with monkeypatch.context() as served:
        served.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("USERNAME", "PASSWORD"):  # where the login goes; put back afterwards
            served.setenv(f"MLFLOW_TRACKING_{name}", "")
        assert call("import", str(zipped)).out == "linear: 10 runs and 6 models imported\n"
        assert call("import", str(zipped)).out == NOTHING
        cells = as_json(call("status", "linear.toml", "--json").out)["cells"]
        assert {cell["state"] for cell in cells} == {"done"}
        call("report", "linear")
        assert project.results == finished.results
        assert "Absolute error" in call("compare", "linear", "plain", "garden").out
        assert call("export", "linear", "back.zip").out.startswith("linear: 10 runs and 6 models in back.zip")
        assert as_json(call("run", "linear.toml", "--json").out)["missing"] == 0
        call("discard", "linear:mean", "--yes")
        told = call("gc").out.splitlines()
        assert re.fullmatch(r"\d+ discarded runs of .*linear.* stay on the server until its operator runs", told[-2])
        assert told[-1].startswith(f"MLFLOW_TRACKING_URI={tracking_server.address} mlflow gc --backend-store-uri ")
        assert call("import", str(zipped)).out == NOTHING
    assert not Path("mlruns/mlflow.db").exists()

    shutil.rmtree("reports")
    assert call("import", "back.zip").out == "linear: 10 runs and 6 models imported\n"
    call("report", "linear")
    assert project.results == finished.results
    assert unnamed(project) == unnamed(finished)
    assert call("import", str(zipped)).out == NOTHING
    with zipfile.ZipFile("back.zip") as back, zipfile.ZipFile(zipped) as original:
        assert back.namelist() == original.namelist()
        for name in original.namelist():
            assert back.read(name) == original.read(name), name
        said += [back.read(name).decode("latin-1") for name in back.namelist()]
    said += [path.read_text("latin-1") for path in project.folder.rglob("*") if path.is_file()]
    for text in said:
        assert QUOTED not in text
        assert PASSWORD not in text


@pytest.mark.parametrize("which", ["its database", pytest.param("itself", marks=pytest.mark.long)])
def test_a_server_that_goes_away_is_waited_for(
    which: str,
    zipped: Path,
    finished: Project,
    project: Project,
    initialised_store: Path,
    postgres: Postgres,
    cli: Cli,
    request: pytest.FixtureRequest,
) -> None:
    """It goes when a command tells of its first run, and comes back when that says it waits."""
    if which == "itself":
        server = away = request.getfixturevalue("new_tracking_server")()
    else:
        server, away = request.getfixturevalue("tracking_server"), postgres
        postgres.hide_studies(server.database)
    uri = ("--tracking-uri", server.address)

    def command(*arguments: str, comes_back: bool = True) -> Any:
        ends, say = [away.stop], ProgressCount.note

        def note(counting: ProgressCount, text: str) -> None:
            say(counting, text)
            if "waiting" in text:
                away.start()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ProgressCount, "__call__", lambda *_: ends.pop()() if ends else None)
            if comes_back:
                patched.setattr(ProgressCount, "note", note)
            return cli(*arguments, *uri)

    went = command("import", str(zipped))
    assert (went.code, went.out) == (0, "linear: 10 runs and 6 models imported\n"), went.err
    came = command("export", "linear", "back.zip")
    assert came.out.startswith("linear: 10 runs and 6 models in back.zip"), came.err
    for said in (went.err, came.err):
        assert re.fullmatch(r"the store does not answer: .*; waiting, .* 120 s more\nthe store answers again\n", said)
    in_vain = command("export", "linear", "not.zip", "--patience", "0", comes_back=False)
    away.start()
    assert in_vain.code == 1
    assert re.fullmatch(r"error: the store does not answer: .* \(waited 0 s\)\n", in_vain.err)
    assert not Path("not.zip").exists()
    shutil.rmtree("mlruns")
    project.store(initialised_store)
    assert cli("import", "back.zip").code == 0
    assert unnamed(project) == unnamed(finished)


def test_no_password_is_told_when_it_fails(zipped: Path, project: Project, postgres: Postgres, cli: Cli) -> None:
    nowhere = postgres.address("no_such_database")
    for arguments in (("import", str(zipped)), ("export", "linear", "out.zip"), ("snapshot", "linear"), ("gc",)):
        answer = cli(*arguments, "--tracking-uri", nowhere)
        assert answer.code == 2
        reached = "a snapshot lives in" if arguments[0] == "snapshot" else "***@127.0.0.1"
        assert reached in answer.err
        assert QUOTED not in answer.err
        assert PASSWORD not in answer.err


def test_gc_frees_files_of_discarded_runs_of_a_database(
    zipped: Path, project: Project, new_database: Callable[..., str], cli: Cli
) -> None:
    uri = ("--tracking-uri", new_database(with_mlflow=True))
    assert cli("import", str(zipped), *uri).code == 0
    assert cli("gc", *uri).out == ""
    assert cli("discard", "linear:garden", "--yes", *uri).code == 0
    dry = cli("gc", "--dry-run", *uri)
    answer = cli("gc", *uri)
    assert answer.out == dry.out
    assert answer.out.count("files of a discarded run") == 2  # trials have none
    assert answer.out.count("files of a discarded model") == 2
    assert len(list(Path("mlruns/artifacts/linear/models").iterdir())) == 4
    assert cli("gc", *uri).out == ""
    assert cli("report", "linear", *uri).code == 0


def test_no_server_is_asked_for_nonsense_or_while_a_driver_is_at_work(zipped: Path, project: Project, cli: Cli) -> None:
    nowhere = ("--tracking-uri", "http://127.0.0.1:9")
    Path("a.zip").write_text("no archive")
    answer = cli("import", "a.zip", *nowhere)
    assert (answer.code, "cannot be read as an exported study" in answer.err) == (2, True)
    Path("mlruns").mkdir()
    with FileLock("mlruns/linear.lock"):
        answer = cli("import", str(zipped), *nowhere)
    assert answer.code == 2
    assert "at work" in answer.err


def git(*arguments: str) -> None:
    who = {f"GIT_{role}_{what}": "toy@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *arguments], env=environment, check=True, capture_output=True)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_snapshot_of_a_server_is_restored_here(
    zipped: Path,
    finished: Project,
    project: Project,
    tracking_server: TrackingServer,
    postgres: Postgres,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres.hide_studies(tracking_server.database)
    uri = ("--tracking-uri", tracking_server.address)
    assert cli("import", str(zipped), *uri).code == 0
    git("init", "-q", "-b", "main")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    first = cli("snapshot", "linear", *uri, "--reports-only")
    assert (first.code, first.out.partition(" were")[0]) == (0, "linear: 10 runs and 0 models"), first.err
    again = cli("snapshot", "linear", *uri, "--reports-only")
    assert again.out.startswith("linear: 0 runs and 0 models"), again.err
    whole = cli("snapshot", "linear", *uri)
    assert whole.out.startswith("linear: 10 runs and 3 models"), whole.err
    assert not Path("mlruns").exists() or not Path("mlruns/mlflow.db").exists()
    assert cli("restore").out == "linear: 10 runs and 3 models restored\n"
    assert cli("report", "linear").code == 0
    assert project.results == finished.results
    assert cli("snapshot", "linaer", *uri).code == 2
