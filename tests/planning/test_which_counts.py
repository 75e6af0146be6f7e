"""The one rule: which stored record counts, and which is outdated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import design_toy
import pytest

from ablate.planning import counting, plan
from ablate.planning.outdated import outdated
from ablate.study import DATASET_CHARS, Record, RunSpec, Scalar, Study

OLD, NEW = "a" * 64, "b" * 64
SGD: dict[str, Scalar] = {"training.learning_rate": 0.002, "model.optimizer": "sgd"}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Untuned, and reading a file."""
    study = design_toy.study(tmp_path, ("examples = 10", 'examples = 10\nfile = "a.npz"'))
    return study.model_copy(update={"tuning": None})


def record(spec: RunSpec, status: str = "FINISHED", run_id: str = "id") -> Record:
    identity = (spec.arm, spec.seed, spec.phase, spec.key)
    return Record(run_id, *identity, status, {}, spec.overrides, spec.trial, dataset=spec.dataset)  # type: ignore[arg-type]


def runs(study: Study, arm: str, digest: str) -> list[Record]:
    return [record(spec, run_id=f"{spec.name}-{digest[:1]}") for spec in plan.compare_specs(study, arm, {}, digest)]


def test_runs_of_other_data_do_not_count_and_are_outdated(study: Study) -> None:
    records = [*runs(study, "plain", OLD), *runs(study, "extra", OLD), *runs(study, "extra", NEW)]
    planned = plan.make_plan(study, records, lambda arm: NEW)
    assert {arm for arm, _ in planned.compared if arm != "extra"} == set()
    assert [r.run_id for r in planned.compared.values()] == ["extra-seed1-b", "extra-seed2-b", "extra-seed3-b"]
    assert [(o.record.run_id, o.changed) for o in outdated(planned, records)] == [
        (r.run_id, "data content") for r in (*runs(study, "plain", OLD), *runs(study, "extra", OLD))
    ]


def test_values_that_were_tuned_are_settings_like_others(study: Study) -> None:
    written = record(plan.compare_spec(study, "plain", 1, {"training.learning_rate": 0.001}, OLD))
    assert plan.make_plan(study, [written], lambda arm: OLD).compared == {("plain", 1): written}


def test_the_newest_of_one_key_counts_whatever_is_outdated(study: Study) -> None:
    spec = plan.compare_spec(study, "plain", 1, {}, OLD)
    other = plan.compare_spec(study, "plain", 1, {}, NEW)
    records = [record(spec, run_id="1"), record(spec, run_id="2"), record(other, run_id="3")]
    records += [record(spec, "FAILED", "4"), record(spec, "RUNNING", "5")]
    counted = plan.make_plan(study, records, lambda arm: OLD).compared["plain", 1]
    assert counted.run_id == "2"
    assert [o.record.run_id for o in outdated(plan.make_plan(study, records, lambda arm: OLD), records)] == ["3"]


def test_changed_settings_are_listed_where_they_are_known(study: Study, tmp_path: Path) -> None:
    records = runs(study, "plain", OLD)[:1]
    changed = study.model_copy(update={"settings": {**study.settings, "loss": {"factory": "design_toy:data"}}})
    planned = plan.make_plan(changed, records, lambda arm: OLD)
    assert [o.changed for o in outdated(planned, records)] == ["settings"]
    with_edits = outdated(planned, records, lambda record: ["loss.factory was 1, is 2"])
    assert [o.changed for o in with_edits] == ["settings (loss.factory was 1, is 2)"]
    both = outdated(plan.make_plan(changed, records, lambda arm: NEW), records, lambda record: ["a was 1, is 2"])
    assert [o.changed for o in both] == ["data content and settings (a was 1, is 2)"]
    tuned = [record(plan.compare_spec(study, "plain", 1, SGD, OLD))]
    (run,) = outdated(plan.make_plan(study, tuned, lambda arm: OLD), tuned)
    assert run.changed.startswith("tuned settings (training.learning_rate was 0.002, is absent, model.optimizer was")


def test_comparison_runs_of_an_arm_whose_tuning_is_not_finished_do_not_count(tmp_path: Path) -> None:
    tuned = design_toy.study(tmp_path)
    records = [record(plan.compare_spec(tuned, "plain", 1, SGD))]
    planned = plan.make_plan(tuned, records, lambda arm: "")
    assert planned.compared == {}
    assert [o.changed for o in outdated(planned, records)] == ["tuned settings: the arm's tuning is not finished"]


def test_runs_of_removed_arms_and_seeds_are_not_listed(study: Study) -> None:
    records = [*runs(study, "plain", OLD), *runs(study, "extra", OLD)]
    fewer = study.model_copy(update={"seeds": [1, 2], "arms": {"plain": study.arms["plain"]}})
    planned = plan.make_plan(fewer, records, lambda arm: OLD)
    assert len(planned.compared) == 2
    assert outdated(planned, records) == []


class TestDocument:
    """The plan of a stored document."""

    def test_it_names_the_data(self, study: Study) -> None:
        assert counting.document_digests({"data_digests": dict.fromkeys(study.arms, NEW)}, study, []) == dict.fromkeys(
            study.arms, NEW
        )

    def test_an_older_one_has_the_data_of_the_newest_finished_comparison_run(self, study: Study) -> None:
        records = [*runs(study, "plain", OLD), *runs(study, "plain", NEW)[:1], *runs(study, "extra", OLD)]
        records += [replace(r, status="FAILED") for r in runs(study, "extra", NEW)]
        digests = counting.document_digests({}, study, records)
        assert digests == {
            "plain": NEW[:DATASET_CHARS], "extra": OLD[:DATASET_CHARS], "wide": "", "constant": ""
        }  # fmt: skip
        planned = plan.plan_of_document({}, study, {}, records)
        assert [r.run_id for r in planned.compared.values()] == ["plain-seed1-b", *(r.run_id for r in records[4:7])]
        assert [o.record.run_id for o in outdated(planned, records)] == [r.run_id for r in records[:3]]

    def test_an_arm_without_a_data_file_has_no_digest(self, tmp_path: Path) -> None:
        study = design_toy.study(tmp_path).model_copy(update={"tuning": None})
        records = runs(study, "plain", "")
        assert set(counting.document_digests({}, study, records).values()) == {""}
        assert len(plan.plan_of_document({}, study, {}, records).compared) == 3


@pytest.mark.parametrize(
    ("recorded", "current", "answer"),
    [
        ("ab", "ab", "same"), ("ab", "cd", "changed"), ("1:ab", "ab", "same"), ("ab", "2:ab", "unknown"),
        ("2:ab", "2:ab", "same"), ("2:ab", "2:cd", "changed"), ("3:ab", "2:ab", "unknown"),
    ],
)  # fmt: skip
def test_code_digests_are_compared_within_one_version(recorded: str, current: str, answer: str) -> None:
    assert counting.same_code(recorded, current) == answer
