"""How long the runs that are left will take, by hand-checked numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ablate.planning import plan, trials
from ablate.planning.forecast import Forecast, forecast, share
from ablate.study import Record, RunSpec, Study, Tuning
from ablate.study.study_file import from_document

STUDY = {
    "name": "s",
    "question": "?",
    "baseline": "plain",
    "seeds": [1, 2],
    "metric": {"loss": {"direction": "lower"}},
    "settings": {"run": {"command": ["python", "train.py", "--lr={lr}", "--n={budget}"], "lr": 0.1, "budget": 8}},
    "arms": {"plain": {}, "wide": {"set": {"run.lr": 0.2}}},
}


@pytest.fixture
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    untuned = from_document(dict(STUDY), "s.toml", tmp_path_factory.mktemp("s"), imports=False)
    space = {"run.lr": {"type": "float", "low": 0.1, "high": 1.0}}
    tuning = Tuning.model_validate(
        {"trials": 1, "per": "arm", "seeds": [9], "metric": "val/loss", "budget": 2, "space": space}
    )
    return untuned.model_copy(update={"tuning": tuning})


def record(spec: RunSpec, seconds: float, status: str = "FINISHED") -> Record:
    scores = {"val/loss": 1.0, "time/total_s": seconds}
    ended = (spec.arm, spec.seed, spec.phase, spec.key, status)
    return Record(f"{spec.name}", *ended, scores, spec.overrides, spec.trial)  # type: ignore[arg-type]


def left(study: Study, records: list[Record]) -> list[plan.Cell]:
    return [c for c in plan.make_plan(study, records, lambda _: "", direction="lower").cells if c.state != "done"]


def test_a_trial_is_the_part_of_a_run_that_its_budget_is(study: Study) -> None:
    assert (share(study, "tune"), share(study, "compare")) == (0.25, 1.0)
    same = study.model_copy(update={"tuning": study.tuning and study.tuning.model_copy(update={"budget": None})})
    assert share(same, "tune") == 1.0


def test_nothing_is_foretold_before_a_run_is_finished(study: Study) -> None:
    assert forecast(study, left(study, []), [], {}) == Forecast(6, None, 0)


def test_runs_take_what_others_of_their_arm_and_phase_took(study: Study) -> None:
    """`plain` is tuned in 5 s, so that its runs take 20 s; `wide` is like `plain` before it has a run of its own."""
    first = record(trials.trial_specs(study, "plain", 0, {"run.lr": 0.5})[0], 5.0)
    assert forecast(study, left(study, [first]), [first], {}) == Forecast(5, 5.0 + 4 * 20.0, 1)
    run = record(plan.compare_spec(study, "plain", 1, {"run.lr": 0.5}), 30.0)
    ahead = forecast(study, left(study, [first, run]), [first, run], {})
    others = (5.0 / 0.25 + 30.0) / 2  # a whole run, by both that are finished
    assert (ahead.runs, ahead.seconds) == (4, pytest.approx(30.0 + 0.25 * others + 2 * others))
    failed = replace(run, status="FAILED", run_id="x", scores={"time/total_s": 1e6})
    assert forecast(study, left(study, [first]), [first, failed], {}).measured == 1


def test_the_time_of_a_worker_counts_where_it_is_longer_than_the_runs_own(study: Study) -> None:
    """It starts a process and records the run; of a run that went on later, the store has the last part alone."""
    trial = record(trials.trial_specs(study, "plain", 0, {"run.lr": 0.5})[0], 5.0)
    cells = [cell for cell in left(study, [trial]) if (cell.arm, cell.phase) == ("wide", "tune")]
    assert forecast(study, cells, [trial], {trial.run_id: (1000, 9000)}).seconds == 8.0
    assert forecast(study, cells, [trial], {trial.run_id: (1000, 2000)}).seconds == 5.0
