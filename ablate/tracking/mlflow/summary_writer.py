"""Write a study's summary into MLflow: a run for every arm, files and tags of the study's run, tags of its experiment.

No reader of records sees any of it: an arm's run has the tag `ablate.role` = "arm" and no `ablate.key`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.utils import validation

from ablate.study import RunDiscarded, digest
from ablate.study.data_digests import file_digest
from ablate.study.summary import ArmSummary, Ends, StudySummary
from ablate.tracking.mlflow import store
from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.errors import passing_faults
from ablate.tracking.mlflow.run_writer import RunWriter
from ablate.tracking.mlflow.schema import SOURCE, run_tags
from ablate.tracking.mlflow.views import HIGH, INTERVAL, LOW, run_page, view_tags
from ablate.tracking.record_format import COLOUR, PARENT, ROLE, YARDSTICK
from ablate.untrusted.wording import cut

PUBLISHED, STATE = "ablate.summary", "ablate.summary_of"  # tags of the study's run: digests of summary and records
FORMAT = 1  # of what is written for a summary: another one replaces it
KIND = {"mlflow.experimentKind": "custom_model_development"}  # the UI then shows the experiment as model training
NOTE = "mlflow.note.content"
BASELINE, BEST = "ablate.baseline", "ablate.best"  # tags of two models
VERDICT = "verdict/"  # prefix of the tags that hold the outcome of a hypothesis
# Signs of arms' names that MLflow's names of tags cannot have. Arms' names have no spaces, so that none become alike.
WORDS = str.maketrans({"@": " at ", "+": " and "})
TAG_LIMIT = int(getattr(validation, "MAX_EXPERIMENT_TAG_VAL_LENGTH", 5000))  # characters, of an experiment's tags


@dataclass(frozen=True)
class SummaryWriter:
    """Writes the summary of the study whose experiment and run are given. `now_ms`: a clock that strictly increases."""

    writer: RunWriter
    reader: ClientReader
    experiment_id: str
    parent: str
    now_ms: Callable[[], int]

    def publish(self, summary: StudySummary, state: str) -> bool:
        """See `Tracker.publish`. Stopped in between, the next call writes it again, as a whole."""
        tags = self.reader.client.get_run(self.parent).data.tags
        old = self.reader.search(self.experiment_id, f"tags.`{ROLE}` = 'arm'")
        content = _digest(summary)
        if tags.get(PUBLISHED) == content and len(old) == len(summary.arms):
            if tags.get(STATE) != state:
                self.reader.client.set_tag(self.parent, STATE, state)
            return False
        verdicts = {verdict_tag(claim): outcome for claim, outcome in summary.verdicts.items()}
        positions = iter(range(1, len(summary.arms) + 1))
        for arm in summary.arms:
            self._write_arm(arm, 0 if arm.yardstick else next(positions), verdicts)
        self._write_files(self.parent, summary.files.items())
        self._tag_experiment(summary, verdicts)
        self._tag_models(summary)
        discard(self.writer.client, old)
        self._delete_old_verdicts(tags, verdicts)
        self.writer.client.log_batch(self.parent, tags=run_tags({**verdicts, PUBLISHED: content, STATE: state}))
        return True

    def _write_arm(self, arm: ArmSummary, position: int, verdicts: Mapping[str, str]) -> None:
        """`position`: of a trained arm among the others, from 1; where its interval is drawn."""
        tags = {
            ROLE: "arm",
            "ablate.arm": arm.arm,
            YARDSTICK: "yes" if arm.yardstick else "no",
            PARENT: self.parent,
            COLOUR: arm.colour,
            **{claim: outcome for claim, outcome in verdicts.items() if claim.startswith(verdict_tag(f"{arm.arm}/"))},
            **SOURCE,
        }
        start = self.now_ms()
        info = self.writer.client.create_run(self.experiment_id, start, tags, arm.label).info
        self.writer.client.log_batch(info.run_id, params=[Param("arm", arm.arm)])
        self.writer.log_metrics(info.run_id, list(_points(arm, position, start)))
        self._write_files(info.run_id, ((file.name, file) for file in arm.files))
        self.writer.client.set_terminated(info.run_id, "FINISHED")
        for run_id in arm.runs.values():
            try:
                self.writer.client.log_batch(run_id, tags=run_tags({PARENT: info.run_id, COLOUR: arm.colour}))
            except RunDiscarded:  # since the report read it
                continue

    def _write_files(self, run_id: str, files: Iterable[tuple[str, Path]]) -> None:
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            for name, file in files:
                target = Path(scratch, name)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)
            address = self.reader.client.get_run(run_id).info.artifact_uri
            store.check_own_folder(run_id, address)
            store.artifacts(address, self.writer.uri).log_artifacts(scratch)

    def _tag_experiment(self, summary: StudySummary, verdicts: Mapping[str, str]) -> None:
        client, experiment_id = self.writer.client, self.experiment_id
        report = run_page(experiment_id, self.parent, "report.html")
        note = f"{summary.note}\n[The whole report]({report})\n"
        tags = {**KIND, NOTE: note if len(note) <= TAG_LIMIT else cut(note, TAG_LIMIT), **verdicts}
        tags |= {key: view for key, view in view_tags(summary).items() if len(view) <= TAG_LIMIT}
        present = client.get_experiment(experiment_id).tags
        for key in (key for key in present if key.startswith(VERDICT) and key not in tags):
            client.delete_experiment_tag(experiment_id, key)
        for key, value in tags.items():
            if present.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)

    def _tag_models(self, summary: StudySummary) -> None:
        """Mark the models of the baseline and of the best arm, of their first seeds that have one.

        By tags, not as versions of a registered model with aliases: those keep an address of their own, which would be
        wrong after a store has moved, and a name that everybody shares; and they outlive the runs.
        """
        client = self.writer.client
        for tag, name in ((BASELINE, summary.baseline), (BEST, summary.best)):
            marked = client.search_logged_models([self.experiment_id], f"tags.`{tag}` = 'yes'")
            wanted = next((self._model(arm) for arm in summary.arms if arm.arm == name), None)
            for model in marked:
                if model.model_id != wanted:
                    client.delete_logged_model_tag(model.model_id, tag)
            if wanted and wanted not in [model.model_id for model in marked]:
                client.set_logged_model_tags(wanted, {tag: "yes"})

    def _model(self, arm: ArmSummary) -> str | None:
        """The id of the model of the arm's first finished seed."""
        if not arm.runs:
            return None
        outputs = self.reader.client.get_run(next(iter(arm.runs.values()))).outputs
        model = self.reader.model(outputs.model_outputs[0].model_id) if outputs and outputs.model_outputs else None
        return str(model.model_id) if model else None

    def _delete_old_verdicts(self, tags: Mapping[str, str], verdicts: Mapping[str, str]) -> None:
        for key in (key for key in tags if key.startswith(VERDICT) and key not in verdicts):
            self.writer.client.delete_tag(self.parent, key)


def verdict_tag(claim: str) -> str:
    """The name of the tag for a claim, `arm/against/metric`: `verdict/wide at 16/plain at 16/error`."""
    return VERDICT + claim.translate(WORDS)


def discard(client: MlflowClient, runs: Iterable[Run]) -> None:
    """Delete the runs of arms; in a list of deleted runs none must look running."""
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
        client.delete_run(run.info.run_id)


def _points(arm: ArmSummary, position: int, now_ms: int) -> Iterator[Metric]:
    """The metrics of an arm's run: means under the names of the runs' metrics, the ends of their intervals beside them.

    A score with an interval also has three points at one step, its ends and last its mean: a vertical line in a chart.
    """
    for key, ends in arm.metrics.items():
        yield from _ends(key, ends, now_ms, 0)
        if ends.low is not None and ends.high is not None and position:
            name = INTERVAL + (key.partition("/")[2] or key)
            for later, value in enumerate((ends.low, ends.high, ends.mean)):
                yield Metric(name, value, now_ms + later, position)
    for key, epochs in arm.curves.items():
        for epoch, ends in epochs.items():
            yield from _ends(key, ends, now_ms, epoch)


def _ends(key: str, ends: Ends, now_ms: int, step: int) -> Iterator[Metric]:
    yield Metric(key, ends.mean, now_ms, step)
    if ends.low is not None and ends.high is not None:
        yield Metric(key + LOW, ends.low, now_ms, step)
        yield Metric(key + HIGH, ends.high, now_ms, step)


def _digest(summary: StudySummary) -> str:
    """Of all that is written. Floats as text, for a mean may be infinite."""
    files = {name: file_digest(file) for name, file in summary.files.items()}
    arms = [{**asdict(arm), "files": [[file.name, file_digest(file)] for file in arm.files]} for arm in summary.arms]
    return digest([FORMAT, repr({**vars(summary), "files": files, "arms": arms})])
