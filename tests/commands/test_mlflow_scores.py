"""Scripts that log their scores to MLflow themselves, into the runs of `ablate run`: real scripts, stores and kills."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import PASSWORD, QUOTED, TrackingServer
from toy_project import Project, clean_environment, finish, group_members, wait_until

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

SCRIPT = Path(__file__).parents[1] / "mlflow_script"
RUN = ("run", "dropout.toml", "--json")
Cli = Callable[..., Any]


@dataclass(frozen=True)
class Logged:
    """The study of a script that logs to MLflow, in a folder of its own."""

    project: Project
    name: str = "logged-dropout"

    @property
    def database(self) -> Path:
        return self.project.folder / "mlruns" / "mlflow.db"

    def records(self) -> list[Record]:
        return LocalStore(self.database).records(self.name)

    def curves(self) -> dict[str, list[dict[str, float]]]:
        """By run name."""
        names = {record.run_id: record.name for record in self.records()}
        return {names[i]: curve for i, curve in LocalStore(self.database).histories(self.name, list(names))}

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def mlflow_statuses(self) -> list[tuple[str, str]]:
        """Of the runs of cells, deleted ones too, oldest first: status and lifecycle stage."""
        arms = "SELECT run_uuid FROM tags WHERE key = 'ablate.role' AND value = 'arm'"
        others = f"name != '{self.name}' AND run_uuid NOT IN ({arms})"
        return self.ask(f"SELECT status, lifecycle_stage FROM runs WHERE {others} ORDER BY start_time")


@pytest.fixture
def logged(tmp_path: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """In the working folder."""
    shutil.copytree(SCRIPT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(tmp_path / "project")
    project.store(initialised_store)
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield Logged(project)
    project.stop()


def without_tuning(logged: Logged, *edits: tuple[str, str]) -> None:
    study = logged.project.folder / "dropout.toml"
    study.write_text(study.read_text().partition("[tuning]")[0])
    logged.project.edit(*edits, file="dropout.toml")


def bare(folder: Path, *words: str) -> dict[str, float]:
    """What the script itself logs, run as a person runs it."""
    import mlflow

    environment = {**clean_environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'bare.db'}"}
    subprocess.run([sys.executable, SCRIPT / "train.py", *words], cwd=folder, env=environment, check=True)
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'bare.db'}")
    (run, *_) = client.search_runs(["0"], order_by=["attributes.start_time DESC"])
    return dict(run.data.metrics)


def test_two_workers_log_to_one_database_and_the_scores_are_those_of_the_bare_script(
    logged: Logged, cli: Cli, tmp_path: Path
) -> None:
    logged.project.edit(("seeds = [1, 2]", "seeds = [2]"), file="dropout.toml")
    ended = logged.project.call(*RUN, "--workers", "2", MLFLOW_EXPERIMENT_NAME="the-user's", MLFLOW_RUN_ID="0" * 32)
    assert ended.returncode == 0, ended.stderr
    records = logged.records()
    assert len(records) == 6
    assert {record.status for record in records} == {"FINISHED"}
    assert logged.mlflow_statuses() == [("FINISHED", "active")] * 6
    (plain,) = [r for r in records if r.name == "dropout-seed2"]
    own = bare(tmp_path, "--dropout", f"--lr={plain.overrides['run.lr']!r}", "--seed=2")
    assert plain.scores["val/loss"] == plain.scores["val_loss"] == own["val_loss"]
    assert plain.scores["test/loss"] == own["test_loss"]
    assert plain.scores["train_loss"] == own["train_loss"]  # its other metrics stay under their names
    with (logged.project.folder / "reports" / logged.name / "results.csv").open() as file:
        scores = [float(row["score"]) for row in csv.DictReader(file) if row["metric"] == "test/loss"]
    assert own["test_loss"] in scores
    curve = logged.curves()["dropout-seed2"]
    assert [entry["epoch"] for entry in curve] == [1.0, 2.0, 3.0, 4.0]
    assert all(entry["val/loss"] == entry["val_loss"] for entry in curve)
    tuned = [record for record in records if record.phase == "tune"]
    assert all("val/loss" in r.scores and "test/loss" not in r.scores for r in tuned)
    logs = list((logged.project.folder / "mlruns" / "artifacts").glob("*/*/artifacts/weight.txt"))
    assert len(logs) == 6
    assert json.loads(cli(*RUN).out) == json.loads(ended.stdout)
    assert logged.records() == records


SEVERAL = """
import sys

how, seed = sys.argv[1:]
if how == "silent":
    sys.exit()
import mlflow

if how == "elsewhere":
    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
if how == "other-experiment":
    mlflow.set_experiment("mine")
with mlflow.start_run(run_name="mine"):
    if how == "clash":
        mlflow.log_param("seed", 99)
    mlflow.log_metric("val_loss", 0.5, step=7)
    mlflow.log_metric("val_loss", 0.75, step=3)
    mlflow.log_metric("val/loss", 9.0, step=70)
    mlflow.log_metric("test/loss", 9.0, step=70)
    if how == "raises":
        raise SystemExit("no data")
    mlflow.log_metric("test_loss", float("nan") if how == "nan" else 0.25)
if how == "marked":
    mlflow.start_run(mlflow.last_active_run().info.run_id)
    mlflow.end_run("FAILED")
"""


@pytest.mark.usefixtures("threads")
def test_what_counts_and_what_fails(logged: Logged, cli: Cli) -> None:
    """The exit code and the scores decide, whatever status the script gives its run."""
    hows = ["plain", "marked", "clash", "raises", "nan", "elsewhere", "other-experiment", "silent"]
    (logged.project.folder / "train.py").write_text(SEVERAL)
    study = logged.project.folder / "dropout.toml"
    head, _, _ = study.read_text().partition("[settings.run]")
    arms = "".join(f"[arms.{how}]\nset.\"run.how\" = '{how}'\n" for how in hows)
    settings = 'command = ["python", "train.py", "{how}", "{seed}"]\nscores = "mlflow"\nhow = ""\n'
    study.write_text(
        f'{head}[settings.run]\n{settings}[metric.loss]\ndirection = "lower"\n{arms}'.replace("[1, 2]", "[1]")
    )
    ended = cli(*RUN, "--workers", "1")
    assert ended.code == 1, ended.err
    records = {record.arm: record for record in logged.records()}
    assert {arm: r.status for arm, r in records.items()} == {
        how: "FINISHED" if how in ("plain", "marked") else "FAILED" for how in hows
    }
    assert Counter(status for status, _ in logged.mlflow_statuses()) == {"FINISHED": 2, "FAILED": 6}
    for how in ("plain", "marked"):  # MLflow's latest value is the one of the highest step
        scores = records[how].scores
        assert (scores["val/loss"], scores["test/loss"]) == (0.5, 0.25)
    assert "prevent parameter key collisions" in records["clash"].error  # the last lines of what MLflow says
    assert records["raises"].error == "the command ended with exit code 1; its last lines:\nno data"
    assert records["nan"].error.startswith("the score test_loss is nan; scores count that the script logs to the run")
    assert records["elsewhere"].error.endswith(f"Run with id={records['elsewhere'].run_id} not found")
    assert records["silent"].error.startswith(
        'the score "test_loss" did not come; it gave none; scores count that the script logs to the run in '
    )
    assert "active experiment ID does not match environment run ID" in records["other-experiment"].error


ENDS_ITS_RUN_AND_STAYS = """
import os, sys, time
import mlflow

with mlflow.start_run() as run:
    mlflow.log_metric("val_loss", 0.5)
    mlflow.log_metric("test_loss", 0.25 if os.path.exists("again") else 0.125)
if not os.path.exists("again"):
    open(f"ended-{run.info.run_id}", "w").close()
    time.sleep(3600)
"""


@pytest.mark.usefixtures("threads")
def test_killed_after_the_script_has_ended_its_run_the_run_is_not_done(logged: Logged, cli: Cli) -> None:
    folder = logged.project.folder
    without_tuning(logged, ("[1, 2]", "[1]"))
    (folder / "train.py").write_text(ENDS_ITS_RUN_AND_STAYS)
    driver = logged.project.start("run", "dropout.toml", "--workers", "1", "--only", "plain")
    wait_until(lambda: bool(list(folder.glob("ended-*"))) or driver.poll() is not None)
    assert [record.status for record in logged.records()] == ["RUNNING"]
    os.kill(driver.pid, signal.SIGKILL)
    finish(driver)
    wait_until(lambda: group_members(driver.pid) == [])
    assert logged.mlflow_statuses() == [("FINISHED", "active")]  # so says MLflow
    (record,) = logged.records()
    assert (record.status, record.scores["test_loss"]) == ("RUNNING", 0.125)
    planned = cli("plan", "dropout.toml", "--json")
    assert "done" not in [cell["state"] for cell in json.loads(planned.out)["cells"]]

    (folder / "again").touch()
    ended = cli(*RUN, "--only", "plain", "--workers", "1")
    assert ended.code == 0, ended.err
    assert logged.mlflow_statuses() == [("KILLED", "deleted"), ("FINISHED", "active")]
    (done,) = logged.records()
    assert (done.status, done.scores["test/loss"]) == ("FINISHED", 0.25)
    assert done.run_id != record.run_id


KILLS = """
import os, signal, sys, time
moment = sys.argv[1]


def reach(name):
    if name == moment and not os.path.exists("again"):
        open("reached", "w").close()
        if moment == "end":  # the driver does nothing more, so that it is killed before it records the run
            os.kill(int(open("driver").read()), signal.SIGSTOP)
            sys.exit()
        time.sleep(3600)


while not os.path.exists("driver"):
    time.sleep(0.05)
reach("start")
import mlflow

score = 0.25 if os.path.exists("again") else 0.125
with mlflow.start_run():
    mlflow.log_metric("val_loss", score, step=1)
    reach("middle")
    mlflow.log_metric("val_loss", score, step=2)
    mlflow.log_metric("test_loss", score)
reach("end")
"""


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "moment", [pytest.param("start", marks=pytest.mark.long), pytest.param("middle", marks=pytest.mark.long), "end"]
)
def test_on_a_server_a_driver_killed_at_any_moment_is_made_up_for(
    logged: Logged, cli: Cli, tracking_server: TrackingServer, moment: str
) -> None:
    import mlflow

    folder, name = logged.project.folder, f"killed-{moment}"
    (folder / "train.py").write_text(KILLS)
    words = 'command = ["python", "train.py", "{moment}", "{seed}"]'
    study = (folder / "dropout.toml").read_text()
    head, _, _ = study.partition("[settings.run]")
    settings = f'[settings.run]\n{words}\nscores = "mlflow"\nmoment = "{moment}"\n'
    rest = '[metric.loss]\ndirection = "lower"\n[arms.plain]\n'
    head = head.replace("logged-dropout", name).replace("[1, 2]", "[1]")
    (folder / "dropout.toml").write_text(f"{head}{settings}{rest}")
    server = ("--tracking-uri", tracking_server.address)
    driver = logged.project.start("run", "dropout.toml", "--workers", "1", *server)
    (folder / "pid").write_text(str(driver.pid))
    (folder / "pid").rename(folder / "driver")
    log = folder / "mlruns" / "logs" / name / "plain-seed1.log"
    ended = (lambda: "FINISHED" in log.read_text()) if moment == "end" else (folder / "reached").exists
    wait_until(lambda: (log.exists() and ended()) or driver.poll() is not None)
    os.kill(driver.pid, signal.SIGKILL)
    assert finish(driver).returncode == -signal.SIGKILL
    wait_until(lambda: group_members(driver.pid) == [])
    (folder / "again").touch()
    again = cli(*RUN, "--workers", "1", *server)
    assert again.code == 0, again.err
    assert json.loads(again.out)["done"] == 1
    client = mlflow.MlflowClient(tracking_server.address)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`ablate.role` = 'run'")
    assert run.info.status == run.data.tags["ablate.status"] == "FINISHED"
    assert (run.data.metrics["val/loss"], run.data.metrics["test/loss"]) == (0.25, 0.25)
    assert {point.value for point in client.get_metric_history(run.info.run_id, "val_loss")} == {0.25}


FAILS_ONCE = """
import os, sys
import mlflow

mlflow.start_run()
mlflow.log_metric("val_loss", 0.5, step=1 if os.path.exists("failed") else 5)
mlflow.log_metric("test_loss", 0.25)
if not os.path.exists("failed"):
    open("failed", "w").close()
    sys.exit("first try")
"""


@pytest.mark.usefixtures("threads")
def test_another_try_has_a_run_of_its_own(logged: Logged, cli: Cli) -> None:
    without_tuning(logged, ("[1, 2]", "[1]\nretries = 1"))
    (logged.project.folder / "train.py").write_text(FAILS_ONCE)
    ended = cli(*RUN, "--workers", "1", "--only", "plain")
    assert ended.code == 0, ended.err
    assert logged.mlflow_statuses() == [("KILLED", "deleted"), ("FINISHED", "active")]
    assert [entry["epoch"] for entry in logged.curves()["plain-seed1"]] == [1.0]


@pytest.mark.usefixtures("threads")
def test_a_smoke_pass_logs_to_a_store_of_its_own(logged: Logged, cli: Cli) -> None:
    without_tuning(logged)
    before = logged.database.read_bytes()
    ended = cli(*RUN, "--smoke", "--workers", "1")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["done"] == 2
    assert logged.database.read_bytes() == before
    assert sorted(path.name for path in logged.project.folder.iterdir()) == ["dropout.toml", "mlruns", "train.py"]


@pytest.mark.usefixtures("threads")
def test_on_a_server(logged: Logged, cli: Cli, tracking_server: TrackingServer) -> None:
    import mlflow

    without_tuning(logged, ("[1, 2]", "[1]"))
    ended = cli(*RUN, "--workers", "1", "--tracking-uri", tracking_server.address)
    assert ended.code == 0, ended.err
    client = mlflow.MlflowClient(tracking_server.address)
    experiment = client.get_experiment_by_name(logged.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`ablate.role` = 'run'")
    assert len(runs) == 2
    for run in runs:
        assert run.info.status == run.data.tags["ablate.status"] == "FINISHED"
        assert run.data.metrics["test/loss"] == run.data.metrics["test_loss"]
        assert [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")] == [1, 2, 3, 4, 4]
        assert "weight.txt" in [file.path for file in client.list_artifacts(run.info.run_id)]
    with (logged.project.folder / "reports" / logged.name / "results.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["metric"] == "test/loss"]) == 2


@pytest.mark.parametrize("secret", ["ablate:s3cr%2Ft@127.0.0.1:1/mlflow", "127.0.0.1:1/mlflow?password=s3crt"])
def test_a_password_that_scripts_would_see_is_refused(
    logged: Logged, cli: Cli, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://{secret}")
    for command in ("plan", "run"):  # before the database is asked
        ended = cli(command, "dropout.toml")
        assert (ended.code, ended.out) == (2, "")
        assert 'error: --tracking-uri: has a password, which scripts with scores = "mlflow" would be' in ended.err
        assert "put an `mlflow server` in front of the database, or give the password by PGPASSWORD" in ended.err
        assert "s3cr" not in ended.err


@pytest.mark.usefixtures("threads")
def test_a_database_whose_password_is_elsewhere(
    logged: Logged, cli: Cli, monkeypatch: pytest.MonkeyPatch, new_database: Callable[..., str]
) -> None:
    uri = new_database(with_mlflow=True)
    without_tuning(logged, ("[1, 2]", "[1]"))
    script = logged.project.folder / "train.py"
    script.write_text(script.read_text() + "\nprint('ADDRESS', mlflow.get_tracking_uri())\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace(f":{QUOTED}@", "@"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    ended = cli(*RUN, "--workers", "1", "--only", "plain")
    assert ended.code == 0, ended.err
    logs = [path.read_text() for path in (logged.project.folder / "mlruns").rglob("*.log")]
    assert any("ADDRESS postgresql" in text for text in logs)
    assert not any(PASSWORD in text or QUOTED in text for text in logs)
