"""Edits of a study with finished runs: those that are recorded as amendments, and those that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import design_toy
import pytest

from ablate.study import InputError, Study, amend


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return design_toy.study(tmp_path)


@pytest.fixture
def old(study: Study) -> dict[str, object]:
    """The document as it is read from a store."""
    written = amend.document(study, design_toy.METRICS, command="ablate run toy.toml", today="2025-01-31")
    read: dict[str, object] = json.loads(json.dumps(written))
    assert read == written
    return read


def changes(old: dict[str, object], new: Study, **options: object) -> list[str]:
    return amend.amend(old, new, has_runs=True, file="toy.toml", **options)  # type: ignore[arg-type]


def refused(old: dict[str, object], new: Study, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        changes(old, new, **options)
    return str(caught.value).splitlines()


def test_the_document_is_plain_and_complete(old: dict[str, object], study: Study) -> None:
    assert Study.model_validate(old["study"]) == study
    assert old["metrics"]["accuracy"] == {  # type: ignore[index]
        "label": "Accuracy", "unit": "share", "direction": "higher", "reduction": "mean",
        "pooled": False, "column": "error_deg",  # the toy's two metrics have one function
    }  # fmt: skip
    assert (old["created"], old["amendments"], old["command"]) == ("2025-01-31", [], "ablate run toy.toml")


def test_the_same_study_has_nothing_to_amend(old: dict[str, object], study: Study) -> None:
    assert changes(old, study) == []


def test_before_the_first_run_anything_may_change(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(tmp_path, ("dropout = 0.1", "dropout = 0.2"), ("trials = 4", "trials = 8"))
    assert amend.amend(old, new, has_runs=False) == []


def test_added_and_removed_arms_and_seeds_show(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(
        tmp_path,
        ("seeds = [1, 2, 3]", "seeds = [2, 3, 4, 5]"),
        ('[arms.wide]\nset."model.width" = 16', '[arms.wider]\nset."model.width" = 32'),
    )
    assert changes(old, new) == [
        "arm wider added",
        "arm wide removed",
        "seeds 4, 5 added, before all others had finished",
        "seed 1 removed",
    ]


def test_hypotheses_edited_late_show(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(tmp_path, ("margin = 0.5", "margin = 0.1"))
    assert changes(old, new) == [
        "hypothesis added after runs had finished: extra against plain in error_deg, margin 0.1",
        "hypothesis withdrawn after runs had finished: extra against plain in error_deg, margin 0.5",
    ]
    assert amend.hypotheses_digest(new) != old["hypotheses_digest"]


def test_edits_of_the_report_and_the_words_show(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(
        tmp_path,
        ('baseline = "plain"', 'baseline = "wide"'),
        ('metrics = ["error_deg", "accuracy"]', 'metrics = ["accuracy", "error_deg"]'),
        ('label = "Plain"', 'label = "Plainer"'),
        ("period = 360", "period = 180"),
        ('question = "', 'retries = 3\nquestion = "'),
    )
    assert changes(old, new) == [
        'baseline changed from "plain" to "wide"',
        "retries changed from 0 to 3",
        "metrics changed from error_deg, accuracy to accuracy, error_deg",
        'label of arm plain changed from "Plain" to "Plainer"',
        "what the report shows was changed in report.conditions.angle_deg",
    ]


def test_changed_settings_are_refused_with_a_diff(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(
        tmp_path, ("epochs = 4", "epochs = 5"), ('set."model.width" = 16', 'set."model.width" = 17\nreplicate = 2')
    )
    rename = "give the changed study another name"
    again = f"{rename}, or run the arm again with --rerun wide"
    assert refused(old, new) == [
        "toy.toml: settings.training.epochs: cannot change under finished runs of plain, extra, wide, constant"
        f" (got 5, was 4); {rename}",
        f"toy.toml: settings.model.width: cannot change under finished runs of wide (got 17, was 16); {again}",
        f"toy.toml: arms.wide.replicate: cannot change under finished runs of wide (got 2, was 0); {again}",
    ]


def test_an_arm_that_is_rerun_may_change(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(tmp_path, ('set."model.width" = 16', 'set."model.width" = 17'))
    assert changes(old, new, rerun=["wide"]) == ["settings.model.width was 16, is 17; run again: wide"]


def test_a_setting_that_appears_or_goes_is_a_change(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(tmp_path, ("width = 1 }", "width = 1, dropout = 0.3 }"))
    (problem,) = refused(old, new)
    assert "settings.model.dropout: cannot change under finished runs of constant (got 0.3, was absent)" in problem


def test_changed_tuning_and_catalogue_are_refused(old: dict[str, object], tmp_path: Path) -> None:
    new = design_toy.study(
        tmp_path,
        ("trials = 4", "trials = 5"),
        ("high = 1e-2", "high = 2e-2"),
        ('catalogue = "design_toy:METRICS"', 'catalogue = "test_amend:OTHER"'),
    )
    end = "; give the changed study another name"
    assert refused(old, new) == [
        f"toy.toml: tuning.trials: cannot change under finished runs (got 5, was 4){end}",
        'toy.toml: tuning.space."training.learning_rate".high: cannot change under finished runs'
        f" (got 0.02, was 0.01){end}",
        "toy.toml: catalogue: cannot change under finished runs"
        f' (got "test_amend:OTHER", was "design_toy:METRICS"){end}',
    ]


OTHER = design_toy.METRICS


def test_a_control_that_changes_runs_is_refused_and_same_information_is_an_amendment(
    old: dict[str, object], tmp_path: Path
) -> None:
    width = 'set."model.width" = 16'
    labelled = design_toy.study(tmp_path, (width, f'{width}\ncontrol.same_information = "extra"'))
    assert changes(old, labelled) == ['same_information of arm wide changed from "" to "extra"']
    new = design_toy.study(tmp_path, (width, f'{width}\ncontrol.drop_input = ["hat"]'))
    hint = "give the changed study another name, or run the arm again with --rerun wide"
    assert refused(old, new) == [
        "toy.toml: settings.control.drop_input: cannot change under finished runs of wide "
        f'(got ["hat"], was absent); {hint}'
    ]


def test_what_a_seed_draws_cannot_change_and_folds_keep_their_seeds(old: dict[str, object], tmp_path: Path) -> None:
    fold = 'seeds = [1, 2, 3]\nvary = ["order", "init", "fold"]'
    folded = design_toy.study(tmp_path, ("seeds = [1, 2, 3]", fold))
    assert refused(old, folded) == [
        "toy.toml: vary: cannot change under finished runs "
        '(got ["fold", "init", "order"], was ["init", "order"]); give the changed study another name'
    ]
    again = design_toy.study(tmp_path, ("seeds = [1, 2, 3]", fold.replace("[1, 2, 3]", "[1, 2, 3, 4]")))
    folded_document = amend.document(folded, design_toy.METRICS, command="", today="2025-01-31")
    assert refused(folded_document, again) == [
        "toy.toml: seeds: cannot change under finished runs (got [1, 2, 3, 4], was [1, 2, 3]); "
        "give the changed study another name"
    ]
    reordered = design_toy.study(tmp_path, ("seeds = [1, 2, 3]", fold.replace('"order", "init"', '"init", "order"')))
    assert changes(folded_document, reordered) == []


def test_an_amended_document_supersedes_what_it_amends_whatever_the_clocks_say() -> None:
    first, second = {"date": "2025-01-31", "what": "seed 3 added"}, {"date": "2024-12-31", "what": "seed 4 added"}
    new, old = {"amendments": [first, second]}, {"amendments": [first]}
    for later in (True, False):
        assert amend.supersedes(new, old, closed_later=later)
        assert not amend.supersedes(old, new, closed_later=later)
        for one, other in (
            (new, new),
            (new, {"amendments": [second]}),
            ({}, {"amendments": []}),
            ({"amendments": 3}, {}),
        ):
            assert amend.supersedes(one, other, closed_later=later) == later


class TestFileAgainstDocument:
    """The differences that `plan`, `status` and `run` report between a study file and the stored document."""

    def test_every_difference_is_listed_whether_refused_or_not(self, study: Study, tmp_path: Path) -> None:
        assert amend.edited(study, study) == []
        new = design_toy.study(
            tmp_path, ("width = 8", "width = 9"), ("trials = 4", "trials = 8"), ("seeds = [1, 2, 3]", "seeds = [1, 2]")
        )
        assert amend.edited(study, new) == [
            "settings.model.width of plain, extra: 8 → 9",
            "tuning.trials: 8, was 4",
            "seed 3 removed",
        ]

    def test_the_settings_that_differ_by_arm(self, study: Study, tmp_path: Path) -> None:
        new = design_toy.study(tmp_path, ('set."model.width" = 16', 'set."model.width" = 32'))
        assert amend.edited_settings(study, new) == {"wide": ["model.width was 16, is 32"]}

    def test_arms_of_another_data_content(self) -> None:
        old = {"a": "1" * 64, "b": "2" * 64, "c": ""}
        assert amend.other_data(old, {**old, "d": "3" * 64}) == []
        assert amend.other_data(old, {"a": "1" * 64, "b": "3" * 64, "c": "4" * 64}) == ["data content changed for b"]
        assert amend.other_data({"a": "1" * 36, "b": "2" * 36}, {"a": "1" * 64, "b": "3" * 64}) == [
            "data content changed for b"
        ]

    def test_the_document_has_the_digests(self, study: Study) -> None:
        digests = dict.fromkeys(study.arms, "1" * 64)
        document = amend.document(study, design_toy.METRICS, digests, command="", today="2025-01-31")
        assert document["data_digests"] == digests
