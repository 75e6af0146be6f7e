from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.report import figures, tidy
from ablate.report.blocks import Picture, Table
from ablate.report.outline import outline
from ablate.report.tables import Cell, TextTable

HYPOTHESIS = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg", "margin": 0.5}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tables.Results:
    folder = tmp_path_factory.mktemp("toy")
    return tables.load(Toy(folder, skip=[("elepose", 3)], hypotheses=[HYPOTHESIS]).store(), "toy")


@pytest.fixture(scope="module")
def analysis(results: tables.Results) -> Analysis:
    return analyse(results)


def test_every_table_has_a_csv_with_a_name_for_every_column(
    results: tables.Results, analysis: Analysis, tmp_path: Path
) -> None:
    page = outline(analysis, results, figures.Pictures(["learning_curves"]))
    tidy.write_tables(page, tmp_path)
    names = {block.name for block in page if isinstance(block, Table)}
    assert {"matrix", "comparisons", "budget", "by_azimuth_deg-azimuth_mae_deg"} < names
    assert {path.stem for path in tmp_path.iterdir()} == names | {"learning_curves"}
    for path in tmp_path.iterdir():
        first, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        assert all(first)
        assert len(first) == len(set(first))
        assert rows
        assert {len(row) for row in rows} == {len(first)}


def test_numbers_read_back_exactly(results: tables.Results, analysis: Analysis, tmp_path: Path) -> None:
    tidy.write_tables(outline(analysis, results, figures.Pictures()), tmp_path)
    frame = pd.read_csv(tmp_path / "matrix.csv").set_index(["arm", "metric"])
    for row in analysis.matrix:
        for metric in analysis.metrics:
            cell, score = frame.loc[(row.arm, metric.name)], row.scores[metric.name]
            assert (cell["mean"], cell["low"], cell["high"], cell["n"]) == (score.mean, score.low, score.high, score.n)
    hybrid = analysis.matrix[2].effects["azimuth_mae_deg"]
    assert frame.loc[("hybrid", "azimuth_mae_deg"), "difference_mean"] == hybrid.difference.mean
    assert math.isnan(frame.loc[("existing", "azimuth_mae_deg"), "difference_mean"])  # the baseline has none
    declared = pd.read_csv(tmp_path / "comparisons.csv").iloc[0]
    assert (declared.metric, declared.margin, declared.verdict) == ("azimuth_mae_deg", 0.5, "no verdict")


def test_what_is_missing_is_empty_and_words_are_quoted(tmp_path: Path) -> None:
    records = ({"arm": 'a "b", c', "value": math.nan, "n": 3}, {"arm": "d\ne", "value": 0.1 + 0.2, "more": True})
    table = TextTable(("Arm, label", "x"), ((Cell("a"), Cell("1 ± 2")),))
    tidy.write_tables([Table("one", table, records=records), Table("two", table), Picture("a.png", "")], tmp_path)
    one = (tmp_path / "one.csv").read_bytes()
    assert one == b'arm,value,n,more\n"a ""b"", c",,3,\n"d\ne",0.30000000000000004,,true\n'
    assert (tmp_path / "two.csv").read_text() == '"Arm, label",x\na,1 ± 2\n'
    assert len(list(tmp_path.iterdir())) == 2


def test_json_holds_the_whole_analysis(analysis: Analysis) -> None:
    document = json.loads(tidy.document(analysis))
    assert document["question"] == analysis.question
    hybrid = document["matrix"][2]
    assert hybrid["arm"] == "hybrid"
    assert hybrid["scores"]["azimuth_mae_deg"]["mean"] == analysis.matrix[2].scores["azimuth_mae_deg"].mean
    assert hybrid["effects"]["azimuth_mae_deg"]["by_seed"].keys() == {"1", "2", "3"}
    assert document["comparisons"][0]["verdict"] == "no verdict"
    assert document["comparisons"][0]["metric"]["name"] == "azimuth_mae_deg"
    assert document["gaps"] == [{"label": "ElePose only", "seed": 3, "status": "missing", "error": ""}]


def test_what_is_no_number_is_null() -> None:
    assert tidy.plain({"a": math.nan, 2: [math.inf, np.float32(0.5), np.int64(3)]}) == {"a": None, "2": [None, 0.5, 3]}
    assert tidy.plain(pd.DataFrame({"x": [1.0, math.nan]})) == [{"x": 1.0}, {"x": None}]
    with pytest.raises(TypeError, match="complex"):
        tidy.plain(1j)
