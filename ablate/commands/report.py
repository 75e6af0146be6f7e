"""`ablate report` and `ablate compare`: they read the store only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.report.formats import FORMATS
from ablate.scheduler.workspace import Workspace, check_folder, shown_path
from ablate.study import InputError, Problem, Record
from ablate.study.hypothesis_rules import ONE_DATA_SET
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    from ablate.analysis.compare import ArmComparison
    from ablate.analysis.results import Results
    from ablate.report.build import Report


def report(name: str, workspace: Workspace, formats: Sequence[str] = ("md",)) -> list[Path]:
    """Write `reports/<study>/` from the store alone; returns the file of each format, for CSV the folder of tables.

    Raises InputError when a format is unknown or the store does not know the study.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        rule = "is no format of a report" if unknown else "must name a format"
        raise InputError(Problem("--format", "", rule, ", ".join(map(shown, unknown)), f"valid: {', '.join(FORMATS)}"))
    check_folder("--reports", workspace.reports)
    folder = write_report(results(name, workspace), workspace, formats=formats).folder
    return [folder / FORMATS[name] for name in formats]


def compare(
    name: str, workspace: Workspace, arm: str, against: str, metrics: Sequence[str] = ()
) -> list[ArmComparison]:
    """Two arms side by side in each metric, by default the study's. Raises InputError for a name it does not have."""
    from ablate.analysis import compare

    study_results = results(name, workspace)
    study = study_results.study
    scored, arms = compare.scored_metrics(study_results), [*study.over_all_datasets, *study.arms]
    problems = [
        Problem(argument, "", "no arm of this study", shown(value), nearest(value, arms))
        for argument, value in (("ARM_A", arm), ("ARM_B", against))
        if value not in arms
    ]
    if arm == against and not problems:
        problems.append(Problem("ARM_B", "", "must be another arm than ARM_A", shown(against)))
    if not problems and study.over_datasets(arm) != study.over_datasets(against):
        hint = " ".join(study.arms[name].family if name in study.arms else name for name in (arm, against))
        problems.append(Problem("ARM_A ARM_B", "", ONE_DATA_SET, f"{arm} {against}", f"such as {hint}"))
    problems += [
        Problem("--metric", "", "no metric of this study", shown(metric), nearest(metric, scored))
        for metric in metrics
        if metric not in scored
    ]
    if problems:
        raise InputError(*problems)
    return compare.arm_comparisons(study_results, arm, against, list(dict.fromkeys(metrics)) or study.metrics)


def write_report(
    study_results: Results, workspace: Workspace, study_file: str = "", formats: Sequence[str] = ("md",)
) -> Report:
    """Write `reports/<study>/`. Raises InputError when it cannot be written."""
    from ablate.report import build

    folder = workspace.reports / study_results.document["study"]["name"]
    try:
        return build.write(study_results, folder, study_file=study_file, formats=formats)
    except OSError as error:
        raise InputError(Problem("--reports", "", "cannot be written", str(error))) from None


def results(name: str, workspace: Workspace, records: Sequence[Record] | None = None) -> Results:
    """The study's results, for analysis and reports: of the seeds that it needs now. Raises InputError when the store
    does not have the study.

    `records`: those of the study, where they have just been read; default: read now.
    """
    from ablate.analysis.results import load
    from ablate.analysis.stopping import now

    workspace.check_store_exists(name)
    reader = workspace.reader()
    try:
        return now(load(reader, name, records=records, store=shown_path(workspace.mlruns)))
    except InputError:
        if reader.document(name) is None:
            raise InputError(workspace.unknown_study(name)) from None
        raise
