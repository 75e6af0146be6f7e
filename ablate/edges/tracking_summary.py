"""Keep the summary of a study in MLflow, beside its parent run. Imported by `tracking` alone.

Every run carries the number of the summary that it will be in, so that what ended later is one search by a tag: times
would do only as long as all the machines that ever drive a study agree on them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow import MlflowClient

from ablate.edges import summary
from ablate.edges.ledger import local_path
from ablate.edges.tracking_faults import passing_faults
from ablate.edges.tracking_reading import ClientReader
from ablate.study import RunResult


class Summaries:
    """Writes summaries through `client` and takes what they hold from `reader`."""

    def __init__(self, client: MlflowClient, reader: ClientReader) -> None:
        self.client, self.reader = client, reader
        self._last: dict[str, int] = {}  # parent run → generation of its last summary, 0 for none
        self._in_force: dict[str, bool] = {}

    def tag(self, parent: str) -> dict[str, str]:
        """What a run that starts now carries."""
        return {summary.GENERATION: str(self._generation(parent) + 1)}

    def remember(self, run_id: str, result: RunResult) -> None:
        """Keep what a finished run leaves until it is summarised."""
        files = [] if result.artifacts is None else sorted(result.artifacts.glob("*.parquet"))
        with passing_faults():
            self.reader.remember(run_id, result.history, files)

    def write(self, study: str, experiment_id: str, parent: str) -> None:
        """Write a new summary and put it in force, unless the one in force says all there is."""
        deleted = self.reader.deleted(experiment_id)
        records = [(began, record) for began, record in self.reader.dated(study) if record.status == "FINISHED"]
        last = self.reader.in_force(study)
        if last and last.gone == deleted and list(last.records.values()) == records:
            return
        generation = self._generation(parent) + 1
        compared = [record.run_id for _, record in records if record.phase == "compare"]
        histories = self.reader.histories(study, compared)
        apart = local_path(self.client.get_run(parent).info.artifact_uri) is None
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            artifact = self.reader.artifact if apart else None
            summary.write(Path(scratch), generation, records, deleted, histories, artifact)
            self.client.log_artifacts(parent, scratch, summary.slot("", generation).rstrip("/"))
        self.client.set_tag(parent, summary.SUMMARY, str(generation))
        self._last[parent], self._in_force[parent] = generation, True

    def overtake(self, found: tuple[str, str] | None) -> None:
        """Put the summary out of force: what it holds is about to change."""
        if found is None:
            return
        _, parent = found
        generation = self._generation(parent)
        if self._in_force[parent]:
            self.client.set_tag(parent, summary.SUMMARY, f"{generation} {summary.OVERTAKEN}")
            self._in_force[parent] = False

    def _generation(self, parent: str) -> int:
        if parent not in self._last:
            number, _, state = self.client.get_run(parent).data.tags.get(summary.SUMMARY, "0").partition(" ")
            self._last[parent] = int(number) if number.isdecimal() else 0
            self._in_force[parent] = not state
        return self._last[parent]
