from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from toy_results import ARMS, Toy

from ablate.claims import results as tables
from ablate.claims.analysis import Analysis, analyse
from ablate.pages import dots, figures, lines, style

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


def all_figures(analysis: Analysis) -> list[Figure]:
    marks = style.Marks(list(analysis.labels))
    conditions = [[t for t in analysis.conditions if t.column == c] for c in ("azimuth_deg", "elevation_deg")]
    drawn = [dots.matrix(analysis, marks), dots.differences(analysis, marks), lines.learning_curves(analysis, marks)]
    drawn += [lines.by_condition(found, analysis, marks) for found in conditions]
    return [figure for figure in drawn if figure is not None]


def unseen(figure: Figure) -> set[Text]:
    """Labels of ticks outside of the axis' limits, which matplotlib keeps but does not draw."""
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = [(tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()]
    return {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}


def test_no_text_overlaps_another_or_leaves_the_page(analysis: Analysis) -> None:
    with style.look():
        drawn = all_figures(analysis)
        assert len(drawn) == 5
        for figure in drawn:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            page = figure.bbox
            texts = [t for t in set(figure.findobj(Text)) - unseen(figure) if t.get_visible() and t.get_text().strip()]
            boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts]
            shown = [(text, box) for text, box in boxes if box.width > 0 and box.overlaps(page)]
            for text, box in shown:
                assert box.x0 > -1, text
                assert box.x1 < page.x1 + 1, text
            for (one, a), (other, b) in combinations(shown, 2):
                assert not a.shrunk(0.9, 0.9).overlaps(b.shrunk(0.9, 0.9)), (one, other)


def test_figures_have_column_width(analysis: Analysis) -> None:
    with style.look():
        assert {figure.get_size_inches()[0] for figure in all_figures(analysis)} == {style.WIDTH_IN}


def test_lines_show_the_arms_of_the_answer_and_at_most_four(analysis: Analysis) -> None:
    assert lines.drawn(analysis) == ["existing", "elepose", "hybrid", "existing-wide"]


def test_far_arms_are_a_number_at_the_edge(analysis: Analysis) -> None:
    with style.look():
        figure = dots.matrix(analysis, style.Marks(list(analysis.labels)))
    assert figure is not None
    texts = [t.get_text() for t in figure.axes[0].texts]
    constant = next(row for row in analysis.matrix if row.arm == "constant").scores["azimuth_mae_deg"].mean
    assert f"{constant:.1f} →" in texts
    assert figure.axes[0].get_xlim()[1] < 20


def test_every_seed_is_a_dot_in_the_differences(analysis: Analysis) -> None:
    with style.look():
        figure = dots.differences(analysis, style.Marks(list(analysis.labels)))
    assert figure is not None
    rows = [row for row in analysis.matrix if row.effects and not row.reference]
    counts = [len(c.get_offsets()) for c in figure.axes[0].collections]
    place = [row.arm for row in rows].index("hybrid")
    assert counts[place] == 4


def test_arms_have_different_colours_and_marks() -> None:
    marks = style.Marks(list("abcdefg"))
    assert len({marks.colour(a) for a in "abcdefg"}) == len({marks.marker(a) for a in "abcdefg"}) == 7


def test_a_persons_own_matplotlib_settings_change_nothing(analysis: Analysis, tmp_path: Path) -> None:
    saved = []
    for size in (10.0, 22.0):
        with matplotlib.rc_context({"font.size": size, "lines.linewidth": size}), style.look():
            figure = dots.matrix(analysis, style.Marks(list(analysis.labels)))
            assert figure is not None
            style.save(figure, tmp_path / f"{size}.png")
        saved.append((tmp_path / f"{size}.png").read_bytes())
    assert saved[0] == saved[1]
    assert b"Software" not in saved[0]


def test_examples_come_from_the_first_finished_seed(tmp_path: Path) -> None:
    found = tables.load(Toy(tmp_path, skip=[("hybrid", 1)]).store(), "toy")
    arrays = figures.examples_of(found, "hybrid")
    assert arrays is not None
    assert arrays["inputs"].shape == (6, 17, 6)
