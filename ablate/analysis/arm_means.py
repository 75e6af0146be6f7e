"""Every score and every learning curve of an arm: the mean over its seeds with the ends of its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from ablate.analysis.effects import score
from ablate.analysis.results import Results
from ablate.analysis.statistics import CONFIDENCE
from ablate.study.summary import Ends

MOST_EPOCHS = 200  # of a curve: of longer ones as many epochs, evenly spaced, with the first and the last


def score_means(results: Results, arm: str) -> dict[str, Ends]:
    """Every score and cost of an arm that any seed has, by its key; counts and costs have no interval."""
    of_arm = [table[table.arm == arm].metric for table in (results.scores, results.timings)]
    found = {}
    for key in dict.fromkeys(str(key) for keys in of_arm for key in keys):
        estimate = score(results, results.by_seed(arm, key))
        if estimate.mean is not None:
            with_interval = not key.startswith(("cost/", "count/", "time/"))
            found[key] = Ends(estimate.mean, *((estimate.low, estimate.high) if with_interval else ()))
    return found


def curve_means(results: Results, arm: str, keys: Sequence[str]) -> dict[str, dict[int, Ends]]:
    """The curves of an arm with these keys, key → epoch → mean and interval over the seeds that have the epoch."""
    rows = results.curves
    scores = rows.score.astype(float)  # without any curve they are objects
    of_arm = rows[(rows.arm == arm) & rows.metric.isin(keys) & np.isfinite(scores)]
    table = of_arm.groupby(["metric", "epoch"], sort=True).score.agg(["mean", "std", "count"])
    curves: dict[str, dict[int, Ends]] = {}
    for key in of_arm.metric.unique():
        of_key = _thinned(table.loc[key])
        seeds = of_key["count"].to_numpy()
        error = of_key["std"].to_numpy() * np.sqrt(1 / seeds + (results.overlap or 0.0))  # as `statistics.estimate`
        half = special.stdtrit(np.maximum(seeds - 1, 1), (1 + CONFIDENCE) / 2) * error
        ends = zip(of_key.index, of_key["mean"], half, strict=True)
        curves[str(key)] = {int(epoch): _ends(float(mean), float(width)) for epoch, mean, width in ends}
    return curves


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= MOST_EPOCHS:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, MOST_EPOCHS).round().astype(int)]


def _ends(mean: float, half: float) -> Ends:
    """One seed has no interval: its standard deviation is NaN."""
    return Ends(mean) if math.isnan(half) else Ends(mean, mean - half, mean + half)
