"""`ablate.open`: its tables are those of the report, its figures are matplotlib's, and a notebook shows the study."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from toy_results import Toy

import ablate
from ablate import InputError, StudyResults
from ablate.analysis.results import load
from ablate.analysis.study_analysis import analyse
from ablate.commands.study_results import Plots
from ablate.report import figures, tidy
from ablate.report.outline import outline

HYPOTHESES = [
    {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg", "margin": 0.1},
    {"arm": "elepose", "against": "existing", "metric": "elevation_mae_deg", "kind": "not_worse", "margin": 0.5},
]
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"), seeds=SEEDS, skip=[("elepose", 3)], hypotheses=HYPOTHESES)


@pytest.fixture(scope="module")
def opened(toy: Toy) -> StudyResults:
    return StudyResults(load(toy.store(), "toy"))


@pytest.fixture(scope="module")
def csv(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tables that `ablate report --format csv` writes."""
    folder, results = tmp_path_factory.mktemp("csv"), load(toy.store(), "toy")
    tidy.write_tables(outline(analyse(results), results, figures.Pictures()), folder)
    return folder


def same(frame: pd.DataFrame, file: Path) -> None:
    """The frame has the columns and, as far as it has rows, the values of the file."""
    written = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert sorted(frame.columns) == sorted(written.columns)
    written = written[written.arm.isin(frame.arm)]
    assert len(written) == len(frame)
    for column in written:
        texts, values = written[column].to_list(), frame[column].to_list()
        for text, value in zip(texts, values, strict=True):
            if isinstance(value, bool):
                assert text == str(value).lower(), column
            elif isinstance(value, str):
                assert text == value, column
            else:
                assert text == "" if pd.isna(value) else float(text) == value, column


def test_effects_are_the_matrix_of_the_report(opened: StudyResults, csv: Path) -> None:
    effects = opened.effects()
    assert list(effects.columns[:5]) == ["arm", "against", "metric", "unit", "difference_mean"]
    pairs = [(arm, m) for arm in ("elepose", "hybrid") for m in ("azimuth_mae_deg", "elevation_mae_deg")]
    assert list(effects[["arm", "metric"]].itertuples(index=False, name=None)) == pairs
    assert set(effects.against) == {"existing"}
    assert effects.difference_n.to_list() == [4, 4, 5, 5]
    same(effects, csv / "matrix.csv")


def test_verdicts_are_the_hypotheses_of_the_report(opened: StudyResults, csv: Path) -> None:
    verdicts = opened.verdicts()
    assert verdicts.kind.to_list() == ["better", "not_worse"]
    assert verdicts.verdict.to_list() == ["inconclusive", "no verdict"]  # four pairs are too few
    assert verdicts.margin.to_list() == [0.1, 0.5]
    same(verdicts, csv / "comparisons.csv")


def test_without_a_hypothesis_there_is_no_verdict(tmp_path: Path) -> None:
    verdicts = StudyResults(load(Toy(tmp_path).store(), "toy")).verdicts()
    assert len(verdicts) == 0
    assert {"arm", "against", "metric", "verdict"} <= set(verdicts.columns)


def test_results_have_a_row_for_each_run_and_a_gap_for_a_missing_one(opened: StudyResults, toy: Toy) -> None:
    frame = opened.results()
    assert len(frame) == 3 * len(SEEDS)
    missing = frame[frame["test/azimuth_mae_deg"].isna()]
    assert missing[["arm", "seed", "status"]].values.tolist() == [["elepose", 3, "missing"]]
    recorded = {(r.arm, r.seed): r.scores for r in toy.store().records("toy") if r.phase == "compare"}
    for row in frame[frame.status == "done"].to_dict("records"):
        assert row["test/azimuth_mae_deg"] == recorded[row["arm"], row["seed"]]["test/azimuth_mae_deg"]


def test_examples_have_a_row_for_each_run_and_example(opened: StudyResults, toy: Toy) -> None:
    examples = opened.examples()
    assert len(examples) == 400 * (3 * len(SEEDS) - 1)
    assert list(examples.columns[:3]) == ["arm", "seed", "example"]
    one = opened.examples("hybrid", 2)
    stored = pd.read_parquet(toy.folder / "hybrid-2" / "scores.parquet")
    assert one.example.to_list() == list(range(400))
    pd.testing.assert_frame_equal(one[list(stored.columns)], stored)
    assert set(opened.examples(seed=3).arm) == {"existing", "hybrid"}


def test_a_column_of_the_examples_may_be_called_seed(tmp_path: Path) -> None:
    toy = Toy(tmp_path, seeds=(1, 2))
    results = load(toy.store(), "toy")
    file = tmp_path / "hybrid-2" / "scores.parquet"
    pd.read_parquet(file).assign(seed=7).to_parquet(file, index=False)
    examples = StudyResults(results).examples("hybrid", 2)
    assert (set(examples.seed), set(examples.seed_of_example)) == ({2}, {7})


def test_an_arm_or_a_seed_that_the_study_does_not_have(opened: StudyResults) -> None:
    with pytest.raises(InputError, match=r"toy: arm: no arm of this study .*did you mean 'hybrid'"):
        opened.examples("hybird")
    with pytest.raises(InputError, match="toy: seed: no seed of this study"):
        opened.examples(seed=9)


def test_curves_have_a_row_for_each_epoch(opened: StudyResults) -> None:
    curves = opened.curves()
    assert list(curves.columns) == ["arm", "seed", "epoch", "metric", "score"]
    assert set(curves.metric) == {"train/loss", "val/azimuth_mae_deg", "val/elevation_mae_deg"}
    assert curves.groupby(["arm", "seed", "metric"]).epoch.apply(list).map(len).unique().tolist() == [6]


def test_a_table_can_be_changed_without_changing_the_next(opened: StudyResults) -> None:
    for table in (opened.results, opened.effects, opened.verdicts, opened.examples, opened.curves):
        before = table()
        changed = table()
        changed["arm"] = "changed"
        pd.testing.assert_frame_equal(table(), before)


@pytest.mark.parametrize("name", ["differences", "matrix", "curves", "cost"])
def test_figures_are_matplotlibs_and_a_notebook_shows_them(name: str, opened: StudyResults, tmp_path: Path) -> None:
    drawing = getattr(opened.plot, name)()
    assert isinstance(drawing, Figure)
    assert drawing.axes
    assert drawing._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    drawing.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 5000


def test_the_cost_is_of_the_metric_that_is_asked_for(opened: StudyResults) -> None:
    assert "Azimuth" in opened.plot.cost().axes[0].get_title(loc="left")
    assert "Elevation" in opened.plot.cost("elevation_mae_deg").axes[0].get_title(loc="left")
    with pytest.raises(InputError, match="no metric of this study"):
        opened.plot.cost("accuracy")


def test_a_figure_of_nothing_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path, skip=[(arm, seed) for arm in ("existing", "elepose", "hybrid") for seed in (1, 2, 3)])
    empty = StudyResults(load(toy.store(), "toy"))
    for name in ("differences", "matrix", "curves", "cost"):
        with pytest.raises(InputError, match=f"toy: plot.{name}: nothing to draw"):
            getattr(empty.plot, name)()
    assert len(empty.examples()) == len(empty.curves()) == 0
    assert "–" in empty._repr_markdown_()


def test_a_notebook_shows_question_verdicts_and_matrix(opened: StudyResults) -> None:
    for text in (opened._repr_markdown_(), opened._repr_html_()):
        assert "Does fusing ElePose features improve azimuth and elevation?" in text
        assert "“Hybrid” is better than “Existing only”" in text
        assert "“ElePose only” is at most 0.5° worse than “Existing only” in elevation error" in text
        assert text.index("inconclusive") < text.index("Parameters")
        assert "Δ Azimuth error (°)" in text
    assert repr(opened) == "<StudyResults toy: 14 of 15 runs done>"


def test_a_label_is_no_markup(tmp_path: Path) -> None:
    arms = {"existing": {"label": "<b>bold</b>"}, "hybrid": {"label": "a|b", "set": {"model.use_elepose": True}}}
    shown = StudyResults(load(Toy(tmp_path, arms=arms).store(), "toy"))
    assert "<b>bold" not in shown._repr_html_()
    assert "&lt;b&gt;bold" in shown._repr_html_()
    assert r"a\|b" in shown._repr_markdown_()


@pytest.mark.parametrize("kind", [StudyResults, Plots])
def test_what_is_public_is_documented_and_nothing_else_is_offered(kind: type) -> None:
    names = [name for name in dir(kind) if not name.startswith("_")]
    if kind is StudyResults:
        assert names == ["curves", "effects", "examples", "name", "plot", "question", "results", "verdicts"]
    for name in names:
        member = inspect.getattr_static(kind, name)
        assert inspect.getdoc(member), name
        if callable(member):
            assert "Returns\n-------" in (inspect.getdoc(member) or ""), name


def test_the_functions_for_notebooks_say_what_they_take_give_and_raise() -> None:
    for function in (ablate.open, ablate.run, ablate.load_results):
        document = inspect.getdoc(function) or ""
        for section in ("Parameters", "Returns", "Raises"):
            assert f"{section}\n{'-' * len(section)}\n" in document, (function, section)
        assert [n for n in inspect.signature(function).parameters if f"\n{n}\n" not in document] == []
