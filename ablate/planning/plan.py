"""The runs of a study and which of them are done. Pure: no I/O, no torch, optuna or mlflow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ablate.planning.counting import RecordIndex, document_digests
from ablate.planning.trials import (
    TrialOutcome,
    TuningFailed,
    best,
    by_tuning,
    split_settings,
    trial_outcomes,
    tuned_arms,
    tuning_direction,
    tuning_done,
    tuning_of,
    with_split,
)
from ablate.study import Direction, InputError, Phase, Problem, Record, RunSpec, Scalar, Study
from ablate.study.document import checked
from ablate.study.resolve import resolve
from ablate.untrusted.wording import nearest, shown

State = Literal["done", "failed", "running", "interrupted", "missing", "waiting"]


@dataclass(frozen=True)
class Cell:
    """One run of the study. `spec` is None while its settings depend on unfinished tuning.

    `record` is the record that counts for it.
    """

    spec: RunSpec | None
    arm: str
    seed: int
    phase: Phase
    trial: int | None
    state: State
    error: str = ""
    record: Record | None = None


@dataclass(frozen=True)
class Plan:
    """Every run of a study: tuning first, then comparison; arms in the order of the file."""

    study: str
    cells: Sequence[Cell]
    digests: Mapping[str, str] = field(default_factory=dict)  # arm → digest of its data
    trials: Mapping[str, Sequence[TrialOutcome]] = field(default_factory=dict)  # of every tuned arm, all its tunings

    @property
    def compared(self) -> dict[tuple[str, int], Record]:
        """The finished comparison runs that count, by arm and seed: the input of tables and verdicts."""
        cells = (cell for cell in self.cells if cell.phase == "compare" and cell.state == "done")
        return {(cell.arm, cell.seed): cell.record for cell in cells if cell.record is not None}

    @property
    def counted(self) -> dict[str, Record]:
        """Every run that counts, tuning and failed ones too, by run id."""
        return {cell.record.run_id: cell.record for cell in self.cells if cell.record is not None}


def compare_spec(
    study: Study, arm: str, seed: int, overrides: Mapping[str, Scalar] | None = None, data_digest: str = ""
) -> RunSpec:
    """The comparison run of `arm` with `seed`, with the tuned values `overrides`."""
    return compare_specs(study, arm, overrides, data_digest, [seed])[0]


def compare_specs(
    study: Study,
    arm: str,
    overrides: Mapping[str, Scalar] | None = None,
    data_digest: str = "",
    seeds: Sequence[int] | None = None,
) -> list[RunSpec]:
    """The comparison runs of `arm`, one per seed; `seeds` defaults to all of the study."""
    settings = resolve(study, arm, overrides)
    return [
        RunSpec(
            study=study.name,
            arm=arm,
            seed=seed,
            phase="compare",
            settings=with_split(settings, split_settings(study, seed)),
            data_digest=data_digest,
            replicate=study.arms[arm].replicate,
            overrides=dict(overrides or {}),
        )
        for seed in (study.seeds if seeds is None else seeds)
    ]


def make_plan(
    study: Study,
    records: Iterable[Record] | RecordIndex,
    digest_of_arm: Callable[[str], str],
    *,
    direction: Direction | None = None,
) -> Plan:
    """Every run of the study with its state. `direction` is the tuning metric's; default: the catalogue's.

    A run with a FAILED record is "failed" and is run again only on request. Trials that are not proposed yet are
    "waiting", and so are the comparison runs whose tuning is not finished.
    """
    index = records if isinstance(records, RecordIndex) else RecordIndex(records)
    if study.tuning is not None and direction is None:
        direction = tuning_direction(study)
    tuning: list[Cell] = []
    comparison: list[Cell] = []
    trials: dict[str, Sequence[TrialOutcome]] = {}
    digests = {arm: digest_of_arm(arm) for arm in study.arms}
    for arm, data_digest in digests.items():
        if arm not in tuned_arms(study):
            comparison += [_cell(spec, index) for spec in compare_specs(study, arm, {}, data_digest)]
            continue
        trials[arm] = trial_outcomes(study, arm, index, data_digest)
        for seed, outcomes in by_tuning(study, trials[arm]).items():
            tuning += _trial_cells(study, arm, seed, outcomes, index)
            comparison += _comparison_cells(study, arm, seed, outcomes, index, data_digest, direction or "lower")
    return Plan(study.name, [*tuning, *comparison], digests, trials)


def plan_of_document(
    document: Mapping[str, Any], study: Study, metrics: Mapping[str, Mapping[str, Any]], records: Sequence[Record]
) -> Plan:
    """The plan of a stored document, with its own data digests; `study` and `metrics` as `document.checked` gives them.

    Reports and other readers of results use it: it needs neither the study file nor the data. Raises InputError for a
    document, which may come from a stranger, whose settings cannot be resolved.
    """
    name = study.tuning.metric.removeprefix("val/") if study.tuning else ""
    direction: Direction = metrics.get(name, {}).get("direction", "lower")
    try:
        digests = document_digests(document, study, records)
        return make_plan(study, records, digests.__getitem__, direction=direction)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        rule = "the settings of its runs cannot be resolved"
        raise InputError(
            Problem("tracking store", f"document of {shown(study.name)}", rule, shown(str(error)))
        ) from None


def counted_by(document: Mapping[str, Any], name: str, records: Sequence[Record]) -> Collection[str]:
    """Ids of the runs that count by the stored document of the study `name`; none for a damaged document."""
    try:
        return plan_of_document(document, *checked(document, name), records).counted
    except InputError:
        return ()


def _trial_cells(
    study: Study, arm: str, seed: int | None, outcomes: Sequence[TrialOutcome], index: RecordIndex
) -> list[Cell]:
    proposed = {o.index: o for o in outcomes}
    seeds = tuning_of(study).seeds if seed is None else [seed]
    cells = []
    for trial in range(tuning_of(study).trials):
        if trial in proposed:
            cells += [_cell(spec, index) for spec in proposed[trial].specs]
        else:
            cells += [Cell(None, arm, each, "tune", trial, "waiting") for each in seeds]
    return cells


def _comparison_cells(
    study: Study,
    arm: str,
    seed: int | None,
    outcomes: Sequence[TrialOutcome],
    index: RecordIndex,
    data_digest: str,
    direction: Direction,
) -> list[Cell]:
    seeds = study.seeds if seed is None else [seed]
    if not tuning_done(study, outcomes):
        return [Cell(None, arm, each, "compare", None, "waiting") for each in seeds]
    try:
        tuned = best(outcomes, direction)
    except TuningFailed as error:
        return [Cell(None, arm, each, "compare", None, "failed", str(error)) for each in seeds]
    return [_cell(spec, index) for spec in compare_specs(study, arm, tuned, data_digest, seeds)]


def _cell(spec: RunSpec, index: RecordIndex) -> Cell:
    record = index.counted(spec)
    states: dict[str, State] = {"FINISHED": "done", "FAILED": "failed", "RUNNING": "running"}
    state: State = "missing" if record is None else states.get(record.status, "interrupted")
    error = record.error if record is not None and state == "failed" else ""
    return Cell(spec, spec.arm, spec.seed, spec.phase, spec.trial, state, error, record)


def selector(study: Study, only: Sequence[str], *, file: str = "") -> Callable[[RunSpec | Cell | Record], bool]:
    """A function that tells whether a run is selected by `only` ("ARM" or "ARM:SEED"); all are by an empty `only`.

    The tuning that a selected comparison run needs is selected too. The name of a factor's family selects all of its
    arms. Raises InputError for arms and seeds that the study does not have.
    """
    problems = []
    wanted: set[tuple[str, int | None]] = set()
    seeds = {str(seed): seed for seed in study.seeds}
    for text in only:
        arm, colon, seed = text.partition(":")
        arms = [name for name, a in study.arms.items() if arm in (name, a.family)]
        if not arms:
            problems.append(Problem(file, f"--only {text}", "no such arm", shown(arm), nearest(arm, study.arms)))
        if colon and seed not in seeds:
            problems.append(Problem(file, f"--only {text}", "no such seed", shown(seed), nearest(seed, seeds)))
        wanted |= {(name, seeds.get(seed)) for name in arms}
    if problems:
        raise InputError(*problems)
    chosen = {arm for arm, _ in wanted}
    one_tuning = study.tuning is not None and study.tuning.per == "arm"

    def accepts(spec: RunSpec | Cell | Record) -> bool:
        if not wanted:
            return True
        return spec.arm in chosen and (
            (spec.phase == "tune" and one_tuning) or not wanted.isdisjoint({(spec.arm, None), (spec.arm, spec.seed)})
        )

    return accepts
