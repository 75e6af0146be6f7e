"""The runs of a study and their states, from records written by hand."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import design_toy
import pytest

from ablate.planning import counting, plan, trials
from ablate.study import InputError, Record, RunSpec, Scalar, Study

ADAM: dict[str, Scalar] = {"training.learning_rate": 0.001, "model.optimizer": "adam"}
SGD: dict[str, Scalar] = {"training.learning_rate": 0.002, "model.optimizer": "sgd", "model.momentum": 0.9}
WORSE: dict[str, Scalar] = {"training.learning_rate": 0.003, "model.optimizer": "adam"}
WORST: dict[str, Scalar] = {"training.learning_rate": 0.004, "model.optimizer": "adam"}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return design_toy.study(tmp_path)


def record(spec: RunSpec, value: float | None = None, status: str = "FINISHED") -> Record:
    scores = {} if value is None else {"val/error_deg": value, "test/error_deg": -value}
    return Record(
        "id", spec.arm, spec.seed, spec.phase, spec.key, status, scores, spec.overrides, spec.trial, "out of memory"
    )  # type: ignore[arg-type]


def tuned(study: Study, arm: str, values: list[tuple[dict[str, Scalar], float]]) -> list[Record]:
    """Records of finished trials; the two tuning seeds lie half a unit either side of the value."""
    records = []
    for trial, (overrides, value) in enumerate(values):
        low, high = trials.trial_specs(study, arm, trial, overrides)
        records += [record(low, value - 0.5), record(high, value + 0.5)]
    return records


FOUR = [(ADAM, 3.0), (SGD, 2.0), (WORSE, 4.0), (WORST, 5.0)]


def states(study: Study, records: list[Record], arm: str, phase: str) -> list[str]:
    return [c.state for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == (arm, phase)]


def test_a_comparison_run_has_the_tuned_settings(study: Study) -> None:
    spec = plan.compare_spec(study, "wide", 2, SGD, "abc")
    assert (spec.study, spec.arm, spec.seed, spec.phase, spec.trial) == ("toy", "wide", 2, "compare", None)
    assert spec.settings["model"]["momentum"] == 0.9
    assert (spec.settings["model"]["width"], spec.settings["training"]["epochs"]) == (16, 4)
    assert (spec.overrides, spec.data_digest, spec.name) == (SGD, "abc", "wide-seed2")


def test_a_trial_runs_once_a_tuning_seed_for_the_tuning_epochs(study: Study) -> None:
    specs = trials.trial_specs(study, "plain", 3, ADAM)
    assert [(s.seed, s.phase, s.trial) for s in specs] == [(101, "tune", 3), (102, "tune", 3)]
    assert all(s.settings["training"]["epochs"] == 2 for s in specs)
    assert len({s.key for s in specs}) == 2


def test_keys_differ_by_settings_seed_data_and_replicate_alone(study: Study) -> None:
    spec = plan.compare_spec(study, "plain", 1, ADAM, "abc")
    assert plan.compare_spec(study, "plain", 1, ADAM, "abc").key == spec.key
    others = [
        plan.compare_spec(study, "extra", 1, ADAM, "abc"),
        plan.compare_spec(study, "plain", 2, ADAM, "abc"),
        plan.compare_spec(study, "plain", 1, SGD, "abc"),
        plan.compare_spec(study, "plain", 1, ADAM, "def"),
        replace(spec, replicate=1),
    ]
    assert len({spec.key, *(o.key for o in others)}) == 6


def test_nothing_done(study: Study) -> None:
    planned = plan.make_plan(study, [], lambda _: "")
    assert Counter(c.state for c in planned.cells) == {"missing": 3, "waiting": 24 + 9}
    assert [c.arm for c in planned.cells if c.state == "missing"] == ["constant"] * 3
    assert all((c.spec is None) == (c.state == "waiting") for c in planned.cells)


def test_references_are_not_tuned(study: Study) -> None:
    assert trials.tuned_arms(study) == ["plain", "extra", "wide"]
    assert not [c for c in plan.make_plan(study, [], lambda _: "").cells if (c.arm, c.phase) == ("constant", "tune")]


def test_without_tuning_every_run_is_known(study: Study) -> None:
    planned = plan.make_plan(study.model_copy(update={"tuning": None}), [], lambda _: "")
    assert [c.state for c in planned.cells] == ["missing"] * 12


def test_outcomes_are_means_over_the_tuning_seeds(study: Study) -> None:
    outcomes = trials.trial_outcomes(study, "plain", tuned(study, "plain", FOUR[:2]))
    assert [(o.index, o.overrides, o.value, o.done) for o in outcomes] == [(0, ADAM, 3.0, True), (1, SGD, 2.0, True)]


def test_a_trial_with_a_seed_to_go_is_not_done(study: Study) -> None:
    records = tuned(study, "plain", FOUR[:1])[:1]
    (outcome,) = trials.trial_outcomes(study, "plain", records)
    assert (outcome.done, outcome.value, outcome.overrides) == (False, None, ADAM)
    assert states(study, records, "plain", "tune") == ["done", "missing"] + ["waiting"] * 6


def test_a_failed_seed_fails_the_trial(study: Study) -> None:
    low, high = trials.trial_specs(study, "plain", 0, ADAM)
    records = [record(low, 1.0), record(high, status="FAILED")]
    (outcome,) = trials.trial_outcomes(study, "plain", records)
    assert (outcome.done, outcome.value) == (True, None)
    cells = [c for c in plan.make_plan(study, records, lambda _: "").cells if c.state == "failed"]
    assert [(c.arm, c.seed, c.trial, c.error) for c in cells] == [("plain", 102, 0, "out of memory")]


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_no_value(study: Study, score: float | None) -> None:
    records = [record(spec, score) for spec in trials.trial_specs(study, "plain", 0, ADAM)]
    assert [o.value for o in trials.trial_outcomes(study, "plain", records)] == [None]


def test_records_of_other_settings_or_data_do_not_count(study: Study, tmp_path: Path) -> None:
    records = tuned(study, "plain", FOUR)
    assert trials.trial_outcomes(study, "plain", records, data_digest="other") == []
    assert trials.trial_outcomes(study, "extra", records) == []
    changed = design_toy.study(tmp_path, ("dropout = 0.1", "dropout = 0.2"))
    assert trials.trial_outcomes(changed, "plain", records) == []
    narrower = design_toy.study(tmp_path, ("high = 1e-2", "high = 2.5e-3"))
    assert [o.index for o in trials.trial_outcomes(narrower, "plain", records)] == [0, 1]
    without = design_toy.study(
        tmp_path, ("momentum = 0.9\n", "impulse = 0.9\n"), ('"model.momentum"]', '"model.impulse"]')
    )
    assert trials.trial_outcomes(without, "plain", records) == []


def test_a_trial_proposed_again_replaces_the_old_one(study: Study) -> None:
    old, new = trials.trial_specs(study, "plain", 0, ADAM), trials.trial_specs(study, "plain", 0, WORSE)
    records = [record(old[0], status="KILLED"), *(record(spec, 1.0) for spec in new)]
    assert [o.overrides for o in trials.trial_outcomes(study, "plain", records)] == [WORSE]


def test_the_best_trial_is_the_lowest_or_highest_and_the_first_of_equals(study: Study) -> None:
    outcomes = trials.trial_outcomes(study, "plain", tuned(study, "plain", [*FOUR[:3], (WORST, 2.0)]))
    assert trials.best(outcomes, "lower") == SGD
    assert trials.best(outcomes, "higher") == WORSE
    undefined = [replace(o, value=None) for o in outcomes]
    failed = [replace(o, records=[r and replace(r, status="FAILED") for r in o.records]) for o in undefined]
    assert trials.best([*failed[:2], outcomes[2]], "lower") == WORSE
    with pytest.raises(trials.TuningFailed, match=r"^all 4 tuning trials failed; the first: out of memory$"):
        trials.best(failed, "lower")
    with pytest.raises(trials.TuningFailed, match=r"undefined \(NaN\) in 3 of 4 tuning trials and the others failed"):
        trials.best([failed[0], *undefined[1:]], "lower")


def test_comparison_waits_for_the_whole_budget_and_then_has_the_best_settings(study: Study) -> None:
    assert states(study, tuned(study, "plain", FOUR[:3]), "plain", "compare") == ["waiting"] * 3
    records = tuned(study, "plain", FOUR)
    records.append(record(plan.compare_spec(study, "plain", 1, SGD), 1.0))
    records.append(record(plan.compare_spec(study, "plain", 2, ADAM), 1.0))  # of settings that did not win
    assert states(study, records, "plain", "compare") == ["done", "missing", "missing"]


def test_the_direction_is_the_catalogues(study: Study, tmp_path: Path) -> None:
    higher = design_toy.study(tmp_path, ('metric = "val/error_deg"', 'metric = "val/accuracy"'))
    assert (trials.tuning_direction(study), trials.tuning_direction(higher)) == ("lower", "higher")
    records = [replace(r, scores={"val/accuracy": r.scores["val/error_deg"]}) for r in tuned(higher, "plain", FOUR)]
    planned = plan.make_plan(higher, records, lambda _: "")
    overrides = {
        tuple(c.spec.overrides.items()) for c in planned.cells if c.spec and (c.arm, c.phase) == ("plain", "compare")
    }
    assert overrides == {tuple(WORST.items())}


def test_all_trials_failed_leaves_failed_comparison_runs(study: Study) -> None:
    specs = [s for trial, (o, _) in enumerate(FOUR) for s in trials.trial_specs(study, "plain", trial, o)]
    records = [record(spec, status="FAILED") for spec in specs]
    cells = [c for c in plan.make_plan(study, records, lambda _: "").cells if (c.arm, c.phase) == ("plain", "compare")]
    reason = "all 4 tuning trials failed; the first: out of memory"
    assert [(c.state, c.spec, c.error) for c in cells] == [("failed", None, reason)] * 3


def test_a_finished_run_counts_over_later_ones_that_are_not(study: Study) -> None:
    spec = plan.compare_spec(study, "constant", 1)
    assert states(study, [record(spec, status="RUNNING")], "constant", "compare")[0] == "running"
    assert states(study, [record(spec, status="KILLED")], "constant", "compare")[0] == "interrupted"
    both = [record(spec, 1.0), record(spec, status="KILLED")]
    assert states(study, both, "constant", "compare")[0] == "done"
    again = [record(spec, status="FAILED"), record(spec, status="KILLED")]
    assert states(study, again, "constant", "compare")[0] == "interrupted"


def test_tuning_seeds_differ_by_study_arm_and_trial_and_stay() -> None:
    seeds = [trials.tuning_seed(s, a, t) for s in ("toy", "yot") for a in ("plain", "extra") for t in range(3)]
    assert len(set(seeds)) == 12
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert trials.tuning_seed("toy", "plain", 0) == 2096272121  # a changed stream would break resumed studies


def test_setting_values_are_what_is_written(study: Study) -> None:
    values = trials.setting_values(study, "wide")
    assert (values["model.width"], values["training.batch_size"], values["model.head.width"]) == (16, 384, 4)


def test_only_selects_arms_and_seeds(study: Study) -> None:
    specs = [plan.compare_spec(study, arm, seed) for arm in ("plain", "extra") for seed in (1, 2)]
    trial = trials.trial_specs(study, "plain", 0, ADAM)[0]
    assert all(map(plan.selector(study, []), [*specs, trial]))
    assert [plan.selector(study, ["plain"])(s) for s in [*specs, trial]] == [True, True, False, False, True]
    some = plan.selector(study, ["plain:2", "extra:1"])
    assert [some(s) for s in [*specs, trial]] == [False, True, True, False, True]


def test_only_refuses_unknown_arms_and_seeds(study: Study) -> None:
    with pytest.raises(InputError) as caught:
        plan.selector(study, ["plane", "extra:9", "plain:", "wide:one"], file="toy.toml")
    assert str(caught.value).splitlines() == [
        "toy.toml: --only plane: no such arm (got \"plane\"); did you mean 'plain'?",
        'toy.toml: --only extra:9: no such seed (got "9"); valid: 1, 2, 3',
        'toy.toml: --only plain:: no such seed (got ""); valid: 1, 2, 3',
        'toy.toml: --only wide:one: no such seed (got "one"); valid: 1, 2, 3',
    ]


SPLIT, FOLD = (f'seeds = [1, 2, 3]\nvary = ["init", "order", "{what}"]' for what in ("split", "fold"))


def test_every_seed_redraws_the_split_for_all_arms_alike(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, ("seeds = [1, 2, 3]", SPLIT))
    cells = plan.make_plan(study.model_copy(update={"tuning": None}), [], lambda _: "").cells
    assert {(c.seed, c.spec.settings["data"]["split_seed"]) for c in cells if c.spec} == {(1, 1), (2, 2), (3, 3)}
    specs = trials.trial_specs(study, "plain", 0, ADAM)
    assert [s.settings["data"]["split_seed"] for s in specs] == [101, 102]
    assert [s.settings["training"]["epochs"] for s in specs] == [2, 2]


def test_every_seed_takes_a_fold_and_tuning_the_studys_own_split(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, ("seeds = [1, 2, 3]", FOLD.replace("1, 2, 3", "7, 5, 3")))
    specs = plan.compare_specs(study, "extra")
    assert specs == [plan.compare_spec(study, "extra", seed) for seed in study.seeds]
    data = [spec.settings["data"] for spec in specs]
    assert [(d["fold"], d["folds"]) for d in data] == [(0, 3), (1, 3), (2, 3)]
    own = trials.trial_specs(study, "plain", 0, ADAM)[0].settings["data"]
    assert own == {"factory": "design_toy:data", "examples": 10}


class TestRecordIndex:
    """Against a search through all records."""

    def counted(self, spec: RunSpec, records: list[Record]) -> Record | None:
        of_cell = [r for r in records if counting.cell_id(r) == counting.cell_id(spec)]
        return next(reversed([r for r in of_cell if r.status == "FINISHED"] or of_cell), None)

    @pytest.mark.parametrize("seed", range(20))
    def test_the_newest_finished_record_counts_else_the_newest(self, study: Study, seed: int) -> None:
        rng = random.Random(seed)
        specs = [plan.compare_spec(study, arm, s) for arm in ("plain", "wide") for s in (1, 2)]
        specs += [spec for trial in (0, 1) for spec in trials.trial_specs(study, "plain", trial, ADAM)]
        statuses = ("FINISHED", "FAILED", "KILLED", "RUNNING")
        records = [
            replace(record(rng.choice(specs), status=rng.choice(statuses)), run_id=str(number)) for number in range(12)
        ]
        index = counting.RecordIndex(records[:5])
        for each in records[5:]:
            index.add(each)
        assert [index.counted(spec) for spec in specs] == [self.counted(spec, records) for spec in specs]
        ended = {counting.cell_id(r) for r in records if r.status in ("FINISHED", "FAILED")}
        assert [index.ended(spec) for spec in specs] == [counting.cell_id(spec) in ended for spec in specs]

    def test_a_plan_of_them_is_the_plan_of_the_records(self, study: Study) -> None:
        records = tuned(study, "plain", FOUR)
        direct, indexed = (plan.make_plan(study, r, lambda _: "") for r in (records, counting.RecordIndex(records)))
        assert direct == indexed
