"""Every study of the repository loads, its components exist and take its settings, and its header says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.planning import plan, trials
from ablate.study import ReportSettings, Study, components, study_file

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = sorted((ROOT / "studies").rglob("*.toml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def study(path: Path) -> Study:
    return study_file.load(path)


def test_there_are_shipped_studies() -> None:
    assert {path.stem for path in SHIPPED} >= {"quick", "elepose_fusion", "controls_factorial", "agreement_sweep", "aa"}


def test_a_study_is_named_like_its_file(path: Path, study: Study) -> None:
    assert study.name == path.stem


def test_the_header_states_question_command_cost_and_expectation(path: Path) -> None:
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    words = [line.removeprefix("# ").split(":")[0] for line in header.splitlines()]
    assert [w for w in words if w in ("Question", "Command", "Cost", "Expectation")] == [
        "Question", "Command", "Cost", "Expectation",
    ]  # fmt: skip
    assert f"ablate run studies/{path.name}" in header


def test_every_arm_has_components_that_take_its_settings(path: Path, study: Study) -> None:
    for arm in study.arms:
        settings = study_file.resolve(study, arm)
        components.bind(settings["data"], place="settings.data", file=str(path), also=("device", "file"))
        components.bind(settings["loss"], place="settings.loss", file=str(path))()
        components.bind(settings["model"], place="settings.model", file=str(path))()


def test_the_gallery_exists(path: Path, study: Study) -> None:
    if study.factor is not None:
        assert study.report == ReportSettings(colors=study.report.colors)  # its curve is the answer
        return
    assert study.report.gallery is not None
    assert callable(components.load_component(study.report.gallery, file=str(path), place="report.gallery"))


def test_the_conditions_are_columns_of_the_data(study: Study) -> None:
    from ablate.depth_refinement.data import synthetic

    columns = synthetic(device="cpu", subjects=4, poses_per_subject=2).examples("all").targets.keys()
    assert study.report.conditions or study.factor is not None
    assert {study.report.column_of(name) for name in study.report.conditions} <= set(columns)


def test_the_arms_of_the_question_are_there_with_its_yardsticks(study: Study) -> None:
    families = {arm.family or name: arm for name, arm in study.arms.items()}
    references = [name for name, arm in families.items() if arm.reference]
    assert references == ["constant", "torso-frame", "ridge", "known-pose"]
    if study.design is not None:
        assert next(iter(families)) == "bare"
        return
    if study.name == "aa":
        assert list(families)[:2] == ["existing", "twin"]
        return
    alone = study.factor is not None  # asks about the hybrid, not about ElePose alone
    trained = ["existing", "hybrid"] if alone else ["existing", "elepose", "hybrid"]
    assert list(families)[: len(trained)] == trained
    assert families["existing"].information == {"azimuth": "3D pose, transformer context", "elevation": "Same"}
    assert set(families["hybrid"].information.values()) == {"Both signals combined"}
    if not alone:
        assert set(families["elepose"].information.values()) == {"Deep 2D foreshortening"}


def test_every_arm_is_tuned_on_an_equal_budget(study: Study) -> None:
    assert study.tuning is not None
    assert trials.tuned_arms(study) == [name for name, arm in study.arms.items() if not arm.reference]
    for arm in trials.tuned_arms(study):  # the first trial is the settings as written
        values = trials.setting_values(study, arm)
        assert set(study.tuning.space) <= set(values)


def test_the_twins_of_the_aa_study_are_tuned_apart_and_differ_in_nothing_else() -> None:
    study = study_file.load(ROOT / "studies" / "aa.toml")
    existing, twin = (plan.compare_spec(study, arm, study.seeds[0]) for arm in ("existing", "twin"))
    assert existing.settings == twin.settings
    assert (existing.replicate, twin.replicate) == (0, 1)
    assert study.tuning is not None
    assert study.tuning.per == "seed"  # a verdict on the procedure, the luck of its tuning included
    assert len(study.seeds) >= 5


def test_the_seeds_configuration_is_kept() -> None:
    settings = study_file.resolve(study_file.load(ROOT / "studies" / "elepose_fusion.toml"), "hybrid")
    model = {k: v for k, v in settings["model"].items() if k != "factory"}
    assert model == {
        "use_existing": True, "use_elepose": True, "d_model": 128, "num_layers": 6, "num_heads": 8, "dropout": 0.1,
        "elepose_hidden_dim": 1024, "fusion_dim": 512, "angle_noise_std": 5.0, "angle_noise_warmup": 10,
    }  # fmt: skip
    assert (settings["training"]["epochs"], settings["training"]["batch_size"]) == (50, 384)


def test_the_parameters_of_the_factorial_are_those_of_the_elepose_branch() -> None:
    from ablate.trainers.builtin.controls import parameter_count

    study = study_file.load(ROOT / "studies" / "controls_factorial.toml")
    counts = {arm: parameter_count(study_file.resolve(study, arm)["model"]) for arm in ("bare", "parameters", "design")}
    added = {arm: counts[arm] - counts["bare"] for arm in ("parameters", "design")}
    assert added["parameters"] == pytest.approx(added["design"], rel=0.001)
    informed = [arm for arm, each in study.arms.items() if each.parts is not None and each.control is None]
    assert informed == [arm for arm in study.arms if "information" in arm]
