from __future__ import annotations

from typing import Any

from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis.factor import FactorCurve, factor_curves
from ablate.analysis.study_analysis import analyse

FACTOR = {"setting": "data.noise", "levels": [0.25, 1.0, 4.0], "label": "Detector noise"}
# hybrid minus existing: 0.0, −0.3, −0.5
LEVELS = {0.25: (6.0, 6.0), 1.0: (7.0, 6.7), 4.0: (12.0, 11.5)}


def arm_at(family: str, level: Any) -> dict[str, Any]:
    label = {"existing": "Existing only", "hybrid": "Hybrid"}[family]
    return {"label": f"{label} @ {level}", "family": family, "level": level}


def sweep(**more: Any) -> dict[str, Any]:
    """Arguments of a study of both arms along the noise, and a yardstick beside it."""
    scores, arms = {}, {}
    for shift, (level, values) in enumerate(LEVELS.items()):
        for family, value in zip(("existing", "hybrid"), values, strict=True):
            name = f"{family}@{level}"
            scores[name], arms[name] = around(value, shift + (family == "hybrid")), arm_at(family, level)
    scores["constant"], arms["constant"] = around(90.0), {"label": "Constant", "reference": True}
    return {"scores": scores, "arms": arms, "factor": FACTOR} | more


def curve_of(**more: Any) -> FactorCurve:
    (curve,) = factor_curves(load(**sweep(**more)))
    return curve


def test_every_level_is_compared_with_the_baseline_at_that_level() -> None:
    curve = curve_of()
    assert [each.label for each in curve.series] == ["Existing only", "Hybrid"]
    existing, hybrid = curve.series
    assert existing.baseline
    assert existing.effects == ()
    assert [round(each.difference.mean or 0, 9) for each in hybrid.effects] == [0.0, -0.3, -0.5]
    assert [round(each.mean or 0, 9) for each in existing.scores] == [6.0, 7.0, 12.0]
    assert (curve.positions, curve.level_labels) == ((0.25, 1.0, 4.0), ("0.25", "1.0", "4.0"))
    assert [(line.label, line.reference) for line in curve.lines] == [("Constant", True)]


def test_the_change_of_the_difference_is_paired_by_seed() -> None:
    change = curve_of().series[1].change
    assert change is not None
    assert round(change.difference.mean or 0, 9) == -0.5
    # jitters of shifts 1, 0 at the first level and 3, 2 at the last; seed 1: (0.01 + 0.02) − (−0.02 − 0.03)
    jitter = (0.0, 0.03, -0.02, 0.01, -0.02)
    first, last = jitter[2] - jitter[1], jitter[4] - jitter[3]
    assert round(change.by_seed[1], 9) == round(-0.5 + last - first, 9)


def test_the_answer_in_words() -> None:
    answer = curve_of().answer
    assert answer.startswith(
        "Exploratory, every interval by itself. Along detector noise, in azimuth error, “Hybrid” is better than "
        "“Existing only” at 1.0 (0.300° better) and 4.0 (0.500° better); is neither shown to be better nor worse than "
        "it at 0.25 (0.000°, the interval from 0.046° better to 0.046° worse includes 0). From 0.25 to 4.0 the "
        "difference goes from 0.000° to 0.500° better: 0.500° better, 95 % interval 0.441° to 0.559°, 5 seeds"
    )
    assert "no change" not in answer


def test_the_curve_is_the_answer_and_the_matrix_stays_whole() -> None:
    analysis = analyse(load(**sweep()))
    assert analysis.answers == (analysis.factor[0].answer,)
    assert analysis.labels["existing"] == "Existing only"
    assert analysis.baselines == {f"hybrid@{level}": f"existing@{level}" for level in LEVELS}
    assert [row.arm for row in analysis.matrix if row.baseline] == [f"existing@{level}" for level in LEVELS]
    assert [bool(row.effects) for row in analysis.matrix] == [False, True] * 3 + [False]
    assert analysis.parameters[1].added == 6.8e6 - 2e6


def test_a_declared_hypothesis_comes_first() -> None:
    claim = asked(0.1, "hybrid@4.0", "existing@4.0")
    analysis = analyse(load(**sweep(hypotheses=[claim])))
    assert (
        "it is supported that “Hybrid @ 4.0” improves on “Existing only @ 4.0” by more than 0.1°" in analysis.answers[0]
    )
    assert analysis.answers[1] == analysis.factor[0].answer


def test_a_baseline_outside_the_factor_is_a_line() -> None:
    scores = {"existing": around(7.0), "hybrid@256": around(7.0, 1), "hybrid@512": around(6.5, 2)}
    arms = {f"hybrid@{level}": arm_at("hybrid", level) for level in (256, 512)}
    factor = {"setting": "model.width", "levels": [256, 512]}
    (curve,) = factor_curves(load(scores, arms=arms, factor=factor))
    assert [(line.label, line.baseline) for line in curve.lines] == [("Existing only", True)]
    (hybrid,) = curve.series
    assert round(hybrid.effects[1].difference.mean or 0, 9) == -0.5
    assert "Along model.width" in curve.answer


def test_levels_that_are_words_have_no_position() -> None:
    scores = {"existing@gru": around(7.0), "existing@lstm": around(7.0, 1)}
    arms = {f"existing@{level}": arm_at("existing", level) for level in ("gru", "lstm")}
    factor = {"setting": "model.kind", "levels": ["gru", "lstm"]}
    (curve,) = factor_curves(load(scores, arms=arms, factor=factor))
    assert curve.positions is None
    assert curve.answer == "Along model.kind there is nothing to compare in azimuth error."


def test_a_level_that_has_not_run_is_a_gap() -> None:
    arguments = sweep()
    arguments["scores"]["hybrid@4.0"] = {}
    (curve,) = factor_curves(load(**arguments))
    assert curve.series[1].effects[2].difference.n == 0
    assert "has no interval against it at 4.0 (no seed has both runs)" in curve.answer
    assert "From 0.25 to 4.0" not in curve.answer


def test_one_seed_along_a_factor_claims_nothing() -> None:
    arguments = sweep()
    arguments["scores"] = {arm: {1: by_seed[1]} for arm, by_seed in arguments["scores"].items()}
    (curve,) = factor_curves(load(**arguments))
    assert (
        "“Hybrid” has no interval against “Existing only” at 0.25 (0.050° better, 1 seed, no interval), 1.0"
        in curve.answer
    )
    assert "0.480° better, 1 seed, no interval." in curve.answer
    assert curve.metric.name == AZIMUTH
