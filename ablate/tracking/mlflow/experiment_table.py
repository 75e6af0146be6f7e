"""Read the runs of any MLflow experiment as a table: tags or params say what a run is, metrics are its scores.

Writes nothing: a database that does not exist is not made, one of an older MLflow is not migrated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from ablate.study import InputError, Problem
from ablate.tracking.mlflow.errors import translated
from ablate.tracking.mlflow.sqlite_reader import reading
from ablate.tracking.record_format import ROLE
from ablate.untrusted.addresses import database_file, redacted
from ablate.untrusted.tables import Table, check_extent, chosen
from ablate.untrusted.wording import nearest, shown

RUNS_A_PAGE = 1000


def experiment_table(
    uri: str, experiment: str, names: Sequence[str], metrics: Sequence[str], optional: Collection[str]
) -> Table:
    """A row for every run: `names` and the `optional` ones are params or tags, `metrics` the latest values.

    A run that has not finished has no score, and counts only where no finished one has the same names. Runs without
    any of `names`, such as the parents of others, are left out, and the means over seeds that `ablate` has written.
    Raises InputError.
    """
    source = f"experiment {experiment} of {redacted(uri)}"
    try:
        runs = [run for run in _runs(_client(uri), uri, experiment) if run.data.tags.get(ROLE) != "arm"]
    except MlflowException as error:
        reason = redacted(next(iter(str(error).splitlines()), ""))[:300]
        raise InputError(Problem(redacted(uri), "", "cannot be read", reason)) from None
    check_extent(source, len(runs), len(names) + len(metrics))
    labels = [_labels(run) for run in runs]
    scored = {name for run in runs for name in run.data.metrics}
    problems = [
        Problem(source, "", "no run has such a metric", shown(metric), nearest(metric, scored))
        for metric in metrics
        if metric not in scored
    ]
    if problems:
        raise InputError(*problems)
    wanted = chosen(source, list(dict.fromkeys(name for label in labels for name in label)), names, optional)
    runs_and_labels = [(run, label) for run, label in zip(runs, labels, strict=True) if any(n in label for n in names)]
    finished = {_cell(label, wanted) for run, label in runs_and_labels if run.info.status == "FINISHED"}
    kept = [
        (run, label)
        for run, label in runs_and_labels
        if run.info.status == "FINISHED" or _cell(label, wanted) not in finished
    ]
    columns: dict[str, list[object]] = {name: [label.get(name, "") for _, label in kept] for name in wanted}
    for metric in metrics:
        columns[metric] = [run.data.metrics.get(metric) if run.info.status == "FINISHED" else None for run, _ in kept]
    return Table(source, columns, [f"run {run.info.run_name or run.info.run_id}" for run, _ in kept])


def _client(uri: str) -> MlflowClient:
    """Raises InputError where there is no store."""
    uri = store.usable(uri)
    if file := database_file(uri):
        if not file.is_file():
            raise InputError(Problem("--from", "", "no such database", redacted(uri)))
        with reading(file):  # refuses what MLflow did not make
            pass
    return translated(MlflowClient(tracking_uri=uri, registry_uri=uri))


def _runs(client: MlflowClient, uri: str, name: str) -> Iterator[Run]:
    """Every run that is not deleted, oldest first."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        names = [each.name for each in client.search_experiments()]
        raise InputError(Problem("--experiment", "", f"is not in {redacted(uri)}", shown(name), nearest(name, names)))
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            max_results=RUNS_A_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _labels(run: Run) -> dict[str, str]:
    """Tags that a person set, and params."""
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    return {**tags, **run.data.params}


def _cell(labels: dict[str, str], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in wanted)
