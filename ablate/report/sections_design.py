"""What each part of a design does: a table of parts and one of interactions for every metric. Computes nothing."""

from __future__ import annotations

from ablate.analysis import numbers
from ablate.analysis.design import DesignEffects
from ablate.analysis.fraction import ROMAN
from ablate.analysis.numbers import GAP
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Block, Heading, Table, paragraph
from ablate.report.csv_records import flat
from ablate.report.figures import Pictures
from ablate.report.tables import Column, effect_cell, named, text_table

WORDS = {
    "factorial": (
        "The main effect is the score with the part minus that without it, averaged over the arms with and without the "
        "other parts. An interaction of two parts is the effect of one with the other minus its effect without it."
    ),
    "leave_one_out": "The effect is the full design minus the same design without the part.",
    "add_one_in": "The effect is the bare design with the part minus the bare design.",
}
SHAPLEY = (
    " The Shapley value is what the part adds, averaged over all orders in which the parts can come; the values sum to "
    "the whole gain, all parts minus none. Shares are shown where the interval of the whole gain excludes 0."
)
FRACTION = " The study has {arms} of the {all} arms of the factorial, a fraction of resolution {resolution}: {what}."
BY_RESOLUTION = {
    "III": "main effects share their numbers with interactions of two parts, as the table says, and are the parts' own "
    "only as far as those are 0",
    "IV": "main effects share their numbers with interactions of three parts or more, and not with those of two; those "
    "of two parts share theirs with one another where the table has a sum",
    "V": "main effects and interactions of two parts do not share their numbers with one another, but with "
    "interactions of three parts or more",
}
OVER_DATA_SETS = " A score is the mean over all data sets, every one with the same weight."
NO_SHAPLEY = " A Shapley value would take every arm of the factorial."
INTERVALS = (
    " Differences are paired by seed, with 95 % intervals over seeds, each by itself, bold where it excludes 0; p is "
    "adjusted by Holm over all effects of the metric in this section"
)
NO_P = " but the Shapley values"
ONE_SEED = " Differences are of one seed, without an interval."


def design(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """The parts and their interactions in every metric; nothing without a design."""
    if not analysis.design:
        return []
    blocks: list[Block] = [Heading("What each part does")]
    for each in analysis.design:
        caption = f"{named(each.metric)}: what each part does, every seed a dot; filled where the interval excludes 0"
        blocks += [*pictures.show(f"design_{each.metric.name}", caption), _parts(each)]
        if each.interactions:
            blocks.append(_interactions(each))
    first, pooled = analysis.design[0], OVER_DATA_SETS if analysis.across else ""
    no_p = NO_P if any(part.shapley is not None for part in first.parts) else ""
    intervals = f"{INTERVALS}{no_p}." if len(analysis.seeds) > 1 else ONE_SEED
    return [*blocks, paragraph(WORDS[first.kind] + _fraction(first) + pooled + intervals)]


def _fraction(effects: DesignEffects) -> str:
    """What a factorial gives beside main effects and interactions, and which effects share numbers in a fraction."""
    if effects.kind != "factorial":
        return ""
    if effects.resolution is None:
        return SHAPLEY
    what = BY_RESOLUTION[ROMAN[min(effects.resolution, 5)]]
    every = f"{2 ** len(effects.parts):,}"
    text = FRACTION.format(arms=effects.arms, all=every, resolution=ROMAN[effects.resolution], what=what)
    return text + NO_SHAPLEY


def _parts(effects: DesignEffects) -> Table:
    rows = effects.parts
    main = "Main effect" if effects.kind == "factorial" else "Effect"
    columns: list[Column] = [
        ("Part", [row.label for row in rows]),
        (main, [effect_cell(row.effect, effects.places) for row in rows]),
        ("p (Holm)", [numbers.p_value(row.p_adjusted) for row in rows]),
    ]
    caption = f"{named(effects.metric)}: what each part does"
    if any(row.aliases for row in rows):
        columns.append(
            ("Shares its number with", [", ".join(" × ".join(a) for a in row.aliases) or GAP for row in rows])
        )
    if any(row.shapley for row in rows):
        columns += [
            ("Shapley value", [effect_cell(row.shapley, effects.places) for row in rows]),
            (
                "Share of the gain",
                [GAP if row.share is None else f"{numbers.number(100 * row.share, 0)} %" for row in rows],
            ),
        ]
    if effects.whole is not None:
        caption += f"; the whole gain is {numbers.difference(effects.whole.difference, effects.places)}"
    records = [
        {
            "part": row.part, "label": row.label, **flat(effects.metric, row.effect), "p_adjusted": row.p_adjusted,
            **{f"shapley_{end}": getattr(row.shapley.difference, end) if row.shapley else None
               for end in ("mean", "low", "high")},
            "share": row.share,
        }
        for row in rows
    ]  # fmt: skip
    return Table(f"parts_{effects.metric.name}", text_table(columns), caption, records=records)


def _interactions(effects: DesignEffects) -> Table:
    rows = effects.interactions
    columns: list[Column] = [
        ("Parts", [row.name for row in rows]),
        ("Interaction", [effect_cell(row.effect, effects.places) for row in rows]),
        ("p (Holm)", [numbers.p_value(row.p_adjusted) for row in rows]),
        *(
            (
                f"{ordinal} {word} the other",
                [effect_cell(found[index], effects.places) if found else GAP for row in rows
                 for found in [getattr(row, key)]],
            )
            for index, ordinal in enumerate(("First", "Second"))
            if any(row.with_other for row in rows)
            for word, key in (("with", "with_other"), ("without", "without_other"))
        ),
    ]  # fmt: skip
    records = [{"parts": row.name, **flat(effects.metric, row.effect), "p_adjusted": row.p_adjusted} for row in rows]
    return Table(
        f"interactions_{effects.metric.name}",
        text_table(columns),
        f"{named(effects.metric)}: interactions",
        records=records,
    )
