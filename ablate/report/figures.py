"""Every picture of a report, drawn from an Analysis and saved as PNG. The subject's gallery is imported by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from cycler import Cycler, cycler
from matplotlib import rc_context
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
    undrawn: Sequence[str] = ()  # labels with signs that no font can draw
    arms: Sequence[tuple[str, str, int]] = ()  # name, label and number of its colour, of each arm of the study

    def show(self, name: str, caption: str) -> list[Block]:
        """The picture; no block where it was not drawn."""
        return [Picture(f"{name}.png", caption)] if name in self.names else []


def draw(
    analysis: Analysis, results: Results, folder: Path, kinds: Sequence[str] = ("png",), *, slide: bool = False
) -> Pictures:
    """Save the figures in `folder`, each as a file of every kind. Figures without data are left out.

    `slide`: at a slide's width, without the gallery, which has a width of its own.
    """
    marks = marks_of(analysis)
    with style.look(slide=slide):
        picture, note = (None, "") if slide else draw_gallery(analysis, results)
        sweep = bool(analysis.factor)  # which its curves show, where a row for each level would not be read
        drawings = {
            "matrix": None if sweep else figures_dots.matrix(analysis, marks),
            "differences": None if sweep else figures_dots.differences(analysis, marks),
            "learning_curves": figures_lines.learning_curves(analysis, marks),
            "cost": figures_cost.cost(analysis.tradeoff, analysis.metrics[0], marks, families(analysis)),
            "tuning": figures_tuning.history(analysis.tuning, marks) if analysis.tuning else None,
            "importances": figures_tuning.importances(analysis.tuning, marks) if analysis.tuning else None,
            "gallery": picture,
        }
        for column, tables in groupby(analysis.conditions, key=lambda table: table.column):
            drawings[f"by_{column}"] = figures_lines.by_condition(list(tables), analysis, marks)
        for table in analysis.densities:
            drawings[f"density_{table.column}"] = figures_density.density(table, figures_lines.drawn(analysis))
        for curve in analysis.factor:
            drawings[f"factor_{curve.metric.name}"] = figures_factor.factor(curve, marks)
        for effects in analysis.design:
            drawings[f"design_{effects.metric.name}"] = figures_design.design(effects)
        drawn = {name: drawing for name, drawing in drawings.items() if drawing is not None}
        for name, drawing in drawn.items():
            style.save(drawing, folder / name, kinds)
        undrawn = style.without_glyphs([*analysis.labels.values(), *(m.short for m in analysis.metrics)])
    labels = {marks.family(row.arm): row.label for row in analysis.matrix if not row.reference}
    shared = families(analysis)
    arms = [(name, shared.get(name, label), marks.number(name)) for name, label in labels.items()]
    return Pictures(list(drawn), note, undrawn, arms)


def marks_of(analysis: Analysis) -> style.Marks:
    """The marks of the study's arms: trained arms first, in the order of the study file, whatever is drawn of them."""
    order = {arm: place for place, arm in enumerate(analysis.labels)}
    rows = sorted(analysis.matrix, key=lambda row: (row.reference, order.get(row.arm, len(order))))
    return style.Marks(list(dict.fromkeys([*(row.arm for row in rows), *analysis.labels])), analysis.colors)


def families(analysis: Analysis) -> dict[str, str]:
    """Of arms that stand at every level of a factor or on every data set: name → label, without either."""
    levels = {each.family: each.label for curve in analysis.factor[:1] for each in curve.series}
    return levels | {row.family: row.label for table in analysis.across[:1] for row in table.rows}


def _cycle(analysis: Analysis) -> Cycler[str, str]:
    """Colours and marks of the arms that a gallery draws, in its order."""
    marks, arms = marks_of(analysis), figures_lines.drawn(analysis)
    return cycler(color=[marks.colour(arm) for arm in arms], marker=[marks.marker(arm) for arm in arms])


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
        with rc_context({"axes.prop_cycle": _cycle(analysis)}):
            return gallery(kept_examples), ""
    except Exception as error:  # the gallery is user code, and the arrays may not be what it expects
        return None, f"The gallery `{name}` could not be drawn: {type(error).__name__}: {error}"
