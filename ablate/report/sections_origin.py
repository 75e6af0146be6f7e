"""The last sections of a page: gaps, outdated runs, caveats, provenance. Computes nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations

from ablate.analysis.clusters import DATA_SET
from ablate.analysis.phrasing import counted, quoted
from ablate.analysis.records import SPLITS
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import Analysis
from ablate.planning.counting import same_code
from ablate.report import calibration, tables_results
from ablate.report.blocks import Block, Code, Heading, Link, Listing, Span, Table, bullets, paragraph
from ablate.report.sections_answer import GAPS_TITLE
from ablate.report.tables import text_table
from ablate.study import Study
from ablate.study.runs import code_sources
from ablate.untrusted.wording import listing

FIRST_FACTS = ("commit", "dirty", "data_digest", "source_digest", "device", "instruction_set", "threads", "python")
NOT_NOTHING = "No difference shown is not the same as no difference."

Provenance = Mapping[tuple[str, int], Mapping[str, str]]  # (arm, seed) → fact → value


def gaps(analysis: Analysis, results: Results) -> list[Block]:
    """The runs without a score, and the commands that run them."""
    if not analysis.gaps:
        return []
    missing, failed = Code("ablate run"), Code("ablate run --rerun failed")
    words = paragraph(missing, " does missing runs; ", failed, " does failed ones again.")
    if results.study.trainer == "adopted":
        words = paragraph("The adopted table has no score of them.")
    return [Heading(GAPS_TITLE), tables_results.gaps(analysis), words]


def outdated(analysis: Analysis, results: Results) -> list[Block]:
    """The finished runs that do not count, and why."""
    if not results.outdated:
        return []
    groups: dict[tuple[str, str, str], list[int]] = {}
    for old in results.outdated:
        groups.setdefault((old.record.arm, old.record.phase, old.changed), []).append(old.record.seed)
    lines = [
        f"{quoted(analysis.labels[arm])}, {'tuning' if phase == 'tune' else 'comparison'}, "
        f"{counted(len(seeds), 'run')} ({'seed' if len(set(seeds)) == 1 else 'seeds'} "
        f"{listing(str(seed) for seed in dict.fromkeys(seeds))}): {changed}"
        for (arm, phase, changed), seeds in groups.items()
    ]
    words = (
        "These runs are finished, but not of what the study asks for now. They are in no table and no claim. "
        "What changed since they were made:"
    )
    return [Heading("Outdated runs"), paragraph(words), *bullets(lines)]


def caveats(analysis: Analysis, results: Results) -> list[Block]:
    """Caveats, and amendments of the study."""
    per_seed = results.study.tuning is not None and results.study.tuning.per == "seed"
    fixed = "its space and its budget" if analysis.overlap is not None else "its validation set, space and budget"
    repeated = f"Tuning is repeated with every seed. What stays the same is {fixed}."
    lines = [
        f"The conclusions hold for {_conditions(analysis, per_seed)} and this data. Settings that no arm tuned are a "
        "condition of the result, not part of it.",
        *_coverage(analysis),
        *([repeated] if per_seed else []),
        NOT_NOTHING,
        *calibration.sentences(analysis, per_seed=per_seed),
    ]
    mixed = mixed_provenance(analysis, results.provenance)
    lines += [f"Runs of one arm were not made alike. {line}." for line in mixed]
    lines += analysis.remarks
    lines += [f"Amended {a['date']}: {a['what']}." for a in results.document.get("amendments") or []]
    return [Heading("What this does not say"), *bullets(lines)]


def _coverage(analysis: Analysis) -> list[str]:
    """What the intervals are over."""
    if len(analysis.seeds) == 1:
        return [f"One seed has no interval: what another seed or {_other_data(analysis)} would give is not known."]
    seeds = "The intervals over seeds cover what changes from seed to seed."
    both = [c.over_clusters for c in analysis.comparisons]
    columns = dict.fromkeys(over.column for over in both if over is not None and over.decides)
    if not columns:
        return [f"{seeds} They do not cover {_not_covered(analysis)}."]
    others = [
        "Those over seeds and data sets also cover other data sets, as far as these are like a random sample of them."
        if column == DATA_SET
        else f"Those over seeds and clusters also cover other values of {column} like these."
        for column in columns
    ]
    conditions = "cameras, recordings or conditions" if analysis.people else "conditions"
    return [f"{' '.join([seeds, *others])} Nothing covers other {conditions} than the data has."]


def _other_data(analysis: Analysis) -> str:
    return f"other {SPLITS[analysis.split]} examples" if analysis.test_examples else "other data"


def _conditions(analysis: Analysis, per_seed: bool) -> str:
    settings = "these tuned settings" if analysis.tuned else "these settings"
    if per_seed:
        settings = "this tuning budget and space"
    if analysis.trainer == "built-in":
        return f"{settings}, this training length"
    return f"{settings}, this budget of a run" if any(row.run_budget for row in analysis.budget) else settings


def _not_covered(analysis: Analysis) -> str:
    if analysis.people:
        return "the choice of test examples: other people, cameras or recordings can give other numbers"
    if analysis.test_examples:
        return f"the choice of {SPLITS[analysis.split]} examples: others can give other numbers"
    return "the choice of data: other data can give other numbers"


# A folder of the machine that ran the study: quoted for a shell, or up to the next blank.
ABSOLUTE_DATA = re.compile(r"(--data-root[ =])('/[^']*'|/\S*|[A-Za-z]:\\\S*)")


def origin(analysis: Analysis, results: Results, study_file: str) -> list[Block]:
    """Provenance, the commands to reproduce the study and the page, and the files beside it."""
    typed = results.document.get("command") or f"ablate run {study_file or analysis.name + '.toml'}"
    command = ABSOLUTE_DATA.sub(r"\1DATA", typed)
    folder = [paragraph("DATA is the folder with the study's data files.")] if command != typed else []
    opened = _opened(results.document)
    scores, times = Link("results.csv", "results.csv"), Link("timings.csv", "timings.csv")
    measured: list[Span] = [] if results.timings.empty else [", ", times, " every measured time"]
    return [
        Heading("Where it comes from"),
        provenance_table(results.provenance),
        *([] if results.study.trainer == "adopted" else [paragraph(*_digested(results.study))]),
        *([paragraph(*opened)] if opened else ()),
        paragraph("To do it again, and to write this page again from the store:"),
        Listing(f"{command}\nablate report {analysis.name}"),
        *folder,
        paragraph(scores, " has every score", *measured, "."),
    ]


def _digested(study: Study) -> list[Span]:
    """What the source digest covers."""
    if study.trainer == "built-in":
        return [
            "source_digest is that of the training loop and of an arm's model, data and loss code: arms with other "
            "components have another."
        ]
    sources = [span for source in code_sources(study.settings) for span in (", ", Code(source))][1:]
    if study.trainer == "command":
        return [
            "source_digest is that of the files below the study's folder that match ",
            *sources,
            "; other code of the command is not in it.",
        ]
    return ["source_digest is that of the function ", *sources, " and of the code that it imports."]


def provenance_table(provenance: Provenance) -> Table:
    """One row for each fact; where runs differ, every value with the number of runs that have it."""
    names = {name for facts in provenance.values() for name in facts}
    ordered = [n for n in FIRST_FACTS if n in names] + sorted(names - set(FIRST_FACTS))
    counts = {name: Counter(facts.get(name, "not recorded") for facts in provenance.values()) for name in ordered}
    columns = [("Fact", list(counts)), ("Value", [_distinct(values) for values in counts.values()])]
    return Table("provenance", text_table(columns, words=2))


def mixed_provenance(analysis: Analysis, provenance: Provenance) -> list[str]:
    """The facts in which runs of one arm differ, as `arm label: fact, fact`."""
    lines = []
    for arm, label in analysis.labels.items():
        runs = [facts for (name, _), facts in provenance.items() if name == arm]
        keys = sorted({key for facts in runs for key in facts})
        mixed = [key for key in keys if _mixed(key, {facts.get(key) for facts in runs})]
        if mixed:
            lines.append(f"{quoted(label)}: {', '.join(mixed)}")
    return lines


def _mixed(fact: str, values: Collection[str | None]) -> bool:
    if fact != "source_digest" or None in values:
        return len(values) > 1
    return any(same_code(*pair) == "changed" for pair in combinations(sorted(filter(None, values)), 2))


def _opened(document: Mapping[str, object]) -> list[Span]:
    spans: list[Span] = []
    if document.get("created"):
        spans.append(f"Study opened {document['created']}. ")
    if document.get("hypotheses_digest"):
        spans += ["Digest of its hypotheses: ", Code(str(document["hypotheses_digest"])), "."]
    return spans


def _distinct(runs_by_value: Counter[str]) -> str:
    if len(runs_by_value) == 1:
        return next(iter(runs_by_value))
    return "; ".join(f"{value} ({counted(count, 'run')})" for value, count in sorted(runs_by_value.items()))
