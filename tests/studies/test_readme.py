"""The README's numbers are those of the committed reports, and its study is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import load
from ablate.scheduler.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"[−+]?\d[\d.,]*(?: ± [\d.]+|M|k| \[[^\]]+\])")  # a score, a count or a difference


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose header line begins with `header`, a list a row."""
    lines = text[text.index(header) :].splitlines()[2:]
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize(("study", "header"), [("elepose_fusion", "| Arm | Parameters | Azimuth")])
def test_every_row_is_that_of_the_report(study: str, header: str) -> None:
    report = (ROOT / "reports" / study / "report.md").read_text(encoding="utf-8")
    reported = {row[0]: row for row in rows(report, "| Arm | Azimuth")}
    shown = rows((ROOT / "README.md").read_text(encoding="utf-8"), header)
    assert len(shown) >= 3
    for name, *cells in shown:
        numbers = [cell for cell in cells if NUMBER.fullmatch(cell)]
        assert len(numbers) >= 2, name
        assert set(numbers) <= set(reported[name]), name


def test_the_measured_parameters_are_those_of_the_report() -> None:
    report = (ROOT / "reports" / "elepose_fusion" / "report.md").read_text(encoding="utf-8")
    exactly = {row[0]: row[5] for row in rows(report, "| Model | ")}
    existing, hybrid = exactly["Existing only (baseline)"], exactly["Hybrid"]
    added = int(hybrid.replace(",", "")) - int(existing.replace(",", ""))
    shown = rows((ROOT / "README.md").read_text(encoding="utf-8"), "| Model | Parameters stated")
    assert [row[2] for row in shown] == [existing, hybrid, f"+{added:,}"]


def test_what_each_part_does_is_what_the_report_says() -> None:
    report = (ROOT / "reports" / "controls_factorial" / "report.md").read_text(encoding="utf-8")
    azimuth, elevation = (report[report.index(f"figures/design_{name}_mae_deg") :] for name in ("azimuth", "elevation"))
    of_part = [{row[0]: row[1:] for row in rows(text, "| Part | Main effect |")} for text in (azimuth, elevation)]
    effects, elevations = ({name: [c.strip("* ") for c in cells] for name, cells in part.items()} for part in of_part)
    shown = rows((ROOT / "README.md").read_text(encoding="utf-8"), "| Part | Azimuth error")
    assert [row[0] for row in shown] == ["Parameters", "2D pose", "ElePose branch"]
    for name, main, shapley, share, in_elevation in shown:
        assert [main, shapley, share] == [effects[name][at] for at in (0, 2, 3)]
        assert in_elevation == elevations[name][0]


def test_the_study_of_a_script_is_a_whole_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "tests" / "script", tmp_path / "script")
    monkeypatch.chdir(tmp_path / "script")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = text[text.index("## Your own training\n") :].partition("```toml\n")[2].partition("```")[0]
    Path("readme.toml").write_text(example, encoding="utf-8")
    loaded = load(Path("readme.toml"), Workspace())
    build_all(loaded, Workspace())
    assert len(loaded.plan([]).cells) == 10
    assert len([line for line in example.splitlines() if line]) <= 25
