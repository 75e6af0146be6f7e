"""Check `tuning.pruner`: it could prune something, and each trial has one curve. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.study import HalvingPruner, Problem, Study, ThresholdPruner
from ablate.study.pruners import PercentileSettings
from ablate.untrusted.wording import place, shown


def pruner_rules(study: Study) -> Iterator[Problem]:
    """Every rule that the pruner of the study breaks."""
    tuning = study.tuning
    if tuning is None or tuning.pruner is None:
        return
    if tuning.per == "arm" and len(tuning.seeds) > 1:
        rule = "needs one run a trial, and this one has a run for each of the tuning seeds"
        yield _problem("", rule, shown(tuning.seeds), 'write per = "seed", or one tuning seed')
    pruner = tuning.pruner
    if isinstance(pruner, ThresholdPruner):
        yield from _limits(pruner)
    else:
        yield from _too_few_trials(pruner, tuning.trials)
    yield from _too_few_epochs(study, pruner)


def _problem(key: str, rule: str, value: str, hint: str = "") -> Problem:
    return Problem("", place("tuning", "pruner", *([key] if key else [])), rule, value, hint)


def _limits(pruner: ThresholdPruner) -> Iterator[Problem]:
    if pruner.lower is None and pruner.upper is None:
        yield _problem("", 'of type "threshold" needs lower or upper', "neither")
    elif pruner.lower is not None and pruner.upper is not None and pruner.lower >= pruner.upper:
        yield _problem("lower", "must be below upper", f"lower {pruner.lower:g}, upper {pruner.upper:g}")


def _too_few_trials(pruner: PercentileSettings | HalvingPruner, trials: int) -> Iterator[Problem]:
    """A pruner that compares trials needs one that has come to its end before."""
    key, needed = "", 1
    if isinstance(pruner, PercentileSettings):
        key, needed = max((getattr(pruner, k), k) for k in ("n_min_trials", "n_startup_trials"))[::-1]
    if trials == 1:
        yield _problem("", "compares trials, and a tuning has one alone", "trials = 1", "leave it out")
    elif needed >= trials:
        rule = f"must be below the number of trials, {trials}: no trial would ever be pruned"
        yield _problem(key, rule, str(needed), f"at most {trials - 1}")


def _too_few_epochs(study: Study, pruner: PercentileSettings | HalvingPruner | ThresholdPruner) -> Iterator[Problem]:
    """The first epoch in which a trial could be pruned must come before its last one, where that is known."""
    epochs = _epochs(study)
    if epochs is None:
        return
    key, first = "n_warmup_steps", 0
    if isinstance(pruner, HalvingPruner):
        key = "min_resource"
        first = pruner.min_resource * pruner.reduction_factor**pruner.min_early_stopping_rate
    else:
        first = max(1, pruner.n_warmup_steps)
    if first >= epochs:
        rule = f"the first epoch in which a trial could be pruned, {first}, must come before its last one, {epochs}"
        yield _problem(key, rule, shown(getattr(pruner, key)))


def _epochs(study: Study) -> int | None:
    """The epochs of every trial; None where they are not the same for all, or not the loop's."""
    assert study.tuning is not None
    if study.tuning.epochs is not None:
        return study.tuning.epochs
    epochs = study.settings.get("training", {}).get("epochs")
    changed = any(path in ("training.epochs", "training") for arm in study.arms.values() for path in arm.set)
    fixed = isinstance(epochs, int) and not changed and "training.epochs" not in study.tuning.space
    return epochs if fixed else None
