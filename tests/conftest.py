"""What every test shares: one torch thread, the real data, a quiet MLflow."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from toy_project import Project

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

# No test depends on a clock. A new counterexample is found by people at work, not by a change that has nothing to do
# with it.
settings.register_profile("work", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "work")

pytest_plugins = ["servers"]  # PostgreSQL and an `mlflow server` over it
ROOT = Path(__file__).resolve().parent.parent
WHOLE_STUDIES = ("commands", "scheduler", "executors", "cli")  # folders of tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies first: they take longest, and must not be what one of two processes is left with at the end."""
    items.sort(key=lambda item: (item.path.name != "test_survival.py", item.path.parent.name not in WHOLE_STUDIES))


TEARDOWN_S = 300.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """A clean-up that hangs shows its stacks and is ended: no limit of pytest-timeout holds once a test has failed."""
    timer = threading.Timer(TEARDOWN_S, os.abort)  # pytest's faulthandler shows where all threads are
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real recordings: $ABLATE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("ABLATE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "cmu_dev.npz").is_file():
        pytest.skip(f"the real recordings are not here ({folder}); set ABLATE_DATA")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Results depend on the number of threads, and the machine is shared."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_import_path() -> Iterator[None]:
    """Reading a study adds its folder to sys.path; the next test must not find modules there."""
    before = list(sys.path)
    yield
    sys.path[:] = before


# The toy study: a package outside the repository. See toy_project.py.


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Fill a folder once for all the processes that pytest-xdist tests in. Look at it, do not touch it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def fill(name: str, make: Callable[[Path], None]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.made").exists():
                shutil.rmtree(shared / name, ignore_errors=True)
                (shared / name).mkdir()
                make(shared / name)
                (shared / f"{name}.made").touch()
        return shared / name

    return fill


@pytest.fixture(scope="session")
def initialised_store(once: Callable[..., Path]) -> Path:
    """The file of an empty MLflow database: preparing one takes seconds, copying it none."""
    from ablate.tracking.mlflow import store

    return once("empty-store", lambda folder: store.connect(store.default_uri(folder), folder)) / "mlflow.db"


@pytest.fixture(scope="session", autouse=True)
def _tables_are_copied(once: Callable[..., Path]) -> Iterator[None]:
    """The tables of a new local database are those that MLflow has made once. Other processes make their own."""
    from ablate.tracking.mlflow import store

    make = store._make_tables

    def copy(uri: str, artifacts: Path) -> None:
        file = store.database_file(uri)
        if file is None or (file.exists() and file.stat().st_size):
            make(uri, artifacts)
            return
        made = once("empty-tables", lambda folder: make(store.default_uri(folder), folder / "artifacts"))
        shutil.copy(made / "mlflow.db", file)
        with closing(sqlite3.connect(file)) as database, database:
            root = artifacts.resolve().as_uri()
            database.execute("UPDATE experiments SET artifact_location = ? || '/' || experiment_id", (root,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_make_tables", copy)
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A fresh copy of the toy study, which is the working folder and importable from there alone."""
    _forget_toy()
    project = Project.create(tmp_path / "project")
    monkeypatch.setattr(sys, "path", [str(project.folder), *sys.path])
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield project
    project.stop()
    _forget_toy()


def _forget_toy() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "linear_toy"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def finished(once: Callable[..., Path], initialised_store: Path) -> Project:
    """The toy study, run by the real command with one worker."""

    def run(folder: Path) -> None:
        project = Project.create(folder)
        project.store(initialised_store)
        done = project.call("run", "linear.toml", "--json", "--workers", "1")
        assert done.returncode == 0, done.stderr
        (project.folder / "stdout").write_text(done.stdout, encoding="utf-8")
        (project.folder / "stderr").write_text(done.stderr, encoding="utf-8")

    return Project(once("finished", run))


@pytest.fixture(scope="session")
def zipped(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy study, exported to a file."""
    from ablate.archive.collect import collect
    from ablate.archive.zip_archive import pack
    from ablate.tracking.mlflow.tracker import MlflowTracker

    folder = tmp_path_factory.mktemp("zipped")
    collect("linear", MlflowTracker(None, finished.folder / "mlruns"), folder / "study", lambda done, total: None)
    pack("linear", folder / "study", folder / "linear.zip")
    return folder / "linear.zip"


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Callable[..., Answer]:
    """Run a command in this process: starting Python, torch and MLflow anew takes seconds. See `rendered`."""
    from ablate.cli.app import main

    if "rendered" not in request.fixturenames:
        request.getfixturevalue("unrendered")

    def call(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return Answer(int(exit_.value.code or 0), out, err)

    return call


NO_PICTURE = {"svg": '<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt"/>'}


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports make their figures and save files without a picture: rendering is most of the work of a report."""
    from ablate.report import style

    def save(drawing: object, path: Path, kinds: Sequence[str] = ("png",), **options: object) -> None:
        for kind in kinds:
            path.with_name(f"{path.name}.{kind}").write_text(NO_PICTURE.get(kind, ""), encoding="utf-8")

    monkeypatch.setattr(style, "save", save)


@pytest.fixture
def rendered() -> None:
    """The commands of `cli` render the figures of reports: for tests that look at them."""


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run in a thread of this process: for tests of what is done rather than where. Use one worker."""
    from ablate.executors import local

    monkeypatch.setattr(local, "pool_for", lambda device, trainer, more=(): ThreadPoolExecutor)


@pytest.fixture
def new_mlruns(initialised_store: Path) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "mlruns").mkdir(parents=True)
        shutil.copy(initialised_store, folder / "mlruns" / "mlflow.db")
        return folder / "mlruns"

    return make


@pytest.fixture
def mlruns(new_mlruns: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A fresh store of the default kind."""
    return new_mlruns(tmp_path)
