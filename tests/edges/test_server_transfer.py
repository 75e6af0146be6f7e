"""A study leaves a real server for a local store, and a local store for a real database, whole and once."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import toy_runs as toy
from mlflow import MlflowClient
from servers import TrackingServer

from ablate.edges import cleaning, tracking_discarded, tracking_giving, tracking_taking, transfer
from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import whole_rows as rows
from ablate.edges.tracking import PARENT, MlflowTracker
from ablate.edges.whole import ORIGIN
from ablate.study import InputError

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
    parent, runs = rows.ended(study, taken)
    assert len(runs) == 4
    for run_id in (parent, *runs):
        rows.add(rows.read(run_id, taken), study, tmp_path / "mlruns")
    shutil.copytree(taken / "artifacts" / study, tmp_path / "mlruns" / "artifacts" / study)
    for run_id in (parent, *runs):
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


# Into a database that several machines share, its artifacts in a folder


@pytest.fixture
def database(new_database: Callable[..., str]) -> str:
    return new_database(with_mlflow=True)


@pytest.fixture
def give(database: str, study: str, tmp_path: Path) -> Callable[..., stores.Copied]:
    def give(store: Path, tell: Callable[[int, int], None] = lambda done, of: None) -> stores.Copied:
        return tracking_giving.give(study, store, database, tmp_path / "shared", tell)

    return give


@pytest.fixture
def there(database: str, tmp_path: Path) -> Callable[[], MlflowTracker]:
    return lambda: MlflowTracker(database, tmp_path / "shared")


def unnamed(tracker: MlflowTracker, study: str) -> str:
    return repr([replace(record, run_id="") for record in tracker.records(study)])


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_it_arrives_whole_and_comes_back_as_it_was(
    taken: Path,
    study: str,
    give: Callable[..., stores.Copied],
    there: Callable[[], MlflowTracker],
    database: str,
    tmp_path: Path,
) -> None:
    here = MlflowTracker(None, taken)
    assert give(taken) == stores.Copied(4, 2)
    assert give(taken) == stores.Copied(0, 0)
    tracker = there()
    assert unnamed(tracker, study) == unnamed(here, study)
    assert tracker._remote.in_force(study) is not None
    assert tracker.document(study) == here.document(study)
    pairs = list(zip(tracker.records(study), here.records(study), strict=True))
    assert not {copied.run_id for copied, _ in pairs} & {record.run_id for _, record in pairs}
    for copied, record in pairs:
        assert tracker.history(copied.run_id) == here.history(record.run_id)
    _, parent = tracker._find(study) or ("", "")
    assert tracker.client.get_run(parent).info.status == "FAILED"
    copied, record = pairs[0]
    run = tracker.client.get_run(copied.run_id)
    assert (run.data.tags[ORIGIN], run.data.tags[PARENT]) == (record.run_id, parent)
    assert tracker.client.get_run(copied.run_id).info.end_time == here.client.get_run(record.run_id).info.end_time
    model = tracker.client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert {m.key for m in model.metrics or []} == {*toy.SCORES, "test/odd", *toy.TIMINGS}
    assert str(model.status) == "READY"
    answer = mlflow.pyfunc.load_model(model.artifact_location).predict(np.ones((2, 17, 6), np.float32))
    np.testing.assert_array_equal(answer, toy.linear(1)(torch.ones(2, 17, 6)).detach().numpy())

    tracking_taking.take(study, database, tmp_path / "shared", tmp_path / "back" / "mlruns", lambda done, of: None)
    back = tmp_path / "back" / "mlruns"
    parent, runs = rows.ended(study, back)
    assert rows.ended(study, taken) == (parent, runs)
    for run_id in (parent, *runs):
        again = repr(rows.read(run_id, back)).replace(str(back), str(taken))
        began = [model.began for model in rows.read(run_id, back).models]
        for now, then in zip(began, [model.began for model in rows.read(run_id, taken).models], strict=True):
            again = again.replace(f"began={now}", f"began={then}")  # nobody can tell a server when a model was made
        assert again == repr(rows.read(run_id, taken))
    for file in taken.rglob("MLmodel"):
        assert (back / file.relative_to(taken)).read_bytes() == file.read_bytes()
    assert stores.copy_study(study, back, taken) == stores.Copied(0, 0)


def test_an_interrupted_import_is_done_again(
    taken: Path, study: str, give: Callable[..., stores.Copied], there: Callable[[], MlflowTracker]
) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give(taken, stop)
    tracker = there()
    experiment, parent = tracker._find(study) or ("", "")
    ended = [record.status for record in tracker.records(study)]
    assert ended
    assert set(ended) <= {"FINISHED", "FAILED"}
    assert tracker.client.get_run(parent).info.status == "RUNNING"
    assert tracker._remote.in_force(study) is None
    _, runs = rows.ended(study, taken)
    gone = next(run for run in tracker.records(study) if run.status == "FINISHED")
    origin = tracker.client.get_run(gone.run_id).data.tags[ORIGIN]
    assert origin in runs
    tracker.client.update_run(gone.run_id, status="RUNNING")  # as if it had been stopped before its last request
    assert give(taken).runs == 4 - len(ended) + 1
    tracker = there()
    assert unnamed(tracker, study) == unnamed(MlflowTracker(None, taken), study)
    assert tracker.client.get_run(gone.run_id).info.lifecycle_stage == "deleted"
    assert tracker.client.get_run(parent).info.status == "FAILED"
    models = tracker.client.search_logged_models([experiment])
    assert {model.source_run_id for model in models} <= {record.run_id for record in tracker.records(study)}
    assert give(taken) == stores.Copied(0, 0)


def test_later_scores_and_documents_come_too_and_discarded_runs_do_not(
    taken: Path,
    study: str,
    give: Callable[..., stores.Copied],
    there: Callable[[], MlflowTracker],
    database: str,
    tmp_path: Path,
) -> None:
    give(taken)
    first, second, *_ = there().records(study)
    model = there().artifact(second.run_id, "model")
    there().discard([second.run_id])
    gone = [each for each in tracking_discarded.kept(database, tmp_path / "shared") if each.study == study]
    assert [each.run_id for each in gone] == [second.run_id]
    places = [(study, what, place) for what, place in gone[0].places]
    assert model
    assert [leftover.path for _, leftover in cleaning.discarded(places, tmp_path / "shared")] == [
        tmp_path / "shared" / "artifacts" / study / second.run_id,
        model.parent.parent.parent,
    ]
    later = tmp_path / "later" / "mlruns"
    stores.create(later, taken / "mlflow.db")
    stores.copy_study(study, taken, later)
    original = MlflowTracker(None, later)
    run_id = original.records(study)[0].run_id
    original.add_scores([run_id], {"external/error": 4.5, "cost/latency_ms_p50": 1.5})
    parent = original._find(study) or ("", "")
    document = original.artifact(parent[1], "study.json")
    assert document
    document.write_text(json.dumps({**toy.DOCUMENT, "amendments": ["more"]}))
    original.close(study, finished=True)
    with closing(sqlite3.connect(later / "mlflow.db")) as store, store:  # a clock that was set back meanwhile
        store.execute("UPDATE runs SET end_time = 1000 WHERE run_uuid = ?", (parent[1],))
    assert give(later) == stores.Copied(0, 0)
    tracker = there()
    known = tracker.records(study)
    assert second.run_id not in {record.run_id for record in known}
    scores = {**first.scores, "external/error": 4.5, "cost/latency_ms_p50": 1.5}
    assert repr(known[0].scores) == repr(dict(sorted(scores.items())))
    assert (tracker.document(study) or {})["amendments"] == ["more"]
    assert tracker.client.get_run((tracker._find(study) or ("", ""))[1]).info.status == "FINISHED"


def test_what_a_server_does_not_take_is_told(
    taken: Path, study: str, give: Callable[..., stores.Copied], there: Callable[[], MlflowTracker], tmp_path: Path
) -> None:
    """A name that no MLflow allows, as a stranger's file may have it."""
    odd = Path(shutil.copytree(taken, tmp_path / "odd"))
    with closing(sqlite3.connect(odd / "mlflow.db")) as store, store:
        store.execute("UPDATE params SET key = 'a\n;b' WHERE key = 'arm'")
    with pytest.raises(InputError, match="is not taken"):
        give(odd)
    with closing(sqlite3.connect(odd / "mlflow.db")) as store, store:
        store.execute("UPDATE params SET value = X'00'")
    with pytest.raises(InputError, match="its rows are damaged"):
        give(odd)
    assert give(taken) == stores.Copied(4, 2)
    assert unnamed(there(), study) == unnamed(MlflowTracker(None, taken), study)
