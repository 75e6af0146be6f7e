"""What `ablate evaluate` shows: progress while models are scored, then a table as after `ablate run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pandas as pd
from rich.console import Console

from ablate.claims import effects, numbers
from ablate.claims.results import Results
from ablate.claims.statistics import Effect
from ablate.pages.tables import Cell, TextTable, named
from ablate.pages.terminal import rich_table

PLAIN_EVERY_SECONDS = 5.0  # between two lines where there is no terminal

ByArm = Mapping[str, Mapping[int, float]]


@contextmanager
def counted(console: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """A function to tell how many of how many runs are done and which is at hand; shown on stderr."""
    console = console or Console(stderr=True)
    with console.status("reading the study and its data") if console.is_terminal else _nothing() as status:
        told = time.monotonic()

        def tell(done: int, total: int, run: str) -> None:
            nonlocal told
            text = f"{done} of {total} runs scored" + (f", now {run}" if run else "")
            if status is not None:
                status.update(text)
            elif done == total or time.monotonic() - told > PLAIN_EVERY_SECONDS:
                told = time.monotonic()
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield tell


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def print_scores(results: Results, scores: pd.DataFrame, *, title: str, console: Console | None = None) -> None:
    """Print `table` with what its numbers are."""
    kept = scores.groupby("arm").seed.nunique().max()
    spread = "mean ± 95 % interval over seeds" if kept > 1 else "one seed an arm, so no intervals"
    baseline = results.study.arms[results.study.baseline].label if results.study.baseline in results.study.arms else ""
    caption = f"{spread}. Δ: paired difference to {baseline or 'the baseline'} [95 % interval]."
    shown = rich_table(table(results, scores), title=title, caption=caption[:1].upper() + caption[1:])
    (console or Console()).print(shown)


def table(results: Results, scores: pd.DataFrame) -> TextTable:
    """A row an arm in study order, a column for each of the study's metrics, then its difference to the baseline.

    `scores`: arm, seed, metric, score, as scored on other data.
    """
    study, metrics = results.study, [m for m in results.study.metrics if m in results.metrics]
    by_metric: dict[str, ByArm] = {m: _by_arm(scores[scores.metric == m]) for m in metrics}
    arms = [arm for arm in study.arms if any(arm in by_metric[m] for m in metrics)]
    means = {m: {arm: effects.score(results, by_metric[m].get(arm, {})) for arm in arms} for m in metrics}
    gaps = {m: {arm: _effect(results, by_metric[m], arm) for arm in arms} for m in metrics}
    places = {m: numbers.decimals(means[m].values()) for m in metrics}
    names = [named(results.metrics[m]) for m in metrics]
    header = ["Arm", *names, *(f"Δ {name}" for name in names)]
    rows = []
    for arm in arms:
        cells = [Cell(study.arms[arm].label or arm, strong=arm == study.baseline, faint=study.arms[arm].reference)]
        cells += [Cell(numbers.score(means[m][arm], places[m])) for m in metrics]
        rows.append((*cells, *(_difference(gaps[m][arm], places[m]) for m in metrics)))
    return TextTable(tuple(header), tuple(rows))


def _by_arm(scores: pd.DataFrame) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for arm, seed, _, value in scores.itertuples(index=False, name=None):
        found.setdefault(str(arm), {})[int(seed)] = float(value)
    return found


def _effect(results: Results, by_arm: ByArm, arm: str) -> Effect | None:
    base = effects.baseline_of(results, arm)
    if base is None or base not in by_arm or arm not in by_arm:
        return None
    return effects.difference(results, by_arm[arm], by_arm[base])


def _difference(effect: Effect | None, places: int) -> Cell:
    if effect is None:
        return Cell(numbers.GAP)
    return Cell(numbers.difference(effect.difference, places), strong=effect.difference.excludes_zero)
