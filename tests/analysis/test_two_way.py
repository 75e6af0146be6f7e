"""Intervals over seeds and clusters: by hand, and what decides a verdict."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis import two_way
from ablate.analysis.statistics import Estimate, paired
from ablate.analysis.study_analysis import analyse, compare
from ablate.analysis.verdicts import Claim, judge
from ablate.report import figures, markdown
from ablate.report.outline import outline

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration_clusters.py"


def test_by_hand() -> None:
    # two seeds, two clusters of one example; the mean is 2.5, residuals −1.5, −0.5, 0.5, 1.5
    table = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = two_way.variances(table, np.array([0, 1]))
    assert found is not None
    assert found.seeds == pytest.approx(2 * (2.0**2 + 2.0**2) / 16)  # G/(G−1) Σ(sum of residuals)²/n²
    assert found.clusters == pytest.approx(2 * (1.0 + 1.0) / 16)
    assert found.cells == pytest.approx(4 / 3 * 5 / 16)
    assert found.both == pytest.approx(found.seeds + found.clusters - found.cells)


def test_where_the_two_way_variance_is_not_positive_the_larger_one_way_counts() -> None:
    assert two_way.Variances(seeds=0.1, clusters=0.2, examples=0.1, cells=0.4).both == 0.2


def test_shares_add_up_to_one_and_a_negative_part_counts_as_none() -> None:
    assert two_way.Variances(seeds=0.5, clusters=0.4, examples=0.3, cells=0.1).shares == pytest.approx(
        (0.5, 0.125, 0.375)
    )
    assert two_way.Variances(seeds=0.1, clusters=0.4, examples=0.1, cells=0.2).shares == pytest.approx((0, 0.75, 0.25))


def test_the_variance_over_seeds_is_that_of_the_means_of_seeds() -> None:
    table = np.random.default_rng(0).normal(size=(6, 20))
    found = two_way.variances(table, np.repeat(np.arange(5), 4))
    assert found is not None
    assert found.seeds == pytest.approx(table.mean(axis=1).var(ddof=1) / 6)


@pytest.mark.parametrize(("parts", "score"), [(two_way.parts_of_mean, 2.0), (two_way.parts_of_rms, np.sqrt(14 / 3))])
def test_parts_have_the_score_as_their_mean(parts: Any, score: float) -> None:
    assert parts(np.array([1.0, np.nan, 2.0, 3.0])).mean() == pytest.approx(score)


def by_person(gaps: list[float], each: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        [(p, 5.0 + gap) for p, gap in enumerate(gaps) for _ in range(each)], columns=["subject", AZIMUTH]
    )


def results(folder: Path, gaps: list[float], **more: Any) -> Any:
    """The hybrid is better by 0.5 ± a little at every seed, and by `gaps` for each person."""
    frames: dict[Any, pd.DataFrame] = {"existing": by_person([0.0] * len(gaps)), "hybrid": by_person(gaps)}
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
    return load(scores, frames=frames, folder=folder, hypotheses=[asked()], **more)


def test_people_who_differ_take_a_verdict_back(tmp_path: Path) -> None:
    gaps = [-3.0, 2.0, -2.5, 1.5, -0.5]
    alone, both = (
        compare(results(tmp_path / str(i), gaps, **m))[0] for i, m in enumerate(({}, {"cluster": "subject"}))
    )
    assert (alone.verdict, alone.over_clusters) == ("supported", None)
    assert both.verdict == "inconclusive"
    assert both.over_clusters is not None
    assert both.over_clusters.clusters == 5
    assert both.deciding == both.over_clusters.interval
    assert "over 5 seeds and 5 clusters (subject)" in both.reason
    assert both.judgement is not None
    # the p is of the same interval
    half = both.deciding.half_width
    assert half is not None
    assert half > (alone.effect.difference.half_width or 0.0)


def test_fewer_than_four_clusters_are_shown_and_decide_nothing(tmp_path: Path) -> None:
    found = compare(results(tmp_path, [-3.0, 2.0, -0.5], cluster="subject"))[0]
    assert found.verdict == "supported"
    assert found.over_clusters is not None
    assert found.over_clusters.interval is not None
    assert found.over_clusters.note.startswith("fewer than 4 clusters (subject)")


@pytest.mark.parametrize(
    ("gaps", "column", "note"),
    [
        ([-1.0], "subject", "1 cluster (subject): no interval over both"),
        ([-1.0, -2.0], "clip", "the examples have no column “clip” or no value of"),
    ],
)
def test_why_there_is_no_interval(gaps: list[float], column: str, note: str, tmp_path: Path) -> None:
    found = compare(results(tmp_path, gaps, cluster=column))[0].over_clusters
    assert found is not None
    assert found.interval is None
    assert note in found.note


def test_one_cluster_gives_a_verdict_over_seeds_and_the_page_says_so(tmp_path: Path) -> None:
    found = results(tmp_path, [-1.0], cluster="subject")
    (comparison,) = compare(found)
    assert comparison.verdict == "supported"
    assert comparison.deciding == comparison.effect.difference
    page = markdown.render(outline(analyse(found), found, figures.Pictures()))
    assert "1 cluster (subject): no interval over both." in page
    assert "**Clusters:** the study names “subject”, and verdicts are over seeds alone: 1 cluster (subject)" in page
    assert "Clusters:" not in " ".join(analyse(results(tmp_path / "five", [-1.0] * 5, cluster="subject")).warnings)


def test_other_numbers_of_examples_are_no_same_clusters(tmp_path: Path) -> None:
    frames = {"existing": by_person([0.0] * 4), "hybrid": by_person([-1.0] * 4, each=2)}
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
    found = compare(load(scores, frames=frames, folder=tmp_path, hypotheses=[asked()], cluster="subject"))[0]
    assert found.over_clusters is not None
    assert (found.verdict, found.over_clusters.interval) == ("supported", None)
    assert found.over_clusters.note == "the examples, or their values of “subject”, are not the same in every run"


def test_clusters_that_change_between_arms_are_worded(tmp_path: Path) -> None:
    other = by_person([0.0] * 4).assign(subject=9)
    frames = {"existing": by_person([0.0] * 4), "hybrid": other}
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
    found = compare(load(scores, frames=frames, folder=tmp_path, hypotheses=[asked()], cluster="subject"))[0]
    assert found.over_clusters is not None
    assert found.over_clusters.note == "the examples, or their values of “subject”, are not the same in every run"


def test_the_answer_names_both_intervals(tmp_path: Path) -> None:
    answer = analyse(results(tmp_path, [-3.0, 2.0, -2.5, 1.5, -0.5], cluster="subject")).answers[0]
    assert "95 % interval 0.454° to 0.546°, 5 seeds; over 5 seeds and 5 clusters (subject): " in answer


def test_the_calibration_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("calibration_clusters", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "calibration_clusters", module)
    spec.loader.exec_module(module)
    design = module.DESIGNS[3]
    assert module.simulate(design, 200).two_way == pytest.approx(0.95, abs=0.04)
    assert list(module.Coverage(0.95, 0.80, 0.80, 0.8).failures(design, 2000)) == [
        "two-way covers 80.0%, the wider 80.0%"
    ]
    for kind in module.KINDS:
        assert sum(module.false_claims(kind, 7, 200)) < 0.1


@pytest.mark.parametrize(
    ("seeds", "sizes", "degrees"),
    [
        (7, [5] * 4, 3),
        (5, [5] * 9, 4),
        (7, [100, 80, 60, 40], 3),
        (7, [1870, 440, 42, 435], 2787**2 / (1870**2 + 440**2 + 42**2 + 435**2)),
    ],
)
def test_degrees_of_freedom(seeds: int, sizes: list[int], degrees: float) -> None:
    assert two_way.degrees(seeds, sizes) == pytest.approx(degrees)
    found = two_way.interval(1.0, two_way.Variances(0.01, 0.04, 0.0, 0.01), seeds, sizes)
    assert found.degrees_of_freedom == pytest.approx(degrees)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, degrees) * 0.2)


def test_p_is_of_the_interval_with_its_degrees() -> None:
    """A margin at an end of the 95 % interval has a one-sided p of 2.5 %, whatever the degrees of freedom."""
    both = two_way.interval(1.0, two_way.Variances(0.01, 0.04, 0.0, 0.01), 7, [1870, 440, 42, 435])
    effect = paired(dict(enumerate([0.9, 1.1, 1.0, 0.95, 1.05, 1.0, 1.0])), dict.fromkeys(range(7), 0.0))
    assert both.low is not None
    (verdict,) = judge([Claim(effect, "higher", both.low, over_clusters=both)])
    assert verdict.p_supported == pytest.approx(2 * 0.025)  # Holm over both sides
    assert verdict.simultaneous is not None
    assert verdict.simultaneous.low == pytest.approx(both.low)


def test_estimate_type() -> None:
    still = two_way.interval(1.0, two_way.Variances(0.0, 0.0, 0.0, 0.0), 5, [1] * 5)
    assert still == Estimate(1.0, 1.0, 1.0, 5, "no variation, and so no interval", 0.0)
