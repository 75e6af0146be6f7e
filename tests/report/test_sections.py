"""What the page says of controls, a factor, other data and hypotheses, in the Markdown that a person reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from toy_results import ARMS, Toy, factor_toy

from ablate.analysis import results as tables
from ablate.analysis.study_analysis import analyse
from ablate.report import build, figures, markdown
from ablate.report.outline import outline

HYPOTHESIS = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg", "margin": 0.5}
CONTROLS = {
    "existing-wide": {"control": {"match_parameters": {"of": "hybrid", "by": "model.width"}}},
    "hybrid-shuffled": {"like": "hybrid", "control": {"shuffle_input": ["pose_2d"]}},
    "existing-2d": {"control": {"same_information": "hybrid"}},
}


def page(toy: Toy) -> str:
    results = tables.load(toy.store(), "toy")
    return markdown.render(outline(analyse(results), results, figures.Pictures()))


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_hypotheses_come_after_the_matrix_with_verdict_margin_and_reason(tmp_path: Path) -> None:
    text = page(Toy(tmp_path, seeds=(1, 2, 3, 4, 5, 6), hypotheses=[HYPOTHESIS], gallery=None))
    assert text.index("| Arm | Azimuth error") < text.index("## Hypotheses") < text.index("## Parameters")
    section_text = section(text, "Hypotheses")
    header = "| Arm | Against | Metric | Verdict | Margin | Difference [95 % interval over seeds] | [simultaneous] |"
    assert header in section_text
    assert "| Hybrid | Existing only | Azimuth error (°) | " in section_text
    assert " | 0.5° | " in section_text
    assert "- “Hybrid” against “Existing only”, Azimuth error (°): " in section_text
    assert "over both sides of this hypothesis" in section_text


def test_without_hypotheses_the_comparisons_are_exploratory_and_have_no_verdict(tmp_path: Path) -> None:
    section_text = section(page(Toy(tmp_path, gallery=None)), "Exploratory comparisons")
    assert "Verdict" not in section_text
    assert "Holm" not in section_text
    assert "without verdicts" in section_text


def test_every_control_stands_beside_what_it_controls_for(tmp_path: Path) -> None:
    arms = {**ARMS, **CONTROLS}
    section_text = section(page(Toy(tmp_path, arms=arms, seeds=(1, 2, 3, 4, 5), gallery=None)), "Controls")
    rows = [line for line in section_text.splitlines() if line.startswith("| ")][2:]
    assert [[cell.strip() for cell in row.split("|")[1:5:2]] for row in rows[::2]] == [
        ["existing-wide", "Hybrid"],
        ["hybrid-shuffled", "Hybrid"],
        ["existing-2d", "Hybrid"],
    ]
    assert len([line for line in section_text.splitlines() if line.startswith("- ")]) >= 3  # a sentence each, at least


@pytest.fixture(scope="module")
def factor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("factor")
    toy = factor_toy(folder / "runs", (0.5, 1.0), {}, external="balancing")
    build.write(tables.load(toy.store(), "toy"), folder / "toy", formats=("md", "csv", "tex"))
    return folder / "toy"


def test_a_factor_has_its_figure_table_and_answer(factor: Path) -> None:
    section_text = section((factor / "report.md").read_text(), "Along detector noise")
    assert "figures/factor_azimuth_mae_deg.png" in section_text
    assert "| Detector noise | " in section_text
    assert section_text.count("\n| 0.5 | ") == section_text.count("\n| 1.0 | ") == 2  # two metrics
    frame = pd.read_csv(factor / "tables" / "factor_azimuth_mae_deg.csv")
    assert list(frame.arm) == ["existing@0.5", "existing@1.0", "hybrid@0.5", "hybrid@1.0"]
    assert frame.difference_mean.isna().tolist() == [True, True, False, False]


def test_other_data_has_its_own_table(factor: Path) -> None:
    section_text = section((factor / "report.md").read_text(), "On other data: balancing")
    assert "| Arm | Runs | Azimuth error (°) | Elevation error (°) |" in section_text
    own, other = (pd.read_csv(factor / "tables" / f"{name}.csv") for name in ("matrix", "external_balancing"))
    assert (other["mean"] - own["mean"]).tolist() == pytest.approx([2.0] * 8)
    assert "factor_azimuth_mae_deg.tex" in {path.name for path in (factor / "tables").iterdir()}


def test_a_folder_of_the_machine_is_no_part_of_the_command(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path, seeds=(1,)).store(), "toy")
    command = "ablate run toy.toml --data-root '/my data' --workers 2"
    typed = replace(results, document={**results.document, "command": command})
    text = markdown.render(outline(analyse(typed), typed, figures.Pictures()))
    assert "    ablate run toy.toml --data-root DATA --workers 2\n" in text
    assert "/my data" not in text
