"""Scores that were computed elsewhere, a row an arm and seed: check them and sort them. Pure: no I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ablate.study import InputError, Problem, digest
from ablate.study.rules import LARGEST_SEED, NAME, NAME_RULE
from ablate.untrusted.tables import Table
from ablate.untrusted.wording import listing, nearest, shown

DATASET, SUBJECT = "dataset", "subject"  # optional columns
NOTHING = {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}  # how tables write that there is no number
MOST_PROBLEMS = 20
Cell = tuple[str, int]  # arm, seed


class ScoreColumn(NamedTuple):
    """The column of a metric's scores, and the metric's label."""

    column: str
    label: str


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a table by arm and seed. Arms in order of appearance, seeds in ascending order.

    A score that is missing is absent. With a column of subjects a score is the mean over those that have a number, and
    `examples` has the number of each subject; else it is empty.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, ScoreColumn]  # by a name that is fit for files
    scores: Mapping[Cell, Mapping[str, float]]
    subjects: tuple[str, ...]  # by their number in `examples`
    examples: Mapping[Cell, Mapping[int, Mapping[str, float]]]  # arm and seed → subject → metric → number

    def only(self, arms: Sequence[str]) -> ScoreTable:
        """The part of the table that is about these arms."""
        scores = {cell: of_cell for cell, of_cell in self.scores.items() if cell[0] in arms}
        return replace(self, arms=tuple(arm for arm in self.arms if arm in arms), scores=scores)

    @property
    def digest(self) -> str:
        """Of every score and example, in any order."""
        scores = [[*cell, m, repr(score)] for cell, of_cell in self.scores.items() for m, score in of_cell.items()]
        examples = [
            [*cell, self.subjects[subject], metric, repr(score)]
            for cell, of_subject in self.examples.items()
            for subject, of_example in of_subject.items()
            for metric, score in of_example.items()
        ]
        return digest([sorted(scores), sorted(examples)])

    def disjoint(self, arm: str, against: str, metric: str) -> tuple[int, ...]:
        """The seeds where both arms have scores of subjects, and none in common."""
        people = [(s, self._people((arm, s), metric), self._people((against, s), metric)) for s in self.seeds]
        return tuple(seed for seed, ours, theirs in people if ours and theirs and not ours & theirs)

    def _people(self, cell: Cell, metric: str) -> set[int]:
        """The subjects that have a finite number."""
        examples = self.examples.get(cell, {})
        return {subject for subject, scores in examples.items() if math.isfinite(scores.get(metric, math.nan))}

    def by_seed(self, arm: str, metric: str) -> dict[int, float]:
        """The score of every seed in the table; NaN where there is none."""
        return {seed: self.scores.get((arm, seed), {}).get(metric, math.nan) for seed in self.seeds}


@dataclass(frozen=True)
class _Row:
    where: str
    arm: str
    seed: int
    dataset: str
    subject: str
    scores: Mapping[str, float]


def score_table(
    table: Table,
    metrics: Sequence[str],
    *,
    arm: str = "arm",
    seed: str = "seed",
    dataset: str = "",
    one_dataset: bool = False,
) -> ScoreTable:
    """The scores of `metrics`, columns of the table; `arm` and `seed` name its other columns.

    With several data sets in the column `dataset`, and none of them chosen, each makes metrics of its own:
    `accuracy.cifar10`; with `one_dataset` they are refused. Raises InputError with what is wrong with the table.
    """
    problems = list(_metric_problems(metrics))
    rows: list[_Row] = []
    for index in range(len(table.rows)):
        try:
            rows.append(_row(table, index, metrics, arm, seed))
        except InputError as error:
            names = {problem.value for problem in problems if problem.rule == NAME_RULE}  # each is told once
            problems += [p for p in error.problems if p.rule != NAME_RULE or p.value not in names]
        if len(problems) >= MOST_PROBLEMS:
            break
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    if dataset:
        rows = [row for row in rows if row.dataset == dataset]
        if dataset not in datasets and not problems:
            problems.append(
                Problem("--dataset", "", "no such data set in the table", dataset, nearest(dataset, datasets))
            )
    elif one_dataset and len(datasets) > 1:
        problems.append(
            Problem(table.source, DATASET, "has several data sets", "", f"--dataset {datasets[0]} chooses one")
        )
    problems += _doubled(table.source, rows)
    if not rows and not problems:
        problems.append(Problem(table.source, "", "has no row"))
    if problems:
        raise InputError(*problems[:MOST_PROBLEMS])
    return _sorted(rows, metrics, several=len(datasets) > 1 and not dataset)


def _row(table: Table, index: int, metrics: Sequence[str], arm: str, seed: str) -> _Row:
    where, values = table.rows[index], {name: column[index] for name, column in table.columns.items()}
    problems: list[Problem] = []

    def wrong(column: str, rule: str, hint: str = "") -> None:
        problems.append(Problem(table.source, f"{where}, {column}", rule, shown(values[column]), hint))

    texts = {name: _text(values[name]) for name in (arm, DATASET, SUBJECT) if name in values}
    number = _seed(values[seed])
    scores = {metric: _number(values[metric]) for metric in metrics}
    for name in (arm, DATASET):
        if name in texts and not NAME.fullmatch(texts[name]):
            fit = _fit(texts[name])
            wrong(name, NAME_RULE, f"call it {fit}" if fit else "")
    if texts.get(SUBJECT) == "":
        wrong(SUBJECT, "must not be empty")
    if number is None:
        wrong(seed, f"must be a whole number from 0 to {LARGEST_SEED}")
    for metric, score in scores.items():
        if score is None:
            wrong(metric, "must be a number, or empty where there is none")
    if problems or number is None:
        raise InputError(*problems)
    given = {metric: score for metric, score in scores.items() if score is not None and not math.isnan(score)}
    return _Row(where, texts[arm], number, texts.get(DATASET, ""), texts.get(SUBJECT, ""), given)


def _metric_problems(metrics: Sequence[str]) -> Iterator[Problem]:
    """Names of columns such as test/acc are made fit for files; here is what cannot be."""
    seen: dict[str, str] = {}
    for metric in metrics:
        name = _fit(metric)
        if not name:
            rule = "must be printable, start with a letter or digit and have at most 64 characters"
            yield Problem("--metric", "", rule, shown(metric), "rename the column")
        elif name in seen:
            yield Problem("--metric", "", f"is too much like {seen[name]!r}", shown(metric), "rename the column")
        seen.setdefault(name, metric)


def _fit(name: str) -> str:
    """A name like this one that is fit for file names; "" for one that starts like a formula, or is not printable."""
    fit = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")
    return fit if NAME.fullmatch(fit) and name[:1].isalnum() and name.isprintable() else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _seed(value: Any) -> int | None:
    """A seed; pandas writes 1.0 where the column has gaps."""
    number = _number(value)
    whole = number is not None and number.is_integer() and 0 <= number <= LARGEST_SEED
    return int(number) if number is not None and whole else None


def _number(value: Any) -> float | None:
    """The number; NaN where there is none, and None for text."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        if value.lower() in NOTHING:
            return math.nan
        if "_" in value or not value.isascii():  # float() reads 1_000 and digits of other scripts
            return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _doubled(source: str, rows: Sequence[_Row]) -> Iterator[Problem]:
    seen: dict[tuple[str, int, str, str], str] = {}
    for row in rows:
        cell = (row.arm, row.seed, row.dataset, row.subject)
        if cell in seen:
            names = [f"arm {row.arm} and seed {row.seed}"]
            names += [f"{kind} {name}" for kind, name in ((DATASET, row.dataset), (SUBJECT, row.subject)) if name]
            yield Problem(source, row.where, f"must not repeat {', '.join(names)}, which {seen[cell]} has")
        seen.setdefault(cell, row.where)


def _sorted(rows: Sequence[_Row], metrics: Sequence[str], *, several: bool) -> ScoreTable:
    datasets = list(dict.fromkeys(row.dataset for row in rows)) if several else [""]
    subjects = tuple(sorted({row.subject for row in rows if row.subject}))
    number = {subject: index for index, subject in enumerate(subjects)}
    scores: dict[Cell, dict[str, float]] = {}
    examples: dict[Cell, dict[int, dict[str, float]]] = {}
    for row in rows:
        of_row = {_name(metric, row.dataset if several else ""): score for metric, score in row.scores.items()}
        if subjects:
            examples.setdefault((row.arm, row.seed), {}).setdefault(number[row.subject], {}).update(of_row)
        elif of_row:
            scores.setdefault((row.arm, row.seed), {}).update(of_row)
    names = {
        _name(metric, data): ScoreColumn(metric, f"{metric} ({data})" if data else metric)
        for metric in metrics
        for data in datasets
    }
    if subjects:
        means = {cell: _means(of_subject, names) for cell, of_subject in examples.items()}
        scores = {cell: of_cell for cell, of_cell in means.items() if of_cell}
    arms, seeds = tuple(dict.fromkeys(row.arm for row in rows)), tuple(sorted({row.seed for row in rows}))
    return ScoreTable(arms, seeds, names, scores, subjects, examples)


def _name(metric: str, dataset: str) -> str:
    return f"{_fit(metric)}.{dataset}" if dataset else _fit(metric)


def _means(of_subject: Mapping[int, Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    given = {name: [scores[name] for scores in of_subject.values() if name in scores] for name in names}
    return {name: sum(values) / len(values) for name, values in given.items() if values}


def notes(table: ScoreTable) -> Iterator[str]:
    """What is unusual about a table and allowed, in words."""
    if missing := [
        f"{arm} seed {seed}" for arm in table.arms for seed in table.seeds if (arm, seed) not in table.scores
    ]:
        rest = "a difference is over the seeds that both arms have"
        yield f"the arms have unequal seeds: without a score are {listing(missing)}; {rest}"
    lacking = sum(name not in scores for scores in table.scores.values() for name in table.metrics)
    if lacking:
        yield f"{lacking} scores are missing; they count as no number"
    infinite = sum(math.isinf(score) for scores in table.scores.values() for score in scores.values())
    if infinite:
        yield f"{infinite} scores are infinite; means and differences leave them out"
    for seed in table.seeds:
        of_arms = [
            {(subject, name) for subject, scores in table.examples[arm, seed].items() for name in scores}
            for arm in table.arms
            if (arm, seed) in table.scores and table.subjects
        ]
        if any(each != of_arms[0] for each in of_arms):
            yield f"the arms have not the same subjects with seed {seed}: their means are of different people"
            return
