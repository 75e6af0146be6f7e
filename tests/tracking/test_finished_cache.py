"""The local cache of a server's finished runs: it returns what the server returns, without a second request."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_runs as toy
from servers import TrackingServer

from ablate.tracking.mlflow.finished_cache import CURVES, FOLDER, TABLES, FinishedCache
from ablate.tracking.mlflow.tracker import MlflowTracker

ODD = {"test/-inf": -math.inf, "test/inf": math.inf, "test/nan": math.nan, "val/error": 0.1 + 0.2}
HISTORY = [{"epoch": 1.0, "train/loss": 1 / 3, "val/ü": math.nan}, {"epoch": 2.0, "train/loss": 5e-324}]
RUN = "a" * 32


@pytest.fixture
def cache(tmp_path: Path) -> FinishedCache:
    return FinishedCache(tmp_path / "mlruns", "http://host:5000")


def test_an_id_cannot_lead_out_of_the_folder(cache: FinishedCache, tmp_path: Path) -> None:
    for run_id in ("../../../out", str(tmp_path / "out")):
        cache.keep_history(run_id, HISTORY)
        assert repr(cache.history(run_id)) == repr(HISTORY)
    assert [path.name for path in tmp_path.iterdir()] == ["mlruns"]


def test_servers_do_not_mix(cache: FinishedCache, tmp_path: Path) -> None:
    cache.keep_history(RUN, HISTORY)
    assert FinishedCache(tmp_path / "mlruns", "http://other:5000").history(RUN) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"epoch": "x"}]', "null", '{"a": 1}', "[" * 100_000])
def test_a_damaged_file_counts_as_absent(cache: FinishedCache, text: str) -> None:
    cache.keep_history(RUN, HISTORY)
    (file,) = cache.folder.rglob(CURVES)
    file.write_text(text)
    assert cache.history(RUN) is None


def test_what_cannot_be_written_is_not_kept(cache: FinishedCache, tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("no folder")
    cache.keep(RUN, HISTORY, tmp_path)
    assert cache.history(RUN) is None


class CountingClient:
    """A client that counts the calls of each method."""

    def __init__(self, client: Any) -> None:
        self.client, self.calls = client, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.client, name)


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    return f"cache {request.node.name}"


@pytest.fixture
def tracker(tracking_server: TrackingServer, study: str, tmp_path: Path) -> MlflowTracker:
    """On a real server: two finished runs, one of them without tables; a tuning run; a failed one."""
    tracker = MlflowTracker(tracking_server.address, tmp_path / "driver")
    tracker.open(study, toy.DOCUMENT)
    folder = toy.artifacts(tmp_path / "out")
    pd.DataFrame({"subject": [1, 2]}).to_parquet(folder / "conditions.parquet")
    shutil.rmtree(folder / "model")
    toy.run(tracker, toy.spec(study, "plain", 1), folder)
    toy.run(tracker, toy.spec(study, "plain", 2), scores=ODD)
    toy.run(tracker, toy.trial(study, 0, **{"training.learning_rate": 1e-5}))
    broken = toy.spec(study, "hybrid", 2)
    tracker.finish(tracker.start(broken), broken, toy.failed(broken))
    return tracker


Answer = tuple[str, Counter[str]]  # what was read, as text, and the calls


@pytest.fixture
def ask(tracker: MlflowTracker, study: str) -> Callable[[Path], Answer]:
    """What a new reader with this `mlruns` returns for all finished runs, and its calls of the client."""

    def answer(mlruns: Path) -> Answer:
        reader = MlflowTracker(tracker.uri, mlruns)
        counting = CountingClient(reader.client)
        vars(reader)["client"] = counting
        records = reader.records(study)
        compared = [r.run_id for r in records if r.phase == "compare" and r.status == "FINISHED"]
        histories = dict(reader.histories(study, compared))
        tables = {
            (run, name): path and path.read_bytes()
            for run in compared
            for name in TABLES
            for path in [reader.artifact(run, name)]
        }
        return repr((records, histories, tables)), counting.calls

    return answer


REQUESTS = {"get_metric_history", "get_run"}


class TestOnAServer:
    def test_the_second_answer_is_that_of_the_server_without_asking(
        self, ask: Callable[[Path], Answer], tracker: MlflowTracker, tmp_path: Path
    ) -> None:
        first, calls = ask(tmp_path / "elsewhere")
        assert calls.keys() >= REQUESTS
        for mlruns in (tmp_path / "elsewhere", tracker.root):  # the second is of the process that recorded the runs
            again, calls = ask(mlruns)
            assert again == first
            assert not calls.keys() & REQUESTS
        shutil.rmtree(tmp_path / "elsewhere" / FOLDER)
        assert ask(tmp_path / "elsewhere")[0] == first

    def test_what_changes_in_the_records_is_seen(
        self, ask: Callable[[Path], Answer], tracker: MlflowTracker, study: str, tmp_path: Path
    ) -> None:
        ask(tmp_path / "elsewhere")
        discarded, scored = [r.run_id for r in tracker.records(study) if r.phase == "compare"][:2]
        tracker.discard([discarded])
        tracker.add_scores([scored], {"cost/latency_ms_p50": 1.5})
        toy.run(tracker, toy.spec(study, "plain", 3))
        text, _ = ask(tmp_path / "elsewhere")
        assert text == ask(tmp_path / "without")[0]
        assert discarded not in text
        assert "'cost/latency_ms_p50': 1.5" in text
        assert text.count("Record(") == 4

    def test_an_unfinished_run_is_not_kept(self, tracker: MlflowTracker, study: str, tmp_path: Path) -> None:
        spec = toy.spec(study, "hybrid", 7)
        run_id = tracker.start(spec)
        reader = MlflowTracker(tracker.uri, tmp_path / "elsewhere")
        for epochs in (1, 2):
            tracker.log_epochs(run_id, [toy.history()[epochs - 1]])
            assert toy.curves(reader, run_id, study) == toy.history(epochs)
            assert reader.artifact(run_id, "scores.parquet") is None
        tracker.finish(run_id, spec, toy.finished(spec, toy.artifacts(tmp_path / "late")))
        assert toy.curves(reader, run_id, study) == toy.history()
        assert reader.artifact(run_id, "scores.parquet") is not None
