from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from toy_results import ARMS, Toy
from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis import results as tables
from ablate.analysis.short_answer import short_verdicts
from ablate.analysis.statistics import paired
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.report import tables_figures
from ablate.report.sections_answer import overlap_words
from ablate.tracking.memory import MemoryTracker


def analysis_of(scores: Mapping[str, Mapping[int, float]], **more: Any) -> Analysis:
    return analyse(load(scores, **more))


EXISTING = {1: 7.0, 2: 7.2, 3: 7.1}
BETTER = {1: 6.5, 2: 6.8, 3: 6.65}  # differences -0.5, -0.4, -0.45: mean -0.45, half width 0.1242
FIVE = dict(zip(range(1, 6), (7.0, 7.2, 7.1, 7.3, 7.15), strict=True))
# differences -0.5, -0.4, -0.45, -0.55, -0.5: mean -0.48, deviation 0.0570, half width 2.776 · 0.0255 = 0.0708
LOWER = dict(zip(range(1, 6), (6.5, 6.8, 6.65, 6.75, 6.65), strict=True))


def test_without_hypotheses_everything_is_exploratory() -> None:
    analysis = analysis_of({"existing": EXISTING, "hybrid": BETTER})
    assert analysis.answers == (
        "Exploratory, no hypothesis was declared: “Hybrid” has a lower azimuth error than “Existing only” by 0.45° "
        "(6.65° against 7.10°, 95 % interval 0.33° to 0.57°, 3 seeds), at +4.8M parameters.",
    )
    (comparison,) = analysis.comparisons
    assert not analysis.declared
    assert (comparison.verdict, comparison.p_adjusted, comparison.judgement) == ("exploratory", None, None)
    assert comparison.effect.p is not None
    assert comparison.effect.p_sign_flip == 0.25  # three of one sign: 2 of 8 patterns


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (
            {"elepose": {1: 8.05, 2: 8.3, 3: 8.25}},
            "“ElePose only” is worse than “Existing only” in azimuth error by 1.10° (8.20° against 7.10°, 95 % ",
        ),
        (
            {"hybrid": {1: 7.2, 2: 6.9, 3: 7.1}},
            "the interval of the difference between “Hybrid” and “Existing only” includes 0 in azimuth error "
            "(7.07° against 7.10°, 0.03° better, 95 % interval from ",
        ),
        (
            {"hybrid": {1: 6.5}},
            "nothing can be shown about “Hybrid” and “Existing only” (azimuth error 6.50° against 7.00°, 0.500° "
            "better, 1 seed, no interval)",
        ),
        ({"hybrid": {}}, "there is no answer yet, for “Hybrid” and “Existing only” have no finished seed in common"),
        ({}, "nothing to compare"),
    ],
)
def test_the_exploratory_answer_in_words(arms: Mapping[str, Mapping[int, float]], words: str) -> None:
    analysis = analysis_of({"existing": EXISTING, **arms})
    assert words in analysis.answers[0]
    missing = sum(3 - len(by_seed) for by_seed in arms.values())
    assert [gap.status for gap in analysis.gaps] == ["missing"] * missing


@pytest.mark.parametrize(
    ("margin", "verdict", "words"),
    [
        (0.0, "supported", "it is supported that “Hybrid” improves on “Existing only” in azimuth error"),
        (
            0.3,
            "supported",
            "it is supported that “Hybrid” improves on “Existing only” by more than 0.3° in azimuth error",
        ),
        (0.7, "refuted", "it is refuted that “Hybrid” improves on “Existing only” by more than 0.7° in azimuth error"),
        (
            0.45,
            "inconclusive",
            "it stays open whether “Hybrid” improves on “Existing only” by more than 0.45° in azimuth",
        ),
    ],
)
def test_a_declared_hypothesis_gets_a_verdict(margin: float, verdict: str, words: str) -> None:
    analysis = analysis_of({"existing": FIVE, "elepose": LOWER, "hybrid": LOWER}, hypotheses=[asked(margin)])
    (comparison,) = analysis.comparisons
    assert analysis.declared
    assert (comparison.arm, comparison.verdict, comparison.margin) == ("hybrid", verdict, margin)
    assert analysis.focus == ("existing", "hybrid")
    assert analysis.answers[0].startswith(f"For these untuned settings and this data, {words}")
    assert (
        "(6.67° against 7.15°, 0.480° better, 95 % interval 0.409° to 0.551°, 5 seeds), at +4.8M par"
        in analysis.answers[0]
    )
    assert comparison.judgement is not None
    sides = comparison.judgement.p_supported, comparison.judgement.p_refuted
    assert comparison.p_adjusted == {"supported": sides[0], "refuted": sides[1]}.get(verdict, min(filter(None, sides)))


@pytest.mark.parametrize(
    ("worse", "words", "badge"),
    [
        (0.0, "it is supported that “Hybrid” is at most 0.2° worse than “Existing only” in azimuth error", "supported"),
        (0.48, "it is refuted that “Hybrid” is at most 0.2° worse than “Existing only” in azimuth error", "refuted"),
        (0.21, "it stays open whether “Hybrid” is at most 0.2° worse than “Existing only” in azimuth", "inconclusive"),
    ],
)
def test_what_is_said_of_a_claim_not_to_be_worse(worse: float, words: str, badge: str) -> None:
    jitter = {seed: 0.02 * (-1) ** seed for seed in FIVE}
    hybrid = {seed: score + worse + jitter[seed] for seed, score in FIVE.items()}
    claims = [asked(0.2) | {"kind": "not_worse"}, asked(against="elepose")]
    analysis = analysis_of({"existing": FIVE, "hybrid": hybrid, "elepose": LOWER}, hypotheses=claims)
    assert analysis.answers[0].startswith(f"For these untuned settings and this data, {words}")
    first = short_verdicts(analysis)[0]
    assert (first.badge, first.claim) == (badge, "“Hybrid” is at most 0.2° worse than “Existing only” in azimuth error")


def test_several_claims_of_one_kind_name_the_other_arm_once() -> None:
    more = {"test/accuracy": {"existing": around(60.0), "hybrid": around(60.0, 2)}}
    claims = [asked(1.0) | {"kind": "not_worse"}, asked(3.0) | {"kind": "not_worse", "metric": "accuracy"}]
    scores = {"existing": FIVE, "hybrid": LOWER}
    (text,) = analysis_of(scores, other=more, metrics=[AZIMUTH, "accuracy"], hypotheses=claims).answers
    assert "it is supported that “Hybrid” is at most 1° worse than “Existing only” in azimuth error (" in text
    assert ") and at most 3 % worse in accuracy (" in text


def test_a_worse_arm_refutes_and_the_measured_way_is_told() -> None:
    analysis = analysis_of({"existing": LOWER, "hybrid": FIVE}, hypotheses=[asked()])
    assert analysis.comparisons[0].verdict == "refuted"
    assert "(7.15° against 6.67°, 0.480° worse, 95 % interval 0.409° to 0.551°, 5 seeds)" in analysis.answers[0]


def test_hypotheses_of_one_pair_share_a_sentence_and_all_are_one_family() -> None:
    more = {"test/accuracy": {"existing": around(60.0), "hybrid": around(60.0, 2)}}
    claims = [asked(), asked(0.3) | {"metric": "accuracy"}, asked(against="elepose")]
    scores = {"existing": FIVE, "hybrid": LOWER, "elepose": FIVE}
    analysis = analysis_of(scores, other=more, metrics=[AZIMUTH, "accuracy"], hypotheses=claims)
    assert [c.verdict for c in analysis.comparisons] == ["supported", "refuted", "supported"]
    assert [c.family for c in analysis.comparisons] == [3, 3, 3]
    assert len(analysis.answers) == 2
    assert (
        "; it is refuted that it improves by more than 0.3 % in accuracy (60.000 % against 60.000 %, 0.000 %, "
        in analysis.answers[0]
    )


def test_no_verdict_below_five_seeds_and_the_reason_is_told() -> None:
    four = {seed: FIVE[seed] for seed in (1, 2, 3, 4)}
    analysis = analysis_of({"existing": four, "hybrid": LOWER}, hypotheses=[asked()])
    assert analysis.comparisons[0].verdict == "no verdict"
    assert analysis.comparisons[0].p_adjusted is None
    assert analysis.answers[0].startswith(
        "For these untuned settings and this data, there is no verdict on whether “Hybrid” improves on “Existing only”"
    )
    assert "4 paired seeds: a verdict needs at least 5; without seed 5)" in analysis.answers[0]
    never = analysis_of({"existing": FIVE, "hybrid": {}}, hypotheses=[asked()])
    assert "(not measured: no seed has both runs)" in never.answers[0]


def test_a_missing_pair_or_a_score_that_is_no_number_is_left_out_and_told() -> None:
    six = {**FIVE, 6: 7.1}
    analysis = analysis_of({"existing": six, "hybrid": {**LOWER, 6: math.nan}}, hypotheses=[asked()])
    assert analysis.comparisons[0].verdict == "supported"
    assert analysis.comparisons[0].reason.endswith("without seed 6")
    assert analysis.comparisons[0].effect.note == "5 of 6 seeds have a score of both"


def test_differences_without_variation_give_neither_p_nor_verdict() -> None:
    same = {seed: score - 0.5 for seed, score in FIVE.items()}
    judged = analysis_of({"existing": FIVE, "hybrid": same}, hypotheses=[asked()])
    assert (judged.comparisons[0].verdict, judged.comparisons[0].effect.p) == ("no verdict", None)
    assert "without variation there is no test" in judged.answers[0]
    seen = analysis_of({"existing": FIVE, "hybrid": same})
    assert (
        "(azimuth error 6.65° against 7.15°, 0.500° better, the same at 5 seeds, no spread to judge it by)"
        in seen.answers[0]
    )


def test_splits_that_every_seed_redraws_widen_every_interval() -> None:
    counts = {"count/test_examples": 100.0, "count/train_examples": 400.0}
    other = {key: {arm: dict.fromkeys(FIVE, value) for arm in ("existing", "hybrid")} for key, value in counts.items()}
    plain = analysis_of({"existing": FIVE, "hybrid": LOWER}, other=other)
    split = analysis_of({"existing": FIVE, "hybrid": LOWER}, other=other, vary=["init", "order", "split"])
    assert (plain.overlap, split.overlap) == (None, 0.25)
    # (1/5 + 1/4) / (1/5) = 2.25 times the variance, 1.5 times the interval
    widths = [a.comparisons[0].effect.difference.half_width for a in (plain, split)]
    assert widths[1] == pytest.approx(1.5 * (widths[0] or 0))
    scores = [a.matrix[0].scores[AZIMUTH].half_width for a in (plain, split)]
    assert scores[1] == pytest.approx(1.5 * (scores[0] or 0))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tables.Results, Analysis]:
    references = {"torso-frame": {"label": "Torso frame", "reference": True}}
    toy = Toy(tmp_path_factory.mktemp("toy"), references | ARMS, skip=[("elepose", 3)])
    results = tables.load(toy.store(), "toy")
    return results, analyse(results)


def test_the_matrix_has_yardsticks_last_and_the_differences(analysed: tuple[tables.Results, Analysis]) -> None:
    results, analysis = analysed
    assert [row.label for row in analysis.matrix] == ["Existing only", "ElePose only", "Hybrid", "Torso frame"]
    assert analysis.information == ("azimuth", "elevation")
    hybrid = analysis.matrix[2]
    key = "test/azimuth_mae_deg"
    assert hybrid.effects["azimuth_mae_deg"] == paired(results.by_seed("hybrid", key), results.by_seed("existing", key))
    assert analysis.matrix[0].effects == {}
    assert [row.runs for row in analysis.matrix] == [3, 2, 3, 3]


def test_arms_behind_a_yardstick_are_named(analysed: tuple[tables.Results, Analysis]) -> None:
    # torso frame 11.4° and 5.9° against ElePose's 15.2° and 6.3°; the others are better in both
    first, second = analysed[1].behind
    assert first.startswith("Worse than “Torso frame” in azimuth error: “ElePose only” (")
    assert second.startswith("Not shown to be better than “Torso frame” in elevation error: “ElePose only” (")
    assert "worse, 95 % interval from " in second  # two seeds: the interval includes 0


def test_the_parameter_table(analysed: tuple[tables.Results, Analysis]) -> None:
    rows = {row.arm: row for row in analysed[1].parameters}
    assert list(rows) == ["existing", "elepose", "hybrid"]
    assert rows["existing"].added is None
    assert rows["hybrid"].added == 6_983_431 - 2_214_663
    assert list(rows["hybrid"].parts) == ["angle_path"]


def test_a_point_of_the_tradeoff_has_what_its_arm_costs_and_achieves(analysed: tuple[tables.Results, Analysis]) -> None:
    results, analysis = analysed
    points = analysis.tradeoff
    assert [p.arm for p in points if not p.reference] == ["existing", "elepose", "hybrid"]
    assert (points[-1].arm, points[-1].reference) == ("torso-frame", True)
    assert points[2].parameters == 6_983_431
    assert points[2].latency_ms == pytest.approx(3.23)  # the mean of 3.22, 3.23 and 3.24
    table = tables_figures.cost(points, results.metrics[AZIMUTH]).table
    assert [cell.text for cell in table.rows[2]][:3] == ["Hybrid", "7.0M", "3.23 ms"]
    assert table.rows[3][1].text == "–"


def test_an_arm_without_a_score_is_no_point_of_the_tradeoff() -> None:
    points = analysis_of({"existing": EXISTING, "hybrid": {}}).tradeoff
    assert [point.arm for point in points] == ["existing"]


def test_the_budget_table(analysed: tuple[tables.Results, Analysis]) -> None:
    row = analysed[1].budget[1]
    assert (row.allotted, row.finished_trials, row.failed_trials, row.tuning_epochs) == (2, 2, 0, 6)
    assert (row.tuning_seconds, row.tuned) == (6.0, {"training.learning_rate": 0.002})
    assert (row.runs, row.expected_runs) == (2, 3)
    assert (row.epochs, row.examples, row.training_seconds) == (6, 2400, 101.5)


def test_curves_have_the_spread_over_seeds(analysed: tuple[tables.Results, Analysis]) -> None:
    results, analysis = analysed
    assert [panel.key for panel in analysis.curves] == [
        "train/loss",
        "val/azimuth_mae_deg",
        "val/elevation_mae_deg",
    ]
    table = analysis.curves[0].arms["existing"]
    first = results.curves.query("arm == 'existing' and epoch == 1 and metric == 'train/loss'").score
    assert (table.low[0], table["mean"][0], table.high[0]) == (first.min(), pytest.approx(first.mean()), first.max())


def test_arms_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    toy = Toy(tmp_path, {"existing": {}, "hybrid": {"label": "Same"}, "elepose": {"label": "Same"}}, tuned=False)
    store = MemoryTracker()
    store.open("toy", toy.document())
    labels = analyse(tables.load(store, "toy")).labels
    assert list(labels.values()) == ["existing", "Same (hybrid)", "Same (elepose)"]


@pytest.mark.parametrize(
    ("vary", "overlap", "words"),
    [
        (
            "split",
            0.25,
            "Every seed redraws the split, so that training sets overlap; the intervals allow for it (the correction "
            "by Nadeau and Bengio), which makes them 50 % wider. ",
        ),
        (
            "fold",
            0.125,
            "Every seed is a fold, so that training sets overlap; the intervals allow for it (half of the "
            "correction by Nadeau and Bengio), which makes them 27 % wider. ",
        ),
        ("order", None, ""),
    ],
)
def test_the_correction_for_shared_training_examples_is_named_with_its_width(
    vary: str, overlap: float | None, words: str
) -> None:
    counts = {"count/test_examples": 100.0, "count/train_examples": 400.0}
    other = {key: {arm: dict.fromkeys(FIVE, value) for arm in ("existing", "hybrid")} for key, value in counts.items()}
    found = analysis_of({"existing": FIVE, "hybrid": LOWER}, other=other, vary=["init", vary])
    assert found.overlap == overlap
    assert overlap_words(found) == words
