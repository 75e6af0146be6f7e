"""How the MLflow UI shows a study: the state of its runs page, kept as tags of the experiment, and the page's address.

The UI opens such a state by the key in the address, as it does for a view that a person has shared. The names of its
fields are those of MLflow's `ExperimentPageUIState` and `ExperimentPageSearchFacetsState`. Imports no mlflow.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from ablate.study import Direction
from ablate.study.summary import StudySummary
from ablate.tracking.record_format import ROLE, YARDSTICK

COMPARISON = "ablate-comparison"  # the view that `ablate ui` opens; its value is read by every MLflow 3
NAMED = {"ablate-arms": "Arms: mean and 95 % interval", "ablate-seeds": "Every seed, grouped by arm"}  # in its menu
TAG = "mlflow.sharedViewState."
LOW, HIGH, INTERVAL = " low", " high", "interval/"  # no metric of a study has a space in its name
FILTER = f"tags.`{ROLE}` = 'arm' AND tags.`{YARDSTICK}` = 'no'"


def page(experiment_id: str, *, view: bool, charts: bool = True) -> str:
    """The address of a study's runs in the UI, below that of the server; `view`: with its comparison."""
    query = {"workflowType": "machine_learning", "compareRunsMode": "CHART" if charts else "TABLE"}
    if view:
        query["viewStateShareKey"] = COMPARISON
    return f"/#/experiments/{quote(experiment_id)}/runs?{urlencode(query)}"


def run_page(experiment_id: str, run_id: str, file: str = "") -> str:
    """The address of a run, or of one of its files, in the UI."""
    place = f"{quote(run_id)}/artifacts/{quote(file)}" if file else quote(run_id)
    return f"#/experiments/{quote(experiment_id)}/runs/{place}?workflowType=machine_learning"


def view_tags(summary: StudySummary) -> dict[str, str]:
    """The tags of the experiment that hold its views. The same summary gives the same tags."""
    arms, seeds = _packed(_arms_view(summary)), _packed(_seeds_view(summary))
    named = {
        key: json.dumps({"name": name, "createdAt": 0, "state": state})
        for (key, name), state in zip(NAMED.items(), (arms, seeds), strict=True)
    }
    return {f"{TAG}{key}": value for key, value in {COMPARISON: arms, **named}.items()}


def _packed(state: dict[str, Any]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _arms_view(summary: StudySummary) -> dict[str, Any]:
    """The arm runs that are no yardsticks, best first."""
    primary, direction = next(iter(summary.shown.items()))
    columns = [key + end for key in summary.shown for end in ("", LOW, HIGH)]
    scores = [
        card
        for key in summary.shown
        for card in (_line("scores", [INTERVAL + _name(key)], points=True), _bar("scores", key))
    ]
    curves = [_line("curves", [key, key + LOW, key + HIGH]) for key in summary.curves]
    sections = [("scores", "Scores: 95 % intervals and means")]
    sections += [("curves", "Learning curves with 95 % interval")] if curves else []
    # The UI adds a chart of every metric that has none, unless there was one that a person has removed.
    removed = [
        _bar("scores", key + end, deleted=True) for key in (*summary.shown, *summary.curves) for end in (LOW, HIGH)
    ]
    charts = [*scores, *curves, *removed]
    return _state(FILTER, f"metrics.`{primary}`", direction, columns, charts, sections)


def _seeds_view(summary: StudySummary) -> dict[str, Any]:
    """The runs of the seeds; a group an arm shows the mean, and a curve the range over seeds."""
    primary, direction = next(iter(summary.shown.items()))
    bars = [_bar("means", key) for key in summary.shown]
    curves = [_line("curves", [key]) for key in summary.curves]
    sections = [("means", "Mean scores"), ("curves", "Learning curves: mean and range of the seeds")]
    search = f"tags.`{ROLE}` = 'run' AND tags.`ablate.phase` = 'compare'"
    state = _state(search, f"metrics.`{primary}`", direction, list(summary.shown), [*bars, *curves], sections)
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]}
    return {**state, "groupBy": group}


def _state(
    search: str,
    order: str,
    direction: Direction,
    metrics: Sequence[str],
    charts: Sequence[dict[str, Any]],
    sections: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    return {
        "searchFilter": search,
        "orderByKey": order,
        "orderByAsc": direction == "lower",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in metrics],
        "columnWidths": {f"metrics.`{name}`": 40 + 8 * len(name) for name in metrics},  # in pixels
        "compareRunCharts": list(charts),
        "compareRunSections": [
            {"uuid": key, "name": name, "display": True, "isReordered": True, "columns": 2, "cardHeight": 360}
            for key, name in sections
        ],
        "isAccordionReordered": True,  # else the UI sorts the sections by name
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": None,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
    }


def _name(key: str) -> str:
    """The name of a metric without its split."""
    return key.partition("/")[2] or key


def _card(kind: str, section: str, key: str, *, deleted: bool = False) -> dict[str, Any]:
    common = {"type": kind, "metricSectionId": section, "uuid": f"{section}/{key}", "metricKey": key}
    return {**common, "runsCountToCompare": 100, "deleted": deleted, "isGenerated": False}


def _bar(section: str, key: str, *, deleted: bool = False) -> dict[str, Any]:
    return _card("BAR", section, key, deleted=deleted)


def _line(section: str, keys: Sequence[str], *, points: bool = False) -> dict[str, Any]:
    return {
        **_card("LINE", section, keys[0]),
        "selectedMetricKeys": list(keys),
        "scaleType": "linear",
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "lineSmoothness": 0,
        "displayPoints": points,
        "range": {},
        "yAxisExpressions": [],
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }
