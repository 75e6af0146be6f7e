"""The store of finished runs: the Protocol that the rest of the tool uses, and the errors that its methods raise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ablate.study.runs import Record, RunResult, RunSpec, StoredRun
from ablate.study.summary import StudySummary
from ablate.untrusted.problems import Problem, printable

SCHEMA = 1  # version of a store's tags, artifacts and document; records without a version count as 0


class StoreUnavailable(Exception):
    """The store cannot be used now (server away, database locked, disk full): the same call may succeed later."""


class RunDiscarded(LookupError):
    """The run that a call writes to has been deleted from the store by somebody else."""


def study_in_use(lock: str, by: str = "", command: str = "") -> Problem:
    """The problem that another process runs the study. `lock` is the file or address that shows it.

    `by` names the process and `command` what it runs, where they are known.
    """
    rule = "another `ablate run` of this study is at work" + (f": {by}" if by else "")
    return Problem(lock, "", rule, nearest=f"it runs: {printable(command)}" if command else "")


class RunReader(Protocol):
    """Reads the runs of a store. Any process may.

    A study's *document* is plain JSON: {"study": Study as JSON, "metrics": {name: {"label", "unit", "direction",
    "reduction", "pooled", "column"}}, "data_digests": {arm: digest of its data file's bytes, "" for none}, "created":
    ISO date, "amendments": [{"date", "what"}], "hypotheses_digest": str, "command": str, "schema": SCHEMA}; "column" is
    the metric whose name the column of per-example values has, "" for a pooled one. Older documents have no digests.
    That of an adopted study also has {"adopted": {"from": name of the table, "notes": [what is unusual about it]}}.
    """

    def studies(self) -> list[str]:
        """The names of the studies in this store, in alphabetical order."""

    def document(self, study: str) -> dict[str, Any] | None:
        """The study's document, or None before the first `open`."""

    def records(self, study: str) -> list[Record]:
        """Every run of the study that is not discarded, oldest first; tuning trials included."""

    def times(self, study: str) -> dict[str, tuple[int, int]]:
        """When each of these runs began and ended, in ms since the epoch, by run id; the end is 0 while it runs."""

    def histories(self, study: str, run_ids: Collection[str]) -> Iterable[tuple[str, list[dict[str, float]]]]:
        """Run id and history of runs of one study, in any order, with one query to the store.

        A history is the per-epoch entries as logged, ordered by epoch: "epoch" and the keys with a "/". A run without
        one may be left out.
        """

    def artifact(self, run_id: str, path: str) -> Path | None:
        """Local path of "scores.parquet", "conditions.parquet", "examples.npz" or the folder "model"; None when the
        run has none."""


class Tracker(RunReader, Protocol):
    """The store of finished runs. Only the process that runs the study writes.

    Every method raises StoreUnavailable while the store cannot be used. The call may then be repeated, even if it had
    been carried out in part. Methods that write to a run raise RunDiscarded when it has been deleted.
    """

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        """Create or update the study's experiment and parent run with this document."""

    def close(self, study: str, *, finished: bool) -> None:
        """Mark the parent run FINISHED, or FAILED when a run is missing or failed."""

    def sweep(self, study: str) -> int:
        """Mark as KILLED the runs that an ended process left RUNNING, and delete their incomplete models.

        Returns the number of runs.
        """

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        """Create a RUNNING run and return its id.

        Discards runs of the same key, phase, arm and trial that are KILLED or FAILED, or that this tracker started
        and that have not ended. `failures`: how many attempts at it have failed before.
        """

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        """Entries of `RunResult.history` ("epoch" is the step)."""

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        """Record scores, timings, provenance, artifacts and the model; the run ends FINISHED or FAILED.

        `failures`: above 0 for a failed run of a cell that is tried again, the number of failed attempts including
        this one. The run then ends KILLED, like an interrupted one, so that the next `ablate run` tries it again too.
        """

    def kill(self, run_id: str) -> None:
        """Mark an interrupted run, which will be resumed, as KILLED."""

    def discard(self, run_ids: Sequence[str]) -> None:
        """Mark runs that are to be done again as deleted."""

    def forget(self, study: str) -> None:
        """Mark a study and all its runs as deleted."""

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        """Add scores that were measured after the runs had ended (latency)."""

    def publish(self, summary: StudySummary, state: str) -> bool:
        """Keep the summary beside the runs of an open study, for its users: nothing else here reads it.

        `state`: of the records that it was made of. A store that holds the same summary is left as it is; another one
        is replaced. Returns whether anything was written.
        """

    # Methods for a run whose script logs its scores itself.

    def environment(self, study: str, run_id: str) -> dict[str, str]:
        """The environment variables with which MLflow in another process logs to this run of an open study."""

    def logged_scores(self, run_id: str) -> dict[str, float]:
        """The latest value of every metric of the run: of the highest step, and there of the last time."""

    def logged_curves(self, run_id: str, names: Collection[str]) -> list[dict[str, float]]:
        """The values of these metrics that have a step from 1 on, as `histories` gives them."""

    # Methods that copy runs between stores: see `archive`.

    def stored(self, study: str) -> list[StoredRun]:
        """Every run of the study, oldest first; discarded ones too."""

    def files(self, run_id: str) -> Path | None:
        """Local folder with the files of a run, maybe its model too; valid until the next call. None: it has none."""

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        """Add a run that has ended in another store to an open study. Returns its id in this store.

        The run is complete once it has ended here too. Raises InputError for content that the store cannot hold.
        """

    def add_model(self, run_id: str, model: Path) -> None:
        """Add the model to an ended run that has none."""
