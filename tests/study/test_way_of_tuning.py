"""`tuning.per`: what a file and a document without it mean, what is refused, what counts as a change."""

from __future__ import annotations

from pathlib import Path

import design_toy
import pytest

from ablate.scheduler import loaded_study
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Study, Tuning, amend
from ablate.tracking.mlflow.tracker import MlflowTracker

ONE_TUNING = 'per = "arm"\ninclude_defaults = true\nseeds = [101, 102]\n'
OLDER = "seeds = [101, 102]\n"  # as versions without `per` wrote it
METRICS = {name: {"label": name} for name in ("error_deg", "accuracy")}


def tuning(**more: object) -> Tuning:
    space = {"training.learning_rate": {"type": "float", "low": 0.1, "high": 1.0}}
    return Tuning.model_validate({"trials": 2, "metric": "val/error", "space": space, **more})


def ways(found: Tuning) -> tuple[str, str, bool]:
    return found.per, found.sampler, found.include_defaults


def test_what_is_left_out() -> None:
    assert ways(tuning()) == ("seed", "qmc", False)
    assert ways(tuning(seeds=[101])) == ("arm", "tpe", True)  # of an older version
    assert ways(tuning(seeds=[101], per="arm")) == ("arm", "tpe", False)
    assert ways(tuning(seeds=[101], include_defaults=False)) == ("arm", "tpe", False)
    for found in (tuning(), tuning(seeds=[101]), tuning(seeds=[101], per="arm")):
        assert Tuning.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('per = "seed"\nseeds = [101]\n', "tuning.seeds: is for one tuning of all seeds"),
        ('per = "arm"\n', 'tuning.seeds: must list at least one seed with per = "arm"'),
        ('per = "arm"\nseeds = []\n', 'tuning.seeds: must list at least one seed with per = "arm"'),
        ('per = "arm"\nseeds = [1]\n', "tuning.seeds: must not overlap the comparison seeds"),
        ('per = "runs"\n', "tuning.per: must be one of 'seed' or 'arm' (got \"runs\")"),
        ('include_defaults = "yes"\n', "tuning.include_defaults: must be true or false"),
    ],
)
def test_what_is_refused(tmp_path: Path, written: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        design_toy.study(tmp_path, (ONE_TUNING, written))
    assert [line for line in str(refused.value).splitlines() if told in line], refused.value
    assert len(str(refused.value).splitlines()) == 1


def workspace(tmp_path: Path) -> Workspace:
    return Workspace(mlruns=tmp_path / "mlruns", reports=tmp_path / "reports", working_folder=tmp_path)


def store_has(study: Study, folder: Workspace) -> None:
    dumped = study.model_dump(mode="json")
    for key in ("per", "include_defaults"):  # keys that older versions did not have
        del dumped["tuning"][key]
    MlflowTracker(None, folder.mlruns).open("toy", {"study": dumped, "metrics": METRICS})


def test_a_file_of_an_older_version_is_refused_for_a_new_study_alone(tmp_path: Path, initialised_store: Path) -> None:
    folder = workspace(tmp_path)
    folder.mlruns.mkdir()
    (folder.mlruns / "mlflow.db").write_bytes(initialised_store.read_bytes())
    study = design_toy.study(tmp_path, (ONE_TUNING, OLDER))
    path = tmp_path / "toy.toml"
    with pytest.raises(InputError) as refused:
        loaded_study.with_data(study, path, tmp_path, folder)
    assert str(refused.value) == (
        f"{path}: tuning.seeds: is for one tuning of all seeds; where each seed has its own, trials have the seed of "
        'the run (got [101, 102]); leave it out, or write per = "arm" (verdicts then hold for the tuned settings alone)'
    )
    store_has(study, folder)
    assert loaded_study.with_data(study, path, tmp_path, folder).study == study
    written = design_toy.study(tmp_path, (ONE_TUNING, ONE_TUNING))
    assert written == study
    loaded_study.with_data(written, path, tmp_path, workspace(tmp_path / "elsewhere"))  # needs no store


def test_the_way_of_tuning_cannot_change_under_finished_runs(tmp_path: Path) -> None:
    older = design_toy.study(tmp_path, (ONE_TUNING, OLDER))
    dumped = older.model_dump(mode="json")
    for key in ("per", "include_defaults"):
        del dumped["tuning"][key]
    document = {"study": dumped}
    assert amend.amend(document, design_toy.study(tmp_path), has_runs=True) == []
    with pytest.raises(InputError) as refused:
        amend.amend(document, design_toy.study(tmp_path, (ONE_TUNING, "")), has_runs=True)
    assert 'tuning.per: cannot change under finished runs (got "seed", was "arm")' in str(refused.value)
