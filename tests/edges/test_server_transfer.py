"""A study leaves a real server for a local store: every run, curve, input and file, under its own id."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import toy_runs as toy
from mlflow import MlflowClient
from servers import TrackingServer

from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import tracking_taking, transfer
from ablate.edges import whole_rows as rows
from ablate.edges.tracking import MlflowTracker

TOLD: list[tuple[int, int]] = []


@pytest.fixture(scope="module")
def study() -> str:
    return "served"


@pytest.fixture(scope="module")
def source(study: str, tracking_server: TrackingServer, tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    """On a server: two finished runs with models, a trial, a failed, a discarded, a killed and a running one."""
    folder = tmp_path_factory.mktemp("source")
    tracker = MlflowTracker(tracking_server.address, folder / "unused")
    tracker.open(study, {**toy.DOCUMENT, "study": {"name": study}})
    for seed in (1, 2):
        files = toy.artifacts(folder / str(seed), seed)
        toy.run(tracker, toy.spec(study, "plain", seed), files, scores={**toy.SCORES, "test/odd": 1e-300 / 3})
    toy.run(tracker, toy.trial(study, 0, **{"training.learning_rate": 0.1}))
    broken = toy.spec(study, "plain", 3)
    tracker.finish(tracker.start(broken), broken, toy.failed(broken))
    tracker.close(study, finished=False)
    tracker.add_scores([tracker.records(study)[0].run_id], {"external/error": 3.5, "test/nan": float("nan")})
    tracker.kill(tracker.start(toy.spec(study, "plain", 4)))
    tracker.discard([toy.run(tracker, toy.spec(study, "plain", 5))])
    tracker.start(toy.spec(study, "plain", 6))
    return tracker


@pytest.fixture(scope="module")
def taken(source: MlflowTracker, study: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("taken") / "mlruns"
    tracking_taking.take(study, source.uri, source.root, target, lambda done, of: TOLD.append((done, of)))
    return target


def test_what_is_taken_is_what_the_server_says(source: MlflowTracker, taken: Path, study: str) -> None:
    here = MlflowTracker(None, taken)
    expected = [record for record in source.records(study) if record.status in ("FINISHED", "FAILED")]
    assert repr(here.records(study)) == repr(expected)
    assert len(expected) == 4
    assert [(n, 5) for n in range(1, 6)] == TOLD  # and the parent
    assert here.document(study) == source.document(study)
    finished = [record.run_id for record in expected if record.status == "FINISHED"]
    assert dict(here.histories(study, finished)) == dict(source.histories(study, finished))
    assert here.history(finished[0]) == toy.history()
    for run in finished[:2]:
        for name in ("scores.parquet", "examples.npz", "provenance.json", "model/weights.safetensors"):
            root, _, rest = name.partition("/")
            places = [tracker.artifact(run, root) for tracker in (here, source)]
            assert len({(place / rest).read_bytes() for place in places if place}) == 1
            assert places[0]
            assert places[0].is_relative_to(taken)
        assert here.artifact(run, "run.log") is None
    parent = here._find(study)
    assert parent
    assert not (taken / "artifacts" / study / parent[1] / "artifacts" / "summary").exists()


def test_mlflow_reads_it_too(source: MlflowTracker, taken: Path, study: str) -> None:
    first = source.records(study)[0].run_id
    there, here = source.client.get_run(first), MlflowClient(f"sqlite:///{taken / 'mlflow.db'}").get_run(first)
    tags = {name: value for name, value in there.data.tags.items() if name != "ablate.generation"}
    assert (here.data.params, here.data.tags) == (there.data.params, tags)
    assert repr(here.data.metrics) == repr(there.data.metrics)
    assert here.info.end_time == there.info.end_time
    assert here.inputs == there.inputs
    assert here.outputs == there.outputs
    model_id = here.outputs.model_outputs[0].model_id
    model = MlflowClient(f"sqlite:///{taken / 'mlflow.db'}").get_logged_model(model_id)
    other = source.client.get_logged_model(model_id)
    assert (model.name, model.params, model.tags, model.status) == (other.name, other.params, other.tags, other.status)
    assert {m.key: m.value for m in model.metrics or []} == {m.key: m.value for m in other.metrics or []}
    assert other.metrics


def test_a_run_is_read_back_as_it_was_written(taken: Path, study: str, tmp_path: Path) -> None:
    shutil.copytree(taken, tmp_path / "mlruns")
    stores.drop_study(study, tmp_path / "mlruns")
    rows.add_experiment(study, tmp_path / "mlruns", 1)
    ids = rows.ended(study, taken)
    assert len(ids) == 5
    for run_id in ids:
        rows.add(rows.read(run_id, taken), study, tmp_path / "mlruns")
    for run_id in ids:
        shutil.copytree(taken / "artifacts" / study, tmp_path / "mlruns" / "artifacts" / study, dirs_exist_ok=True)
        again = repr(rows.read(run_id, tmp_path / "mlruns"))
        assert again.replace(str(tmp_path / "mlruns"), str(taken)) == repr(rows.read(run_id, taken))


def test_it_is_exported_and_what_is_discarded_later_is_known_as_such(
    source: MlflowTracker, taken: Path, study: str, tmp_path: Path
) -> None:
    copied = transfer.export(study, taken, tmp_path / "served.zip")
    assert (copied.runs, copied.models) == (4, 2)
    assert transfer.bring_in(tmp_path / "served.zip", tmp_path / "away" / "mlruns")[1] == copied
    first = source.records(study)[0].run_id
    source.discard([first])
    try:
        later = tmp_path / "later" / "mlruns"
        tracking_taking.take(study, source.uri, source.root, later, lambda done, of: None)
    finally:
        source.client.restore_run(first)
    changed = parts.change(study, later, later / "mlflow.db", tmp_path / "away" / "mlruns")
    assert changed == parts.Change(discarded=frozenset({first}))
