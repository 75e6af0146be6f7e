"""Copy a study from an MLflow server into a local store, to be exported or snapshot there. Only reads the server.

What was imported into the server gets back the ids that it had before, so that where it came from knows it again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities import DatasetInput, FileInfo, LoggedModel, Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.design.rules import NAME
from ablate.edges import whole_rows as rows
from ablate.edges.ledger import ROLE, local_path
from ablate.edges.snapshot_store import LEFT_BEHIND
from ablate.edges.snapshot_views import MODEL_ID, RUN_ID
from ablate.edges.tracking import MlflowTracker
from ablate.edges.tracking_faults import passing_faults
from ablate.edges.tracking_reading import ONCE, ClientReader
from ablate.edges.whole import ENDED, ORIGIN, Dataset, Point, WholeModel, WholeRun, own_tags
from ablate.study import InputError, Problem

AT_ONCE = 4  # requests: a server has a few workers, and each waits for its database
DESCRIPTION = "MLmodel"  # the file of a model's own that names its run and itself

Tell = Callable[[int, int], None]  # runs done, runs in all
Insist = Callable[[Callable[[], None]], None]  # calls it, again where it raises StoreUnavailable, until it is done


def once(call: Callable[[], None]) -> None:
    """The Insist that does not."""
    call()


def take(study: str, uri: str | None, root: Path, target: Path, tell: Tell, insist: Insist = once) -> None:
    """Make the store `target`, a folder `mlruns`, with the parent run and the ended runs of a study at `uri`.

    Runs that were discarded are noted as such. Raises InputError when the study is not there, StoreUnavailable when
    the server goes away and `insist` does not wait for it.
    """
    source = MlflowTracker(uri, root)
    experiment = source.client.get_experiment_by_name(study)
    if experiment is None or experiment.lifecycle_stage != "active" or not NAME.fullmatch(study):
        raise InputError(Problem("tracking store", "study", "not in the store", study))
    MlflowTracker(None, target)  # its tables
    rows.add_experiment(study, target, experiment.creation_time or 0)
    taker = _Taker(source, study, target)
    insist(lambda: _take(taker, experiment.experiment_id, tell))


def _take(taker: _Taker, experiment_id: str, tell: Tell) -> None:
    """What has not been taken yet."""
    ended, discarded = taker.runs(experiment_id)
    left = {run: origin for run, origin in ended.items() if origin not in taker.taken}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for run in pool.map(taker.whole, left, left.values()):
                rows.add(run, taker.study, taker.target)
                taker.taken.add(run.run_id)
                tell(len(taker.taken), len(ended))
        finally:
            pool.shutdown(cancel_futures=True)
    for run_id in discarded:
        rows.add_discarded(run_id, taker.study, taker.target)


class _Taker:
    def __init__(self, source: MlflowTracker, study: str, target: Path) -> None:
        self.client, self.uri = source.client, source.uri
        self.reader = ClientReader(self.client, self.uri)
        self.study, self.target = study, target
        self.place = target / "artifacts" / study
        self.taken: set[str] = set()  # ids here
        self.parents: dict[str, str] = {}  # id there → id here

    def runs(self, experiment_id: str) -> tuple[dict[str, str], list[str]]:
        """Ids there and here of the runs to take, the parent first; ids of those that were discarded."""
        parent = next(self.reader.search(experiment_id, f"tags.`{ROLE}` = 'study'"), None)
        chosen = _ids([*([parent] if parent else []), *self._ended(experiment_id, ViewType.ACTIVE_ONLY)])
        discarded = _ids(self._ended(experiment_id, ViewType.DELETED_ONLY))
        self.parents = {run: origin for run, origin in chosen.items() if parent and run == parent.info.run_id}
        return chosen, [origin for origin in discarded.values() if origin not in chosen.values()]

    def _ended(self, experiment_id: str, view: int) -> Iterator[Run]:
        for run in self.reader.search(experiment_id, view=view):
            if run.info.status in ENDED and run.data.tags.get(ROLE) != "study":
                yield run

    def whole(self, run_id: str, origin: str) -> WholeRun:
        """All of one run, its files put in their place."""
        run = self.client.get_run(run_id)
        tags = own_tags(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = self.parents.get(tags["mlflow.parentRunId"], tags["mlflow.parentRunId"])
        outputs = run.outputs.model_outputs if run.outputs else []
        listing = partial(self.client.list_artifacts, run_id)
        return WholeRun(
            origin,
            run.info.run_name or "",
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
            tags,
            list(self._points(run)),
            [_dataset(each) for each in (run.inputs.dataset_inputs if run.inputs else [])],
            [self._model(model, run_id, origin) for each in outputs if (model := self._found(each.model_id))],
            self._files(run.info.artifact_uri, run_id, listing, self.place / origin / "artifacts"),
        )

    def _points(self, run: Run) -> Iterator[Point]:
        for metric in run.data.to_proto().metrics:
            if metric.key.startswith(ONCE):  # no curve: its last value is all that there is, without a request
                yield _point(metric)
            else:
                yield from map(_point, self.client.get_metric_history(run.info.run_id, metric.key))

    def _found(self, model_id: str) -> LoggedModel | None:
        try:
            return self.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # somebody has deleted it

    def _model(self, model: LoggedModel, run_id: str, run_origin: str) -> WholeModel:
        origin = _origin(model.tags, model.model_id, MODEL_ID)
        listing = partial(self.client.list_logged_model_artifacts, model.model_id)
        place = self.place / "models" / origin / "artifacts"
        files = self._files(model.artifact_location, model.model_id, listing, place)
        renamed(place / DESCRIPTION, {model.model_id: origin, run_id: run_origin})
        points = [_point(metric) for metric in model.metrics or [] if metric.run_id in (None, run_id)]
        return WholeModel(
            origin,
            model.name,
            model.model_type or "",
            model.status.to_int(),
            model.creation_timestamp,
            model.params,
            own_tags(model.tags),
            points,
            files,
        )

    def _files(self, address: str, of: str, listing: Callable[[], list[FileInfo]], target: Path) -> Path:
        """Bring the artifacts of a run or model, which lie at `address`, into the folder `target`."""
        target.mkdir(parents=True, exist_ok=True)
        folder = local_path(address)
        with passing_faults():
            if folder is None:
                for name in (entry.path for entry in listing()):
                    if Path(name).name == name and not any(fnmatch(name, pattern) for pattern in LEFT_BEHIND):
                        source = f"{address.rstrip('/')}/{name}"
                        download_artifacts(source, dst_path=str(target), tracking_uri=self.uri)
            elif folder.parent.name == of and folder.is_dir():  # nothing but what MLflow itself keeps there
                shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*LEFT_BEHIND), dirs_exist_ok=True)
        return target


def renamed(description: Path, ids: Mapping[str, str]) -> None:
    """Put other run and model ids into a model's description, where it is there."""
    if description.is_file():
        text = description.read_text(encoding="utf-8")
        pattern = "|".join(map(re.escape, ids))
        description.write_text(re.sub(pattern, lambda found: ids[found[0]], text), encoding="utf-8")


def _ids(runs: Iterable[Run]) -> dict[str, str]:
    """Their ids there and, once each, here."""
    found = {run.info.run_id: _origin(run.data.tags, run.info.run_id, RUN_ID) for run in runs}
    first = {origin: run for run, origin in reversed(found.items())}
    return {run: origin for run, origin in found.items() if first[origin] == run}


def _origin(tags: Mapping[str, str], own: str, pattern: re.Pattern[str]) -> str:
    """The id that it has here. Raises InputError for one that is none."""
    origin = tags.get(ORIGIN, own)
    chosen = origin if pattern.fullmatch(origin) else own
    if not pattern.fullmatch(chosen):
        raise InputError(Problem("tracking store", "run id", "is not one that MLflow makes", chosen[:80]))
    return chosen


def _point(metric: Metric) -> Point:
    return Point(metric.key, metric.value, metric.timestamp, metric.step)


def _dataset(of: DatasetInput) -> Dataset:
    data = of.dataset
    tags = {tag.key: tag.value for tag in of.tags}
    return Dataset(data.name, data.digest, data.source_type, data.source, data.schema, data.profile, tags)
