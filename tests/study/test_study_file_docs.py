"""docs/study-files.md names every key of a study file, and its example loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from ablate import study
from ablate.study import study_file
from ablate.study.run_rules import RunSection

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "study-files.md"
MODELS = (
    study.Study, study.TrainingSettings, study.Arm, study.Tuning, study.FloatSpace, study.CategoricalSpace,
    study.Hypothesis, study.ReportSettings, study.Condition, study.Density, study.Control, study.Match, study.Factor,
    study.DeclaredMetric, RunSection, study.Design, study.Part, study.Dataset, study.Stopping,
)  # fmt: skip


def examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    missing = [key for key in model.model_fields if not re.search(rf"`\[*[^`]*\b{key}\b[^`]*`", text)]
    assert missing == []


def test_every_default_of_the_training_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for key, field in study.TrainingSettings.model_fields.items():
        written = "required" if field.is_required() else str(field.default)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
        assert written in row.split("|")[3]


def test_the_example_loads(tmp_path: Path) -> None:
    whole, *_ = examples()
    (tmp_path / "whole.toml").write_text(whole, encoding="utf-8")
    assert list(study_file.load(tmp_path / "whole.toml").arms) == ["plain", "extra", "ridge"]


def test_the_fragments_load_within_the_example(tmp_path: Path) -> None:
    whole, changes, _, twin, controls, factor, _, datasets, space, _, looks = examples()
    model = 'optimizer_hint = "none"\nmomentum = 0.9\nhead = { depth = 1 }'
    whole = whole.replace('optimizer_hint = "none"', model)
    (tmp_path / "all.toml").write_text("\n".join([whole, changes, twin, space]), encoding="utf-8")
    loaded = study_file.load(tmp_path / "all.toml")
    assert study_file.resolve(loaded, "wide")["model"]["head"]["depth"] == 2
    assert loaded.arms["plain-again"].replicate == 1
    twelve = whole.replace("7]", "7, 8, 9, 10, 11, 12]")
    (tmp_path / "looks.toml").write_text("\n".join([twelve, looks]), encoding="utf-8")
    stopping = study_file.load(tmp_path / "looks.toml").stopping
    assert stopping is not None
    assert stopping.looks == [5, 8, 12]
    (tmp_path / "controls.toml").write_text("\n".join([whole, controls]), encoding="utf-8")
    loaded = study_file.load(tmp_path / "controls.toml")
    assert {len(study_file.resolve(loaded, arm).get("control", {})) for arm in list(loaded.arms)[3:]} == {0, 1}
    claim = ('arm = "extra"\nagainst = "plain"', 'arm = "extra@16"\nagainst = "plain@16"')
    (tmp_path / "factor.toml").write_text("\n".join([whole.replace(*claim), factor]), encoding="utf-8")
    claim = ('arm = "extra"\nagainst = "plain"', 'arm = "extra@outdoor"\nagainst = "plain@outdoor"')
    (tmp_path / "datasets.toml").write_text("\n".join([whole.replace(*claim), datasets]), encoding="utf-8")
    arms = study_file.load(tmp_path / "datasets.toml").arms
    assert list(arms) == [f"{arm}@{data}" for arm in ("plain", "extra", "ridge") for data in ("indoor", "outdoor")]
    assert [a for a in study_file.load(tmp_path / "factor.toml").arms if "@" in a] == [
        f"{arm}@{level}" for arm in ("plain", "extra") for level in (16, 32, 64)
    ]
