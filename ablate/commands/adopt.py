"""`ablate adopt`: make a study of scores that were computed elsewhere. Starts no run.

The study's document is one like any other: its settings name the digest of the scores and the arm, so that other
scores are other runs. It also has {"adopted": {"from": name of the table, "notes": what is unusual about it}}.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ablate.archive.bundle import write_table
from ablate.commands import summary
from ablate.commands.report import results, write_report
from ablate.commands.run import Outcome
from ablate.planning.plan import plan_of_document
from ablate.report.formats import FORMATS
from ablate.scheduler import study_lock
from ablate.scheduler.workspace import Workspace, check_folder
from ablate.study import Direction, Hypothesis, InputError, Problem, RunResult, Study, Tracker, amend
from ablate.study.catalogue import declared_metrics
from ablate.study.data_digests import file_digest
from ablate.study.document import MAX_RUNS, checked
from ablate.study.model import Arm, DeclaredMetric
from ablate.study.rules import NAME, NAME_RULE, broken_stored_rules, command_words
from ablate.study.score_table import DATASET, SUBJECT, Cell, ScoreTable, notes, score_table
from ablate.untrusted.addresses import absolute, default_uri
from ablate.untrusted.tables import Table, read_table
from ablate.untrusted.wording import nearest, shown

EXAMPLES = "scores.parquet"
OPTIONS = {"name": "--name", "baseline": "--baseline", "question": "--question"}  # that set a study's values


@dataclass(frozen=True)
class Question:
    """What a person asks of a table: which column is what, and what is claimed."""

    baseline: str
    metrics: Mapping[str, Direction]  # by column
    hypotheses: tuple[Hypothesis, ...] = ()
    name: str = ""  # of the study; default: the table's
    text: str = ""
    arm_column: str = "arm"
    seed_column: str = "seed"
    dataset: str = ""


@dataclass(frozen=True)
class Source:
    """A table, and where it comes from."""

    table: Table
    name: str  # without folders
    study: str  # the name of a study that is given none
    facts: Mapping[str, str]  # for the provenance of every run


def source(
    file: Path | None, experiment: str | None, uri: str | None, question: Question, workspace: Workspace
) -> Source:
    """The table in a CSV or Parquet file, or the runs of an MLflow experiment at `uri`. Raises InputError."""
    if (file is None) == (experiment is None):
        rule = "needs a file or --experiment NAME" if file is None else "cannot have both a file and --experiment"
        raise InputError(Problem("ablate adopt", "", rule))
    if uri is not None and experiment is None:
        raise InputError(Problem("--from", "", "is where --experiment is read from, which is missing"))
    return _from_file(file, question) if file else _from_experiment(str(experiment), uri, question, workspace)


def _from_file(file: Path, question: Question) -> Source:
    table = read_table(file, [question.arm_column, question.seed_column, *question.metrics], [DATASET, SUBJECT])
    facts = {"adopted_from": file.name, "adopted_sha256": file_digest(file)}
    return Source(table, file.name, file.stem, facts)


def _from_experiment(name: str, uri: str | None, question: Question, workspace: Workspace) -> Source:
    from ablate.tracking.mlflow.experiment_table import experiment_table  # imports mlflow

    if question.name == name:
        raise InputError(Problem("--name", "", "must be another than the experiment's", shown(name)))
    address = absolute(uri or workspace.tracking_uri or default_uri(workspace.mlruns), workspace.working_folder)
    names = [question.arm_column, question.seed_column]
    table = experiment_table(address, name, names, list(question.metrics), [DATASET, SUBJECT])
    return Source(table, f"experiment {name}", f"{name}-adopted", {"adopted_from": f"experiment {name}"})


def adopt(
    source: Source,
    question: Question,
    workspace: Workspace,
    *,
    note: Callable[[str], None],
    replace: bool = False,
    command: str,
) -> Outcome:
    """Record the table's scores as a study, and write its report. The same table again changes nothing.

    `note` is told what is unusual about the table. Raises InputError, before anything is written, for a table or a
    question that is wrong, and where the store has other results or claims under this name and not `replace`.
    """
    check_folder("--reports", workspace.reports)
    scores = score_table(
        source.table,
        list(question.metrics),
        arm=question.arm_column,
        seed=question.seed_column,
        dataset=question.dataset,
    )
    study = _study(source, question, scores)
    document = _document(source, study, scores, command)
    for text in document["adopted"]["notes"]:
        note(text)
    tracker = workspace.tracker()
    lock, uri = workspace.lock_file(study.name), workspace.tracking_uri
    with study_lock.hold(lock, study.name, command=command, store=uri, new=True):
        changed = _record(tracker, source, study, scores, document, replace=replace)
        records = tracker.records(study.name)
        found = results(study.name, workspace, records)
        report = workspace.reports / study.name / FORMATS["md"]
        if changed or not report.is_file():
            written = write_report(found, workspace)
            summary.publish(found, written, tracker, records)
    done = len(found.done())
    return Outcome(done, 0, len(found.runs) - done, {}, found, report)


def _study(source: Source, question: Question, scores: ScoreTable) -> Study:
    """The study of the table. Raises InputError where it breaks a rule of studies."""
    name = question.name or source.study
    arms = {
        arm: Arm(set={"run.arm": arm})
        for arm in sorted(scores.arms, key=lambda arm: arm != question.baseline)  # the baseline first
    }
    columns = Counter(given.column for given in scores.metrics.values())  # a claim may name one that is one metric
    names = {given.column: name for name, given in scores.metrics.items() if columns[given.column] == 1}
    study = Study(
        name=name,
        question=question.text or f"How do the arms of {source.name} compare with {question.baseline}?",
        baseline=question.baseline,
        seeds=list(scores.seeds),
        metrics=list(scores.metrics),
        metric={
            name: DeclaredMetric(direction=question.metrics[given.column], label=given.label)
            for name, given in scores.metrics.items()
        },
        settings={"run": {"adopted": scores.digest, "arm": question.baseline}},
        arms=arms,
        hypotheses=[h.model_copy(update={"metric": names.get(h.metric, h.metric)}) for h in question.hypotheses],
    )
    problems = []
    if not NAME.fullmatch(name):
        problems.append(Problem("--name", "", NAME_RULE, shown(name), "" if question.name else "--name NAME gives one"))
    if question.baseline not in arms:
        near = nearest(question.baseline, arms)
        problems.append(Problem("--baseline", "", "is not an arm of the table", shown(question.baseline), near))
    problems += [
        Problem("--hypothesis", "", "names no metric of the table", shown(h.metric), nearest(h.metric, study.metric))
        for h in study.hypotheses
        if h.metric not in study.metric
    ]
    if len(arms) * len(study.seeds) > MAX_RUNS:
        problems.append(Problem(source.name, "", f"arms and seeds make more than {MAX_RUNS:,} runs"))
    if not problems:
        broken = [*broken_stored_rules(study, study.metric), *command_words(study, study.metric)]
        problems = [_located(problem, source) for problem in broken]
    if problems:
        raise InputError(*problems)
    return study


def _located(problem: Problem, source: Source) -> Problem:
    """A problem of a study, where the person can mend it: in an option or in the table."""
    key = problem.place.partition("[")[0].partition(".")[0]
    option = "--hypothesis" if key == "hypotheses" else OPTIONS.get(key)
    return problem._replace(file=option, place="") if option else problem._replace(file=source.name)


def _document(source: Source, study: Study, scores: ScoreTable, command: str) -> dict[str, Any]:
    catalogue = declared_metrics(study, pooled=not scores.subjects)
    document = amend.document(study, catalogue, command=command, today=date.today())
    return {**document, "adopted": {"from": source.name, "notes": list(notes(scores))}}


def _record(
    tracker: Tracker, source: Source, study: Study, scores: ScoreTable, document: dict[str, Any], *, replace: bool
) -> bool:
    """Write the document and the runs that the store lacks, and discard runs of other scores. Whether it did any."""
    old = tracker.document(study.name)
    changes = [] if old is None else _changes(old, study, source)
    if changes and not replace:
        rule = "is in the store with other results or claims"
        hint = "--replace puts these in their place and says so in the report; --name NAME keeps both"
        raise InputError(Problem(study.name, "", rule, "; ".join(changes), hint))
    if old is not None:
        document["created"] = old.get("created", document["created"])
        amendments = ({"date": str(date.today()), "what": change} for change in changes)
        document["amendments"] = [*old.get("amendments", []), *amendments]
    tracker.sweep(study.name)
    records = tracker.records(study.name)
    planned = plan_of_document(document, study, document["metrics"], records)
    to_do = [cell for cell in planned.cells if cell.state != "done" and (cell.arm, cell.seed) in scores.scores]
    kept = {record.run_id for record in planned.compared.values()}
    outdated = [record.run_id for record in records if record.run_id not in kept]
    if not (old is None or changes or to_do or outdated):
        return False
    tracker.open(study.name, document)
    tracker.discard(outdated)
    for cell in to_do:
        if cell.spec is not None:
            with tempfile.TemporaryDirectory(prefix="ablate-adopt-") as scratch:
                result = _result(cell.spec.key, source, scores, (cell.arm, cell.seed), Path(scratch))
                tracker.finish(tracker.start(cell.spec), cell.spec, result)
    missing = len(planned.cells) - len(scores.scores)
    tracker.close(study.name, finished=not missing)
    return True


def _changes(old: Mapping[str, Any], study: Study, source: Source) -> list[str]:
    """How the study differs from the one in the store, a sentence a change. Raises InputError for one of own runs."""
    stored, _ = checked(old, study.name)
    if stored.trainer != "adopted":
        rule = "is a study in the store whose runs were not adopted"
        raise InputError(Problem(study.name, "", rule, "", "give these results another name: --name NAME"))
    same_scores = stored.settings["run"]["adopted"] == study.settings["run"]["adopted"]
    alike = stored.model_copy(update={"settings": study.settings})  # its baseline is among the settings too
    replaced = [] if same_scores else [f"the adopted scores were replaced by those of {source.name}"]
    return [*replaced, *amend.edited(alike, study)]


def _result(key: str, source: Source, scores: ScoreTable, cell: Cell, folder: Path) -> RunResult:
    """The run of one arm and seed as the table has it; its examples are written into `folder`."""
    if scores.subjects:
        import pyarrow

        examples = dict(sorted(scores.examples[cell].items()))
        columns = {SUBJECT: pyarrow.array(examples, pyarrow.float64())}
        for metric in scores.metrics:
            columns[metric] = pyarrow.array([each.get(metric) for each in examples.values()], pyarrow.float64())
        write_table(folder / EXAMPLES, columns)
    return RunResult(
        key,
        "FINISHED",
        {f"test/{metric}": score for metric, score in scores.scores[cell].items()},
        provenance=source.facts,
        artifacts=folder if scores.subjects else None,
    )
