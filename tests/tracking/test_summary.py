"""The summary of a study in MLflow: what a plain client finds there, and that no reader of runs sees any of it."""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from base64 import b64decode
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_runs as toy
from mlflow import MlflowClient
from mlflow.entities import Run

from ablate.commands.archive import clean
from ablate.scheduler.workspace import Workspace
from ablate.study.summary import ArmSummary, Ends, StudySummary
from ablate.tracking.mlflow.experiment_table import experiment_table
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.tracker import MlflowTracker

STUDY, STATE = "toy", "s1"


@pytest.fixture
def tracker(mlruns: Path, tmp_path: Path) -> MlflowTracker:
    """A store with two arms of two seeds each, and a tuning run."""
    tracker = MlflowTracker(None, mlruns)
    tracker.open(STUDY, toy.DOCUMENT)
    for arm in ("plain", "hybrid"):
        for seed in (1, 2):
            toy.run(tracker, toy.spec(STUDY, arm, seed), toy.artifacts(tmp_path / f"{arm}{seed}", seed))
    toy.run(tracker, toy.trial(STUDY, 0))
    tracker.close(STUDY, finished=True)
    return tracker


@pytest.fixture
def summary(tracker: MlflowTracker, tmp_path: Path) -> StudySummary:
    table = tmp_path / "seeds.csv"
    table.write_text("seed,test/error\n1,0.5\n")
    page = tmp_path / "report.html"
    page.write_text("<h1>toy</h1>")
    runs = {(r.arm, r.seed): r.run_id for r in tracker.records(STUDY) if r.phase == "compare"}
    curve = {1: Ends(1.0, 0.5, 1.5), 2: Ends(0.75, 0.5, 1.0)}
    scores = {"test/error": Ends(0.5, 0.25, 0.75), "cost/parameters": Ends(21.0)}
    arms = [
        ArmSummary(
            arm,
            label,
            colour,
            yardstick,
            {seed: runs[arm, seed] for seed in (1, 2) if (arm, seed) in runs},
            scores if not yardstick else {"test/error": Ends(math.inf)},
            {"val/error": curve} if not yardstick else {},
            (table,),
        )
        for arm, label, colour, yardstick in [
            ("plain", "Plain", "#0072B2", False),
            ("hybrid", "Hybrid", "#D55E00", False),
            ("constant", "Constant", "#009E73", True),
        ]
    ]
    return StudySummary(
        STUDY,
        "Does it **help**?\n",
        {"hybrid/plain/error": "supported"},
        arms,
        {"test/error": "lower"},
        ("val/error",),
        "hybrid",
        "plain",
        {"report.html": page, "figures/matrix.png": table},
    )


def client(tracker: MlflowTracker) -> MlflowClient:
    return MlflowClient(tracking_uri=tracker.uri)


def reader(tracker: MlflowTracker) -> MlflowTracker:
    """The same store, read by MLflow's client, as a server is."""
    by_client = MlflowTracker(None, tracker.root)
    by_client._local = None
    return by_client


def runs(tracker: MlflowTracker, role: str) -> list[Run]:
    plain = client(tracker)
    experiment = plain.get_experiment_by_name(STUDY)
    found = plain.search_runs([experiment.experiment_id], f"tags.`ablate.role` = '{role}'")
    return sorted(found, key=lambda run: run.info.start_time)


def content(mlruns: Path) -> tuple[list[str], list[tuple[Path, bytes]]]:
    """All that the database and the folder of artifacts hold."""
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as database:
        files = sorted(file for file in (mlruns / "artifacts").rglob("*") if file.is_file())
        return list(database.iterdump()), [(file, file.read_bytes()) for file in files]


def view(tags: dict[str, str], key: str) -> dict[str, Any]:
    text = tags[f"mlflow.sharedViewState.{key}"]
    packed = json.loads(text)["state"] if text.startswith("{") else text
    return dict(json.loads(zlib.decompress(b64decode(packed.removeprefix("deflate;")))))


class TestWhatAPlainClientFinds:
    @pytest.fixture(autouse=True)
    def _published(self, tracker: MlflowTracker, summary: StudySummary) -> None:
        assert tracker.publish(summary, STATE)

    def test_a_run_for_every_arm_with_means_ends_and_files(self, tracker: MlflowTracker) -> None:
        plain, hybrid, constant = runs(tracker, "arm")
        assert [run.info.run_name for run in (plain, hybrid, constant)] == ["Plain", "Hybrid", "Constant"]
        assert {run.info.status for run in (plain, hybrid, constant)} == {"FINISHED"}
        assert hybrid.data.params == {"arm": "hybrid"}
        assert hybrid.data.metrics == {
            "test/error": 0.5,
            "test/error lower": 0.25,
            "test/error upper": 0.75,
            "interval/error": 0.5,
            "cost/parameters": 21.0,
            "val/error": 0.75,
            "val/error lower": 0.5,
            "val/error upper": 1.0,
        }
        assert list(constant.data.metrics) == ["test/error"]
        found = client(tracker)
        curve = found.get_metric_history(hybrid.info.run_id, "val/error upper")
        assert [(point.step, point.value) for point in curve] == [(1, 1.5), (2, 1.0)]
        interval = found.get_metric_history(hybrid.info.run_id, "interval/error")
        assert sorted((p.timestamp, p.step, p.value) for p in interval) == [
            (interval[0].timestamp + later, 2, value) for later, value in enumerate((0.25, 0.75, 0.5))
        ]
        assert [file.path for file in found.list_artifacts(hybrid.info.run_id)] == ["seeds.csv"]

    def test_study_arm_and_seed_are_nested_and_of_one_colour_an_arm(self, tracker: MlflowTracker) -> None:
        [study], arms = runs(tracker, "study"), runs(tracker, "arm")
        by_name = {run.data.tags["ablate.arm"]: run for run in arms}
        assert {run.data.tags["mlflow.parentRunId"] for run in arms} == {study.info.run_id}
        assert len({run.data.tags["mlflow.runColor"] for run in arms}) == 3
        for run in runs(tracker, "run"):
            arm = by_name[run.data.tags["ablate.arm"]]
            if run.data.tags["ablate.phase"] == "tune":
                assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
            else:
                assert run.data.tags["mlflow.parentRunId"] == arm.info.run_id
                assert run.data.tags["mlflow.runColor"] == arm.data.tags["mlflow.runColor"]

    def test_the_studys_run_has_the_report_and_the_verdicts(self, tracker: MlflowTracker) -> None:
        [study], found = runs(tracker, "study"), client(tracker)
        assert study.data.tags["verdict/hybrid/plain/error"] == "supported"
        assert runs(tracker, "arm")[1].data.tags["verdict/hybrid/plain/error"] == "supported"
        names = [file.path for file in found.list_artifacts(study.info.run_id)]
        assert names == ["figures", "report.html", "study.json"]
        assert tracker.document(STUDY) == toy.DOCUMENT

    def test_the_experiment_is_training_with_a_note_and_views(self, tracker: MlflowTracker) -> None:
        experiment = client(tracker).get_experiment_by_name(STUDY)
        [study] = runs(tracker, "study")
        tags = experiment.tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert tags["verdict/hybrid/plain/error"] == "supported"
        run = f"#/experiments/{experiment.experiment_id}/runs/{study.info.run_id}"
        page = f"{run}/artifacts/report.html?workflowType=machine_learning"
        assert tags["mlflow.note.content"] == f"Does it **help**?\n\n[The whole report]({page})\n"
        arms, seeds = view(tags, "ablate-arms"), view(tags, "ablate-seeds")
        assert view(tags, "ablate-comparison") == arms
        assert arms["selectedColumns"] == [f"metrics.`test/error{end}`" for end in ("", " lower", " upper")]
        found = client(tracker).search_runs([experiment.experiment_id], arms["searchFilter"])
        assert sorted(run.info.run_name for run in found) == ["Hybrid", "Plain"]
        found = client(tracker).search_runs([experiment.experiment_id], seeds["searchFilter"])
        assert len(found) == 4
        cards = [card for card in arms["compareRunCharts"] if not card["deleted"]]
        drawn = [key for card in cards for key in card.get("selectedMetricKeys", [card["metricKey"]])]
        assert drawn == ["interval/error", "test/error", "val/error", "val/error lower", "val/error upper"]
        sections = {section["uuid"] for section in arms["compareRunSections"]}
        assert {card["metricSectionId"] for card in arms["compareRunCharts"]} == sections

    def test_models_are_named_and_those_of_the_baseline_and_the_best_arm_marked(
        self, tracker: MlflowTracker, summary: StudySummary
    ) -> None:
        def marked(tag: str) -> list[str]:
            found = client(tracker).search_logged_models([experiment.experiment_id], f"tags.`ablate.{tag}` = 'yes'")
            return [model.name for model in found]

        experiment = client(tracker).get_experiment_by_name(STUDY)
        models = client(tracker).search_logged_models([experiment.experiment_id])
        assert sorted(model.name for model in models) == ["hybrid-seed1", "hybrid-seed2", "plain-seed1", "plain-seed2"]
        assert (marked("baseline"), marked("best")) == (["plain-seed1"], ["hybrid-seed1"])
        tracker.publish(replace(summary, best="plain"), STATE)
        assert (marked("baseline"), marked("best")) == (["plain-seed1"], ["plain-seed1"])


class TestNoReaderOfRunsSeesIt:
    def test_records_documents_and_tables_are_as_before(
        self, tracker: MlflowTracker, summary: StudySummary, mlruns: Path
    ) -> None:
        local = LocalStore(mlruns / "mlflow.db")
        before = [(s.records(STUDY), s.studies(), s.document(STUDY)) for s in (local, tracker, reader(tracker))]
        stored = tracker.stored(STUDY)
        tracker.publish(summary, STATE)
        again = MlflowTracker(None, mlruns)
        after = [(s.records(STUDY), s.studies(), s.document(STUDY)) for s in (local, again, reader(again))]
        assert after == before
        assert again.stored(STUDY) == stored

    def test_a_table_of_the_experiment_has_the_seeds_alone(self, tracker: MlflowTracker, summary: StudySummary) -> None:
        tracker.publish(summary, STATE)
        table = experiment_table(tracker.uri, STUDY, ["ablate.arm"], ["test/error"], [])
        assert sorted(map(str, table.columns["ablate.arm"])) == ["hybrid"] * 2 + ["plain"] * 3

    def test_neither_continuing_nor_cleaning_touches_it(
        self, tracker: MlflowTracker, summary: StudySummary, mlruns: Path
    ) -> None:
        tracker.publish(summary, STATE)
        before = content(mlruns)
        assert tracker.sweep(STUDY) == 0
        assert clean(Workspace(mlruns), lambda text: pytest.fail(text), days=0, dry_run=False) == 0
        assert content(mlruns) == before


class TestOnceAndAgain:
    def test_the_same_summary_writes_nothing(self, tracker: MlflowTracker, summary: StudySummary, mlruns: Path) -> None:
        tracker.publish(summary, STATE)
        before = content(mlruns)
        assert not tracker.publish(summary, STATE)
        assert not MlflowTracker(None, mlruns).publish(summary, STATE)
        assert content(mlruns) == before
        assert tracker.summarised(STUDY)[1] == STATE

    def test_another_one_replaces_it(self, tracker: MlflowTracker, summary: StudySummary) -> None:
        tracker.publish(summary, STATE)
        plain, hybrid, _ = summary.arms
        better = replace(hybrid, metrics={"test/error": Ends(0.4, 0.3, 0.5)}, curves={})
        verdicts = {"hybrid/plain/error/not_worse": "refuted"}
        changed = replace(summary, arms=[plain, better], verdicts=verdicts, note="It does.\n")
        assert tracker.publish(changed, "s2")
        arms = runs(tracker, "arm")
        assert [run.info.run_name for run in arms] == ["Plain", "Hybrid"]
        assert arms[1].data.metrics["test/error upper"] == 0.5
        assert {run.data.tags["mlflow.parentRunId"] for run in runs(tracker, "run")} == {
            run.info.run_id for run in (*arms, *runs(tracker, "study"))
        }
        experiment = client(tracker).get_experiment_by_name(STUDY)
        for tags in (runs(tracker, "study")[0].data.tags, experiment.tags):
            found = {name: value for name, value in tags.items() if name.startswith("verdict/")}
            assert found == {"verdict/hybrid/plain/error/not_worse": "refuted"}
        assert experiment.tags["mlflow.note.content"].startswith("It does.")
        assert tracker.summarised(STUDY)[1] == "s2"

    def test_signs_in_names_of_arms_are_words_in_names_of_tags(
        self, tracker: MlflowTracker, summary: StudySummary
    ) -> None:
        """MLflow refuses tags with `@` or `+` in their name, which arms at levels and of parts have."""
        plain, hybrid, _ = summary.arms
        arms = [replace(plain, arm="wide+deep@16"), replace(hybrid, arm="wide@16")]
        claims = {"wide+deep@16/bare@16/error": "supported", "wide@16/bare@16/error": "refuted"}
        assert tracker.publish(replace(summary, arms=arms, verdicts=claims), "s2")
        tags = {name: f"verdict/{name} at 16/bare at 16/error" for name in ("wide and deep", "wide")}
        [study], (both, wide) = runs(tracker, "study"), runs(tracker, "arm")
        outcomes = [{tag: run.data.tags.get(tag) for tag in tags.values()} for run in (study, both, wide)]
        first, second = tags.values()
        assert outcomes == [
            {first: "supported", second: "refuted"},
            {first: "supported", second: None},
            {first: None, second: "refuted"},
        ]
        experiment = client(tracker).get_experiment_by_name(STUDY)
        assert (experiment.tags[first], experiment.tags[second]) == ("supported", "refuted")

    def test_one_that_was_stopped_in_between_is_written_again(
        self, tracker: MlflowTracker, summary: StudySummary, monkeypatch: pytest.MonkeyPatch, mlruns: Path
    ) -> None:
        calls = iter(range(2))

        def stops(*_: object) -> None:
            if next(calls, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("ablate.tracking.mlflow.summary_writer.SummaryWriter._write_files", stops)
            with pytest.raises(KeyboardInterrupt):
                tracker.publish(summary, STATE)
        assert tracker.summarised(STUDY)[1] == ""
        again = MlflowTracker(None, mlruns)
        assert again.sweep(STUDY) == 0  # a half-written run of an arm is none of the study's interrupted runs
        assert again.publish(summary, STATE)
        assert [run.info.run_name for run in runs(again, "arm")] == ["Plain", "Hybrid", "Constant"]

    def test_runs_that_were_discarded_meanwhile_are_left_out(
        self, tracker: MlflowTracker, summary: StudySummary
    ) -> None:
        gone = summary.arms[0].runs[1]
        tracker.discard([gone])
        assert tracker.publish(summary, STATE)
        assert len(runs(tracker, "run")) == 4

    def test_a_forgotten_study_leaves_nothing(self, tracker: MlflowTracker, summary: StudySummary) -> None:
        tracker.publish(summary, STATE)
        tracker.forget(STUDY)
        assert [runs(tracker, role) for role in ("study", "arm", "run")] == [[], [], []]
