"""The summary of a study: what it holds is what the store says, and what is wrong with it costs requests alone."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import toy_runs as toy
from servers import TrackingServer

from ablate.edges import summary
from ablate.edges.summary import CURVES, FILES, RECORDS, Summary
from ablate.edges.tracking import MlflowTracker
from ablate.study import Record

ODD = {"test/-inf": -math.inf, "test/inf": math.inf, "test/nan": math.nan, "val/error": 0.1 + 0.2}
HISTORY = [{"epoch": 1.0, "train/loss": 1 / 3, "val/ü": math.nan}, {"epoch": 2.0, "train/loss": 5e-324}]


def record(name: str, phase: str = "compare") -> Record:
    trial = None if phase == "compare" else 3
    return Record(name * 32, "hybrid", 7, phase, name, "FINISHED", ODD, {"a.b": 1e-3, "c": True}, trial, "",  # type: ignore[arg-type]
                  {"commit": "abc", "device": "°"}, "d" * 36)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A summary of three runs: one with both tables, one with scores alone, one of tuning."""
    (tmp_path / "summary").mkdir()
    records = [(100, record("a")), (90, record("b")), (80, record("c", "tune"))]
    scores = tmp_path / "scores.parquet"
    pd.DataFrame({"error": [0.5, 2.0]}).to_parquet(scores)

    def artifact(run_id: str, name: str) -> Path | None:
        return scores if name == "scores.parquet" or run_id.startswith("a") else None

    histories = [("b" * 32, HISTORY), ("a" * 32, HISTORY[:1]), ("e" * 32, HISTORY)]
    summary.write(tmp_path / "summary", 4, records, {"z"}, histories, artifact)
    return tmp_path / "summary"


def read(folder: Path, generation: int = 4) -> Summary | None:
    return Summary.read(generation, lambda name: folder / name if (folder / name).exists() else None)


def test_what_is_written_is_read_back(folder: Path, tmp_path: Path) -> None:
    found = read(folder)
    assert found is not None
    assert repr(list(found.records.values())) == repr(
        [(100, record("a")), (90, record("b")), (80, record("c", "tune"))]
    )
    assert repr(dict(found.histories())) == repr({"a" * 32: HISTORY[:1], "b" * 32: HISTORY})
    assert found.gone == {"z"}
    assert [found.holds(name * 32, "conditions.parquet") for name in "abc"] == [True, True, False]
    assert not found.holds("a" * 32, "examples.npz")
    assert found.file("b" * 32, "conditions.parquet", tmp_path / "b") is None
    table = found.file("a" * 32, "scores.parquet", tmp_path / "a")
    assert table is not None
    assert table.read_bytes() == (tmp_path / "scores.parquet").read_bytes()


def test_an_empty_study_has_one_too(tmp_path: Path) -> None:
    summary.write(tmp_path, 1, [], (), [], None)
    found = read(tmp_path, 1)
    assert found is not None
    assert (found.records, dict(found.histories())) == ({}, {})


def test_large_tables_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("a", 10), ("b", 30), ("c", 10), ("d", 10)):
        (tmp_path / name).write_bytes(bytes(size))
    monkeypatch.setattr(summary, "MAX_FILE_BYTES", 20)
    monkeypatch.setattr(summary, "MAX_PACK_BYTES", 25)
    records = [(1, record(name)) for name in "abcd"]
    only = "scores.parquet"
    summary.write(tmp_path, 1, records, (), [], lambda run, name: tmp_path / run[0] if name == only else None)
    found = read(tmp_path, 1)
    assert found is not None
    assert [found.holds(name * 32, only) for name in "abcd"] == [True, False, True, False]


class TestDamage:
    def test_no_summary(self, folder: Path) -> None:
        assert read(folder, 6) is None, "of another generation"
        (folder / RECORDS).unlink()
        assert read(folder) is None

    @pytest.mark.parametrize("keep", [0, 5, 200])
    def test_cut_off(self, folder: Path, keep: int) -> None:
        (folder / RECORDS).write_bytes((folder / RECORDS).read_bytes()[:keep])
        assert read(folder) is None

    @pytest.mark.parametrize("line", ["[]", "{}", "{", '{"run_id": 1, "started": null, "files": null}', '"x"'])
    def test_odd_lines(self, folder: Path, line: str) -> None:
        head = {"generation": 4, "names": [], "gone": []}
        with gzip.open(folder / RECORDS, "wt") as stream:
            stream.write(f"{json.dumps(head)}\n{line}\n")
        assert read(folder) is None

    def test_curves(self, folder: Path) -> None:
        pd.DataFrame({"run": [0, 9], "epoch": 1, "metric": 0, "score": 0.5}).to_parquet(folder / CURVES)
        for spoil in (lambda: None, lambda: (folder / CURVES).write_bytes(b"PAR1"), (folder / CURVES).unlink):
            spoil()
            found = read(folder)
            assert found is not None
            assert dict(found.histories()) == {}

    def test_a_pack_that_is_none(self, folder: Path) -> None:
        (folder / FILES).write_bytes(b"no archive")
        found = read(folder)
        assert found is not None
        assert not found.holds("a" * 32, "scores.parquet")

    def test_a_pack_that_swells(self, folder: Path, tmp_path: Path) -> None:
        name = f"{'a' * 32}/scores.parquet"
        with zipfile.ZipFile(folder / FILES, "w", zipfile.ZIP_DEFLATED) as pack:
            pack.writestr(name, bytes(50_000_000))
        found = read(folder)
        assert found is not None
        table = found.file("a" * 32, "scores.parquet", tmp_path / "out")
        assert table is not None
        assert table.stat().st_size <= summary.MAX_FILE_BYTES


@pytest.fixture
def server(tracking_server: TrackingServer) -> str:
    return tracking_server.address


@pytest.fixture
def study(server: str, request: pytest.FixtureRequest) -> str:
    return f"summary {request.node.name}"


@pytest.fixture
def tracker(server: str, study: str, tmp_path: Path) -> MlflowTracker:
    """On a real server: two finished runs, a tuning run, a failed one."""
    tracker = MlflowTracker(server, tmp_path / "unused")
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


@pytest.fixture
def ask(server: str, study: str, tmp_path: Path, tracker: MlflowTracker) -> Callable[[bool], str]:
    """What a fresh reader says of the whole study, with or without the summary."""

    def answer(summarised: bool) -> str:
        reader = MlflowTracker(server, tmp_path / "unused")
        _, parent = reader._find(study) or ("", "")
        tag = tracker.client.get_run(parent).data.tags.get(summary.SUMMARY, "")
        if not summarised:
            reader.client.set_tag(parent, summary.SUMMARY, "hidden")
        records = reader.records(study)
        assert (reader._remote.in_force(study) is not None) == (summarised and tag.isdecimal())
        compared = [r.run_id for r in records if r.phase == "compare" and r.status == "FINISHED"]
        told = dict(reader.histories(study, compared))
        tables = {
            (run, name): path and path.read_bytes()
            for run in compared
            for name in ("scores.parquet", "conditions.parquet", "examples.npz")
            for path in [reader.artifact(run, name)]
        }
        reader.client.set_tag(parent, summary.SUMMARY, tag)
        return repr((records, sorted(told.items()), sorted(tables.items())))

    return answer


class TestOnAServer:
    def test_says_what_the_store_says(self, tracker: MlflowTracker, study: str, ask: Callable[[bool], str]) -> None:
        before = ask(False)
        tracker.close(study, finished=True)
        assert ask(True) == ask(False) == before

    def test_what_ends_later_is_found(
        self, tracker: MlflowTracker, study: str, server: str, tmp_path: Path, ask: Callable[[bool], str]
    ) -> None:
        tracker.close(study, finished=True)
        later = MlflowTracker(server, tmp_path / "unused")  # another driver
        later.open(study, toy.DOCUMENT)
        toy.run(later, toy.spec(study, "hybrid", 3))
        later.kill(later.start(toy.spec(study, "hybrid", 4)))
        later.start(toy.spec(study, "hybrid", 5))
        again = toy.spec(study, "hybrid", 2)  # in place of the failed one
        toy.run(later, again)
        assert ask(True) == ask(False)
        later.close(study, finished=True)
        toy.run(later, toy.spec(study, "hybrid", 6))
        assert ask(True) == ask(False)
        assert ask(True).count("Record(") == 8

    def test_what_is_discarded_or_brought_back(
        self, tracker: MlflowTracker, study: str, ask: Callable[[bool], str]
    ) -> None:
        tracker.discard([toy.run(tracker, gone := toy.spec(study, "plain", 9))])
        tracker.close(study, finished=True)
        first = tracker.records(study)[0].run_id
        tracker.discard([first])
        assert first not in ask(True)
        assert ask(True) == ask(False)
        deleted = tracker._remote.deleted(tracker._studies[study][0]) - {first}
        tracker.client.restore_run(next(iter(deleted)))
        reader = MlflowTracker(tracker.uri, tracker.root)
        assert gone.seed in [r.seed for r in reader.records(study)]

    def test_later_scores_overtake_it(self, tracker: MlflowTracker, study: str, ask: Callable[[bool], str]) -> None:
        tracker.close(study, finished=True)
        first = tracker.records(study)[0]
        tracker.add_scores([first.run_id], {"cost/latency_ms_p50": 1.5})
        assert "latency" in ask(True)
        tracker.summarise(study)
        assert ask(True) == ask(False)
        assert tracker.records(study)[0] == replace(first, scores={**first.scores, "cost/latency_ms_p50": 1.5})
