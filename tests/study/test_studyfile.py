"""Reading study files: a valid one, files that are not study files, all problems at once."""

from __future__ import annotations

from pathlib import Path

import design_toy
import pytest
from design_toy import VALID, problems_of

from ablate.study import FloatSpace, InputError, study_file


def problem(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        study_file.load(path)
    return str(caught.value)


def test_a_valid_file_becomes_a_study(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path)
    assert (study.name, study.baseline, study.seeds) == ("toy", "plain", [1, 2, 3])
    assert list(study.arms) == ["plain", "extra", "wide", "constant"]
    assert study.arms["extra"].set == {"model.extra": True}
    assert study.tuning is not None
    entry = study.tuning.space["model.momentum"]
    assert isinstance(entry, FloatSpace)
    assert (entry.low, entry.high, entry.when) == (0.5, 1.0, {"model.optimizer": "sgd"})
    assert study.report.conditions["angle_deg"].period == 360


def test_tuning_hypotheses_and_report_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(VALID[: VALID.index("[tuning]")], encoding="utf-8")
    study = study_file.load(tmp_path / "study.toml")
    assert study.tuning is None
    assert study.hypotheses == []


def test_a_catalogue_beside_the_study_file_is_found(tmp_path: Path) -> None:
    module = "from ablate.study import Metric\nMINE = {'miss': Metric('miss', 'Miss', 'm', 'lower', None)}\n"
    (tmp_path / "own_catalogue.py").write_text(module, encoding="utf-8")
    text = VALID[: VALID.index("[tuning]")].replace("design_toy:METRICS", "own_catalogue:MINE")
    (tmp_path / "own.toml").write_text(text.replace('["error_deg", "accuracy"]', '["miss"]'), encoding="utf-8")
    assert study_file.load(tmp_path / "own.toml").metrics == ["miss"]


def test_a_section_may_be_replaced_and_then_changed(tmp_path: Path) -> None:
    new = 'set.model = { factory = "design_toy:model", width = 1, optimizer = "sgd", momentum = 0.9 }'
    study = design_toy.study(tmp_path, ('set."model.width" = 16', f'set."model.width" = 32\n{new}'))
    assert study_file.resolve(study, "wide")["model"] == {
        "factory": "design_toy:model", "width": 32, "optimizer": "sgd", "momentum": 0.9,
    }  # fmt: skip


def test_every_problem_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = problems_of(
        ("seeds = [1, 2, 3]", 'seeds = "1"'),
        ('label = "Plain"', 'lable = "Plain"'),
        ('baseline = "plain"', 'baseline = "plane"'),
        ('metrics = ["error_deg", "accuracy"]', 'metrics = ["error_dg"]'),
        ("epochs = 4", "epochs = -4"),
        ('set."model.extra"', 'set."model.extr"'),
        ("dropout = 0.1", "dropout = nan"),
    )
    # Rules skip the keys that do not parse: none on settings is checked while one of them is not a number.
    assert found == [
        "study.toml: arms.plain.lable: unknown key; did you mean 'label'?",
        'study.toml: seeds: must be a list (got "1")',
        "study.toml: settings.model.dropout: must be a finite number (got nan)",
        "study.toml: baseline: is not an arm of this study (got \"plane\"); did you mean 'plain'?",
        "study.toml: metrics[0]: is not a metric of the catalogue (got \"error_dg\"); did you mean 'error_deg'?",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").touch()
    path = tmp_path / "quik.toml"
    assert problem(path) == f"{path}: no such file; did you mean '{path.with_name('quick.toml')}'?"
    nowhere = tmp_path / "no" / "study.toml"
    assert problem(nowhere) == f"{nowhere}: no such file"
    name = tmp_path / "other"
    assert problem(name) == f"{name}: no such file; valid: quick.toml"


def test_a_folder(tmp_path: Path) -> None:
    assert problem(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b'name = "\xff"')
    assert problem(path) == f"{path}: is not UTF-8 text: byte 8 cannot be read"


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(VALID, encoding="utf-8-sig")
    assert study_file.load(path).name == "toy"


def test_an_empty_file_lacks_everything(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.touch()
    required = ("arms", "baseline", "metrics", "name", "question", "seeds", "settings")
    *told, last = problem(path).splitlines()
    assert told == [f"{path}: {key}: is missing" for key in required]
    assert last.startswith(f"{path}: catalogue: is missing; the metrics of a command or a function are declared: ")
