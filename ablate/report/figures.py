"""Every picture of a report, drawn from an Analysis and saved as PNG. The subject's gallery is imported by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ablate.analysis.results import Results
from ablate.analysis.study_analysis import Analysis
from ablate.report import (
    figures_cost,
    figures_density,
    figures_dots,
    figures_factor,
    figures_lines,
    figures_tuning,
    style,
)
from ablate.study import InputError, trust
from ablate.untrusted.npz_reader import read_npz

EXAMPLE_BYTES = 200_000_000  # limit for the unpacked arrays of examples.npz: a hundred times the size a run writes

# The function that `report.gallery` names. It maps arm label → arrays of examples.npz (inputs, target/…, output/…,
# index) to a figure.
Gallery = Callable[[Mapping[str, Mapping[str, np.ndarray]]], Figure]


@dataclass(frozen=True)
class Pictures:
    """File names of the figures that were drawn, by what they show; `note`: why the gallery is missing.

    The tables of `densities`, `cost`, `tuning`, `importances` and `factor` are in `tables_figures`, by these names.
    """

    matrix: str | None = None
    differences: str | None = None
    curves: str | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)  # by column
    densities: Mapping[str, str] = field(default_factory=dict)  # by column: density_<column>.png
    factor: Mapping[str, str] = field(default_factory=dict)  # by metric: factor_<metric>.png
    cost: str | None = None
    tuning: str | None = None
    importances: str | None = None
    gallery: str | None = None
    note: str = ""


def draw(analysis: Analysis, results: Results, folder: Path) -> Pictures:
    """Save the figures in `folder`. Figures without data are left out."""
    # a gallery gives its i-th arm the i-th mark of the palette, so the arms that it draws come first
    marks = style.Marks(list(dict.fromkeys([*figures_lines.drawn(analysis), *analysis.labels])))
    with style.look():
        picture, note = draw_gallery(analysis, results)
        single = {
            "matrix": figures_dots.matrix(analysis, marks),
            "differences": figures_dots.differences(analysis, marks),
            "learning_curves": figures_lines.learning_curves(analysis, marks),
            "cost": figures_cost.cost(analysis.tradeoff, analysis.metrics[0], marks),
            "tuning": figures_tuning.history(analysis.tuning, marks) if analysis.tuning else None,
            "importances": figures_tuning.importances(analysis.tuning, marks) if analysis.tuning else None,
            "gallery": picture,
        }
        saved = {name: _save(drawing, folder / f"{name}.png") for name, drawing in single.items()}
        return Pictures(
            matrix=saved["matrix"],
            differences=saved["differences"],
            curves=saved["learning_curves"],
            conditions=_save_each("by", _conditions(analysis, marks), folder),
            densities=_save_each("density", _densities(analysis), folder),
            factor=_save_each("factor", {c.metric.name: figures_factor.factor(c) for c in analysis.factor}, folder),
            cost=saved["cost"],
            tuning=saved["tuning"],
            importances=saved["importances"],
            gallery=saved["gallery"],
            note=note,
        )


def _conditions(analysis: Analysis, marks: style.Marks) -> dict[str, Figure | None]:
    columns = dict.fromkeys(table.column for table in analysis.conditions)
    return {
        column: figures_lines.by_condition([t for t in analysis.conditions if t.column == column], analysis, marks)
        for column in columns
    }


def _densities(analysis: Analysis) -> dict[str, Figure | None]:
    return {table.column: figures_density.density(table, figures_lines.drawn(analysis)) for table in analysis.densities}


def _save_each(kind: str, drawings: Mapping[str, Figure | None], folder: Path) -> dict[str, str]:
    saved = {name: _save(drawing, folder / f"{kind}_{name}.png") for name, drawing in drawings.items()}
    return {name: file for name, file in saved.items() if file}


def examples_of(results: Results, arm: str) -> dict[str, np.ndarray] | None:
    """The arrays of `examples.npz` of the arm's first finished seed."""
    for seed in results.study.seeds:
        path = results.artifact(arm, seed, "examples.npz")
        if path is not None:
            return read_npz(path, most_bytes=EXAMPLE_BYTES)
    return None


def _save(drawing: Figure | None, path: Path) -> str | None:
    if drawing is None:
        return None
    style.save(drawing, path)
    return path.name


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
