"""What each part of a design does, on scores that are checked by hand: nothing is started."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ablate.analysis import results as tables
from ablate.analysis.design import DesignEffects, design_effects, shapley
from ablate.analysis.phrasing import shown
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import analyse
from ablate.planning.plan import compare_spec
from ablate.report import figures_design, style
from ablate.report.figures import Pictures
from ablate.report.markdown import render
from ablate.report.outline import outline
from ablate.report.tidy import document as report_json
from ablate.study import RunResult, Study
from ablate.study.design import expand_design
from ablate.tracking.memory import MemoryTracker

SEEDS = (1, 2, 3, 4, 5, 6)
Score = Callable[[Sequence[str], int], float]


def results(
    kind: str, score: Score, parts: str = "ab", skip: Sequence[tuple[str, int]] = (), arms: int | None = None
) -> Results:
    """The study with every run finished but those in `skip`; `score` of the parts that an arm has, and the seed."""
    settings = {"command": ["x", "{out}"], **dict.fromkeys(parts, False)}
    raw = {
        "name": "parts", "question": "Which parts help?", "seeds": list(SEEDS), "settings": {"run": settings},
        "metric": {"loss": {"direction": "lower"}},
        kind: {"parts": {p: {"set": {f"run.{p}": True}} for p in parts}, "arms": arms},
    }  # fmt: skip
    study = expand_design(Study.model_validate(raw))
    stored = {"study": study.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}
    store = MemoryTracker()
    store.open("parts", json.loads(json.dumps({**stored, "data_digests": dict.fromkeys(study.arms, "d")})))
    for name, arm in study.arms.items():
        for seed in [s for s in SEEDS if (name, s) not in skip]:
            spec = compare_spec(study, name, seed, {}, "d")
            found = {"test/loss": score(arm.parts or (), seed), "val/loss": 0.0}
            store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", found, (), {}))
    return tables.load(store, "parts")


def only(found: tuple[DesignEffects, ...]) -> DesignEffects:
    assert len(found) == 1
    return found[0]


def jitter(seed: int) -> float:
    return (-1) ** seed * 0.01 * seed


def synergy(parts: Sequence[str], seed: int) -> float:
    """10, less 2 with a alone, 1 with b alone and 6 with both; only what both add varies with the seed."""
    both = 3.0 + jitter(seed) if {"a", "b"} <= set(parts) else 0.0
    return 10.0 + seed - (2.0 + jitter(seed)) * ("a" in parts) - (1.0 + jitter(seed)) * ("b" in parts) - both


def test_main_effects_interaction_and_shapley_values_are_those_computed_by_hand() -> None:
    found = only(design_effects(results("factorial", synergy)))
    mean = sum(map(jitter, SEEDS)) / len(SEEDS)
    a, b = found.parts
    assert a.effect.difference.mean == pytest.approx(-3.5 - 1.5 * mean)  # (−2 + −5) / 2
    assert b.effect.difference.mean == pytest.approx(-2.5 - 1.5 * mean)
    assert a.shapley is not None
    assert b.shapley is not None
    assert found.whole is not None
    assert a.shapley.difference.mean == pytest.approx(-3.5 - 1.5 * mean)
    values = a.shapley.difference.mean + b.shapley.difference.mean
    assert values == pytest.approx(found.whole.difference.mean)
    assert a.share is not None
    assert b.share is not None
    assert a.share + b.share == pytest.approx(1)
    (pair,) = found.interactions
    assert pair.effect.difference.mean == pytest.approx(-3 - mean)
    assert [e.difference.mean for e in pair.with_other] == pytest.approx([-5 - 2 * mean, -4 - 2 * mean])
    assert [e.difference.mean for e in pair.without_other] == pytest.approx([-2 - mean, -1 - mean])
    assert pair.effect.difference.n == len(SEEDS)


def test_weights_of_three_parts_are_a_third_a_sixth_a_sixth_and_a_third() -> None:
    weights = shapley("a", "abc")
    with_it = [weights[s] for s in (("a",), ("a", "b"), ("a", "c"), ("a", "b", "c"))]
    assert with_it == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3])
    assert sum(weights.values()) == pytest.approx(0)


def only_with(parts: Sequence[str], seed: int, alone: float = 1.0) -> float:
    """a lowers the score by 2 with b, and raises it by `alone` without b."""
    effect = 0.0 if "a" not in parts else -2.0 if "b" in parts else alone
    return 10.0 + seed + effect * (1 + jitter(seed)) + (0.3 * jitter(seed) if "a" in parts else 0)


def test_only_with_is_said_where_the_interval_without_the_other_shows_harm() -> None:
    answers = only(design_effects(results("factorial", only_with))).answers
    assert any("“a” helps only with “b”, and harms without it" in text for text in answers)


def test_only_with_is_said_of_the_part_of_which_it_is_true_whatever_the_order_of_parts() -> None:
    def swapped(parts: Sequence[str], seed: int) -> float:
        """b harms without a and helps with it; a helps either way, more with b."""
        return only_with([{"a": "b", "b": "a"}.get(part, part) for part in parts], seed) - (2.0 + jitter(seed)) * (
            "a" in parts
        )

    found = only(design_effects(results("factorial", swapped)))
    pair = next(each for each in found.interactions if each.parts == ("a", "b"))
    assert [shown(e, found.metric) for e in (*pair.with_other, *pair.without_other)] == [
        "better", "better", "better", "worse",
    ]  # fmt: skip
    assert any("“b” helps only with “a”, and harms without it (with it −2.0" in text for text in found.answers)


def test_only_with_is_not_said_where_the_interval_without_the_other_includes_0() -> None:
    found = only(design_effects(results("factorial", lambda p, s: only_with(p, s, alone=0.0))))
    assert not any("only" in text for text in found.answers)
    assert any("“a” helps with “b”; without it no help is shown" in text for text in found.answers)


def test_without_an_interaction_no_sentence_says_there_is_one_and_no_share_without_a_gain() -> None:
    def noise(parts: Sequence[str], seed: int) -> float:
        return 10.0 + 0.1 * ((seed * 7 + len(parts) * 5 + 3 * ("a" in parts)) % 6)

    found = only(design_effects(results("factorial", noise)))
    assert found.whole is not None
    assert not found.whole.difference.excludes_zero
    assert [part.share for part in found.parts] == [None, None]
    assert len(found.answers) == 1
    assert "No part is shown to change loss" in found.answers[0]


def test_a_seed_without_one_arm_is_left_out_of_every_contrast() -> None:
    found = only(design_effects(results("factorial", synergy, skip=[("a", 2)])))
    assert found.parts[0].effect.difference.n == len(SEEDS) - 1
    assert found.parts[0].effect.unpaired == (2,)


@pytest.mark.parametrize(("kind", "effect"), [("leave_one_out", -5), ("add_one_in", -2)])
def test_the_other_designs_compare_two_arms_for_every_part(kind: str, effect: float) -> None:
    found = only(design_effects(results(kind, synergy)))
    assert found.parts[0].effect.difference.mean == pytest.approx(effect, abs=0.1)
    assert (found.interactions, found.whole, found.parts[0].shapley) == ((), None, None)


def test_the_json_has_the_design_only_where_there_is_one() -> None:
    whole = analyse(results("factorial", synergy))
    assert json.loads(report_json(whole))["design"][0]["kind"] == "factorial"
    assert len(whole.answers) == 2  # the design answers in place of the exploratory comparisons
    without = {k: v for k, v in json.loads(report_json(whole)).items() if k != "design"}
    assert json.loads(report_json(replace(whole, design=()))) == without


def of_six(parts: Sequence[str], seed: int) -> float:
    """a lowers the score by 4, b by 2, and a and b together by 3 more."""
    both = {"a", "b"} <= set(parts)
    return 10.0 + seed - 4.0 * ("a" in parts) - 2.0 * ("b" in parts) - 3.0 * both + jitter(seed) * len(parts)


def test_a_fraction_of_resolution_4_gives_main_effects_and_sums_of_interactions() -> None:
    found = only(design_effects(results("factorial", of_six, "abcdef", arms=16)))
    assert (found.arms, found.resolution) == (16, 4)
    noise = sum(map(jitter, SEEDS)) / len(SEEDS)
    expected = [-5.5, -3.5, 0, 0, 0, 0]  # a's: −4 without b, −7 with it
    assert [p.effect.difference.mean for p in found.parts] == pytest.approx([e + noise for e in expected])
    assert {p.shapley for p in found.parts} == {None}
    assert {p.aliases for p in found.parts} == {()}
    pair = next(each for each in found.interactions if each.parts == ("a", "b"))
    assert pair.name == "a × b + c × e"  # e is there where an odd number of a, b and c is
    assert pair.effect.difference.mean == pytest.approx(-3)
    assert [len(each.aliases) for each in found.interactions] == [1, 1, 1, 2, 1, 1, 1]


def test_a_fraction_of_resolution_5_or_more_tells_interactions_apart() -> None:
    found = only(design_effects(results("factorial", of_six, "abcdef", arms=32)))
    assert (found.resolution, len(found.interactions)) == (6, 15)
    pair = next(each for each in found.interactions if each.parts == ("a", "b"))
    assert pair.effect.difference.mean == pytest.approx(-3)
    noise = sum(map(jitter, SEEDS)) / len(SEEDS)
    assert [e.difference.mean for e in pair.with_other] == pytest.approx([-7 + noise, -5 + noise])


def test_a_fraction_of_resolution_3_says_what_main_effects_share_their_numbers_with() -> None:
    found = only(design_effects(results("factorial", of_six, "abcdef", arms=8)))
    assert found.resolution == 3
    d = found.parts[3]
    assert d.aliases == (("a", "b"), ("e", "f"))
    assert d.effect.difference.mean == pytest.approx(-1.5 * -1 + sum(map(jitter, SEEDS)) / len(SEEDS))
    text = markdown("factorial", of_six, "abcdef", 8)
    assert "8 of the 64 arms of the factorial, a fraction of resolution III: main effects share their numbers" in text
    assert "| Shares its number with |" in text
    assert "Shapley value |" not in text


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (16, "resolution IV: main effects share their numbers with interactions of three"),
        (32, "resolution VI: main effects and interactions of two"),
    ],
)
def test_the_report_names_the_resolution(arms: int, said: str) -> None:
    text = markdown("factorial", of_six, "abcdef", arms)
    assert said in text
    assert "Shares its number with" not in text


def test_a_sum_of_interactions_is_told_as_such() -> None:
    def varied(parts: Sequence[str], seed: int) -> float:
        return of_six(parts, seed) + 0.2 * jitter(seed) * ({"a", "b"} <= set(parts))

    answers = only(design_effects(results("factorial", varied, "abcdef", arms=16))).answers
    told = [text for text in answers if "fraction cannot tell" in text]
    assert len(told) == 1
    assert "the sum of the interactions “a” × “b” + “c” × “e” is shown" in told[0]
    whole = only(design_effects(results("factorial", varied, "abcdef", arms=32))).answers
    assert not any("cannot tell" in text for text in whole)


def markdown(kind: str, score: Score, parts: str, arms: int | None = None) -> str:
    found = results(kind, score, parts, arms=arms)
    return render(outline(analyse(found), found, Pictures()))


def drawn(kind: str, score: Score, parts: str = "ab", arms: int | None = None) -> tuple[list[str], list[bool]]:
    """Labels of the rows of the figure, and whether their marks are filled."""
    with style.look():
        figure = figures_design.design(only(design_effects(results(kind, score, parts, arms=arms))))
    assert figure is not None
    (panel,) = figure.axes
    marks = [line for line in panel.lines if line.get_marker() not in ("None", None, "")]
    return [text.get_text() for text in panel.get_yticklabels()], [
        line.get_markerfacecolor() != "white" for line in marks
    ]


def test_the_figure_has_a_row_for_every_effect_and_fills_what_excludes_0() -> None:
    labels, filled = drawn("factorial", synergy)
    assert labels == ["a", "b", "a", "b", "a × b"]  # main effects, Shapley values, the interaction
    assert filled == [True] * 5
    labels, filled = drawn("leave_one_out", lambda p, s: 10.0 + s - 2.0 * ("a" in p) + (1 + len(p)) * jitter(s))
    assert (labels, filled) == (["a", "b"], [True, False])


def test_the_figure_of_a_fraction_has_sums_and_no_shapley_values() -> None:
    labels, _ = drawn("factorial", of_six, "abcdef", arms=16)
    assert len(labels) == 6 + 7
    assert "a × b + c × e" in labels


def test_without_a_finished_run_nothing_is_drawn() -> None:
    skipped = [(arm, seed) for arm in ("bare", "a", "b", "a+b") for seed in SEEDS]
    (found,) = design_effects(results("factorial", synergy, skip=skipped))
    assert figures_design.design(found) is None


def marginal(parts: Sequence[str], seed: int) -> float:
    """An effect of “a” whose interval excludes 0 and whose p is above 0.05 once it is corrected for three parts."""
    gaps = (1.0, 0.05, 0.6, 0.7, 0.0, 0.6)
    return 10.0 + seed - gaps[seed - 1] * ("a" in parts) + 0.1 * jitter(seed) * len(parts)


def test_what_the_correction_takes_is_told_as_shown_by_the_interval_alone() -> None:
    found = only(design_effects(results("leave_one_out", marginal, "abc")))
    assert found.parts[0].effect.difference.excludes_zero
    assert (found.parts[0].p_adjusted or 0) > 0.05
    (answer,) = found.answers
    assert answer.startswith("Exploratory, p by Holm over all parts: With this correction no part is shown to change")
    assert "each by its interval alone, loss improves with “a” (" in answer
    clear = only(design_effects(results("leave_one_out", synergy))).answers[0]
    assert "alone" not in clear
    assert (
        only(design_effects(results("factorial", synergy)))
        .answers[0]
        .startswith("Exploratory, p by Holm over all main effects and interactions: ")
    )
