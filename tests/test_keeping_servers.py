"""A finished study moves by commands from a local store to a server and back: the same bytes, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from servers import PASSWORD, QUOTED, Postgres, TrackingServer
from toy_project import Project, as_json

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def zipped(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ablate.edges import transfer

    file = tmp_path_factory.mktemp("zipped") / "linear.zip"
    transfer.export("linear", finished.folder / "mlruns", file)
    return file


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
        assert call("import", str(zipped)).out == "linear: 0 runs and 0 models imported\n"
        cells = as_json(call("status", "linear.toml", "--json").out)["cells"]
        assert {cell["state"] for cell in cells} == {"done"}
        call("report", "linear")
        assert project.results == finished.results
        assert "Absolute error" in call("compare", "linear", "plain", "garden").out
        assert as_json(call("run", "linear.toml", "--json").out)["missing"] == 0
        assert call("export", "linear", "back.zip").out.startswith("linear: 10 runs and 6 models in back.zip")
        call("discard", "linear:mean", "--yes")
        told = call("gc").out.splitlines()
        assert told[0] == "2 discarded runs of linear stay on the server until its operator runs"
        assert told[1].startswith(f"MLFLOW_TRACKING_URI={tracking_server.address} mlflow gc --backend-store-uri ")
        assert call("import", str(zipped)).out == "linear: 0 runs and 0 models imported\n"
    assert not Path("mlruns/mlflow.db").exists()

    shutil.rmtree("reports")
    assert call("import", "back.zip").out == "linear: 10 runs and 6 models imported\n"
    call("report", "linear")
    assert project.results == finished.results
    assert project.records() == finished.records()
    here, there = (folder / "mlruns" / "mlflow.db" for folder in (project.folder, finished.folder))
    assert dict(histories_from_sqlite(here, "linear")) == dict(histories_from_sqlite(there, "linear"))
    assert call("import", str(zipped)).out == "linear: 0 runs and 0 models imported\n"
    with zipfile.ZipFile("back.zip") as back, zipfile.ZipFile(zipped) as original:
        files = {name for name in original.namelist() if "/artifacts/" in name}
        assert {name for name in back.namelist() if "/artifacts/" in name} == files
        for name in files:
            assert back.read(name) == original.read(name), name
        said += [back.read(name).decode("latin-1") for name in back.namelist()]
    said += [path.read_text("latin-1") for path in project.folder.rglob("*") if path.is_file()]
    for text in said:
        assert QUOTED not in text
        assert PASSWORD not in text


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
    assert answer.out.count("files of a discarded run") == 2  # its trials leave a text about where they ran, or nothing
    assert answer.out.count("files of a discarded model") == 2
    assert len(list(Path("mlruns/artifacts/linear/models").iterdir())) == 4
    assert cli("gc", *uri).out == ""
    assert cli("report", "linear", *uri).code == 0


def test_nothing_is_imported_while_a_driver_is_at_work(zipped: Path, project: Project, cli: Cli) -> None:
    Path("mlruns").mkdir()
    with FileLock("mlruns/linear.lock"):
        answer = cli("import", str(zipped), "--tracking-uri", "http://127.0.0.1:9")
    assert answer.code == 2
    assert "at work" in answer.err
