"""The tables of claims: hypotheses, controls, people, other data. Computes nothing, renders nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis import numbers
from ablate.analysis.answer import Comparison
from ablate.analysis.clusters import of_what
from ablate.analysis.control_findings import ControlFinding
from ablate.analysis.external import ExternalTable
from ablate.analysis.look_rows import LookRow
from ablate.analysis.numbers import GAP
from ablate.analysis.phrasing import margin_text, quoted
from ablate.analysis.population import PopulationRow
from ablate.analysis.short_answer import CostOfGain
from ablate.analysis.statistics import Estimate
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Table
from ablate.report.csv_records import flat
from ablate.report.tables import (
    Cell,
    Column,
    arm_column,
    effect_cell,
    effect_columns,
    known,
    named,
    score_columns,
    text_table,
)
from ablate.study import ClaimKind

KINDS: Mapping[ClaimKind, str] = {"better": "better", "not_worse": "not worse", "equivalent": "equivalent"}


def comparisons(rows: Sequence[Comparison], *, repeated: bool = False) -> Table:
    """One row for each comparison: the verdict if it was declared, the difference, both p values, the adjusted one.

    `repeated`: the intervals hold at all looks that were planned.
    """
    declared = any(not row.exploratory for row in rows)
    verdicts: list[Column] = [
        ("Verdict", [Cell(row.verdict, strong=row.verdict in ("supported", "refuted")) for row in rows]),
        (
            "Margin",
            [GAP if row.margin is None else margin_text(row.margin, row.metric) for row in rows],
        ),
    ]
    if any(row.kind != "better" for row in rows):
        verdicts.insert(0, ("Claim", [KINDS[row.kind] for row in rows]))
    over_both = [row.over_clusters for row in rows if row.over_clusters is not None]
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Against", [row.against_label for row in rows]),
        ("Metric", [named(row.metric) for row in rows]),
        *(verdicts if declared else ()),
        (
            f"Difference [{'repeated ' if repeated else ''}95 % interval over seeds]",
            [numbers.difference(row.effect.difference, row.places) for row in rows],
        ),
        *([(f"[over seeds and {of_what(over_both)}]", [_over_both(row) for row in rows])] if over_both else []),
        *([("[simultaneous]", [_simultaneous(row) for row in rows])] if declared else []),
        ("Pairs", [str(row.effect.difference.n) for row in rows]),
        ("d_z", [numbers.signed(row.effect.d_z, 2) for row in rows]),
        ("p against 0 (t)", [numbers.p_value(row.effect.p) for row in rows]),
        ("p against 0 (sign-flip)", [numbers.sign_flip_p(row.effect) for row in rows]),
        *([(_judged(rows), [numbers.p_value(row.p_adjusted) for row in rows])] if declared else []),
    ]
    records = [{**flat(row), "verdict": row.verdict, "reason": row.reason} for row in rows]
    return Table("comparisons", text_table(columns, words=3 + declared + (len(verdicts) == 3)), records=records)


def costs_of_gains(rows: Sequence[CostOfGain], analysis: Analysis) -> Table:
    """One row for each pair of arms: their differences, and what the first has more of than the second."""
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Against", [row.against_label for row in rows]),
        *(
            (f"Δ {named(m)}", [_gain(row.effects[m.name], analysis.places[m.name]) for row in rows])
            for m in analysis.metrics
        ),
        *known(
            (("Parameters", [_added(row.parameters) for row in rows]), [row.parameters for row in rows]),
            (("FLOPs of one example", [_added(row.flops) for row in rows]), [row.flops for row in rows]),
            (("Latency of one example", [_slower(row.latency_ms) for row in rows]), [row.latency_ms for row in rows]),
        ),
    ]
    records = [
        {
            "arm": row.label,
            "against": row.against_label,
            **{f"{cost}{end}": pair[i] for cost, pair in _pairs(row) for i, end in enumerate(("", "_against"))},
        }
        for row in rows
    ]
    return Table("earns", text_table(columns, words=2), records=records)


def _pairs(row: CostOfGain) -> list[tuple[str, tuple[float | None, float | None]]]:
    costs = {"parameters": row.parameters, "flops": row.flops, "latency_ms": row.latency_ms}
    return [(name, pair or (None, None)) for name, pair in costs.items()]


def _gain(gap: Estimate | None, places: int) -> Cell:
    return Cell(GAP) if gap is None else Cell(numbers.difference(gap, places), strong=gap.excludes_zero)


def _added(pair: tuple[float, float] | None) -> str:
    """`+1.2M (4.0×)`."""
    return GAP if pair is None else numbers.signed_count(pair[0] - pair[1]) + _times(pair)


def _slower(pair: tuple[float, float] | None) -> str:
    """`+1.07 ms (1.9×)`."""
    if pair is None:
        return GAP
    places = 2 if max(pair) >= 0.1 else 4
    return f"{numbers.signed(pair[0] - pair[1], places)} ms{_times(pair)}"


def _times(pair: tuple[float, float]) -> str:
    ours, theirs = pair
    return f" ({ours / theirs:.1f}×)" if theirs and f"{ours / theirs:.1f}" != "1.0" else ""


def looks(rows: Sequence[LookRow]) -> Table:
    """One row for each planned look: how much of the error is spent, how small a p must be, what it has decided."""
    columns: list[Column] = [
        ("Seeds", [str(row.seeds) for row in rows]),
        ("Decided here", ["; ".join(row.decided) or ("nothing" if row.taken else "not taken") for row in rows]),
        ("Of all seeds", [f"{100 * row.share:.0f} %" for row in rows]),
        ("Of the 5 % spent", [_spent(row) for row in rows]),
        ("p for the first", [f"{row.first_level:.2g}" for row in rows]),
        ("p for the last", [f"{row.last_level:.2g}" for row in rows]),
    ]
    return Table("looks", text_table(columns, words=2), records=[flat(row) for row in rows])


def _spent(row: LookRow) -> str:
    percent = 100 * row.spent
    return f"{percent:.2g} %" if percent < 99.5 else "100 %"


def variance_shares(rows: Sequence[Comparison]) -> Table | None:
    """One row for each comparison with an interval over clusters or data sets: where its variance comes from."""
    known = [(row, both, both.shares) for row in rows if (both := row.over_clusters) is not None and both.shares]
    if not known:
        return None
    of = of_what(both for _, both, _ in known)
    parts = ("Seeds (with tuning)", numbers.capital(of), "Examples" if of == "clusters" else "Rest")
    columns: list[Column] = [
        ("Arm", [row.label for row, *_ in known]),
        ("Against", [row.against_label for row, *_ in known]),
        ("Metric", [named(row.metric) for row, *_ in known]),
        ("Would shrink it most", [_would_shrink(of_what([both]), shares) for _, both, shares in known]),
        *((name, [f"{100 * shares[i]:.0f} %" for *_, shares in known]) for i, name in enumerate(parts)),
    ]
    records = [
        flat(row) | dict(zip(("seeds_share", "clusters_share", "examples_share"), shares, strict=True))
        for row, _, shares in known
    ]
    return Table("variance", text_table(columns, words=4), records=records)


def _would_shrink(of: str, shares: tuple[float, float, float]) -> str:
    """What there would have to be more of, so that the largest share of the variance shrinks."""
    rest = "more examples of each cluster" if of == "clusters" else "more seeds or more data sets"
    return ("more seeds", f"more {of}", rest)[shares.index(max(shares))]


def reasons(comparisons: Sequence[Comparison]) -> list[str]:
    """Reasons of verdicts, or what is unusual about a difference, and what other studies found: one text for each
    comparison that has any."""
    texts = []
    for c in comparisons:
        own = f"{c.reason.rstrip('.')}." if c.reason else ""
        text = " ".join(part for part in (own, c.elsewhere and c.elsewhere.sentence) if part)
        if text:
            texts.append(f"{quoted(c.label)} against {quoted(c.against_label)}, {named(c.metric)}: {text}")
    return texts


def populations(rows: Sequence[PopulationRow]) -> Table:
    """One row for each comparison: the difference over people instead of over seeds."""
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Against", [row.against_label for row in rows]),
        ("Metric", [named(row.metric) for row in rows]),
        ("Reading", [_reading(row) for row in rows]),
        ("People", [str(row.population.subjects) for row in rows]),
        (
            "Difference [95 % interval over people]",
            [numbers.difference(row.population.difference, row.places) for row in rows],
        ),
    ]
    return Table("population", text_table(columns, words=4), records=[flat(row) for row in rows])


def controls(findings: Sequence[ControlFinding]) -> Table:
    """One row for each control and metric: the gain of the controlled arm, the control's gain, and their difference."""
    rows = [(finding, row) for finding in findings for row in finding.rows]
    columns: list[Column] = [
        ("Control", [finding.label for finding, _ in rows]),
        ("Made by", [finding.what for finding, _ in rows]),
        ("Controls for", [finding.of_label for finding, _ in rows]),
        ("Metric", [named(row.metric) for _, row in rows]),
        ("Δ controlled arm", [effect_cell(row.gain, row.places) for _, row in rows]),
        ("Δ control", [effect_cell(row.control, row.places) for _, row in rows]),
        ("Controlled − control", [effect_cell(row.remaining, row.places) for _, row in rows]),
    ]
    records = [{**flat(finding, row), "sentence": finding.sentence} for finding, row in rows]
    return Table("controls", text_table(columns, words=4), records=records)


def external(table: ExternalTable) -> Table:
    """One row for each arm: its scores on external data, and its differences to the baseline there.

    The records have one row for each arm and metric.
    """
    rows, metrics = table.rows, table.metrics
    columns: list[Column] = [
        arm_column(rows),
        ("Runs", [str(row.runs) for row in rows]),
        *score_columns(rows, metrics),
        *effect_columns(rows, metrics, table.places),
    ]
    records = [
        flat(row, metric, row.scores[metric.name], row.effects.get(metric.name)) for row in rows for metric in metrics
    ]
    return Table(f"external_{table.name}", text_table(columns), records=records)


def _judged(rows: Sequence[Comparison]) -> str:
    """The header of the p of the verdicts: what they test against."""
    return f"p against {'the margin' if any(row.margin for row in rows) else '0'} (Holm)"


def _over_both(row: Comparison) -> str:
    both = row.over_clusters
    return GAP if both is None or both.interval is None else numbers.interval(both.interval, row.places) or GAP


def _simultaneous(row: Comparison) -> str:
    found = None if row.judgement is None else row.judgement.simultaneous
    return GAP if found is None else numbers.interval(found, row.places) or GAP


def _reading(row: PopulationRow) -> str:
    return "descriptive" if row.population.descriptive else "hypothesis" if row.declared else "exploratory"
