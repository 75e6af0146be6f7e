from __future__ import annotations

from pathlib import Path

from toy_results import ARMS, Toy

from ablate.analysis import results as tables
from ablate.analysis.tradeoff import tradeoff
from ablate.report import tables_figures

WITH_REFERENCE = {"torso-frame": {"label": "Torso frame", "reference": True}, **ARMS}


def test_a_point_has_what_its_arm_costs_and_achieves(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path, WITH_REFERENCE, skip=[("elepose", s) for s in (1, 2, 3)]).store(), "toy")
    points = tradeoff(results)
    assert [(p.arm, p.reference) for p in points] == [("existing", False), ("hybrid", False), ("torso-frame", True)]
    assert points[1].parameters == 6_983_431
    assert points[1].latency_ms is not None
    assert abs(points[1].latency_ms - 3.23) < 1e-9  # the mean of 3.22, 3.23 and 3.24
    table = tables_figures.cost(points, results.metrics["azimuth_mae_deg"]).table
    assert [cell.text for cell in table.rows[1]][:3] == ["Hybrid", "7.0M", "3.23 ms"]
    assert table.rows[2][1].text == "–"
