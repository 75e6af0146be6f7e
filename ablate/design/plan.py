"""Which runs does a study ask for, and which of them are done? Pure: no I/O, no torch, optuna or mlflow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from ablate.design.components import load_component
from ablate.design.resolve import resolve, scalars
from ablate.design.space_rules import contains
from ablate.design.wording import nearest, shown
from ablate.study import Direction, InputError, Metric, Phase, Problem, Record, RunSpec, Scalar, Study, Tuning, digest

State = Literal["done", "failed", "running", "interrupted", "missing", "waiting"]
CellId = tuple[str, str, str, int | None]  # key, phase, arm, trial: two trials may choose the same values
STATES: tuple[State, ...] = get_args(State)


class TuningFailed(Exception):
    """Every trial of an arm failed: there is nothing to choose."""


@dataclass(frozen=True)
class TrialOutcome:
    """One proposed trial of one arm. `value` is the mean over the tuning seeds; None unless all have FINISHED."""

    index: int
    overrides: Mapping[str, Scalar]
    value: float | None
    done: bool  # every tuning seed has FINISHED or FAILED
    specs: Sequence[RunSpec]


@dataclass(frozen=True)
class Cell:
    """One run the study asks for. `spec` is None exactly while its settings depend on results still to come."""

    spec: RunSpec | None
    arm: str
    seed: int
    phase: Phase
    trial: int | None
    state: State
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """Every run of a study: tuning first, then comparison; arms in the order of the file."""

    study: str
    cells: Sequence[Cell]
    counts: Mapping[State, int] = field(init=False)

    def __post_init__(self) -> None:
        counted = Counter(cell.state for cell in self.cells)
        object.__setattr__(self, "counts", {state: counted[state] for state in STATES})


class Known:
    """The records of a study, oldest first, found by cell: asking for one costs the same among ten and ten thousand."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_cell: dict[CellId, Record] = {}
        self._by_trial: dict[tuple[str, int], list[Record]] = {}
        self._ended: set[CellId] = set()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take note of a record that is newer than all the others."""
        cell = cell_id(record)
        older = self._by_cell.get(cell)
        if record.status == "FINISHED" or older is None or older.status != "FINISHED":
            self._by_cell[cell] = record
        if record.status in ("FINISHED", "FAILED"):
            self._ended.add(cell)
        if record.phase == "tune" and record.trial is not None:
            self._by_trial.setdefault((record.arm, record.trial), []).append(record)

    def of(self, spec: RunSpec) -> Record | None:
        """The record that answers `spec`: the newest finished one, else the newest of any status."""
        return self._by_cell.get(cell_id(spec))

    def ended(self, spec: RunSpec) -> bool:
        """Whether the cell has FINISHED or FAILED, whatever came after."""
        return cell_id(spec) in self._ended

    def trial(self, arm: str, trial: int) -> Sequence[Record]:
        """Every record of one trial, oldest first."""
        return self._by_trial.get((arm, trial), ())


def cell_id(of: RunSpec | Record) -> CellId:
    """What tells a cell from every other of its study."""
    return of.key, of.phase, of.arm, of.trial


def _known(records: Iterable[Record] | Known) -> Known:
    return records if isinstance(records, Known) else Known(records)


def tuning_seed(study: str, arm: str, trial: int) -> int:
    """Seed of the sampler that proposes this trial: the same however often the chain is stopped and resumed."""
    return int(digest(["tuning", study, arm, trial])[:8], 16)


def tuned_arms(study: Study) -> list[str]:
    """Arms that are tuned: all but the references; none when the study has no tuning."""
    return [name for name, arm in study.arms.items() if study.tuning is not None and not arm.reference]


def tuning_direction(study: Study) -> Direction:
    """Whether a lower or a higher trial value is better, as the study's catalogue says."""
    catalogue: Mapping[str, Metric] = load_component(study.catalogue, file=study.name, place="catalogue")
    return catalogue[_tuning(study).metric.removeprefix("val/")].direction


def setting_values(study: Study, arm: str) -> dict[str, Scalar]:
    """The arm's settings as written, dotted path → value: what its first trial is."""
    return dict(scalars(resolve(study, arm)))


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
    """The comparison runs of `arm`, one a seed of the study; they share what settings do not depend on the seed."""
    settings = resolve(study, arm, overrides)
    return [
        RunSpec(
            study=study.name,
            arm=arm,
            seed=seed,
            phase="compare",
            settings={**settings, "data": {**settings["data"], **drawn(study, seed)}},
            data_digest=data_digest,
            replicate=study.arms[arm].replicate,
            overrides=dict(overrides or {}),
        )
        for seed in (study.seeds if seeds is None else seeds)
    ]


def drawn(study: Study, seed: int) -> dict[str, int]:
    """The data settings that a comparison seed brings with it, by what the study varies: the same for every arm."""
    if "split" in study.vary:
        return {"split_seed": seed}
    if "fold" in study.vary:
        return {"fold": study.seeds.index(seed), "folds": len(study.seeds)}
    return {}


def trial_specs(
    study: Study, arm: str, trial: int, overrides: Mapping[str, Scalar], data_digest: str = ""
) -> list[RunSpec]:
    """The runs of one trial, one a tuning seed, each for `tuning.epochs` where the study gives it.

    Folds are the comparison's: tuning keeps the split that the study's own settings make.
    """
    tuning = _tuning(study)
    settings = resolve(study, arm, overrides)
    if tuning.epochs is not None:
        settings["training"]["epochs"] = tuning.epochs
    redrawn = "split" in study.vary
    return [
        RunSpec(
            study=study.name,
            arm=arm,
            seed=seed,
            phase="tune",
            settings={**settings, "data": {**settings["data"], "split_seed": seed}} if redrawn else settings,
            data_digest=data_digest,
            replicate=study.arms[arm].replicate,
            trial=trial,
            overrides=dict(overrides),
        )
        for seed in tuning.seeds
    ]


def trial_outcomes(
    study: Study, arm: str, records: Iterable[Record] | Known, data_digest: str = ""
) -> list[TrialOutcome]:
    """The trials of `arm` proposed so far, in order. Records of other settings or data (another key) do not count."""
    known = _known(records)
    found = (trial_outcome(study, arm, trial, known, data_digest) for trial in range(_tuning(study).trials))
    return [outcome for outcome in found if outcome is not None]


def trial_outcome(study: Study, arm: str, trial: int, known: Known, data_digest: str = "") -> TrialOutcome | None:
    """One trial of `arm`, None before it is proposed. Proposed again, the newest replaces the old one."""
    proposed = [dict(record.overrides) for record in reversed(known.trial(arm, trial))]
    distinct = [overrides for i, overrides in enumerate(proposed) if overrides not in proposed[:i]]
    found = (_outcome(study, arm, trial, overrides, known, data_digest) for overrides in distinct)
    return next((outcome for outcome in found if outcome is not None), None)


def _outcome(
    study: Study, arm: str, trial: int, overrides: Mapping[str, Scalar], known: Known, data_digest: str
) -> TrialOutcome | None:
    """What the records say of a trial with these overrides; None when none of them is of its runs."""
    tuning = _tuning(study)
    if not all(path in tuning.space and contains(tuning.space[path], value) for path, value in overrides.items()):
        return None
    try:
        specs = trial_specs(study, arm, trial, overrides, data_digest)
    except (InputError, ValueError):  # proposed for settings that this study no longer has
        return None
    found = [known.of(spec) for spec in specs]
    if not any(found):
        return None
    done = all(r is not None and r.status in ("FINISHED", "FAILED") for r in found)
    scores = [r.scores.get(tuning.metric, math.nan) for r in found if r is not None and r.status == "FINISHED"]
    value = sum(scores) / len(scores) if done and len(scores) == len(specs) else math.nan
    return TrialOutcome(trial, overrides, value if math.isfinite(value) else None, done, specs)


def best(outcomes: Sequence[TrialOutcome], direction: Direction) -> dict[str, Scalar]:
    """The overrides of the best trial; of equals, the first. Raises TuningFailed when every trial failed."""
    valued = [(o.value if direction == "lower" else -o.value, o.index, o) for o in outcomes if o.value is not None]
    if not valued:
        raise TuningFailed(f"all {len(outcomes)} tuning trials failed")
    return dict(min(valued, key=lambda v: v[:2])[2].overrides)


def make_plan(
    study: Study,
    records: Iterable[Record] | Known,
    digest_of_arm: Callable[[str], str],
    *,
    direction: Direction | None = None,
) -> Plan:
    """Every run of the study and how it stands. `direction` is the tuning metric's; default: the catalogue's.

    A FAILED record counts as failed: it is run again only when someone asks. Trials not proposed yet, and the
    comparison runs of an arm whose tuning is unfinished, wait.
    """
    known = _known(records)
    if study.tuning is not None and direction is None:
        direction = tuning_direction(study)
    tuning: list[Cell] = []
    comparison: list[Cell] = []
    for arm in study.arms:
        data_digest = digest_of_arm(arm)
        if arm not in tuned_arms(study):
            comparison += [_cell(spec, known) for spec in compare_specs(study, arm, {}, data_digest)]
            continue
        outcomes = trial_outcomes(study, arm, known, data_digest)
        tuning += _trial_cells(study, arm, outcomes, known)
        comparison += _comparison_cells(study, arm, outcomes, known, data_digest, direction or "lower")
    return Plan(study.name, [*tuning, *comparison])


def _trial_cells(study: Study, arm: str, outcomes: Sequence[TrialOutcome], known: Known) -> list[Cell]:
    proposed = {o.index: o for o in outcomes}
    cells = []
    for trial in range(_tuning(study).trials):
        if trial in proposed:
            cells += [_cell(spec, known) for spec in proposed[trial].specs]
        else:
            cells += [Cell(None, arm, seed, "tune", trial, "waiting") for seed in _tuning(study).seeds]
    return cells


def _comparison_cells(
    study: Study,
    arm: str,
    outcomes: Sequence[TrialOutcome],
    known: Known,
    data_digest: str,
    direction: Direction,
) -> list[Cell]:
    if not tuning_done(study, outcomes):
        return [Cell(None, arm, seed, "compare", None, "waiting") for seed in study.seeds]
    try:
        tuned = best(outcomes, direction)
    except TuningFailed as error:
        return [Cell(None, arm, seed, "compare", None, "failed", str(error)) for seed in study.seeds]
    return [_cell(spec, known) for spec in compare_specs(study, arm, tuned, data_digest)]


def tuning_done(study: Study, outcomes: Sequence[TrialOutcome]) -> bool:
    """Whether the whole allotted budget of an arm has been used."""
    return len(outcomes) == _tuning(study).trials and all(o.done for o in outcomes)


def _cell(spec: RunSpec, known: Known) -> Cell:
    record = known.of(spec)
    states: dict[str, State] = {"FINISHED": "done", "FAILED": "failed", "RUNNING": "running"}
    state: State = "missing" if record is None else states.get(record.status, "interrupted")
    error = record.error if record is not None and state == "failed" else ""
    return Cell(spec, spec.arm, spec.seed, spec.phase, spec.trial, state, error)


def _tuning(study: Study) -> Tuning:
    if study.tuning is None:
        raise ValueError(f"study {study.name!r} has no tuning")
    return study.tuning


def selector(study: Study, only: Sequence[str], *, file: str = "") -> Callable[[RunSpec | Cell | Record], bool]:
    """Whether a run is one of `only` ("ARM" or "ARM:SEED"); the tuning of the arms named always is.

    An arm that runs through a factor's levels stands for all of them. Nothing named means every run.
    Raises InputError for arms and seeds that the study does not have.
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

    def accepts(spec: RunSpec | Cell | Record) -> bool:
        if not wanted:
            return True
        return spec.arm in chosen and (
            spec.phase == "tune" or not wanted.isdisjoint({(spec.arm, None), (spec.arm, spec.seed)})
        )

    return accepts
