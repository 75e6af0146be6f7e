"""Warnings and remarks of a report, as whole sentences.

They are about missing or unequal tuning, tuned values at the edge of their range, different code, few seeds, and test
data that other studies of the store have used.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from ablate.analysis.answer import Comparison
from ablate.analysis.budget import BudgetRow, budget_rows
from ablate.analysis.clusters import DATA_SET
from ablate.analysis.costs import label
from ablate.analysis.phrasing import counted, listed, quoted
from ablate.analysis.records import datasets
from ablate.analysis.results import Results
from ablate.analysis.verdicts import MIN_SEEDS
from ablate.planning.counting import same_code
from ablate.study import FloatSpace, IntSpace, Scalar, SpaceEntry
from ablate.study.resolve import resolve
from ablate.study.runs import same_components

SAME = 0.02  # budgets that differ by at most this share of the largest count as equal
MOST_NAMED = 5  # differences between tuning budgets
EDGE = 0.02  # of the range: a tuned value this near to an end is at the edge, and the best may lie beyond it


def warnings(results: Results) -> tuple[str, ...]:
    """Serious warnings, for the first page; often none."""
    rows = budget_rows(results)
    texts = [
        _one_split(results),
        _untuned(results),
        _unequal(rows),
        _edges(results, rows),
        *_different_code(results),
        _few_seeds(results),
    ]
    return tuple(text for text in texts if text)


def without_clusters(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """That the study names clusters and its verdicts are over seeds alone, for they have no interval over both.

    With an interval over too few clusters, a note beside it says the same.
    """
    judged = [c for c in comparisons if c.verdict in ("supported", "refuted", "inconclusive")]
    known = [both for c in judged if (both := c.over_clusters) is not None and both.column != DATA_SET]
    lacking = dict.fromkeys((both.column, both.note) for both in known if both.interval is None)
    if len(lacking) != 1 or any(both.interval is not None for both in known):
        return ()
    column, note = next(iter(lacking))
    return (f"Clusters: the study names {quoted(column)}, and verdicts are over seeds alone: {note}.",)


def remarks(results: Results) -> tuple[str, ...]:
    """Remarks for the section of caveats."""
    others = same_test_data(results)
    if others is None:
        return ()
    # the digest of a command or a function is that of its inputs, whatever each of them is for
    shared = "used this test data" if results.study.trainer == "built-in" else "named the same inputs"
    if not others:
        return (f"No other study in this store has {shared}.",)
    return (
        f"{len(others) + 1} studies in this store have {shared}: "
        f"{listed(['this one', *others])}. What was chosen after seeing an earlier one's test scores makes a "
        "later one's look too good.",
    )


def _one_split(results: Results) -> str:
    if results.study.split == "test":
        return ""
    sections = [resolve(results.study, arm)["run"] for arm in results.study.arms]
    chosen = ["tuned settings"] if results.study.tuning is not None else []
    chosen += ["weights"] if any(section.get("selection") == "best-val" for section in sections) else []
    which = "the split that tuning used" if results.study.tuning is not None else "validation"
    by = f"The {listed(chosen)} were chosen by these scores" if chosen else "What was chosen after seeing these scores"
    looks = "which therefore look better than scores on new data would" if chosen else "makes them look too good"
    return (
        f"One split: every score is on {which}, for the study has no test split. {by}{', ' if chosen else ' '}{looks}."
    )


def _untuned(results: Results) -> str:
    if results.study.trainer == "adopted":
        return _adopted(results)
    if results.study.tuning is not None:
        return ""
    return (
        "Untuned: no arm's nuisance settings (learning rate and the like) were tuned; every arm ran with the study's "
        "own. An arm may do better or worse when tuned."
    )


def _adopted(results: Results) -> str:
    """What the tool did not see of results that were computed elsewhere."""
    adopted = results.document.get("adopted") or {}
    notes = "".join(f" In the table, {note}." for note in adopted.get("notes", ()))
    words = [
        "every arm had the same tuning and training budget",
        "arms with the same seed had the same data in the same order",
        "nothing was chosen by looking at the data scored here",
        *(["the hypotheses were made before the results"] if results.study.hypotheses else ()),
    ]
    return (
        f"Adopted: these scores were computed elsewhere and read from {adopted.get('from', 'a table')}; no run was "
        f"made here. It is the owner's word that {listed(words)}.{notes}"
    )


def _unequal(rows: Sequence[BudgetRow]) -> str:
    """Names the parts of the tuning budget that differ between the tuned arms."""
    tuned = [row for row in rows if row.allotted is not None]
    pruned = any(row.pruned_trials is not None for row in tuned)  # then epochs differ by design; the budget table tells
    finished = "trials finished or pruned" if pruned else "trials finished"
    budgets: dict[str, dict[str, float | None]] = {
        "trials allotted": {row.label: row.allotted for row in tuned},
        finished: {row.label: row.finished_trials + (row.pruned_trials or 0) for row in tuned},
        "budget of a tuning run": {row.label: row.tuning_budget for row in tuned},
    }
    if not pruned:
        budgets |= {
            "epochs of tuning": {row.label: row.used_epochs for row in tuned},
            "examples seen in tuning": {row.label: row.used_examples for row in tuned},
        }
    if not _differ(budgets[finished].values()):  # in all, but maybe not with every seed
        budgets |= _by_seed(tuned, finished)
    differing = {name: by_arm for name, by_arm in budgets.items() if _differ(by_arm.values())}
    unequal = [f"{name}: {_values_by_arm(by_arm)}" for name, by_arm in differing.items()]
    if len(unequal) > MOST_NAMED:
        unequal[MOST_NAMED:] = [f"and {counted(len(unequal) - MOST_NAMED, 'more difference')}"]
    return f"The tuning budgets were not alike ({'; '.join(unequal)})." if unequal else ""


def _by_seed(rows: Sequence[BudgetRow], what: str) -> dict[str, dict[str, float | None]]:
    seeds = dict.fromkeys(each.seed for row in rows for each in row.by_seed)
    return {
        f"{what} with seed {seed}": {
            row.label: each.finished + each.pruned for row in rows for each in row.by_seed if each.seed == seed
        }
        for seed in seeds
    }


def _differ(values: Iterable[float | None]) -> bool:
    """Whether values differ by more than 2 %. Less is normal: a tuned batch size changes how many examples are dropped
    with the last, incomplete batch."""
    recorded = [value for value in values if value is not None]
    return bool(recorded) and max(recorded) - min(recorded) > SAME * max(recorded)


def _values_by_arm(by_arm: Mapping[str, float | None]) -> str:
    """`“Existing” and “ElePose” 6, “Hybrid” 5`: arms with the same number are listed together."""
    by_value: dict[float | None, list[str]] = defaultdict(list)
    for name, value in by_arm.items():
        by_value[value].append(quoted(name))
    return ", ".join(f"{listed(names)} {'unknown' if v is None else f'{v:,.0f}'}" for v, names in by_value.items())


def _edges(results: Results, rows: Sequence[BudgetRow]) -> str:
    space = results.study.tuning.space if results.study.tuning else {}
    found = Counter(
        (row.label, setting, end, limit, value if row.tuned else None, len(row.chosen))
        for row in rows
        for tuned in row.chosen
        for setting, value in tuned.items()
        for end, limit in at_edge(space.get(setting), value)
    )
    edges = [
        f"{setting} of {quoted(name)} at the {end} end {_number(limit)} for {count} of {tunings} seeds"
        if value is None
        else f"{setting} = {_number(value)} of {quoted(name)} at the {end} end {_number(limit)}"
        for (name, setting, end, limit, value, tunings), count in found.items()
    ]
    if not edges:
        return ""
    return f"Tuned values at the edge of their space, where a better one may lie beyond: {'; '.join(edges)}."


def at_edge(entry: SpaceEntry | None, value: Scalar) -> Iterator[tuple[str, float]]:
    """The end of its range that a tuned value is within 2 % of, and the limit there; on a log scale in logarithms.

    A choice among listed values has no edge.
    """
    if not isinstance(entry, FloatSpace | IntSpace) or isinstance(value, bool | str) or entry.low >= entry.high:
        return
    scale = math.log if entry.log else float
    low, high, position = scale(entry.low), scale(entry.high), scale(value)
    if position <= low + EDGE * (high - low):
        yield "lower", entry.low
    elif position >= high - EDGE * (high - low):
        yield "upper", entry.high


def _different_code(results: Results) -> Iterator[str]:
    """A warning where runs of arms with the same components have different code digests."""
    groups: dict[str, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for (arm, seed), facts in results.provenance.items():
        if "source_digest" in facts:
            groups[same_components(resolve(results.study, arm))][facts["source_digest"]].append((arm, seed))
    for by_code in groups.values():
        which = "; ".join(f"{code}: {_runs(results, runs)}" for code, runs in sorted(by_code.items()))
        pairs = {same_code(*pair) for pair in combinations(by_code, 2)}
        if "changed" in pairs:
            yield (
                f"Runs of the same components were made by different code ({which}); differences between them may be "
                "the code's. Doing the stale runs again (`--rerun stale`) makes them alike."
            )
        elif pairs:
            yield (
                "Whether runs of the same components were made by the same code cannot be told: digests of their code "
                f"were taken in different ways ({which})."
            )


def _runs(results: Results, runs: Sequence[tuple[str, int]]) -> str:
    """`“Existing” seeds 1, 2, “Hybrid” seed 1`."""
    by_arm: dict[str, list[str]] = defaultdict(list)
    for arm, seed in runs:
        by_arm[arm].append(str(seed))
    return ", ".join(
        f"{quoted(label(results, arm))} {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"
        for arm, seeds in by_arm.items()
    )


def _few_seeds(results: Results) -> str:
    n = len(results.study.seeds)
    if n >= MIN_SEEDS:
        return ""
    if n == 1:
        return "1 seed: there is no interval, no verdict, and no telling a difference from chance."
    return f"{n} seeds: fewer than {MIN_SEEDS} give no verdict, and only a large difference can show."


def same_test_data(results: Results) -> list[str] | None:
    """Other studies of the store with a finished comparison run on the same data; None where no digest is recorded.

    The same file has the same people, even where studies simulate other cameras and noise.
    """
    if not results.datasets:
        return None
    others = (name for name in results.reader.studies() if name != results.study.name)
    return [name for name in others if results.datasets & datasets(results.reader.records(name))]


def _number(value: float | Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
