"""From a study file to records, results and a report: what is done, what is left, what is done again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from toy_project import Project, as_json

import ablate
from ablate.scheduler.loaded_study import load
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError

Cli = Callable[..., Any]


@pytest.fixture
def in_finished(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(finished.folder)
    return finished


@pytest.fixture
def client(finished: Project) -> MlflowClient:
    from ablate.tracking.mlflow import store  # noqa: F401  # silences what MLflow warns of when it is first used

    return MlflowClient(f"sqlite:///{finished.folder / 'mlruns' / 'mlflow.db'}")


def runs(client: MlflowClient, condition: str = "") -> list[Run]:
    experiment = client.get_experiment_by_name("linear")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], condition))


class TestResults:
    def test_load_results_gives_the_numbers_that_mlflow_has(self, in_finished: Project, client: MlflowClient) -> None:
        frame = ablate.load_results("linear")
        assert frame.equals(ablate.load_results("linear.toml", Workspace(in_finished.folder / "mlruns")))
        assert list(frame[["arm", "seed", "status"]].itertuples(index=False, name=None)) == [
            (arm, seed, "done") for arm in ("plain", "garden", "mean") for seed in (1, 2)
        ]
        assert {"test/absolute_error", "test/close", "cost/parameters", "cost/latency_ms_p50"} <= set(frame.columns)
        for row in frame.to_dict("records"):
            run = client.get_run(row["run_id"])
            assert (run.data.tags["ablate.arm"], run.data.tags["ablate.seed"]) == (row["arm"], str(row["seed"]))
            logged = {name: value for name, value in run.data.metrics.items() if name in frame.columns}
            gaps = [name for name in frame.columns if name not in logged]
            assert logged == {name: row[name] for name in logged}
            assert all(pd.isna(row[name]) for name in gaps if "/" in name)

    def test_open_gives_the_same_and_the_matrix_in_results_csv(self, in_finished: Project) -> None:
        opened = ablate.open("linear.toml", mlruns=in_finished.folder / "mlruns")
        assert opened.results().equals(ablate.load_results("linear"))
        written = pd.read_csv(in_finished.folder / "reports" / "linear" / "results.csv")
        scores = written[written.metric == "test/absolute_error"].groupby("arm").score.mean()
        for row in opened.effects().query("metric == 'absolute_error'").itertuples():
            assert row.mean == pytest.approx(scores[row.arm], rel=1e-12)

    def test_a_study_that_is_not_there(self, in_finished: Project, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no store here"):
            ablate.load_results("linear", Workspace(tmp_path))
        with pytest.raises(InputError, match="not in the store"):
            ablate.load_results("quadratic")
        with pytest.raises(InputError, match="there is no store here"):
            ablate.open("linear", mlruns=tmp_path)
        with pytest.raises(InputError, match="not in the store"):
            ablate.open("quadratic")

    def test_tuning_trials_record_no_test_score_anywhere(self, finished: Project, client: MlflowClient) -> None:
        trials = runs(client, "tags.`ablate.phase` = 'tune'")
        assert len(trials) == 4
        for run in trials:
            assert not [name for name in run.data.metrics if name.startswith("test/")]
            assert not [name for name in client.list_artifacts(run.info.run_id) if "scores" in name.path]
            assert run.inputs is not None
            assert not [d for d in run.inputs.dataset_inputs if d.tags[0].value == "test"]
        assert not [name for run in trials for name in run.data.tags.values() if "test/" in name]

    def test_every_comparison_keeps_its_examples(self, in_finished: Project, client: MlflowClient) -> None:
        compared = runs(client, "tags.`ablate.phase` = 'compare'")
        assert len(compared) == 6
        for run in compared:
            folder = Path(client.download_artifacts(run.info.run_id, ""))
            frame = pd.read_parquet(folder / "scores.parquet")
            assert len(frame) == 64
            assert run.data.metrics["test/absolute_error"] == pytest.approx(frame["absolute_error"].mean(), rel=5e-4)
            with np.load(folder / "examples.npz", allow_pickle=False) as examples:
                assert {"index", "inputs", "target/price", "output/value"} <= set(examples)

    def test_latency_is_measured_once_an_arm(self, in_finished: Project) -> None:
        frame = ablate.load_results("linear")
        latencies = frame.groupby("arm")["cost/latency_ms_p50"]
        assert latencies.nunique().to_dict() == {"plain": 1, "garden": 1, "mean": 1}
        assert (latencies.first() > 0).all()
        assert "latency" not in in_finished.results.decode()

    def test_arms_share_seeds_and_an_equal_tuning_budget(self, client: MlflowClient) -> None:
        for arm in ("plain", "garden"):
            mine = [r for r in runs(client, f"tags.`ablate.arm` = '{arm}'") if "ablate.key" in r.data.tags]
            seeds = {phase: sorted(r.data.params["seed"] for r in mine if r.data.tags["ablate.phase"] == phase)
                     for phase in ("tune", "compare")}  # fmt: skip
            assert seeds == {"tune": ["101", "101"], "compare": ["1", "2"]}

    def test_a_person_can_read_where_a_number_comes_from(self, client: MlflowClient) -> None:
        (run, *_) = runs(client, "tags.`ablate.phase` = 'compare'")
        provenance = json.loads(run.data.tags["ablate.provenance"])
        assert {"commit", "data_digest", "source_digest", "version/torch", "threads", "instruction_set"} <= set(
            provenance
        )


def test_a_smoke_pass_records_nothing(project: Project, cli: Cli, threads: None) -> None:
    answer = cli("run", "linear.toml", "--smoke", "--json", "--workers", "1")
    assert answer.code == 0
    assert as_json(answer.out) == {"done": 3, "failed": 0, "missing": 0, "errors": {}, "report": None}
    assert {path.name for path in project.folder.iterdir()} <= {"linear.toml", "linear_toy", "terraces.toml"}


def test_a_smoke_pass_that_fails_says_so(project: Project, cli: Cli, threads: None) -> None:
    project.edit(
        ('set."model.columns" = 3', 'set.model = { factory = "linear_toy.components:Fragile", end = "raise" }')
    )
    answer = cli("run", "linear.toml", "--smoke", "--workers", "1")
    assert answer.code == 1
    assert "the roof fell in" in answer.err
    assert not (project.folder / "mlruns").exists()


def test_what_is_asked_for_is_done_and_done_again(
    project: Project, cli: Cli, threads: None, initialised_store: Path
) -> None:
    project.store(initialised_store)
    project.without_tuning()
    project.edit(('[report.conditions.size]\nlabel = "Size"\nbins = 4\n', ""))  # a figure less to draw each time

    def run(*arguments: str) -> tuple[set[str], str]:
        """Cells that this command has run, and what it said."""
        before = {record.run_id for record in project.records()}
        answer = cli("run", "linear.toml", "--workers", "1", *arguments)
        assert answer.code == 0, answer
        done = {f"{r.arm}-{r.seed}" for r in project.records() if r.run_id not in before}
        return done, answer.err

    assert run("--only", "garden:2", "--only", "mean:1")[0] == {"garden-2", "mean-1"}
    done, said = run()
    assert done == {"plain-1", "plain-2", "garden-1", "mean-2"}
    assert "[4/4]" in said
    assert len({r.scores["cost/latency_ms_p50"] for r in project.records() if r.arm == "mean"}) == 1
    first = project.results

    done, said = run("--rerun", "garden")
    assert done == {"garden-1", "garden-2"}
    assert "[2/2]" in said
    assert project.results == first  # the same code, settings and seeds
    assert run("--rerun", "mean", "--only", "mean:2")[0] == {"mean-2"}

    project.edit(("self.linear(self.dropout(", "1.5 * self.linear(self.dropout("), file="linear_toy/components.py")
    status = cli("status", "linear.toml")
    assert (
        "6 finished runs were made by other source code; `ablate run linear.toml --rerun stale` does them again"
        in status.err
    )
    asked = cli("plan", "linear.toml", "--json")
    ids = {record.run_id for record in project.records()}
    assert {run["run_id"]: run["code"] for run in as_json(asked.out)["stale"]} == dict.fromkeys(ids, "changed")
    project.edit(("seeds = [1, 2]", "seeds = [1, 2, 3]"))
    done, said = run("--only", "plain")
    assert done == {"plain-3"}
    assert (
        "6 finished runs were made by other source code; `ablate run linear.toml --rerun stale` does them again" in said
    )
    done, said = run("--rerun", "stale")
    assert done == {f"{arm}-{seed}" for arm in ("plain", "garden", "mean") for seed in (1, 2, 3)} - {"plain-3"}
    assert len(project.records()) == 9
    assert "stale" not in said

    project.edit(("noise = 0.2", "noise = 0.3"))
    refused = cli("run", "linear.toml")
    assert refused.code == 2
    assert "data.noise: cannot change under finished runs" in refused.err


KILLED_IN_MID_WRITE = """
import os, sqlite3
connection = sqlite3.connect("mlruns/mlflow.db", isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so that the file is written to before the transaction ends
connection.execute("BEGIN")
connection.execute("UPDATE tags SET value = 'spoilt'")
numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
connection.execute(f"CREATE TABLE large AS {numbers} SELECT i, hex(randomblob(100)) AS text FROM n")
os._exit(9)
"""


def test_a_driver_killed_in_mid_write_leaves_a_store_that_can_be_read(
    project: Project, finished: Project, cli: Cli
) -> None:
    project.store(finished.folder / "mlruns" / "mlflow.db")
    subprocess.run([sys.executable, "-c", KILLED_IN_MID_WRITE], cwd=project.folder, check=False)
    assert (project.folder / "mlruns" / "mlflow.db-journal").stat().st_size > 0
    answer = cli("status", "linear.toml")
    assert (answer.code, answer.err.splitlines()[0]) == (0, "linear: 6 done")
    assert project.records() == finished.records()


def test_every_missing_data_file_is_named(project: Project) -> None:
    project.edit(("count = 256", 'file = "a.npz"'), ('set."model.columns" = 3', 'set."data.file" = "b.npz"'))
    with pytest.raises(InputError) as caught:
        load(project.study, Workspace())
    assert [problem.value for problem in caught.value.problems] == ['"a.npz"', '"b.npz"']
