"""Write a study's report in the formats asked for, a pure function of the store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.analysis.results import Results, write_csv
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.report import card, figures, html, latex, markdown, tidy
from ablate.report.blocks import Block
from ablate.report.formats import FORMATS, LONG
from ablate.report.outline import outline


@dataclass(frozen=True)
class Report:
    """A report that was written to `folder`: what it says, as numbers and as a page, and its main file."""

    analysis: Analysis
    page: Sequence[Block]
    folder: Path
    file: Path

    def html(self) -> str:
        """The page as HTML with its figures, whether or not it was among the formats."""
        return html.render(self.page, self.analysis.name, self.folder / "figures")


def write(results: Results, out_dir: Path, *, study_file: str = "", formats: Sequence[str] = ("md",)) -> Report:
    """Write the report, `results.csv`, `timings.csv` and `figures/` into `out_dir`. The first format is the main file.

    `formats` are keys of FORMATS. The same store gives the same bytes. Everything is written to a temporary folder
    beside `out_dir` first, so that a report that fails leaves the old one unchanged. Other files in `out_dir` stay.
    `study_file` names the study in the command to run it again where the store has no record of that command.
    """
    analysis = analyse(results)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}-") as temporary:
        fresh = Path(temporary)
        (fresh / "figures").mkdir()
        write_csv(results, fresh)
        pictures = figures.draw(analysis, results, fresh / "figures", _kinds(formats))
        _slides(analysis, results, fresh / "figures" / "slides", formats)
        page = outline(analysis, results, pictures, study_file=study_file)
        for name in formats:
            _write(name, page, analysis, fresh, pictures)
        _replace(fresh, out_dir)
    return Report(analysis, page, out_dir, out_dir / FORMATS[formats[0]])


def _kinds(formats: Sequence[str]) -> list[str]:
    """The kinds of files that figures are saved as: PNG always, for other formats their vector formats too."""
    vector = {"svg": ("html", "svg"), "pdf": ("tex", "pdf")}
    return ["png", *(kind for kind, wanting in vector.items() if set(wanting) & set(formats))]


def _slides(analysis: Analysis, results: Results, folder: Path, formats: Sequence[str]) -> None:
    """The figures at a slide's width, where vector figures are asked for by name."""
    kinds = [kind for kind in ("svg", "pdf") if kind in formats]
    if kinds:
        folder.mkdir()
        figures.draw(analysis, results, folder, kinds, slide=True)


def _write(name: str, page: Sequence[Block], analysis: Analysis, folder: Path, pictures: figures.Pictures) -> None:
    if name == "csv":
        tidy.write_tables(page, folder / "tables")
        return
    if name in ("svg", "pdf"):
        return
    if name == "png":
        card.save(analysis, figures.marks_of(analysis), folder / FORMATS[name])
        return
    if name == "tex":
        latex.write_tables(page, folder / "tables")
        (folder / LONG).write_text(latex.render(page), encoding="utf-8", newline="\n")
    if name == "json":
        text = tidy.document(analysis)
    elif name == "html":
        text = html.render(page, analysis.name, folder / "figures", arms=pictures.arms)
    else:
        text = markdown.render(page) if name == "md" else latex.paper(page)
    (folder / FORMATS[name]).write_text(text, encoding="utf-8", newline="\n")


def _replace(fresh: Path, out_dir: Path) -> None:
    """Move the new files over the old ones. Old pictures are deleted, and old tables of the suffixes just written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out_dir / "figures", ignore_errors=True)
    tables = sorted(fresh.glob("tables/*"))
    for suffix in {path.suffix for path in tables}:
        for old in (out_dir / "tables").glob(f"*{suffix}"):
            old.unlink()
    for path in [*tables, *sorted(fresh.iterdir())]:
        target = out_dir / path.relative_to(fresh)
        target.parent.mkdir(exist_ok=True)
        if path.name != "tables":
            os.replace(path, target)
