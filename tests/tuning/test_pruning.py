"""Trials end where Optuna's own pruners would end them, and every decision can be repeated from recorded curves."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import optuna
import pytest

from ablate.study import Direction, HalvingPruner, MedianPruner, PercentilePruner, Pruner, ThresholdPruner
from ablate.tuning.pruning import Earlier, TrialPruning, points

METRIC, EPOCHS = "val/loss", 12
PRUNERS: list[tuple[Pruner, optuna.pruners.BasePruner]] = [
    (MedianPruner(type="median", n_startup_trials=1), optuna.pruners.MedianPruner(1)),
    (
        MedianPruner(type="median", n_startup_trials=2, n_warmup_steps=4, interval_steps=3, n_min_trials=2),
        optuna.pruners.MedianPruner(2, 4, 3, n_min_trials=2),
    ),
    (
        PercentilePruner(type="percentile", percentile=25.0, n_startup_trials=2),
        optuna.pruners.PercentilePruner(25.0, 2),
    ),
    (
        HalvingPruner(type="successive_halving", reduction_factor=2),
        optuna.pruners.SuccessiveHalvingPruner(1, 2),
    ),
    (
        HalvingPruner(type="successive_halving", min_resource=2, reduction_factor=3, min_early_stopping_rate=0),
        optuna.pruners.SuccessiveHalvingPruner(2, 3),
    ),
    (ThresholdPruner(type="threshold", upper=1.5, n_warmup_steps=2), optuna.pruners.ThresholdPruner(None, 1.5, 2)),
    (ThresholdPruner(type="threshold", lower=0.4), optuna.pruners.ThresholdPruner(0.4)),
]
Curve = list[dict[str, float]]


def curves(trials: int, seed: int) -> list[Curve]:
    rng = random.Random(seed)
    return [
        [{"epoch": e, METRIC: level / e**0.5 + 0.05 * rng.random(), "train/loss": 0.0} for e in map(float, epochs())]
        for level in (rng.uniform(0.5, 3.0) for _ in range(trials))
    ]


def epochs() -> range:
    return range(1, EPOCHS + 1)


def as_optuna(pruner: optuna.pruners.BasePruner, direction: Direction, of: list[Curve]) -> list[int | None]:
    """The epoch after which Optuna itself ends each trial, the trials one after the other."""
    ended: list[int | None] = []

    def objective(trial: optuna.Trial) -> float:
        for entry in of[trial.number]:
            trial.report(entry[METRIC], int(entry["epoch"]))
            if entry["epoch"] < EPOCHS and trial.should_prune():
                ended.append(int(entry["epoch"]))
                raise optuna.TrialPruned
        ended.append(None)
        return of[trial.number][-1][METRIC]

    study = optuna.create_study(pruner=pruner, direction="minimize" if direction == "lower" else "maximize")
    study.optimize(objective, n_trials=len(of))
    return ended


def by_records(pruner: Pruner, direction: Direction, of: list[Curve]) -> list[int | None]:
    """The same from records alone: for each trial a new rule, made in another process from what was recorded."""
    recorded: list[Earlier] = []
    ended: list[int | None] = []
    for curve in of:
        pruning = TrialPruning(pruner, direction, METRIC, tuple(recorded), EPOCHS)
        rule = pickle.loads(pickle.dumps(pruning)).start()
        last = next((int(entry["epoch"]) for entry in curve if rule(entry)), None)
        value = curve[-1][METRIC] if last is None else None
        recorded.append(Earlier(tuple(points(curve[:last], METRIC)), value))
        ended.append(last)
    return ended


@pytest.mark.parametrize(("ours", "theirs"), PRUNERS, ids=lambda p: getattr(p, "type", ""))
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_trials_end_where_optuna_would_end_them(
    ours: Pruner, theirs: optuna.pruners.BasePruner, direction: Direction
) -> None:
    found = []
    for seed in range(5):
        of = curves(9, seed)
        found += by_records(ours, direction, of)
        assert found[-9:] == as_optuna(theirs, direction, of)
    assert {None} < set(found), "some trials end early, and some do not"


def pruning(pruner: Pruner, earlier: list[list[float]], of: int | None = EPOCHS) -> TrialPruning:
    ended = tuple(Earlier(tuple(enumerate(values, 1)), values[-1]) for values in earlier)
    return TrialPruning(pruner, "lower", METRIC, ended, of)


def said(rule: Any, *entries: tuple[float, float]) -> list[bool]:
    return [rule({"epoch": epoch, METRIC: value}) for epoch, value in entries]


MEDIAN = MedianPruner(type="median", n_startup_trials=1)


def test_by_hand() -> None:
    """The best so far against the median of the two trials before: 0.55 and 0.35."""
    of = pruning(MEDIAN, [[0.5, 0.3], [0.6, 0.4]])
    assert said(of.start(), (1, 0.54), (2, 0.36)) == [False, True]
    assert said(of.start(), (1, 0.54), (2, 0.34)) == [False, False]
    assert said(of.start(), (1, 0.56)) == [True]


def test_the_first_trial_is_never_ended_and_none_after_its_last_epoch() -> None:
    assert not any(said(pruning(MEDIAN, []).start(), *((float(e), 9.0) for e in epochs())))
    bad = [(1.0, 0.5), (2.0, 9.0)]
    assert said(pruning(MEDIAN, [[0.5, 0.3]], of=2).start(), (1, 0.5), (2, 0.5)) == [False, False]
    assert said(pruning(ThresholdPruner(type="threshold", upper=1.0), [], of=None).start(), *bad) == [False, True]


def test_only_whole_epochs_with_a_finite_score_count_each_once() -> None:
    curve = [
        {"epoch": 1.0, METRIC: 0.5},
        {"epoch": 1.5, METRIC: 9.0},
        {"epoch": 2.0, METRIC: math.nan},
        {"epoch": 2.0, "val/other": 1.0},
        {"epoch": 3.0, METRIC: math.inf},
        {"epoch": 2.0, METRIC: 0.4},
        {"epoch": 1.0, METRIC: 9.0},  # a function that begins anew: what it reports again was counted
        {METRIC: 9.0},
        {"epoch": 4.0, METRIC: 0.3},
    ]
    assert list(points(curve, METRIC)) == [(1, 0.5), (2, 0.4), (4, 0.3)]
    rule = pruning(ThresholdPruner(type="threshold", upper=1.0), []).start()
    assert not any(rule(entry) for entry in curve)


def test_a_trial_that_goes_on_from_a_checkpoint_ends_at_the_same_epoch() -> None:
    of = pruning(HalvingPruner(type="successive_halving", reduction_factor=2), [[0.5, 0.4, 0.3, 0.2]])
    curve = [(1.0, 0.4), (2.0, 0.39), (3.0, 0.38), (4.0, 0.37)]
    assert said(of.start(), *curve) == [False, False, False, True]
    killed = of.start()
    assert said(killed, *curve[:3]) == [False, False, False]
    assert said(of.start(), *curve) == [False, False, False, True]
