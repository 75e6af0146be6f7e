"""Studies of a command and of a function on a Dask cluster: the bytes of a local run, or a reason before anything."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import TrackingServer
from toy_cluster import Cluster
from toy_project import GONE_S, Project, finish, wait_until

from ablate.executors.dask import requirements
from ablate.executors.dask.script_requirements import ScriptNeeds, host_and_port
from ablate.study import RunSpec, components
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.trainers.context import Context

TESTS = Path(__file__).parents[1]
Cli = Callable[..., Any]
# On a worker that has a copy of the study in its working folder, and does not see the folders of the driver.
OWN_COPY = """
from pathlib import Path
from ablate.executors.dask import script_requirements, worker
def here(study_dir):
    return Path.cwd()
script_requirements.folder_here = worker.folder_here = here
worker.PROBE = "of another folder"
"""


def copied(kind: str, folder: Path) -> Project:
    shutil.copytree(TESTS / kind, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return Project(folder)


def results(project: Project) -> bytes:
    return (project.folder / "reports" / "dropout" / "results.csv").read_bytes()


def files(project: Project) -> Counter[str]:
    """How many runs have a file of this name."""
    return Counter(path.name for path in project.folder.glob("mlruns/artifacts/*/*/artifacts/**/*") if path.is_file())


def run(project: Project, cluster: Cluster, *options: str) -> subprocess.CompletedProcess[str]:
    return project.call("run", "dropout.toml", *options, ABLATE_SCHEDULER=cluster.address)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "dask").mkdir()
    with Cluster(tmp_path / "dask") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, initialised_store: Path) -> Iterator[Project]:
    project = copied("script", tmp_path / "project")
    project.store(initialised_store)
    yield project
    project.stop()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", [pytest.param("script", marks=pytest.mark.long), "function"])
def test_the_bytes_are_those_of_a_local_run(
    kind: str, cluster: Cluster, tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker works in the study's folder, the other in its own copy of it and sends the files back."""
    cluster.add(1)
    copied(kind, cluster.folder)
    (cluster.folder / "own_copy.py").write_text(OWN_COPY)
    (cluster.folder / "own_copy.py").rename(tmp_path / "own_copy.py")  # no code of the study
    cluster.add(1, "--preload", str(tmp_path / "own_copy.py"))
    spread, alone = copied(kind, tmp_path / "spread"), copied(kind, tmp_path / "alone")
    for each in (spread, alone):
        each.store(initialised_store)
        each.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1, 2]"), file="dropout.toml")
    try:
        done = run(spread, cluster)
    finally:
        spread.stop()
    assert done.returncode == 0, done.stderr + cluster.log()
    monkeypatch.chdir(alone.folder)
    monkeypatch.delitem(sys.modules, "ablation", raising=False)
    here = cli("run", "dropout.toml", "--workers", "1")
    assert here.code == 0, here.err
    assert results(spread) == results(alone)
    assert files(spread) == files(alone)
    records = LocalStore(spread.folder / "mlruns" / "mlflow.db").records("dropout")
    assert len({record.provenance["source_digest"] for record in records}) == 1


def test_a_worker_that_is_killed_leaves_nothing_of_the_script(cluster: Cluster, project: Project) -> None:
    text = (project.folder / "dropout.toml").read_text()
    start, end = text.index("[tuning]"), text.index("[[hypotheses]]")
    (project.folder / "dropout.toml").write_text(text[:start] + text[end:])
    waits = "import os, subprocess, sys, time\nopen(f'begun-{os.getpid()}', 'w').close()\n"
    waits += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'], start_new_session=True)\n"
    waits += "while not os.path.exists('go'):\n    time.sleep(0.02)\n"
    project.edit(("for epoch in range", waits + "for epoch in range"), file="train.py")
    cluster.add(2)
    process = project.start("run", "dropout.toml", "--only", "plain:1", ABLATE_SCHEDULER=cluster.address)
    wait_until(lambda: any(project.folder.glob("begun-*")) or process.poll() is not None, tell=cluster.log)
    (begun,) = project.folder.glob("begun-*")
    script = psutil.Process(int(begun.name.removeprefix("begun-")))
    wait_until(lambda: len(script.children()) == 1)
    ended = [script, *script.children()]
    (worker,) = {parent.pid for parent in script.parents()} & {worker.pid for worker in cluster.workers}
    next(each for each in cluster.workers if each.pid == worker).send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs(ended, GONE_S)
    assert left == []
    (project.folder / "go").touch()
    done = finish(process)
    assert done.returncode == 0, done.stderr
    assert len(list(project.folder.glob("begun-*"))) == 2  # it was done again, by the other worker
    bare = project.folder / "bare.json"
    words = ["--lr=0.05", "--epochs=4", "--seed=1", f"--out={bare}"]
    subprocess.run([sys.executable, TESTS / "script" / "train.py", *words], cwd=project.folder, check=True)
    (record,) = [r for r in LocalStore(project.folder / "mlruns" / "mlflow.db").records("dropout") if r.scores]
    assert f'"test_loss": {record.scores["test/loss"]!r}' in bare.read_text()


def test_a_worker_with_other_code_inputs_or_without_the_program_is_refused(
    cluster: Cluster, project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    command = ("run", "dropout.toml", "--scheduler", cluster.address)
    other = copied("script", cluster.folder)
    preload = cluster.folder.parent / "own_copy.py"
    preload.write_text(OWN_COPY)
    other.edit(("- 1.01", "- 1.02"), file="train.py")
    (other.folder / "numbers.txt").write_text("7\n")
    cluster.add(1, "--preload", str(preload))
    refused = cli(*command)
    assert refused.code == 2
    folder = cluster.folder
    assert f"has other source code of the command in {folder} than the driver; copy the study's folder" in refused.err
    assert f"has other inputs in {folder} than the driver" in refused.err
    (other.folder / "train.py").unlink()
    (other.folder / "numbers.txt").unlink()
    refused = cli(*command)
    assert refused.code == 2
    assert f'settings.run.command: no such script in {folder}: "train.py"' in refused.err
    assert f'settings.run.inputs[0]: no such file or folder in {folder}: "numbers.txt"' in refused.err
    assert "Traceback" not in refused.err
    assert not (project.folder / "reports").exists()


class TestScoresInMlflow:
    @pytest.fixture
    def logged(self, tmp_path: Path, initialised_store: Path) -> Iterator[Project]:
        project = copied("mlflow_script", tmp_path / "logged")
        study = project.folder / "dropout.toml"
        study.write_text(study.read_text().partition("[tuning]")[0].replace("[1, 2]", "[1]"))
        yield project
        project.stop()

    def test_a_store_in_a_file_is_refused(self, logged: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(logged.folder)
        refused = cli("run", "dropout.toml", "--scheduler", "tcp://127.0.0.1:8786")
        assert refused.code == 2
        told = (
            '--scheduler: cannot be used where scripts log to a store in a file (scores = "mlflow"): the workers may '
        )
        told += "not share it (got mlruns/mlflow.db); start `mlflow server` where they reach it, and give its address "
        assert told + "with --tracking-uri" in " ".join(refused.err.split())
        assert not (logged.folder / "mlruns").exists()

    def test_a_server_takes_them(self, logged: Project, cluster: Cluster, tracking_server: TrackingServer) -> None:
        import mlflow

        cluster.add(1)
        done = run(logged, cluster, "--tracking-uri", tracking_server.address)
        assert done.returncode == 0, done.stderr + cluster.log()
        client = mlflow.MlflowClient(tracking_server.address)
        experiment = client.get_experiment_by_name("logged-dropout")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], "tags.`ablate.role` = 'run'")
        assert [each.data.metrics["test/loss"] for each in runs] == [each.data.metrics["test_loss"] for each in runs]
        assert len(runs) == 2


class TestNeeds:
    """What a process lacks, without a cluster."""

    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        folder = copied("script", tmp_path / "study").folder
        return Context("", (), folder, tmp_path / "work", tmp_path / "logs")

    def needs(self, context: Context, **section: object) -> ScriptNeeds:
        run = {"command": ["python", "train.py", "{out}"], "inputs": ["numbers.txt"], **section}
        inputs = components.data_digest({"run": run}, None, context.study_dir)
        spec = RunSpec("study", "arm", 1, "compare", {"run": run}, inputs)
        needs = requirements.needs_of(spec, context)
        assert isinstance(needs, ScriptNeeds)
        return needs

    def test_nothing_where_it_is_the_same(self, context: Context) -> None:
        assert list(requirements.faults(self.needs(context))) == []

    def test_a_change_of_the_script_is_seen_at_once(self, context: Context) -> None:
        needs = self.needs(context)
        with (context.study_dir / "train.py").open("a") as file:
            file.write("print(1)\n")
        (fault,) = requirements.faults(needs)
        assert fault.startswith("has other source code of the command in ")
        assert list(requirements.faults(self.needs(context))) == []

    def test_a_version(self, context: Context) -> None:
        needs = replace(self.needs(context), versions=(("numpy", "0.1"),))
        (fault,) = requirements.faults(needs)
        assert fault.endswith(", the driver 0.1")

    def test_a_function_is_not_imported(self, context: Context) -> None:
        module = context.study_dir / "imported_by_nobody.py"
        module.write_text("raise SystemExit\ndef train(settings, run): ...\n")
        run = {"function": "imported_by_nobody:train"}
        needs = requirements.needs_of(RunSpec("study", "arm", 1, "compare", {"run": run}, ""), context)
        assert list(requirements.faults(needs)) == []
        module.write_text("def train(settings, run): return 1\n")
        (fault,) = requirements.faults(needs)
        assert fault.startswith("has other source code of the function in ")

    def test_a_server_that_cannot_be_reached(self, context: Context) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            logs = replace(context, environment={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}/base"})
            needs = self.needs(logs, scores="mlflow", command=["python", "train.py"])
            assert needs.server == ("127.0.0.1", port)
            assert list(requirements.faults(needs)) == []
        (fault,) = requirements.faults(needs)
        assert fault.startswith(f"cannot reach the MLflow server at 127.0.0.1:{port}, to which the script logs (")

    @pytest.mark.parametrize(
        ("address", "found"),
        [
            ("https://mlflow.example.org", ("mlflow.example.org", 443)),
            ("postgresql+psycopg://me@db/mlflow", ("db", 5432)),
            ("http://[::1]:5000", ("::1", 5000)),
            ("file:///mlruns", None),
        ],
    )
    def test_where_a_server_listens(self, address: str, found: tuple[str, int] | None) -> None:
        assert host_and_port(address) == found
