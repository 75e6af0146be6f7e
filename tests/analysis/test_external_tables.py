from __future__ import annotations

from toy_scores import AZIMUTH, around, load

from ablate.analysis.external import external_tables

PLACE = f"external/balancing/{AZIMUTH}"
COUNT = "external/balancing/examples"
SCORES = {"existing": around(7.0), "hybrid": around(6.5, 1), "constant": around(90.0)}
ARMS = {"constant": {"label": "Constant", "reference": True}}


def test_scores_on_other_data_are_a_table_of_their_own() -> None:
    other = {
        PLACE: {"existing": around(9.0), "hybrid": around(8.0, 1), "constant": around(80.0)},
        COUNT: {arm: dict.fromkeys(range(1, 6), 120.0) for arm in SCORES},
    }
    (table,) = external_tables(load(SCORES, arms=ARMS, other=other))
    assert (table.name, table.examples, table.note) == ("balancing", 120, "")
    assert [metric.name for metric in table.metrics] == [AZIMUTH]
    assert [row.label for row in table.rows] == ["Existing only", "Hybrid", "Constant"]
    hybrid = table.rows[1]
    assert round(hybrid.scores[AZIMUTH].mean or 0, 9) == 8.0
    assert round(hybrid.effects[AZIMUTH].difference.mean or 0, 9) == -1.0
    assert (hybrid.runs, table.rows[0].effects, table.rows[0].baseline) == (5, {}, True)


def test_one_run_is_a_number_without_an_interval_and_says_so() -> None:
    other = {PLACE: {arm: {1: 9.0} for arm in SCORES}}
    (table,) = external_tables(load(SCORES, arms=ARMS, other=other))
    assert table.note == "one run an arm: numbers without intervals, which claim nothing"
    assert table.examples is None
    assert table.rows[1].scores[AZIMUTH].half_width is None
    assert table.rows[1].effects[AZIMUTH].p is None


def test_unlike_runs_are_told() -> None:
    other = {
        PLACE: {"existing": around(9.0), "hybrid": {1: 8.0, 2: 8.1}},
        COUNT: {"existing": {1: 120.0}, "hybrid": {1: 100.0}},
    }
    (table,) = external_tables(load(SCORES, arms=ARMS, other=other))
    assert [row.arm for row in table.rows] == ["existing", "hybrid"]
    assert table.note == (
        "not scored: “Constant”; from 2 to 5 runs an arm: differences are over the seeds that both arms have; "
        "runs were scored on 100 to 120 examples: not all on the same"
    )


def test_a_metric_of_the_catalogue_alone_is_shown_where_none_of_the_study_was_logged() -> None:
    other = {
        "external/balancing/accuracy": {"existing": {1: 60.0}},
        "external/balancing/unknown": {"existing": {1: 1.0}},
    }
    (table,) = external_tables(load(SCORES, arms=ARMS, other=other))
    assert [metric.name for metric in table.metrics] == ["accuracy"]


def test_without_such_scores_there_is_no_table() -> None:
    assert external_tables(load(SCORES, arms=ARMS)) == ()
