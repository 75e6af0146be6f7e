"""Studies with planned looks: verdicts at a look, what stays, when they end, and what their report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from toy_scores import AZIMUTH, asked, load

from ablate.analysis import stopping
from ablate.analysis.results import Results
from ablate.analysis.spending import Looks
from ablate.analysis.statistics import paired
from ablate.analysis.study_analysis import analyse, compare
from ablate.analysis.verdicts import Claim, judge, judge_looks
from ablate.report.build import write
from ablate.study.amend import ADDED

LOOKS = {"looks": [5, 8, 12], "spending": "obrien-fleming"}
JITTER = (0.1, -0.1, 0.05, -0.05, 0.02, 0.08, -0.07, 0.03, -0.04, 0.06, -0.02, 0.01)


def gained(gain: float, spread: float = 1.0) -> dict[int, float]:
    """Scores of 12 seeds, better than 7 by this gain."""
    return {seed: 7.0 - gain - spread * JITTER[seed - 1] for seed in range(1, 13)}


def first(scores: dict[int, float], seeds: int) -> dict[int, float]:
    return {seed: score for seed, score in scores.items() if seed <= seeds}


def results(seeds: int, *claims: dict[str, Any], **arms: dict[int, float]) -> Results:
    """The results of so many seeds of a study of 12."""
    scores = {name: first(by_seed, seeds) for name, by_seed in {"existing": gained(0, 0), **arms}.items()}
    more = {"seeds": list(range(1, 13)), "stopping": LOOKS, "hypotheses": list(claims)}
    return load(scores, **more)


def claim(gaps: list[float], **options: Any) -> Claim:
    return Claim(paired(dict(enumerate(gaps)), dict.fromkeys(range(len(gaps)), 0.0)), "higher", **options)


def claims_of(gaps: list[float], *looks: int, **options: Any) -> list[list[Claim]]:
    return [[claim(gaps[:look], **options)] for look in looks]


def test_supported_and_refuted_at_the_boundary_of_a_look() -> None:
    looks, gaps = Looks((5, 8, 12), "pocock"), [0.2 + jitter for jitter in JITTER]
    p = stats.ttest_1samp(gaps[:5], 0.0, alternative="greater").pvalue
    assert p < looks.levels(0.025)[0]
    (found,) = judge_looks(claims_of(gaps, 5), looks)
    assert (found.outcome, found.look) == ("supported", 5)
    assert found.p_supported == pytest.approx(2 * looks.repeated_p(0, p))  # Holm over both sides
    (mirror,) = judge_looks(claims_of([-gap for gap in gaps], 5), looks)
    assert (mirror.outcome, mirror.look) == ("refuted", 5)
    assert mirror.p_refuted == pytest.approx(found.p_supported)
    assert found.reason == "shown to be better (adjusted p 0.008, at the look at 5 seeds)"


def test_what_one_look_would_show_may_wait_for_the_next() -> None:
    looks, gaps = Looks((5, 8, 12), "obrien-fleming"), [0.12 + jitter for jitter in JITTER]
    assert judge([claim(gaps[:5])])[0].outcome == "supported"
    (early,) = judge_looks(claims_of(gaps, 5), looks)
    assert (early.outcome, early.p_supported) == ("no verdict", None)
    assert early.reason == "not decided at 5 seeds; the next look is at 8"
    (later,) = judge_looks(claims_of(gaps, 5, 8), looks)
    assert (later.outcome, later.look) == ("supported", 8)


def test_the_last_look_leaves_nothing_open() -> None:
    (found,) = judge_looks(claims_of(list(JITTER), 5, 8, 12), Looks((5, 8, 12), "pocock"))
    assert (found.outcome, found.look) == ("inconclusive", None)
    assert "at the last look, at 12 seeds)" in found.reason


def test_what_a_look_has_decided_stays() -> None:
    looks, gaps = Looks((5, 8, 12), "pocock"), [0.3 + j for j in JITTER[:5]] + [-3.0] * 7
    (found,) = judge_looks(claims_of(gaps, 5, 8, 12), looks)
    assert (found.outcome, found.look) == ("supported", 5)


def test_repeated_intervals_are_wider_and_their_ends_are_on_the_boundary() -> None:
    looks, gaps = Looks((5, 8, 12), "pocock"), [0.2 + jitter for jitter in JITTER]
    (found,) = judge_looks(claims_of(gaps, 5), looks)
    plain = claim(gaps[:5]).effect.difference
    assert found.improvement.low is not None
    assert plain.low is not None
    assert found.improvement.low < plain.low
    p = stats.ttest_1samp(gaps[:5], found.improvement.low, alternative="greater").pvalue
    assert p == pytest.approx(looks.levels(0.025)[0])


def test_more_claims_make_none_easier_and_a_decided_one_frees_its_part() -> None:
    looks, clear, close = Looks((5, 8, 12), "pocock"), [5 + j for j in JITTER], [0.14 + j for j in JITTER]
    (alone,) = judge_looks([[claim(close[:5])]], looks)
    both = judge_looks([[claim(close[:5]), claim(clear[:5])]], looks)
    two = judge_looks([[claim(close[:5]), claim(close[:5])]], looks)
    p = looks.repeated_p(0, stats.ttest_1samp(close[:5], 0.0, alternative="greater").pvalue)
    assert 3 * p < 0.05 < 4 * p  # Holm: of the three tests that are left once one is decided, and of four
    assert [verdict.look for verdict in (alone, *both)] == [5, 5, 5]
    assert both[0].p_supported == pytest.approx(3 * p)
    assert {verdict.outcome for verdict in two} == {"no verdict"}
    withdrawn = judge_looks([[claim(clear[:5])]], looks, withdrawn=1)[0]
    assert withdrawn.p_supported == pytest.approx(2 * (judge_looks([[claim(clear[:5])]], looks)[0].p_supported or 0))


@pytest.mark.parametrize(
    ("kind", "mean", "outcome"),
    [("not_worse", 0.0, "supported"), ("not_worse", -1.0, "refuted"), ("equivalent", 0.0, "supported"),
     ("equivalent", 1.0, "refuted"), ("equivalent", -1.0, "refuted"), ("equivalent", 0.5, "no verdict")],
)  # fmt: skip
def test_kinds_of_claims(kind: Any, mean: float, outcome: str) -> None:
    gaps = [mean + jitter for jitter in JITTER]
    (found,) = judge_looks(claims_of(gaps, 5, kind=kind, margin=0.5), Looks((5, 8, 12), "pocock"))
    assert found.outcome == outcome


class TestProgress:
    def test_a_study_ends_where_its_last_hypothesis_is_decided(self) -> None:
        state = stopping.progress(results(12, asked(), hybrid=gained(1.0)))
        assert state is not None
        assert (state.taken, state.seeds, state.ended, state.decided) == ((5,), 5, True, 1)
        assert state.words == (
            "look at 5 seeds: 1 of 1 hypothesis decided; the study stops, 7 of 12 seeds are not needed."
        )

    @pytest.mark.parametrize(("seeds", "taken", "needed"), [(4, (), 5), (5, (5,), 8), (7, (5,), 8), (8, (5, 8), 12)])
    def test_an_open_hypothesis_needs_the_seeds_of_the_next_look(
        self, seeds: int, taken: tuple[int, ...], needed: int
    ) -> None:
        state = stopping.progress(results(seeds, asked(), hybrid=gained(0.0)))
        assert state is not None
        assert (state.taken, state.seeds, state.ended, state.decided) == (taken, needed, False, 0)

    def test_the_last_look_is_the_end_whatever_it_shows(self) -> None:
        found = results(12, asked(), hybrid=gained(0.0))
        state = stopping.progress(found)
        assert state is not None
        assert (state.taken, state.seeds, state.ended, state.decided) == ((5, 8, 12), 12, True, 0)
        assert state.words == "look at 12 seeds: 0 of 1 hypothesis decided; it was the last."
        assert compare(found)[0].verdict == "inconclusive"

    def test_seeds_count_in_the_order_of_the_file(self) -> None:
        scores = {"existing": gained(0, 0), "hybrid": gained(0.0) | dict.fromkeys((12, 11, 10, 9, 8), 1.0)}
        scores["hybrid"] |= {12: 1.1}
        more = {"stopping": LOOKS, "hypotheses": [asked()]}
        forward, back = load(scores, seeds=list(range(1, 13)), **more), load(scores, seeds=[*range(12, 0, -1)], **more)
        assert stopping.now(forward).study.seeds == list(range(1, 13))
        assert stopping.now(back).study.seeds == [12, 11, 10, 9, 8]

    def test_a_late_hypothesis_is_not_waited_for(self) -> None:
        late = asked(0.5)
        found = results(12, asked(), late, hybrid=gained(1.0, 3))
        found.document["amendments"] = [
            {"date": "2026-01-01", "what": f"{ADDED}hybrid against existing in {AZIMUTH}, margin 0.5"}
        ]
        state = stopping.progress(found)
        assert state is not None
        assert (state.hypotheses, state.ended) == (1, True)

    def test_what_it_needs_now_needs_no_more(self) -> None:
        now = stopping.now(results(12, asked(), hybrid=gained(1.0)))
        again = stopping.now(now)
        assert (again.study.seeds, again.beyond, now.beyond) == ([1, 2, 3, 4, 5], 14, 14)
        assert set(now.runs.seed) == set(now.scores.seed) == {1, 2, 3, 4, 5}


class TestReport:
    def test_it_says_which_look_decided_and_what_was_planned(self, tmp_path: Path) -> None:
        now = stopping.now(results(12, asked(), hybrid=gained(1.0)))
        page = write(now, tmp_path / "report", formats=("md", "json")).file.read_text(encoding="utf-8")
        assert "Difference [repeated 95 % interval over seeds]" in page
        assert "### Planned looks" in page
        assert "| 5 | “Hybrid” against “Existing only” in azimuth error: supported | 42 % |" in page
        assert "| 8 | not taken | 67 % |" in page
        assert "looks at 5, 8 and 12 seeds, at most 12, with O'Brien–Fleming spending" in page
        assert "It stopped at the look at 5 seeds. 14 finished runs of later seeds are in no table" in page
        document = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        assert [row["taken"] for row in document["looks"]] == [True, False, False]
        assert document["comparisons"][0]["judgement"]["look"] == 5

    def test_a_study_that_is_not_at_its_end_says_so(self, tmp_path: Path) -> None:
        before = analyse(stopping.now(results(3, asked(), hybrid=gained(1.0))))
        assert before.comparisons[0].reason == "not looked at yet: the first look is at 5 seeds"
        open_still = stopping.now(results(7, asked(), hybrid=gained(0.0)))
        page = write(open_still, tmp_path / "report").file.read_text(encoding="utf-8")
        assert "not decided at 5 seeds; the next look is at 8" in page
        assert "It stopped at" not in page
        assert "there is no verdict on whether “Hybrid” improves" in page

    def test_a_study_without_planned_looks_has_no_word_of_them(self, tmp_path: Path) -> None:
        plain = load({"existing": gained(0, 0), "hybrid": gained(1.0)}, hypotheses=[asked()])
        assert stopping.now(plain) is plain
        assert stopping.progress(plain) is None
        page = write(plain, tmp_path / "report", formats=("md", "json")).file.read_text(encoding="utf-8")
        assert "Planned looks" not in page
        assert "repeated" not in page
        document = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        assert not {"looks", "spending", "beyond"} & set(document)
