"""The tuning trials of an arm: their runs, their values and the best of them. Pure: no I/O, no optuna.

An arm has one tuning, whose best settings all its comparison runs have; or, with `tuning.per = "seed"`, one for each
comparison seed, whose trials have that seed and whose best settings only that comparison run has. Functions take the
comparison seed of a tuning as `seed`: None stands for the one tuning of all seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.planning.counting import RecordIndex
from ablate.study import Direction, InputError, Record, RunSpec, Scalar, Study, Tuning, digest
from ablate.study.catalogue import catalogue_of
from ablate.study.resolve import Settings, resolve, scalars
from ablate.study.space_rules import contains
from ablate.untrusted.wording import cut

REASON_CHARACTERS = 500  # of a trial's failure that the failure of a tuning repeats


class TuningFailed(Exception):
    """No trial of an arm has a value, so there are no best settings."""


@dataclass(frozen=True)
class TrialOutcome:
    """One proposed trial of one arm. `value` is the mean over its seeds; None unless all have FINISHED in full."""

    index: int
    overrides: Mapping[str, Scalar]
    value: float | None
    done: bool  # every seed has FINISHED or FAILED
    specs: Sequence[RunSpec]
    records: Sequence[Record | None]  # those that count for `specs`
    seed: int | None = None  # the comparison seed whose tuning it is of

    @property
    def pruned(self) -> bool:
        """Whether it has ended early by `tuning.pruner`."""
        return any(record is not None and record.pruned for record in self.records)


def tuning_seed(study: str, arm: str, trial: int, seed: int | None = None) -> int:
    """Seed of the sampler that proposes this trial. It does not depend on interruptions of the tuning.

    With a comparison seed it is the same for all arms, whose tunings are then paired as their runs are, and
    independent between seeds.
    """
    return int(digest(["tuning", study, arm if seed is None else seed, trial])[:8], 16)


def sequence_seed(study: str, seed: int | None) -> int | None:
    """Seed of the quasi-random sequence of a comparison seed; None where one tuning serves all seeds."""
    return None if seed is None else int(digest(["tuning", study, seed])[:8], 16)


def tunings(study: Study) -> list[int | None]:
    """The comparison seeds that have a tuning of their own; [None] where one tuning serves all seeds."""
    return [*study.seeds] if tuning_of(study).per == "seed" else [None]


def tuned_arms(study: Study) -> list[str]:
    """Arms that are tuned: all but the references; none when the study has no tuning."""
    return [name for name, arm in study.arms.items() if study.tuning is not None and not arm.reference]


def tuning_direction(study: Study) -> Direction:
    """Whether a lower or a higher trial value is better, from the study's metrics."""
    return catalogue_of(study, file=study.name)[tuning_of(study).metric.removeprefix("val/")].direction


def setting_values(study: Study, arm: str) -> dict[str, Scalar]:
    """The arm's settings as written, dotted path → value."""
    return dict(scalars(resolve(study, arm)))


def trial_specs(
    study: Study,
    arm: str,
    trial: int,
    overrides: Mapping[str, Scalar],
    data_digest: str = "",
    seed: int | None = None,
) -> list[RunSpec]:
    """The runs of one trial, one per seed, each for `tuning.epochs` or `tuning.budget` where the study gives it.

    A tuning of one seed has the split or the fold of that seed's comparison run. The one tuning of all seeds has a
    split of its own, or, in a study that varies the fold, that of the study's settings.
    """
    tuning = tuning_of(study)
    settings = resolve(study, arm, overrides)
    if tuning.epochs is not None:
        settings["training"]["epochs"] = tuning.epochs
    if tuning.budget is not None:
        settings["run"]["budget"] = tuning.budget
    return [
        RunSpec(
            study=study.name,
            arm=arm,
            seed=each,
            phase="tune",
            settings=with_split(settings, _split(study, each, compared=seed is not None)),
            data_digest=data_digest,
            replicate=study.arms[arm].replicate,
            trial=trial,
            overrides=dict(overrides),
        )
        for each in (tuning.seeds if seed is None else [seed])
    ]


def _split(study: Study, seed: int, *, compared: bool) -> Mapping[str, int]:
    return split_settings(study, seed) if compared or "split" in study.vary else {}


def with_split(settings: Settings, split: Mapping[str, int]) -> Settings:
    """The settings of a run whose seed draws the split."""
    return {**settings, "data": {**settings["data"], **split}} if split else settings


def split_settings(study: Study, seed: int) -> dict[str, int]:
    """The data settings that depend on a comparison run's seed, where the study varies the split or the fold."""
    if "split" in study.vary:
        return {"split_seed": seed}
    if "fold" in study.vary:
        return {"fold": study.seeds.index(seed), "folds": len(study.seeds)}
    return {}


def trial_outcomes(
    study: Study, arm: str, records: Iterable[Record] | RecordIndex, data_digest: str = ""
) -> list[TrialOutcome]:
    """The trials of `arm` proposed so far, in order, those of one seed after those of another.

    Records of other settings or data (another key) do not count.
    """
    index = records if isinstance(records, RecordIndex) else RecordIndex(records)
    outcomes = (
        trial_outcome(study, arm, trial, index, data_digest, seed)
        for seed in tunings(study)
        for trial in range(tuning_of(study).trials)
    )
    return [outcome for outcome in outcomes if outcome is not None]


def trial_outcome(
    study: Study, arm: str, trial: int, index: RecordIndex, data_digest: str = "", seed: int | None = None
) -> TrialOutcome | None:
    """One trial of `arm`, None before it is proposed. If it was proposed several times, the newest proposal."""
    proposed = [dict(record.overrides) for record in reversed(index.trial(arm, trial, seed))]
    distinct = [overrides for i, overrides in enumerate(proposed) if overrides not in proposed[:i]]
    outcomes = (_outcome(study, arm, trial, overrides, index, data_digest, seed) for overrides in distinct)
    return next((outcome for outcome in outcomes if outcome is not None), None)


def by_tuning(study: Study, outcomes: Iterable[TrialOutcome]) -> dict[int | None, list[TrialOutcome]]:
    """The trials of an arm by the comparison seed whose tuning they are of."""
    groups: dict[int | None, list[TrialOutcome]] = {seed: [] for seed in tunings(study)}
    for outcome in outcomes:
        groups[outcome.seed].append(outcome)
    return groups


def _outcome(
    study: Study,
    arm: str,
    trial: int,
    overrides: Mapping[str, Scalar],
    index: RecordIndex,
    data_digest: str,
    seed: int | None,
) -> TrialOutcome | None:
    """The outcome of a trial with these overrides; None when the index has no record of its runs."""
    tuning = tuning_of(study)
    if not all(path in tuning.space and contains(tuning.space[path], value) for path, value in overrides.items()):
        return None
    try:
        specs = trial_specs(study, arm, trial, overrides, data_digest, seed)
    except (InputError, ValueError):  # proposed for settings that this study no longer has
        return None
    records = [index.counted(spec) for spec in specs]
    if not any(records):
        return None
    done = all(r is not None and r.status in ("FINISHED", "FAILED") for r in records)
    finished = [r for r in records if r is not None and r.status == "FINISHED" and not r.pruned]
    scores = [r.scores.get(tuning.metric, math.nan) for r in finished]
    value = sum(scores) / len(scores) if done and len(scores) == len(specs) else math.nan
    return TrialOutcome(trial, overrides, value if math.isfinite(value) else None, done, specs, records, seed)


def best(outcomes: Sequence[TrialOutcome], direction: Direction) -> dict[str, Scalar]:
    """The overrides of the best trial; of equals, the first. Raises TuningFailed when no trial has a value."""
    valued = [(o.value if direction == "lower" else -o.value, o.index, o) for o in outcomes if o.value is not None]
    if not valued:
        failed = sum(any(r is not None and r.status == "FAILED" for r in o.records) for o in outcomes)
        if pruned := sum(o.pruned for o in outcomes):
            others = "" if pruned == len(outcomes) else ", and no other has a value"
            raise TuningFailed(f"{pruned} of {len(outcomes)} tuning trials were pruned{others}")
        undefined = f"the tuning metric is undefined (NaN) in {len(outcomes) - failed} of {len(outcomes)} tuning trials"
        others = " and the others failed" if failed else ""
        if failed == len(outcomes):
            raise TuningFailed(f"all {failed} tuning trials failed{_first_reason(outcomes)}")
        raise TuningFailed(undefined + others)
    return dict(min(valued, key=lambda v: v[:2])[2].overrides)


def _first_reason(outcomes: Sequence[TrialOutcome]) -> str:
    """Why the first failed run of these trials failed, to follow a sentence; "" where it is not known."""
    errors = (r.error for outcome in outcomes for r in outcome.records if r is not None and r.status == "FAILED")
    error = next(filter(None, errors), "")
    return f"; the first: {cut(error, REASON_CHARACTERS)}" if error else ""


def tuning_done(study: Study, outcomes: Sequence[TrialOutcome]) -> bool:
    """Whether all trials of one tuning of an arm have ended."""
    return len(outcomes) == tuning_of(study).trials and all(o.done for o in outcomes)


def tuning_of(study: Study) -> Tuning:
    """The study's tuning. Raises ValueError when it has none."""
    if study.tuning is None:
        raise ValueError(f"study {study.name!r} has no tuning")
    return study.tuning
