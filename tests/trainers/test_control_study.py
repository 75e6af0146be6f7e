"""A study with every control: its components are checked before anything is created, then each arm is run."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

from pathlib import Path

import pytest
from toy_project import Project

from ablate.planning import plan
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy, context_of, load
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, RunResult
from ablate.trainers.host import execute

FILE = "terraces.toml"


@pytest.fixture
def terraces(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.folder)
    return project


def loaded(project: Project, *edits: tuple[str, str]) -> LoadedStudy:
    project.edit(*edits, file=FILE)
    return load(Path(FILE), Workspace(device="cpu"))


def results(study: LoadedStudy, folder: Path) -> dict[str, RunResult]:
    context = context_of(study, Workspace(device="cpu"), folder / "work", folder / "logs")
    specs = [plan.compare_spec(study.study, arm, 1) for arm in study.study.arms]
    return {spec.arm: execute(spec, context) for spec in specs}


def test_the_study_is_valid_and_every_arm_runs(terraces: Project) -> None:
    study = loaded(terraces)
    build_all(study, Workspace(device="cpu"))
    by_arm = results(study, terraces.folder)
    assert {(arm, r.status, r.error) for arm, r in by_arm.items()} == {
        (arm, "FINISHED", "") for arm in study.study.arms
    }
    weights = {arm: r.scores["cost/parameters"] for arm, r in by_arm.items()}
    assert weights["plain"] == weights["no-age"] == weights["no-neighbours"] == 11 * 11 + 1
    assert weights["branch"] == weights["branch-shuffled"] == weights["branch-frozen"] == 21 * 11 + 1
    assert weights["plain-wide"] == 11 * 21 + 1 == weights["branch"]
    assert len({r.scores["test/absolute_error"] for r in by_arm.values()}) == 7
    assert [arm for arm, r in by_arm.items() if "cost/parameters_trained" in r.scores] == ["branch-frozen"]


def test_names_that_components_lack_are_reported_before_anything_is_created(terraces: Project) -> None:
    study = loaded(
        terraces,
        ('shuffle_input = ["size"]', 'shuffle_input = ["sizes"]'),
        ('freeze = ["sizes"]', 'freeze = ["size"]'),
        ('drop_joints = ["left", "right"]', 'drop_joints = ["lef", "right"]'),
        ('drop_input = ["age"]', 'drop_input = ["ages"]'),
        ("[arms.plain]\n", "[arms.plain]\n[arms.tiny]\ncontrol.match_parameters = { of = 'least', by = 'model.width' }\n[arms.least]\nset.'model.width' = 1\nset.'model.sizes' = true\n"),
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        build_all(study, Workspace(device="cpu"))
    assert str(caught.value).splitlines() == [
        "terraces.toml: arms.tiny.control.match_parameters: no model.width comes within 1% of 22 parameters; the nearest are 12 at 1 and 23 at 2",
        "terraces.toml: arms.branch-shuffled.control.shuffle_input: is not among the data's inputs (got sizes); did you mean 'size'?",
        "terraces.toml: arms.branch-frozen.control.freeze: is not among the network's submodules with parameters (got size); did you mean 'sizes'?",
        "terraces.toml: arms.no-neighbours.control.drop_joints: is not among the data's joints (got lef); did you mean 'left'?",
        "terraces.toml: arms.no-age.control.drop_input: is not among the data's inputs (got ages); did you mean 'age'?",
    ]
    assert not (terraces.folder / "mlruns").exists()


def test_one_street_alone_cannot_be_shuffled(terraces: Project) -> None:
    study = loaded(terraces, ("count = 256", "count = 256\nstreets = 1"))
    with pytest.raises(InputError, match=r"arms.branch-shuffled.control.shuffle_input: needs at least two subjects"):
        build_all(study, Workspace(device="cpu"))


def test_a_redrawn_split_is_the_same_for_every_arm(terraces: Project) -> None:
    study = loaded(terraces, ("seeds = [1, 2]", 'seeds = [1, 2]\nvary = ["init", "order", "split"]'))
    build_all(study, Workspace(device="cpu"))
    specs = [plan.compare_spec(study.study, arm, seed) for arm in ("plain", "branch") for seed in (1, 2)]
    assert [spec.settings["data"]["split_seed"] for spec in specs] == [1, 2, 1, 2]


def test_a_data_factory_that_cannot_redraw_the_split_is_refused(terraces: Project) -> None:
    study = loaded(terraces, ("seeds = [1, 2]", 'seeds = [1, 2]\nvary = ["init", "order", "fold"]'))
    with pytest.raises(InputError) as caught:
        build_all(study, Workspace(device="cpu"))
    assert str(caught.value).splitlines() == [
        f"terraces.toml: settings.data of arm plain.factory: linear_toy.terrace:terraces must take the argument '{name}', because every seed redraws the split (`vary`)"
        for name in ("fold", "folds")
    ]


def test_an_arm_with_as_much_compute_is_checked_and_trains_longer(terraces: Project) -> None:
    longer = 'control.match_compute = { of = "branch", by = "training.epochs" }'
    study = loaded(terraces, ('control.match_parameters = { of = "branch", by = "model.width" }', longer))
    build_all(study, Workspace(device="cpu"))
    by_arm = results(study, terraces.folder)
    flops = {arm: r.scores["cost/flops"] * r.scores["count/epochs"] for arm, r in by_arm.items()}
    assert by_arm["plain-wide"].scores["cost/flops"] == by_arm["plain"].scores["cost/flops"] == 20 * 11
    assert by_arm["plain-wide"].scores["count/epochs"] == 5  # 3 · 34/20 = 5.1
    assert flops["plain-wide"] == pytest.approx(flops["branch"], rel=0.02)


def test_a_network_that_fits_itself_has_no_compute_to_match(terraces: Project) -> None:
    longer = 'control.match_compute = { of = "fitted", by = "training.epochs" }\n[arms.fitted]\nset.model = { factory = "linear_toy.terrace:Fitted" }'
    study = loaded(terraces, ('control.match_parameters = { of = "branch", by = "model.width" }', longer))
    with pytest.raises(
        InputError, match=r"arms\.plain-wide\.control\.match_compute: cannot be known: the network fits itself"
    ):
        build_all(study, Workspace(device="cpu"))


def test_the_controls_of_an_arm_are_on_the_same_data_set(terraces: Project) -> None:
    sets = '[datasets.few]\nset."data.count" = 128\n[datasets.more]\nset."data.count" = 256\n\n[arms.plain]\n'
    study = loaded(terraces, ("[arms.plain]\n", sets))
    build_all(study, Workspace(device="cpu"))
    assert study.study.arms["branch-shuffled@few"].like == "branch@few"
    specs = {arm: plan.compare_spec(study.study, arm, 1) for arm in ("plain-wide@few", "branch@few", "branch@more")}
    context = context_of(study, Workspace(device="cpu"), terraces.folder / "work", terraces.folder / "logs")
    by_arm = {arm: execute(spec, context) for arm, spec in specs.items()}
    assert {r.status for r in by_arm.values()} == {"FINISHED"}
    assert len({r.scores["cost/parameters"] for r in by_arm.values()}) == 1
    examples = {arm: r.scores["count/train_examples"] for arm, r in by_arm.items()}
    assert examples["plain-wide@few"] == examples["branch@few"] < examples["branch@more"]
