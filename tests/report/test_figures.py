from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from toy_results import ARMS, Toy, factor_toy

from ablate.analysis import results as tables
from ablate.analysis.budget import Trial
from ablate.analysis.densities import ArmDensity, DensityTable
from ablate.analysis.factor import FactorCurve
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import estimate
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.analysis.tuning_history import ArmHistory, TuningHistory, best_so_far
from ablate.report import (
    figures,
    figures_cost,
    figures_density,
    figures_dots,
    figures_factor,
    figures_lines,
    figures_tuning,
    scales,
    style,
    svg,
    tables_figures,
)

MANY = ARMS | {
    "existing-wide": {"label": "Existing, widened to the hybrid's size"},
    "hybrid-shuffled": {"label": "Hybrid, 2D of another example"},
    "torso-frame": {"label": "Torso frame of the noisy 3D", "reference": True},
    "constant": {"label": "Constant", "reference": True},
}
ASKED = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg"}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    toy = Toy(tmp_path_factory.mktemp("toy"), MANY, seeds=(1, 2, 3, 4), skip=[("elepose", 3)], hypotheses=[ASKED])
    return analyse(tables.load(toy.store(), "toy"))


def turned() -> DensityTable:
    """An arm that answers every third view with the opposite one."""
    bins = np.arange(36)
    counts = np.zeros((36, 36), dtype=int)
    counts[bins, bins] = 2
    counts[bins, (bins + 18) % 36] = 1
    shares = tuple(estimate([share, share + 1]) for share in (66.0, 66.0, 33.0, 33.0))
    names = ("Within 22.5°", "Within 45°", "Off by over 90°", "157.5° to 180°")
    labels = {"existing": "Existing only", "hybrid": "Hybrid, with a label of two lines"}
    cells = tuple(tuple(row) for row in counts.tolist())
    arms = {arm: ArmDensity(arm, label, cells, 0, 2, shares) for arm, label in labels.items()}
    return DensityTable("azimuth_deg", "Azimuth (°)", "°", 360.0, tuple(np.linspace(0, 360, 37).tolist()), names, arms)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    references = {name: MANY[name] for name in ("torso-frame", "constant")}
    toy = factor_toy(tmp_path_factory.mktemp("factor"), (0.25, 0.5, 1.0, 4.0), references)
    return analyse(tables.load(toy.store(), "toy"))


@pytest.fixture(scope="module")
def curve(sweep: Analysis) -> FactorCurve:
    return sweep.factor[0]


def tuned() -> TuningHistory:
    """Five trials of two arms; the third of the second arm failed."""
    settings = ("training.learning_rate", "model.dropout")
    arms = []
    for arm, values in {"existing": [9.0, 7, 8, 6, 6.5], "hybrid": [9.5, 60, None, 7, 6]}.items():
        trials = tuple(Trial(i, v, {settings[0]: 0.1 * i, settings[1]: 0.5 - 0.1 * i}) for i, v in enumerate(values))
        correlations = {settings[0]: -0.9, settings[1]: 0.3 if arm == "hybrid" else None}
        arms.append(ArmHistory(arm, arm, 5, trials, best_so_far(values, lower=True), correlations))
    return TuningHistory(MetricInfo("azimuth_mae_deg", "Azimuth error", "°"), settings, tuple(arms))


@pytest.fixture(scope="module")
def drawn(analysis: Analysis, sweep: Analysis) -> list[Figure]:
    """One of every kind, rendered."""
    marks = style.Marks(list(analysis.labels))
    with style.look():
        figures_ = [
            figures_dots.matrix(analysis, marks),
            figures_dots.differences(analysis, marks),
            figures_lines.learning_curves(analysis, marks),
            figures_cost.cost(analysis.tradeoff, analysis.metrics[0], marks, {}),
            figures_density.density(turned(), ["existing", "hybrid", "elepose"]),
            figures_factor.factor(sweep.factor[0], figures.marks_of(sweep)),
            figures_cost.cost(sweep.tradeoff, sweep.metrics[0], figures.marks_of(sweep), figures.families(sweep)),
            figures_tuning.history(tuned(), marks),
            figures_tuning.importances(tuned(), marks),
        ]
        for column in ("azimuth_deg", "elevation_deg"):
            group = [table for table in analysis.conditions if table.column == column]
            figures_.append(figures_lines.by_condition(group, analysis, marks))
        for figure in figures_:
            assert figure is not None
            FigureCanvasAgg(figure).draw()
    return [figure for figure in figures_ if figure is not None]


def unseen(figure: Figure) -> set[Text]:
    """Labels of ticks outside of the axis' limits, which matplotlib keeps but does not draw."""
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = [(tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()]
    return {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}


def test_no_text_overlaps_another_leaves_the_page_or_is_too_small(drawn: list[Figure]) -> None:
    for figure in drawn:
        page = figure.bbox
        texts = [t for t in set(figure.findobj(Text)) - unseen(figure) if t.get_visible() and t.get_text().strip()]
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
        shown = [(text, box) for text, box in boxes if box.width > 0 and box.overlaps(page)]
        for text, box in shown:
            assert box.x0 > -1, text
            assert box.x1 < page.x1 + 1, text
        for (one, a), (other, b) in combinations(shown, 2):
            assert not a.shrunk(0.9, 0.9).overlaps(b.shrunk(0.9, 0.9)), (one, other)
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 6


def test_figures_have_column_width(drawn: list[Figure]) -> None:
    assert {figure.get_size_inches()[0] for figure in drawn} == {style.WIDTH_IN}


def test_lines_show_the_arms_of_the_answer_and_at_most_four(analysis: Analysis) -> None:
    assert figures_lines.drawn(analysis) == ["existing", "elepose", "hybrid", "existing-wide"]


def test_far_arms_are_a_number_at_the_edge(analysis: Analysis) -> None:
    with style.look():
        figure = figures_dots.matrix(analysis, style.Marks(list(analysis.labels)))
    assert figure is not None
    texts = [t.get_text() for t in figure.axes[0].texts]
    constant = next(row for row in analysis.matrix if row.arm == "constant").scores["azimuth_mae_deg"].mean
    assert any(text.startswith(f"{constant:.1f}"[:3]) and text.endswith(" →") for text in texts)
    assert figure.axes[0].get_xlim()[1] < 20


def test_every_seed_is_a_dot_in_the_differences(analysis: Analysis) -> None:
    with style.look():
        figure = figures_dots.differences(analysis, style.Marks(list(analysis.labels)))
    assert figure is not None
    rows = [row for row in analysis.matrix if row.effects and not row.reference]
    counts = [len(c.get_offsets()) for c in figure.axes[0].collections]
    place = [row.arm for row in rows].index("hybrid")
    assert counts[place] == 4


def test_a_persons_own_matplotlib_settings_change_nothing(analysis: Analysis, tmp_path: Path) -> None:
    saved = []
    for size in (10.0, 22.0):
        with matplotlib.rc_context({"font.size": size, "lines.linewidth": size}), style.look():
            figure = figures_dots.matrix(analysis, style.Marks(list(analysis.labels)))
            assert figure is not None
            style.save(figure, tmp_path / f"{size}")
        saved.append((tmp_path / f"{size}.png").read_bytes())
    assert saved[0] == saved[1]
    assert b"Software" not in saved[0]


def test_examples_come_from_the_first_finished_seed(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path, skip=[("hybrid", 1)]).store(), "toy")
    arrays = figures.examples_of(results, "hybrid")
    assert arrays is not None
    assert arrays["inputs"].shape == (6, 17, 6)


def test_the_opposite_answers_stand_off_the_diagonal() -> None:
    with style.look():
        figure = figures_density.density(turned(), ["hybrid"])
    assert figure is not None
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    assert image[0, 0] == pytest.approx(100 * 2 / 3)  # row: predicted, column: true
    assert image[18, 0] == pytest.approx(100 / 3)
    assert image[9, 0] is np.ma.masked
    assert figures_density.density(turned(), ["elepose"]) is None


def test_levels_over_a_wide_range_stand_on_a_logarithmic_axis(sweep: Analysis, curve: FactorCurve) -> None:
    with style.look():
        figure = figures_factor.factor(curve, figures.marks_of(sweep))
    assert figure is not None
    scores, differences = figure.axes
    assert (scores.get_xscale(), differences.get_xscale()) == ("log", "log")
    assert [tick.get_text() for tick in differences.get_xticklabels()] == ["0.25", "0.5", "1.0", "4.0"]
    [constant] = [line.score.mean for line in curve.lines if line.arm == "constant"]
    assert f"Constant {constant:.1f}°" in scores.texts[0].get_text()
    table = tables_figures.factor(curve).table
    references = (MANY["torso-frame"]["label"], "Constant")
    assert table.header == ("Detector noise", "existing", "hybrid", *references, "Δ hybrid")
    assert len(table.rows) == 4


def test_a_failed_trial_is_a_cross_and_moves_no_step() -> None:
    with style.look():
        figure = figures_tuning.history(tuned(), style.Marks(["existing", "hybrid"]))
    assert figure is not None
    steps, values, failed = figure.axes[1].lines
    assert list(steps.get_ydata()) == [9.5, 9.5, 9.5, 7, 6]
    assert list(values.get_xdata()) == [1, 2, 4, 5]
    assert list(failed.get_xdata()) == [3]
    assert figure.axes[0].get_yscale() == "log"  # 60 is more than eight times 6


@pytest.mark.parametrize(
    ("values", "labels"),
    [([0.0003, 0.4], {"0.001", "0.01", "0.1"}), ([1.0, 150.0], {"1", "10", "100"}), ([2.0, 30.0], {"2", "5", "10"})],
)
def test_an_axis_of_many_decades_has_labels(values: list[float], labels: set[str]) -> None:
    figure = Figure((3, 1.15))
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.plot([1, 2], values)
    scales.stretch(panel, iter(values))
    figure.canvas.draw()
    assert labels <= {label.get_text() for label in panel.get_yticklabels()}


def test_marks_stand_where_they_were_measured_and_one_on_another_is_larger_and_hollow(analysis: Analysis) -> None:
    points = [replace(p, parameters=7e6) if p.arm == "hybrid" else p for p in analysis.tradeoff if not p.reference]
    twin = replace(next(p for p in points if p.arm == "hybrid"), arm="existing-wide", label="Twin")
    points = [*(p for p in points if p.arm != "existing-wide"), twin]
    metric = analysis.metrics[0]
    with style.look():
        figure = figures_cost.cost(points, metric, style.Marks(list(analysis.labels)), {})
    assert figure is not None
    drawn = {line.get_label(): line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")}
    for point in points:
        assert drawn[point.label].get_xdata() == point.parameters
        assert drawn[point.label].get_ydata() == point.scores[metric.name].mean
    assert drawn["Twin"].get_markersize() > drawn["Hybrid"].get_markersize()
    assert drawn["Twin"].get_markerfacecolor() == "none" != drawn["Hybrid"].get_markerfacecolor()


def test_an_arm_at_several_levels_is_one_entry_of_the_legend(sweep: Analysis) -> None:
    families = figures.families(sweep)
    assert families == {"existing": "existing", "hybrid": "hybrid"}
    with style.look():
        figure = figures_cost.cost(sweep.tradeoff, sweep.metrics[0], figures.marks_of(sweep), families)
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["existing", "hybrid"]
    assert sum(line.get_label() == "hybrid" for line in figure.axes[0].lines) == 4


def test_an_arm_beyond_the_scale_has_its_interval(analysis: Analysis) -> None:
    with style.look():
        figure = figures_dots.differences(analysis, style.Marks(list(analysis.labels)))
    assert figure is not None
    [beyond] = [text.get_text() for text in figure.axes[0].texts]
    assert re.fullmatch(r"\+8\.\d+ \[\+\d\.\d+, \+\d\.\d+\] →", beyond)


def test_an_arm_has_one_colour_at_all_levels_and_whatever_else_is_drawn(analysis: Analysis) -> None:
    marks = style.Marks(["existing@0.5", "hybrid@0.5", "existing@1.0", "hybrid@1.0", "constant"])
    assert marks.colour("hybrid@0.5") == marks.colour("hybrid@1.0") == marks.colour("hybrid") == style.PALETTE[1]
    assert marks.colour("constant") == style.PALETTE[2]
    given = style.Marks(["existing@0.5", "hybrid@0.5", "constant"], {"hybrid": "blue"})
    assert [given.number(arm) for arm in ("hybrid@0.5", "existing", "constant")] == [0, 1, 2]
    own = figures.marks_of(analysis)
    assert figures.marks_of(replace(analysis, colors={"hybrid": "black"})).number("hybrid") == 6
    assert [own.number(arm) for arm in ("existing", "elepose", "hybrid")] == [0, 1, 2]


def test_a_figure_is_saved_as_vectors_with_values_to_hover_over(analysis: Analysis, tmp_path: Path) -> None:
    with style.look():
        figure = figures_dots.differences(analysis, style.Marks(list(analysis.labels)))
        assert figure is not None
        style.save(figure, tmp_path / "one", ("svg", "pdf"))
        style.save(figure, tmp_path / "two", ("svg", "pdf"))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    tips = [title.text or "" for title in root.iter(f"{{{svg.SVG}}}title")]
    assert sum(tip.startswith("Hybrid, seed 1: −0.") for tip in tips) == 2  # in either metric
    assert any(tip.startswith("Hybrid: −0.") and "[" in tip for tip in tips)
    assert {part.get("data-arm") for part in root.iter()} >= {"elepose", "hybrid"}
    assert not any(part.get("style") for part in root.iter())
    page = svg.inline((tmp_path / "one.svg").read_text(), name="f", label="a < b", colours=style.variables())
    assert "http" not in page
    assert 'aria-label="a &lt; b"' in page
    assert "var(--c2)" in page


def test_marks_of_other_figures_say_their_values_and_belong_to_an_arm(analysis: Analysis, tmp_path: Path) -> None:
    marks = style.Marks(list(analysis.labels))
    by_name = next(table for table in analysis.conditions if table.column == "azimuth_deg")
    by_name = replace(by_name, bins=replace(by_name.bins, period=None, categorical=True))
    with style.look():
        drawings = {
            ("hybrid", "Hybrid, 1: "): figures_lines.learning_curves(analysis, marks),
            ("hybrid", f"Hybrid, {by_name.bins.labels[0]}: "): figures_lines.by_condition([by_name], analysis, marks),
            ("hybrid", "hybrid, trial 2: 60"): figures_tuning.history(tuned(), marks),
            ("existing", "existing: −0.90"): figures_tuning.importances(tuned(), marks),
        }
        for (arm, tip), figure in drawings.items():
            assert figure is not None
            style.save(figure, tmp_path / "figure", ("svg",))
            root = ElementTree.parse(tmp_path / "figure.svg").getroot()
            titles = [title.text or "" for title in root.iter(f"{{{svg.SVG}}}title")]
            assert any(title.startswith(tip) for title in titles), (tip, titles)
            assert arm in {part.get("data-arm") for part in root.iter()}


def test_signs_that_no_font_has_are_told() -> None:
    assert style.without_glyphs(["Existing", "R² ½ °", "\U000f1234 x"]) == ["\U000f1234 x"]


def test_limits_follow_the_arms_in_focus() -> None:
    low, high = scales.limits([estimate([1.0, 3.0])], [estimate([1.0, 3.0]), estimate([900.0])], include_zero=False)
    assert low < 2 < high < 100
    assert scales.limits([], [], include_zero=True)[0] < 0 < 1 < scales.limits([], [], include_zero=True)[1]


def test_arms_are_told_apart() -> None:
    marks, seven, fourteen = style.Marks(list("abcdefghijklmn")), "abcdefg", "abcdefghijklmn"
    assert len({marks.colour(a) for a in seven}) == 7
    assert len({marks.marker(a) for a in fourteen}) == 14
