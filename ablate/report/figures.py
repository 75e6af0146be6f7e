"""Every picture of a report, drawn from an Analysis and saved as PNG. The subject's gallery is imported by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ablate.analysis.results import Results
from ablate.analysis.study_analysis import Analysis
from ablate.report import (
    figures_cost,
    figures_density,
    figures_design,
    figures_dots,
    figures_factor,
    figures_lines,
    figures_tuning,
    style,
)
from ablate.report.blocks import Block, Picture
from ablate.study import InputError, trust
from ablate.untrusted.npz_reader import read_npz

EXAMPLE_BYTES = 200_000_000  # limit for the unpacked arrays of examples.npz: a hundred times the size a run writes

# The function that `report.gallery` names. It maps arm label → arrays of examples.npz (inputs, target/…, output/…,
# index) to a figure.
Gallery = Callable[[Mapping[str, Mapping[str, np.ndarray]]], Figure]


@dataclass(frozen=True)
class Pictures:
    """Names of the figures that were drawn, such as `by_<column>`; `note`: why the gallery is missing."""

    names: Collection[str] = ()
    note: str = ""

    def show(self, name: str, caption: str) -> list[Block]:
        """The picture; no block where it was not drawn."""
        return [Picture(f"{name}.png", caption)] if name in self.names else []


def draw(analysis: Analysis, results: Results, folder: Path) -> Pictures:
    """Save the figures in `folder`. Figures without data are left out."""
    marks = marks_of(analysis)
    with style.look():
        picture, note = draw_gallery(analysis, results)
        drawings = {
            "matrix": figures_dots.matrix(analysis, marks),
            "differences": figures_dots.differences(analysis, marks),
            "learning_curves": figures_lines.learning_curves(analysis, marks),
            "cost": figures_cost.cost(analysis.tradeoff, analysis.metrics[0], marks),
            "tuning": figures_tuning.history(analysis.tuning, marks) if analysis.tuning else None,
            "importances": figures_tuning.importances(analysis.tuning, marks) if analysis.tuning else None,
            "gallery": picture,
        }
        for column, tables in groupby(analysis.conditions, key=lambda table: table.column):
            drawings[f"by_{column}"] = figures_lines.by_condition(list(tables), analysis, marks)
        for table in analysis.densities:
            drawings[f"density_{table.column}"] = figures_density.density(table, figures_lines.drawn(analysis))
        for curve in analysis.factor:
            drawings[f"factor_{curve.metric.name}"] = figures_factor.factor(curve)
        for effects in analysis.design:
            drawings[f"design_{effects.metric.name}"] = figures_design.design(effects)
        drawn = {name: drawing for name, drawing in drawings.items() if drawing is not None}
        for name, drawing in drawn.items():
            style.save(drawing, folder / f"{name}.png")
    return Pictures(list(drawn), note)


def marks_of(analysis: Analysis) -> style.Marks:
    """The colour and the marker of every arm in all figures of the study."""
    # a gallery gives its i-th arm the i-th mark of the palette, so the arms that it draws come first
    return style.Marks(list(dict.fromkeys([*figures_lines.drawn(analysis), *analysis.labels])))


def examples_of(results: Results, arm: str) -> dict[str, np.ndarray] | None:
    """The arrays of `examples.npz` of the arm's first finished seed."""
    for seed in results.study.seeds:
        path = results.artifact(arm, seed, "examples.npz")
        if path is not None:
            return read_npz(path, most_bytes=EXAMPLE_BYTES)
    return None


def draw_gallery(analysis: Analysis, results: Results) -> tuple[Figure | None, str]:
    """The subject's picture, or None and the reason: an error in the gallery never stops the report."""
    name = results.study.report.gallery
    if not name:
        return None, ""
    try:
        examples = {analysis.labels[arm]: examples_of(results, arm) for arm in figures_lines.drawn(analysis)}
        kept_examples = {label: arrays for label, arrays in examples.items() if arrays is not None}
        if not kept_examples:
            return None, "No finished run has kept examples to draw."
        trust.check(name, file=results.study.name, place="report.gallery")
        module, _, attribute = name.partition(":")
        gallery: Gallery = getattr(importlib.import_module(module), attribute)
    except (InputError, ImportError, AttributeError) as error:
        return None, f"The gallery `{name}` could not be loaded: {error}"
    try:
        return gallery(kept_examples), ""
    except Exception as error:  # the gallery is user code, and the arrays may not be what it expects
        return None, f"The gallery `{name}` could not be drawn: {type(error).__name__}: {error}"
