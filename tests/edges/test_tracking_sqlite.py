"""Values that are written by SQL: the same rows that MLflow writes, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from ablate.edges.tracking import MlflowTracker
from ablate.edges.tracking_sqlite import SqliteRows
from ablate.study import RunDiscarded, StoreUnavailable

Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[RunTag]]

VALUES = st.one_of(st.floats(width=32), st.sampled_from([float("nan"), float("inf"), float("-inf"), 1.7e308]))
METRICS = st.tuples(st.sampled_from(["val/error_deg", "error_deg", "time s"]), VALUES, st.integers(0, 3), st.booleans())
BATCHES = st.lists(
    st.tuples(
        st.lists(METRICS, max_size=6),
        st.dictionaries(st.sampled_from(["arm", "seed"]), st.just("the same"), max_size=2),
        st.dictionaries(st.sampled_from(["ablate.error", "note"]), st.text("ab é\n", max_size=4), max_size=2),
    ),
    max_size=4,
)
QUERIES = {
    "metrics": "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?",
    "latest": "SELECT key, value, timestamp, step, is_nan FROM latest_metrics WHERE run_uuid = ?",
    "params": "SELECT key, value FROM params WHERE run_uuid = ?",
    "tags": "SELECT key, value FROM tags WHERE run_uuid = ? AND key != 'mlflow.runName'",
    "of the model": """SELECT metric_name, metric_value, metric_timestamp_ms, metric_step, experiment_id
        FROM logged_model_metrics WHERE run_id = ?""",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    return MlflowTracker(None, tmp_path_factory.mktemp("mlruns")).client


def file_of(client: MlflowClient) -> Path:
    return Path(client.tracking_uri.removeprefix("sqlite:///"))


def made(client: MlflowClient) -> tuple[str, str]:
    """A run and its model."""
    run_id = client.create_run("0").info.run_id
    return run_id, client.create_logged_model("0", source_run_id=run_id).model_id


def rows(client: MlflowClient, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(file_of(client))) as store:
        return {name: sorted(store.execute(query, (run_id,))) for name, query in QUERIES.items()}


def batch(drawn: Any, model_id: str, clock: Iterator[int]) -> Batch:
    """What was drawn, as MLflow's; the clock rises, as the tracker's does."""
    metrics, params, tags = drawn
    return (
        [Metric(key, v, next(clock), step, model_id if of_model else None) for key, v, step, of_model in metrics],
        [Param(*pair) for pair in params.items()],
        [RunTag(*pair) for pair in tags.items()],
    )


@settings(max_examples=20, deadline=None)
@given(BATCHES)
def test_the_rows_are_those_of_mlflow(client: MlflowClient, drawn: list[Any]) -> None:
    (theirs, their_model), (ours, our_model) = made(client), made(client)
    store, clock, their_clock = SqliteRows(file_of(client)), count(1), count(1)
    for each in drawn:
        client.log_batch(theirs, *batch(each, their_model, their_clock))
        store.log_batch(ours, *batch(each, our_model, clock))
    assert rows(client, ours) == rows(client, theirs)


def test_the_same_again_changes_nothing(client: MlflowClient) -> None:
    run_id, model_id = made(client)
    store, same = SqliteRows(file_of(client)), ([("error_deg", 2.0, 1, True)], {"seed": "1"}, {"note": "x"})
    store.log_batch(run_id, *batch(same, model_id, count(1)))
    before = rows(client, run_id)
    store.log_batch(run_id, *batch(same, model_id, count(1)))
    assert rows(client, run_id) == before


def test_a_batch_that_fails_leaves_nothing_behind(client: MlflowClient) -> None:
    run_id, _ = made(client)
    before = rows(client, run_id)
    damaged = [Metric("fine", 1.0, 1, 0), Metric("fine too", 1.0, 1, 2**70)]
    with pytest.raises((MlflowException, OverflowError)):
        SqliteRows(file_of(client)).log_batch(run_id, damaged, (), [RunTag("note", "x")])
    assert rows(client, run_id) == before


@pytest.mark.parametrize("name", ["angle/°", "", "a" * 251])
def test_a_name_that_a_server_would_refuse_is_refused(client: MlflowClient, name: str) -> None:
    run_id, _ = made(client)
    with pytest.raises(MlflowException, match=r"[Mm]etric|length"):
        SqliteRows(file_of(client)).log_batch(run_id, [Metric(name, 1.0, 1, 0)], (), ())


def test_a_deleted_run_takes_nothing(client: MlflowClient) -> None:
    run_id, _ = made(client)
    client.delete_run(run_id)
    with pytest.raises(RunDiscarded):
        SqliteRows(file_of(client)).log_batch(run_id, [Metric("error_deg", 1.0, 1, 0)], (), ())
    assert rows(client, run_id)["metrics"] == []


def test_a_file_that_is_away_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        SqliteRows(tmp_path / "mlflow.db").log_batch("0" * 32, [Metric("error_deg", 1.0, 1, 0)], (), ())
    assert list(tmp_path.iterdir()) == []
