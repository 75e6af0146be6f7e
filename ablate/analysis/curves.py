"""Learning curves: mean and spread over seeds, epoch by epoch. Computes; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ablate.analysis.costs import trained
from ablate.analysis.results import Results


@dataclass(frozen=True)
class CurvePanel:
    """One score over the epochs. `arms` maps arm → table with columns epoch, mean, low, high (spread over seeds)."""

    key: str
    label: str
    unit: str
    arms: Mapping[str, pd.DataFrame]


def curve_panels(results: Results) -> list[CurvePanel]:
    """Training loss and the study's metrics on validation, as far as the runs of trained arms logged them."""
    return [CurvePanel(key, *name, arms=_arms(results, key)) for key, name in _logged(results).items()]


def curve_keys(results: Results) -> tuple[str, ...]:
    """The keys of `curve_panels`, without their tables."""
    return tuple(_logged(results))


def _logged(results: Results) -> dict[str, tuple[str, str]]:
    """Label and unit of every curve, by its key."""
    names = {"train/loss": ("training loss", "")}
    for name in results.study.metrics:
        info = results.metrics[name]
        names[f"val/{name}"] = (f"{info.short}, validation", info.unit)
    rows = results.curves
    logged = set(rows.metric[rows.score.notna() & rows.arm.isin(list(trained(results)))])
    return {key: name for key, name in names.items() if key in logged}


def _arms(results: Results, key: str) -> dict[str, pd.DataFrame]:
    rows = results.curves[(results.curves.metric == key) & results.curves.score.notna()]
    tables = {arm: rows[rows.arm == arm].groupby("epoch").score for arm in trained(results)}
    return {
        arm: pd.DataFrame({"mean": by.mean(), "low": by.min(), "high": by.max()}).reset_index()
        for arm, by in tables.items()
        if by.ngroups
    }
