"""`[tuning.pruner]`: what is refused, with the rule and what to write instead; what it is in the keys of runs."""

from __future__ import annotations

from pathlib import Path

import design_toy
import pytest

from ablate.planning.trials import trial_specs
from ablate.study import HalvingPruner, InputError, MedianPruner, Study, amend

PER_SEED = ('per = "arm"\ninclude_defaults = true\nseeds = [101, 102]\n', "")
ONE_SEED = ("seeds = [101, 102]\n", "seeds = [101]\n")
OFTEN = "n_startup_trials = 1"


def study(folder: Path, pruner: str, *edits: tuple[str, str], epochs: int = 2) -> Study:
    return design_toy.study(folder, *edits, ("epochs = 2\n", f"epochs = {epochs}\npruner = {pruner}\n"))


def test_what_is_written_and_left_out(tmp_path: Path) -> None:
    found = study(tmp_path, f'{{ type = "median", {OFTEN} }}', PER_SEED)
    assert found.tuning is not None
    assert found.tuning.pruner == MedianPruner(type="median", n_startup_trials=1)
    assert Study.model_validate_json(found.model_dump_json()) == found
    halving = study(tmp_path, '{ type = "successive_halving", reduction_factor = 2 }', PER_SEED)
    assert halving.tuning is not None
    assert halving.tuning.pruner == HalvingPruner(type="successive_halving", min_resource=1, reduction_factor=2)


@pytest.mark.parametrize(
    ("pruner", "told"),
    [
        ('"median"', 'tuning.pruner: must be a table (got "median"); such as { type = "median" }'),
        ("{ n_startup_trials = 1 }", "tuning.pruner.type: is missing; valid: median, percentile, "),
        (
            '{ type = "hyperband" }',
            "tuning.pruner.type: must be one of 'median', 'percentile', 'successive_halving', 'threshold' "
            '(got "hyperband"); its brackets depend on the name of an Optuna study, not on the curves alone',
        ),
        ('{ type = "patient" }', "it is a shell around another pruner"),
        ('{ type = "wilcoxon" }', "it compares examples of one trial that are scored in turn"),
        ('{ type = "mine:Pruner" }', "a pruner of another name may keep what it has seen"),
        (f'{{ type = "median", n_startup = 1, {OFTEN} }}', "tuning.pruner.n_startup: unknown key; did you mean"),
        ('{ type = "median", n_startup_trials = -1 }', "tuning.pruner.n_startup_trials: must be at least 0 (got -1)"),
        ('{ type = "median", n_startup_trials = 1.5 }', "tuning.pruner.n_startup_trials: must be a whole number"),
        (
            '{ type = "median" }',
            "tuning.pruner.n_startup_trials: must be below the number of trials, 4: no trial would ever be pruned "
            "(got 5); at most 3",
        ),
        (f'{{ type = "median", {OFTEN}, n_min_trials = 4 }}', "tuning.pruner.n_min_trials: must be below the number"),
        (
            f'{{ type = "median", {OFTEN}, n_warmup_steps = 2 }}',
            "tuning.pruner.n_warmup_steps: the first epoch in which a trial could be pruned, 2, must come before its "
            "last one, 2 (got 2)",
        ),
        ('{ type = "successive_halving", min_resource = 2 }', "tuning.pruner.min_resource: the first epoch"),
        ('{ type = "percentile", n_startup_trials = 1 }', "tuning.pruner.percentile: is missing"),
        (f'{{ type = "percentile", {OFTEN}, percentile = 120.0 }}', "tuning.pruner.percentile: must be at most 100"),
        ('{ type = "threshold" }', 'tuning.pruner: of type "threshold" needs lower or upper (got neither)'),
        ('{ type = "threshold", lower = 2.0, upper = 1.0 }', "tuning.pruner.lower: must be below upper (got lower 2"),
    ],
)
def test_what_is_refused(tmp_path: Path, pruner: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        study(tmp_path, pruner, PER_SEED)
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1, refused.value


def test_a_trial_needs_one_curve(tmp_path: Path) -> None:
    often = f'{{ type = "median", {OFTEN} }}'
    with pytest.raises(InputError) as refused:
        study(tmp_path, often)
    assert "tuning.pruner: needs one run a trial" in str(refused.value)
    assert '(got [101, 102]); write per = "seed", or one tuning seed' in str(refused.value)
    assert study(tmp_path, often, ONE_SEED).tuning


def test_one_trial_has_none_to_be_compared_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tuning\.pruner: compares trials, and a tuning has one alone"):
        study(tmp_path, '{ type = "successive_halving" }', PER_SEED, ("trials = 4", "trials = 1"))


def test_where_epochs_differ_between_trials_no_epoch_is_too_late(tmp_path: Path) -> None:
    pruner = f'{{ type = "median", {OFTEN}, n_warmup_steps = 50 }}'
    space = '[tuning.space."training.epochs"]\ntype = "int"\nlow = 1\nhigh = 3\n\n[[hypotheses]]'
    text = design_toy.study(tmp_path, PER_SEED, ("epochs = 2\n", f"pruner = {pruner}\n"), ("[[hypotheses]]", space))
    assert text.tuning is not None
    assert text.tuning.pruner is not None


def test_it_is_in_no_key_and_cannot_change_under_finished_runs(tmp_path: Path) -> None:
    plain = design_toy.study(tmp_path, PER_SEED)
    pruned = study(tmp_path, f'{{ type = "median", {OFTEN} }}', PER_SEED)
    keys = [[spec.key for spec in trial_specs(s, "plain", 0, {}, seed=1)] for s in (plain, pruned)]
    assert keys[0] == keys[1]
    dumped = plain.model_dump(mode="json")
    assert dumped["tuning"].pop("pruner") is None  # a document of an older version
    assert amend.amend({"study": dumped}, plain, has_runs=True) == []
    with pytest.raises(InputError) as refused:
        amend.amend({"study": dumped}, pruned, has_runs=True)
    assert 'tuning.pruner.type: cannot change under finished runs (got "median", was absent)' in str(refused.value)
