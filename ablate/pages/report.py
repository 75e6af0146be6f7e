"""Render a study's report: Markdown, CSV and figures, all a pure function of the store. Claims nothing of its own."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ablate.claims.analysis import Analysis, analyse
from ablate.claims.results import Results, write_csv
from ablate.pages import figures, lines, tables
from ablate.pages.tables import Cell, TextTable

FIRST_FACTS = ("commit", "dirty", "data_digest", "source_digest", "device", "instruction_set", "threads", "python")
FEW_SEEDS = 5
# Signs that are markup wherever they stand, _ where it is not inside a word, ] where it would close a link.
MARKUP = re.compile(r"[\\|*`<&$~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")


def build(results: Results, out_dir: Path, *, study_file: str = "") -> Path:
    """Write `report.md`, `results.csv`, `timings.csv` and `figures/` into `out_dir`; gives the path of `report.md`.

    The same store gives the same bytes. Everything is made in a temporary folder beside `out_dir` first: a report
    that fails leaves the old one as it was. Other files in `out_dir` are left alone. `study_file` names the study in
    the command to run it again where the store has not kept that command.
    """
    analysis = analyse(results)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}-") as temporary:
        fresh = Path(temporary)
        (fresh / "figures").mkdir()
        write_csv(results, fresh)
        pictures = figures.draw(analysis, results, fresh / "figures")
        (fresh / "report.md").write_text(
            render(analysis, results, pictures, study_file=study_file), encoding="utf-8", newline="\n"
        )
        _replace(fresh, out_dir)
    return out_dir / "report.md"


def render(analysis: Analysis, results: Results, pictures: figures.Pictures, *, study_file: str = "") -> str:
    """The Markdown text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ablate.pages"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; `text` and `markdown` escape what came from a study
    )
    environment.filters |= {"table": markdown, "text": text}
    document = results.document
    command = document.get("command") or f"ablate run {study_file or analysis.name + '.toml'}"
    page = environment.get_template("report.md.jinja").render(
        a=analysis,
        document=document,
        study=results.study,
        pictures=pictures,
        tables=tables,
        baseline=analysis.labels[analysis.baseline],
        provenance=provenance_table(results.provenance),
        mixed=mixed_provenance(analysis, results.provenance),
        few_seeds=len(analysis.seeds) < FEW_SEEDS,
        command=command,
        conditions=_by_column(analysis),
        drawn=[analysis.labels[arm] for arm in lines.drawn(analysis)],
        arms=[row for row in analysis.matrix if not row.reference],
    )
    return re.sub(r"\n{3,}", "\n\n", page)


def markdown(table: TextTable) -> str:
    """A GitHub table; what came from a study is escaped."""
    rule = ["---" if place < table.words else "---:" for place in range(len(table.header))]
    lines = [[text(name) for name in table.header], rule, *([_cell(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(value: object) -> str:
    """Plain text inside Markdown: one line, with the signs that Markdown and its tables would take for theirs."""
    return MARKUP.sub(lambda found: "\\" + found[0], " ".join(str(value).split()))


def provenance_table(provenance: Mapping[tuple[str, int], Mapping[str, str]]) -> TextTable:
    """A row a fact; where runs differ, every value with the number of its runs."""
    names = {name for facts in provenance.values() for name in facts}
    ordered = [n for n in FIRST_FACTS if n in names] + sorted(names - set(FIRST_FACTS))
    counts = {name: Counter(facts.get(name, "not recorded") for facts in provenance.values()) for name in ordered}
    rows = [(Cell(name), Cell(_distinct(found))) for name, found in counts.items()]
    return TextTable(("Fact", "Value"), tuple(rows), words=2)


def mixed_provenance(analysis: Analysis, provenance: Mapping[tuple[str, int], Mapping[str, str]]) -> list[str]:
    """The facts in which runs of one arm differ, as `arm label: fact, fact`."""
    lines = []
    for arm, label in analysis.labels.items():
        runs = [facts for (name, _), facts in provenance.items() if name == arm]
        keys = sorted({key for facts in runs for key in facts})
        mixed = [key for key in keys if len({facts.get(key) for facts in runs}) > 1]
        if mixed:
            lines.append(f"{label}: {', '.join(mixed)}")
    return lines


def _cell(cell: Cell) -> str:
    escaped = text(cell.text)
    return f"**{escaped}**" if cell.strong else f"*{escaped}*" if cell.faint else escaped


def _distinct(found: Counter[str]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({count} run{'s' * (count > 1)})" for value, count in sorted(found.items()))


def _by_column(analysis: Analysis) -> dict[str, list[Any]]:
    return {
        column: [table for table in analysis.conditions if table.column == column]
        for column in dict.fromkeys(table.column for table in analysis.conditions)
    }


def _replace(fresh: Path, out_dir: Path) -> None:
    """Move what was made over what was there; `figures/` is exchanged as a whole, so that no old picture stays."""
    out_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out_dir / "figures", ignore_errors=True)
    for path in sorted(fresh.iterdir()):
        os.replace(path, out_dir / path.name)
