"""A tuning of its own for every comparison seed: which runs there are, which wait, which settings they get."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import design_toy
import pytest

from ablate.commands.plan import tuning_words
from ablate.planning import counting, plan, trials
from ablate.study import Record, RunSpec, Scalar, Study
from ablate.study.runs import PRUNED

PER_SEED = ('per = "arm"\ninclude_defaults = true\nseeds = [101, 102]\n', "")
COMPARED = ("plain", "compare")
RATES: list[dict[str, Scalar]] = [
    {"training.learning_rate": 0.001 * (i + 1), "model.optimizer": "adam"} for i in range(4)
]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return design_toy.study(tmp_path, PER_SEED)


def record(spec: RunSpec, value: float, status: str = "FINISHED") -> Record:
    scores = {"val/error_deg": value, "test/error_deg": value}
    identity = (spec.arm, spec.seed, spec.phase, spec.key)
    return Record("id", *identity, status, scores, spec.overrides, spec.trial)  # type: ignore[arg-type]


def tuned(study: Study, arm: str, seed: int, best: int, count: int = 4) -> list[Record]:
    """The trials of one seed; trial `best` has the lowest error."""
    specs = [spec for i in range(count) for spec in trials.trial_specs(study, arm, i, RATES[i], seed=seed)]
    return [record(spec, 1.0 if i == best else 2.0) for i, spec in enumerate(specs)]


def test_it_is_the_default_and_shares_no_seeds(study: Study) -> None:
    assert study.tuning is not None
    assert (study.tuning.per, study.tuning.sampler, study.tuning.include_defaults) == ("seed", "qmc", False)
    assert study.tuning_seeds == study.seeds == [1, 2, 3]


def test_every_seed_of_every_arm_has_its_trials(study: Study) -> None:
    cells = plan.make_plan(study, [], lambda _: "").cells
    assert Counter((c.arm, c.seed) for c in cells if c.phase == "tune") == {
        (arm, seed): 4 for arm in ("plain", "extra", "wide") for seed in (1, 2, 3)
    }
    assert [c.state for c in cells if c.arm == "constant"] == ["missing"] * 3


def test_a_trial_has_the_seed_and_the_split_of_its_comparison_run(study: Study, tmp_path: Path) -> None:
    (spec,) = trials.trial_specs(study, "plain", 2, RATES[2], seed=3)
    assert (spec.seed, spec.phase, spec.trial, spec.settings["training"]["epochs"]) == (3, "tune", 2, 2)
    for what in ("split", "fold"):
        seeds = f'seeds = [1, 2, 3]\nvary = ["init", "order", "{what}"]'
        varied = design_toy.study(tmp_path, PER_SEED, ("seeds = [1, 2, 3]", seeds))
        (trial,) = trials.trial_specs(varied, "plain", 0, RATES[0], seed=2)
        assert trial.settings["data"] == plan.compare_spec(varied, "plain", 2).settings["data"]


def test_a_comparison_run_waits_for_the_tuning_of_its_seed_and_has_its_best(study: Study) -> None:
    records = [*tuned(study, "plain", 1, best=3), *tuned(study, "plain", 2, best=0), *tuned(study, "plain", 3, 1, 3)]
    cells = [c for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == ("plain", "compare")]
    assert [c.state for c in cells] == ["missing", "missing", "waiting"]
    assert [c.spec.overrides for c in cells if c.spec] == [RATES[3], RATES[0]]
    done = [*records, record(cells[0].spec, 1.0)]  # type: ignore[arg-type]
    assert [c.state for c in plan.make_plan(study, done, lambda _: "").cells if c.arm == "plain"][-3:] == [
        "done",
        "missing",
        "waiting",
    ]


def test_a_seed_whose_trials_all_failed_is_one_gap(study: Study) -> None:
    records = [replace(r, status="FAILED", scores={}) for r in tuned(study, "plain", 1, best=0)]
    records += tuned(study, "plain", 2, best=0)
    cells = [c for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == ("plain", "compare")]
    assert [c.state for c in cells] == ["failed", "missing", "waiting"]


def ended_early(of: Record) -> Record:
    return replace(of, provenance={PRUNED: "after epoch 1"}, scores={**of.scores, "count/epochs": 1.0})


def test_a_pruned_trial_has_no_value_and_is_not_chosen(study: Study) -> None:
    records = tuned(study, "plain", 1, best=2)
    records[2] = ended_early(records[2])
    outcomes = trials.trial_outcomes(study, "plain", records)
    assert [(o.value, o.done, o.pruned) for o in outcomes] == [(2.0, True, False)] * 2 + [
        (None, True, True),
        (2.0, True, False),
    ]
    assert trials.best(outcomes, "lower") == RATES[0]
    assert trials.tuning_done(study, outcomes)


def test_a_seed_whose_trials_were_all_pruned_is_a_gap_that_says_so(study: Study) -> None:
    records = [ended_early(r) for r in tuned(study, "plain", 1, best=0)]
    (cell, *_) = [c for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == COMPARED]
    assert (cell.state, cell.error) == ("failed", "4 of 4 tuning trials were pruned")
    records[0] = replace(records[0], status="FAILED", provenance={}, scores={})
    (cell, *_) = [c for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == COMPARED]
    assert cell.error == "3 of 4 tuning trials were pruned, and no other has a value"


def test_trials_of_one_seed_are_not_those_of_another(study: Study) -> None:
    records = [*tuned(study, "plain", 1, best=0, count=2), *tuned(study, "plain", 2, best=0)]
    index = counting.RecordIndex(records)
    assert [r.seed for r in index.trial("plain", 0, 2)] == [2]
    groups = trials.by_tuning(study, trials.trial_outcomes(study, "plain", index))
    assert {seed: [o.index for o in outcomes] for seed, outcomes in groups.items()} == {
        1: [0, 1],
        2: [0, 1, 2, 3],
        3: [],
    }


def test_the_streams_of_the_sampler_differ_between_seeds_and_are_shared_by_arms() -> None:
    seeds = [trials.tuning_seed("toy", "plain", trial, seed) for seed in (1, 2) for trial in range(3)]
    assert len(set(seeds)) == 6
    assert seeds == [trials.tuning_seed("toy", "extra", trial, seed) for seed in (1, 2) for trial in range(3)]
    assert trials.sequence_seed("toy", 1) != trials.sequence_seed("toy", 2) != trials.sequence_seed("yot", 2)
    assert trials.sequence_seed("toy", None) is None


def test_only_a_seed_selects_its_tuning_alone(study: Study) -> None:
    specs = [spec for seed in (1, 2) for spec in trials.trial_specs(study, "plain", 0, RATES[0], seed=seed)]
    assert [plan.selector(study, ["plain:2"])(spec) for spec in specs] == [False, True]
    assert [plan.selector(study, ["plain"])(spec) for spec in specs] == [True, True]


def test_the_plan_tells_what_it_costs_and_what_it_buys(study: Study, tmp_path: Path) -> None:
    costs, buys = tuning_words(study)
    assert "36 tuning runs (3 arms × 3 seeds × 4 trials) before 12 comparison runs" in costs
    assert "one tuning of each arm would take 12" in costs
    assert "the luck of tuning is in every interval" in buys
    (once,) = tuning_words(design_toy.study(tmp_path))
    assert "24 tuning runs before 12 comparison runs" in once
    assert 'per = "seed" would take 36 tuning runs' in once
    assert "Verdicts hold for these tuned settings" in once
    assert not list(tuning_words(study.model_copy(update={"tuning": None})))
