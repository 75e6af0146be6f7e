from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toy_project import Project
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.compare import ArmComparison, arm_comparisons, scored_metrics
from ablate.report import terminal_compare

Cli = Callable[..., Any]
HYPOTHESIS = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg", "margin": 0.5}


def load(folder: Path, **more: Any) -> tables.Results:
    return tables.load(Toy(folder, **more).store(), "toy")


def printed(comparisons: list[ArmComparison]) -> str:
    out = io.StringIO()
    terminal_compare.print_comparisons("toy", comparisons, Console(file=out, width=80, color_system=None))
    return out.getvalue()


def lines(comparison: ArmComparison) -> dict[str, str]:
    return dict(terminal_compare.summary(comparison))


def test_each_seed_and_what_they_say_together(tmp_path: Path) -> None:
    results = load(tmp_path)
    [comparison] = arm_comparisons(results, "hybrid", "existing", ["azimuth_mae_deg"])
    ours, theirs = (results.by_seed(arm, "test/azimuth_mae_deg") for arm in ("hybrid", "existing"))
    assert {p.seed: (p.arm, p.against) for p in comparison.pairs} == {s: (ours[s], theirs[s]) for s in (1, 2, 3)}
    assert [p.difference for p in comparison.pairs] == [ours[s] - theirs[s] for s in (1, 2, 3)]
    assert comparison.effect.difference.mean == pytest.approx(sum(ours[s] - theirs[s] for s in (1, 2, 3)) / 3)
    text = printed([comparison])
    assert "“Hybrid” against “Existing only”" in text
    for seed in (1, 2, 3):
        assert f"{ours[seed]:.3f}" in text
        assert f"{theirs[seed]:.3f}" in text
    assert "sign-flip 0.250 (exact; no 3 pairs can have a smaller one)" in " ".join(
        text.split()
    )  # 2 of 2³ patterns lie as far: all minus, all plus
    assert lines(comparison)["Verdict"] == "exploratory: no hypothesis of the study asks for this comparison"
    assert max(map(len, text.splitlines())) <= 80


def test_a_declared_hypothesis_has_its_verdict_and_the_other_direction_none(tmp_path: Path) -> None:
    results = load(tmp_path, seeds=(1, 2, 3, 4, 5, 6), hypotheses=[HYPOTHESIS])
    [there], [back] = (
        arm_comparisons(results, *arms, ["azimuth_mae_deg"])
        for arms in (("hybrid", "existing"), ("existing", "hybrid"))
    )
    assert there.verdict in ("supported", "refuted", "inconclusive")
    assert lines(there)["Verdict"].startswith(f"{there.verdict} (declared hypothesis, margin 0.5°): ")
    assert back.verdict == "exploratory"
    assert back.effect.difference.mean == pytest.approx(-(there.effect.difference.mean or 0))


def test_two_hypotheses_about_one_difference_have_both_their_verdicts(tmp_path: Path) -> None:
    better = {key: value for key, value in HYPOTHESIS.items() if key != "margin"}
    results = load(tmp_path, seeds=(1, 2, 3, 4, 5, 6), hypotheses=[better, HYPOTHESIS])
    [found] = arm_comparisons(results, "hybrid", "existing", ["azimuth_mae_deg"])
    first, second = [text for name, text in terminal_compare.summary(found) if name == "Verdict"]
    assert first.startswith(f"{found.verdict} (declared hypothesis): ")
    assert second.startswith(f"{found.others[0].verdict} (declared hypothesis, margin 0.5°): ")
    [answer] = json.loads(terminal_compare.document("toy", [found]))["comparisons"]
    assert [other["margin"] for other in answer["others"]] == [0.5]


def test_missing_pairs_are_told_in_words(tmp_path: Path) -> None:
    results = load(tmp_path, skip=[("existing", 3)], fail=[("hybrid", 2)])
    [comparison] = arm_comparisons(results, "hybrid", "existing", ["azimuth_mae_deg"])
    left_out = [text for name, text in terminal_compare.summary(comparison) if name == "Left out"]
    assert left_out == [
        "seed 2: “Hybrid” failed: loss is not finite | epoch 3",
        "seed 3: “Existing only” has not been run",
    ]
    assert lines(comparison)["p"] == "none: one seed: no interval"
    assert "1 pair" in lines(comparison)["Difference"]
    assert "–" in printed([comparison])


def test_no_pair_at_all(tmp_path: Path) -> None:
    results = load(tmp_path, skip=[("existing", 1), ("existing", 2), ("existing", 3)])
    [comparison] = arm_comparisons(results, "hybrid", "existing", ["azimuth_mae_deg"])
    assert lines(comparison)["Difference"] == "–, 0 pairs"
    assert lines(comparison)["p"] == "none: no value"
    assert printed([comparison])


def test_json_has_null_where_there_is_no_number(tmp_path: Path) -> None:
    results = load(tmp_path, fail=[("hybrid", 2)])
    document = json.loads(
        terminal_compare.document("toy", arm_comparisons(results, "hybrid", "existing", results.study.metrics))
    )
    assert document["study"] == "toy"
    assert [each["metric"]["name"] for each in document["comparisons"]] == ["azimuth_mae_deg", "elevation_mae_deg"]
    first = document["comparisons"][0]
    assert [pair["arm"] is None for pair in first["pairs"]] == [False, True, False]
    assert first["effect"]["difference"]["n"] == 2
    assert first["verdict"] == "exploratory"


def test_every_metric_that_was_scored_can_be_asked_for(tmp_path: Path) -> None:
    assert scored_metrics(load(tmp_path)) == ["azimuth_mae_deg", "elevation_mae_deg", "accuracy_30"]


class TestCommand:
    @pytest.fixture(autouse=True)
    def _there(self, finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(finished.folder)

    def test_compares(self, cli: Cli) -> None:
        answer = cli("compare", "linear.toml", "garden", "plain")
        assert answer.code == 0
        assert "“Garden too” against “Size and age”" in answer.out
        assert "no verdict (declared hypothesis" in answer.out  # two seeds
        assert json.loads(cli("compare", "linear", "garden", "plain", "--json", "--metric", "close").out)["comparisons"]

    def test_unknown_names_are_refused_together_with_the_nearest(self, cli: Cli) -> None:
        answer = cli("compare", "linear", "gardn", "plan", "--metric", "clos")
        assert answer.code == 2
        assert "ARM_A: no arm of this study (got \"gardn\"); did you mean 'garden'?" in answer.err
        assert "ARM_B: no arm of this study (got \"plan\"); did you mean 'plain'?" in answer.err
        assert "--metric: no metric of this study (got \"clos\"); did you mean 'close'?" in answer.err

    def test_an_arm_and_itself(self, cli: Cli) -> None:
        answer = cli("compare", "linear", "plain", "plain")
        assert (answer.code, answer.out) == (2, "")
        assert "must be another arm than ARM_A" in answer.err

    def test_formats_of_a_report(self, cli: Cli, tmp_path: Path) -> None:
        answer = cli("report", "linear", "--format", "csv,json,csv", "--reports", str(tmp_path))
        assert answer.code == 0
        assert answer.out.split() == [f"{tmp_path}/linear/tables", f"{tmp_path}/linear/report.json"]
        names = {path.name for path in (tmp_path / "linear").iterdir()}
        assert names == {"figures", "results.csv", "timings.csv", "tables", "report.json"}

    @pytest.mark.parametrize("asked", ["docx", "md,docx", ""])
    def test_an_unknown_format_is_refused(self, cli: Cli, asked: str, tmp_path: Path) -> None:
        answer = cli("report", "linear", "--format", asked, "--reports", str(tmp_path / "r"))
        assert answer.code == 2
        assert "--format: is no format of a report" in answer.err
        assert "valid: md, html, tex, csv, json, png, svg, pdf" in answer.err
        assert not (tmp_path / "r").exists()
