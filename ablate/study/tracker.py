"""The store of finished runs, as everything else sees it: a Protocol, and the errors that its calls raise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ablate.study.runs import Record, RunResult, RunSpec, StoredRun
from ablate.untrusted.problems import Problem, printable

SCHEMA = 1  # of a store's records: their tags, artifacts and document; 0: written before records said so


class StoreUnavailable(Exception):
    """The store cannot be used just now (server away, database locked, disk full): the same call may succeed later."""


class RunDiscarded(LookupError):
    """The run that a call writes to has been deleted in the store by somebody else."""


def study_in_use(place: str, by: str = "", command: str = "") -> Problem:
    """That a study is taken: where that is known from, and who it is and what it runs, where they have said so."""
    rule = "another `ablate run` of this study is at work" + (f": {by}" if by else "")
    return Problem(place, "", rule, nearest=f"it runs: {printable(command)}" if command else "")


class Tracker(Protocol):
    """The store of finished work. The driver alone writes; everyone may read.

    A study's *document* is plain JSON: {"study": Study as JSON, "metrics": {name: {"label", "unit", "direction",
    "reduction", "pooled", "column"}}, "data_digests": {arm: digest of its data file's bytes, "" for none}, "created":
    ISO date, "amendments": [{"date", "what"}], "hypotheses_digest": str, "command": str, "schema": SCHEMA}; "column" is
    the metric under whose name the values of examples lie, "" for a pooled one. Older documents have no digests.

    Every call raises StoreUnavailable while the store cannot be used, and may then be made again, whatever of it was
    done before. Those that write to a run raise RunDiscarded when it is no longer there.
    """

    def studies(self) -> list[str]:
        """The names of the studies that were opened here, in alphabetical order."""

    def document(self, study: str) -> dict[str, Any] | None:
        """The study's document, or None before the first `open`."""

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        """Create or update the study's experiment and parent run with this document."""

    def close(self, study: str, *, finished: bool) -> None:
        """Mark the parent run FINISHED, or FAILED when a run is missing or failed."""

    def records(self, study: str) -> list[Record]:
        """Every run of the study that is not discarded, oldest first; tuning trials included."""

    def sweep(self, study: str) -> int:
        """Mark KILLED what a driver that is no more left RUNNING, and delete half-written models; how many runs."""

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        """A new RUNNING run. Of the same key, phase, arm and trial, KILLED and FAILED runs and those that were started
        through this tracker and have not ended are discarded. Returns the run id.

        `failures`: how many tries of it have failed before.
        """

    def log_epoch(self, run_id: str, scores: Mapping[str, float]) -> None:
        """One entry of `RunResult.history` ("epoch" is the step)."""

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        """Several of them at once."""

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        """Record scores, timings, provenance, artifacts and the model; the run ends FINISHED or FAILED.

        `failures`: how many tries have failed, this one included, of a cell that is tried again: the run ends KILLED,
        as one that was interrupted, so that whoever drives next tries it again too.
        """

    def kill(self, run_id: str) -> None:
        """The run was interrupted and will be resumed: KILLED."""

    def discard(self, run_ids: Sequence[str]) -> None:
        """Forget runs that are to be done again (kept in the store as deleted)."""

    def forget(self, study: str) -> None:
        """Forget a study and all its runs (kept in the store as deleted)."""

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        """Scores measured after the run ended (latency, measured alone)."""

    def history(self, run_id: str) -> list[dict[str, float]]:
        """The per-epoch entries as logged, by epoch; keys with a "/" and "epoch"."""

    def histories(self, study: str, run_ids: Collection[str]) -> Iterable[tuple[str, list[dict[str, float]]]]:
        """Run id and history of many runs of one study, in any order: one answer of the store for all of them."""

    def artifact(self, run_id: str, path: str) -> Path | None:
        """Local path of "scores.parquet", "conditions.parquet", "examples.npz" or the folder "model"; None when the
        run has none."""

    # What runs need to travel from store to store: see `archive`.

    def stored(self, study: str) -> list[StoredRun]:
        """Every run of the study, oldest first; discarded ones too."""

    def files(self, run_id: str) -> Path | None:
        """Local folder with the files of a run, until the next call; its model may be among them. None: it has none."""

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        """Add a run that has ended in another store, to a study that is open; its id here.

        It is whole once it has ended here too. Raises InputError for what the store does not take.
        """

    def add_model(self, run_id: str, model: Path) -> None:
        """Give a run that has ended the model that it lacks."""
