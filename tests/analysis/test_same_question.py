"""The same question in another study of the store: told with the p over both, and only where it is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scipy import stats
from toy_scores import AZIMUTH, INFO, around, asked, load, study

from ablate.analysis import results as tables
from ablate.analysis.compare import arm_comparisons
from ablate.analysis.results import Results
from ablate.analysis.same_question import stouffer
from ablate.analysis.study_analysis import analyse, compare
from ablate.planning.plan import compare_spec
from ablate.planning.trials import trial_specs
from ablate.report import tidy
from ablate.report.tables_claims import reasons
from ablate.report.terminal_compare import summary
from ablate.study import RunResult, Study
from ablate.tracking.memory import MemoryTracker

ARMS = {"hybrid": {"set": {"training.weight_decay": 0.1}}}


def scores(first: int, last: int, gap: float = -0.5) -> dict[str, dict[int, float]]:
    seeds = range(first, last + 1)
    return {
        "existing": {seed: 7.0 + 0.01 * (seed % 3) for seed in seeds},
        "hybrid": {seed: 7.0 + gap + 0.02 * (seed % 4) for seed in seeds},
    }


def elsewhere(other: dict[str, Any], own: dict[str, Any] | None = None, seeds: tuple[int, int] = (11, 15)) -> Any:
    """What the hypothesis of a study of seeds 1 to 6 says of another study in its store."""
    store = MemoryTracker()
    load(scores(*seeds), **{"store": store, "name": "earlier", "arms": ARMS} | other)
    return compare(load(scores(1, 6), **{"store": store, "arms": ARMS, "hypotheses": [asked(0.2)]} | (own or {})))[
        0
    ].elsewhere


def test_it_is_told_with_the_p_over_both() -> None:
    found = elsewhere({})
    (other,) = found.others
    assert (other.study, other.effect.difference.n, other.shared) == ("earlier", 5, 0)
    ps = []
    for first, last in ((1, 6), (11, 15)):
        s = scores(first, last)
        gains = [s["existing"][seed] - s["hybrid"][seed] for seed in s["existing"]]
        ps.append(stats.ttest_1samp(gains, 0.2, alternative="greater").pvalue)
    expected = stats.combine_pvalues(ps, "stouffer", weights=[6**0.5, 5**0.5]).pvalue
    assert found.p == pytest.approx(expected)
    assert found.sentence.startswith("The same question in another study of the store: earlier (−0.4")
    assert "The p over both is " in found.sentence
    assert "Stouffer's z weighted by the root of the pairs" in found.sentence


def test_stouffer_is_that_of_scipy() -> None:
    expected = stats.combine_pvalues([0.03, 0.4, 0.2], "stouffer", weights=[3.0, 2.0, 5.0]).pvalue
    assert stouffer([(0.03, 9), (0.4, 4), (0.2, 25)]) == pytest.approx(expected)


def test_arms_may_have_other_names_and_the_study_need_not_have_declared_it() -> None:
    store = MemoryTracker()
    renamed = {"existing": scores(11, 15)["existing"], "fused": scores(11, 15)["hybrid"]}
    load(renamed, store=store, name="earlier", arms={"fused": ARMS["hybrid"]})
    results = load(scores(1, 6), store=store, hypotheses=[asked()], arms=ARMS)
    assert [each.study for each in compare(results)[0].elsewhere.others] == ["earlier"]  # type: ignore[union-attr]


def tuned(store: MemoryTracker, name: str, first: int, last: int, width: int) -> Results:
    """A study whose arms were tuned to this width of a head."""
    tuning = {"trials": 1, "seeds": [101], "metric": f"val/{AZIMUTH}", "per": "arm"}
    tuning |= {"space": {"model.head.width": {"type": "int", "low": 8, "high": 64}}}
    settings = {"model": {"head": {"width": width, "depth": 1}}, "data": {}, "loss": {}, "training": {"epochs": 1}}
    more = {"name": name, "tuning": tuning, "hypotheses": [asked(0.2)], "settings": settings}
    written = study(scores(first, last), ARMS, **more)
    store.open(name, {"study": written, "metrics": INFO, "data_digests": dict.fromkeys(written["arms"], "d")})
    parsed, chosen = Study.model_validate(written), {"model.head.width": width}
    for arm, by_seed in scores(first, last).items():
        for spec in trial_specs(parsed, arm, 0, chosen, "d"):
            store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", {f"val/{AZIMUTH}": 7.0}))
        for seed, value in by_seed.items():
            spec = compare_spec(parsed, arm, seed, chosen, "d")
            store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", {f"test/{AZIMUTH}": value}))
    return tables.load(store, name)


def test_tuned_settings_may_differ() -> None:
    store = MemoryTracker()
    tuned(store, "earlier", 11, 15, 16)
    (other,) = compare(tuned(store, "toy", 1, 6, 32))[0].elsewhere.others  # type: ignore[union-attr]
    assert (other.study, other.effect.difference.n) == ("earlier", 5)


@pytest.mark.parametrize(
    "other",
    [
        {"data_digest": "e"},
        {"settings": {"model": {}, "data": {}, "loss": {}, "training": {"epochs": 2}}},
        {"arms": {"hybrid": {"set": {"training.weight_decay": 0.2}}}},
        {"vary": ["init"]},
    ],
)
def test_another_question_is_not_told(other: dict[str, Any]) -> None:
    assert elsewhere({}) is not None
    assert elsewhere(other) is None


def test_arms_that_are_one_but_for_their_names_cannot_be_told_apart() -> None:
    assert elsewhere({"arms": {}}, {"arms": {}}) is None


def test_runs_of_the_same_seeds_are_no_evidence_of_their_own() -> None:
    part, copy = elsewhere({}, seeds=(4, 9)), elsewhere({}, seeds=(1, 6))
    assert (part.others[0].shared, sorted(part.others[0].effect.by_seed)) == (3, [7, 8, 9])
    assert ", leaving out 3 seeds that this study has too)" in part.sentence
    assert copy.p is None
    assert copy.sentence == (
        "The same question in another study of the store: earlier (no pair of runs, "
        "leaving out 6 seeds that this study has too)."
    )


@pytest.mark.parametrize("damage", [{"data_digests": ["d"]}, {"study": {}}, {}])
def test_a_damaged_study_beside_it_is_passed_over(damage: dict[str, Any]) -> None:
    store = MemoryTracker()
    load(scores(11, 15), store=store, name="earlier", arms=ARMS)
    document = store.document("earlier") or {}
    store.open("earlier", {**document, **damage} if damage else {"study": 3})
    assert compare(load(scores(1, 6), store=store, arms=ARMS, hypotheses=[asked()]))[0].elsewhere is None


def test_an_exploratory_comparison_and_a_store_of_one_study_have_none() -> None:
    store = MemoryTracker()
    load(scores(11, 15), store=store, name="earlier", arms=ARMS)
    assert compare(load(scores(1, 6), store=store, arms=ARMS))[0].elsewhere is None
    assert compare(load({"existing": around(7.0), "hybrid": around(6.5, 1)}, hypotheses=[asked()]))[0].elsewhere is None


def test_the_report_says_it_beside_the_verdict() -> None:
    store = MemoryTracker()
    load(scores(11, 15), store=store, name="earlier", arms=ARMS)
    results = load(scores(1, 6), store=store, hypotheses=[asked(0.2)], arms=ARMS)
    analysis = analyse(results)
    (text,) = reasons(analysis.comparisons)
    verdict, _, told = text.partition(" The same question in another study of the store: ")
    assert verdict.endswith(".")
    assert told.startswith("earlier (")
    told_in_json = json.loads(tidy.document(analysis))["comparisons"][0]["elsewhere"]
    assert (told_in_json["others"][0]["study"], told_in_json["p"]) == ("earlier", analysis.comparisons[0].elsewhere.p)  # type: ignore[union-attr]
    (line,) = [
        text
        for name, text in summary(arm_comparisons(results, "hybrid", "existing", [AZIMUTH])[0])
        if name == "Elsewhere"
    ]
    assert line == analysis.comparisons[0].elsewhere.sentence  # type: ignore[union-attr]


def test_looks_elsewhere_are_not_named_where_there_would_be_no_p_anyway() -> None:
    looks = {"stopping": {"looks": [5, 8, 12], "spending": "pocock"}, "hypotheses": [asked(0.2)]}
    stops = "No p over all is told, for one of them stops by what its runs show."
    told = elsewhere({**looks, "seeds": list(range(11, 23))}, seeds=(11, 15))
    assert (told.p, stops in told.sentence) == (None, True)
    copy = elsewhere({**looks, "seeds": list(range(1, 13))}, seeds=(1, 6))
    assert (copy.p, stops in copy.sentence) == (None, False)
