from __future__ import annotations

from typing import Any

import pytest
from toy_scores import around, asked, load

from ablate.analysis.control_findings import ControlFinding
from ablate.analysis.controls import control_findings, explanations

WIDE = {"control": {"match_parameters": {"of": "hybrid", "by": "model.width"}}}
SHUFFLED = {"like": "hybrid", "control": {"shuffle_input": ["pose_2d"]}}
INFORMED = {"control": {"same_information": "hybrid"}}


def finding_of(control: dict[str, Any], score: float, *, hybrid: float = 6.5, **more: Any) -> ControlFinding:
    """Existing scores 7.0°; the control and the hybrid as given."""
    scores = {"existing": around(7.0), "hybrid": around(hybrid, 1), "control": around(score, 2)}
    (finding,) = control_findings(load(scores, arms={"control": {"label": "Control"} | control}, **more))
    return finding


def test_a_finding_has_both_differences_and_the_parameters() -> None:
    finding = finding_of(WIDE, 7.0)
    (row,) = finding.rows
    assert (finding.of, finding.baseline, finding.kinds) == ("hybrid", "existing", ("match parameters",))
    assert finding.what == "as many parameters as “Hybrid”, by widening model.width"
    assert row.gain is not None
    assert row.gain.difference.mean == pytest.approx(-0.5)
    assert row.remaining.difference.mean == pytest.approx(-0.5)
    assert row.control.difference.mean == pytest.approx(0.0)
    assert (row.gain_shown, row.remaining_shown, row.control_shown) == ("better", "better", "not shown")
    assert finding.parameters == {"control": 6.8e6, "hybrid": 6.8e6, "existing": 2e6}
    assert finding.sentence == row.sentence


def test_the_whole_sentence_by_hand() -> None:
    # hybrid − control by seed: −0.52 and the jitters' differences; mean −0.50, gain the same size
    assert finding_of(WIDE, 7.0).sentence == (
        "In azimuth error, “Hybrid” is better than “Control” by 0.500° (95 % interval 0.454° to 0.546°, 5 seeds): more "
        "parameters alone do not explain its gain over “Existing only”. That gain is 0.500° (95 % interval 0.454° to "
        "0.546°, 5 seeds)."
    )


@pytest.mark.parametrize(
    ("control", "score", "margin", "words"),
    [
        (WIDE, 7.0, 0.0, "more parameters alone do not explain its gain over “Existing only”"),
        (
            WIDE,
            6.5,
            0.0,
            "it is not shown that its gain over “Existing only” takes more than widening model.width gives",
        ),
        (WIDE, 6.5, 0.3, "differ by less than the margin of 0.3° "),
        (WIDE, 6.5, 0.3, "widening model.width gives its gain over “Existing only” to within the margin"),
        (WIDE, 6.2, 0.0, "“Hybrid” is worse than “Control” by 0.300°"),
        (SHUFFLED, 7.0, 0.0, "its gain over “Existing only” depends on what pose_2d tells of the example at hand"),
        (SHUFFLED, 6.5, 0.0, "it is not shown that its gain over “Existing only” comes from what pose_2d tells"),
        (
            {"like": "hybrid", "control": {"drop_input": ["a", "b"]}},
            7.0,
            0.0,
            "gain over “Existing only” depends on a and b",
        ),
        ({"like": "hybrid", "control": {"freeze": ["head.x"]}}, 7.0, 0.0, "random features in head.x do not give all"),
        (
            {"like": "hybrid", "control": {"freeze": ["head.x"]}},
            6.5,
            0.3,
            "random features in head.x give its gain over “Existing only” to within",
        ),
        (INFORMED, 7.0, 0.0, "the same information without the design gives less than its gain over “Existing only”"),
        (INFORMED, 6.5, 0.0, "it is not shown that the design gives more than the information does"),
    ],
)
def test_the_outcome_in_words(control: dict[str, Any], score: float, margin: float, words: str) -> None:
    assert words in finding_of(control, score, hypotheses=[asked(margin)]).sentence


def test_an_interval_around_zero_is_never_called_equal_without_a_margin() -> None:
    row = finding_of(WIDE, 6.5).rows[0]
    assert (row.remaining_shown, row.margin) == ("not shown", None)
    assert finding_of(WIDE, 6.5, hypotheses=[asked(0.01)]).rows[0].remaining_shown == "not shown"
    assert "the interval of the difference between “Hybrid” and “Control” includes 0 (" in row.sentence


def test_without_a_gain_there_is_nothing_to_explain() -> None:
    none = finding_of(WIDE, 6.8, hybrid=7.0).sentence
    assert none.startswith(
        "In azimuth error, a gain of “Hybrid” over “Existing only” is not shown: the interval includes 0 ("
    )
    assert ". “Control” is better than “Existing only” by 0.200°" in none
    assert "no gain" not in none
    worse = finding_of(WIDE, 7.0, hybrid=7.4).sentence
    assert worse.startswith("In azimuth error, “Hybrid” is worse than “Existing only” by 0.400°")
    assert "explain" not in worse


def test_a_control_of_the_baseline_says_what_it_needs() -> None:
    finding = finding_of({"control": {"drop_joints": ["nose", "left_eye"]}}, 7.5)
    assert (finding.of, finding.rows[0].gain, finding.what) == (
        "existing",
        None,
        "without the joints nose and left_eye",
    )
    assert finding.sentence.startswith("In azimuth error, “Existing only” is better than “Control” by 0.500°")
    assert finding.sentence.endswith("it does worse without nose and left_eye.")
    assert (
        "it is not shown that it does worse with another example's pose_2d"
        in finding_of({"control": {"shuffle_input": ["pose_2d"]}}, 7.0).sentence
    )


def test_a_control_made_even_with_the_baseline_says_what_is_left() -> None:
    finding = finding_of({"control": {"match_parameters": {"of": "existing", "by": "model.width"}}}, 6.6)
    assert finding.of == "existing"
    same = "the same number of parameters"
    assert finding.sentence.endswith(f"with {same}, “Control” does better, so that {same} cannot be why.")


def test_a_control_with_as_much_compute_says_what_is_matched() -> None:
    finding = finding_of({"control": {"match_compute": {"of": "hybrid", "by": "training.epochs"}}}, 6.9)
    assert (finding.of, finding.kinds) == ("hybrid", ("match compute",))
    assert finding.what == "as many FLOPs of a forward pass × epochs as “Hybrid”, by training.epochs"
    assert "more compute alone does not explain its gain over “Existing only”" in finding.sentence
    even = finding_of({"control": {"match_compute": {"of": "hybrid", "by": "training.epochs"}}}, 6.5)
    assert "does not explain" not in even.sentence


def test_of_several_changes_none_is_told_from_the_others() -> None:
    both = {"like": "hybrid", "control": {"shuffle_input": ["pose_2d"], "freeze": ["head"]}}
    finding = finding_of(both, 7.0)
    assert finding.kinds == ("shuffle input", "freeze")
    what = "with another example's pose_2d and with random features in head"
    assert f"not all of its gain over “Existing only” is left {what}" in finding.sentence


def test_a_control_that_has_not_run_rules_nothing_out() -> None:
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1), "control": {}}
    (finding,) = control_findings(load(scores, arms={"control": WIDE}))
    assert finding.rows[0].remaining_shown == "no interval"
    assert "(no seed has both runs): nothing can be said of what it rules out" in finding.sentence


def test_the_three_explanations_are_put_together_when_all_are_there() -> None:
    arms = {"wide": WIDE, "shuffled": SHUFFLED, "informed": INFORMED}
    scores = {
        "existing": around(7.0),
        "hybrid": around(6.5, 1),
        "wide": around(6.9, 2),
        "shuffled": around(7.1, 3),
        "informed": around(6.7, 4),
    }
    assert explanations(control_findings(load(scores, arms=arms))) == (
        "The gain of “Hybrid” over “Existing only” in azimuth error, 0.500°, beside its controls: more parameters do "
        "not explain it alone (“Hybrid” is still better than “wide” by 0.400°); more information gives a gain by "
        "itself (“informed” is better than “Existing only” by 0.300°); with another example's pose_2d “Hybrid” loses "
        "0.600° (“shuffled”); the design adds 0.200° to what the information gives.",
    )
    level = scores | {"hybrid": around(7.0, 1)}
    assert explanations(control_findings(load(level, arms=arms))) == (
        "In azimuth error, a gain of “Hybrid” over “Existing only” is not shown: the interval includes 0 (0.000°, 95 % "
        "interval from 0.046° better to 0.046° worse, 5 seeds); its controls are not put together.",
    )
    two = {name: by_seed for name, by_seed in scores.items() if name != "informed"}
    assert explanations(control_findings(load(two, arms=arms))) == ()


def test_a_study_without_controls_has_no_finding() -> None:
    assert control_findings(load({"existing": around(7.0), "hybrid": around(6.5)})) == ()
