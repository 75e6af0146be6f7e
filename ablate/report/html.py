"""Blocks as one HTML page that has its figures in it and loads nothing else. Escapes all text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import jinja2
import markupsafe

from ablate.analysis.numbers import GAP, MINUS
from ablate.report import style, svg
from ablate.report.blocks import Badge, Block, Bullets, Code, Heading, Paragraph, Picture, Table, slug
from ablate.report.tables import Cell

TESTS = {"heading": Heading, "paragraph": Paragraph, "bullets": Bullets, "table": Table, "picture": Picture}
TESTS |= {"code": Code, "badge": Badge}
NUMBER = re.compile(r"[<>≤≥~±\s]*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z]*)")
# Factors of count suffixes and time units, so that 48 s is sorted before 1.5 h and 900k before 1.2M.
SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "min": 60.0, "h": 3600.0}


def render(blocks: Sequence[Block], title: str, figures: Path, *, arms: Sequence[tuple[str, str, int]] = ()) -> str:
    """The page; the pictures in the folder `figures` are part of it, as SVG where there is one, else as PNG.

    `arms`: name, label and number of the colour of each arm, for the buttons that hide one in the figures.

    Its content security policy allows only the template's script and style, by their digests: no text from a study
    can run as code, and nothing is loaded from elsewhere.
    """
    css, script = (_resource(name) for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ablate.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in TESTS.items()}
    environment.filters |= {"sortable": sortable, "slug": slug, "unbroken": unbroken}
    environment.filters |= {"drawing": lambda picture: _drawing(figures, picture)}
    return environment.get_template("page.html.jinja").render(
        groups=_grouped(blocks),
        contents=[block for block in blocks if isinstance(block, Heading) and block.level == 2],
        title=title,
        arms=arms,
        colours=len(style.PALETTE),
        css=css,
        script=script,
        css_digest=_digest(css),
        script_digest=_digest(script),
    )


def sortable(cell: Cell) -> str:
    """The sort key of a cell: `7.1` for `7.1 ± 0.2`, `900000` for `900k`, empty for a gap, else the text."""
    text = cell.text.strip()
    if text in ("", GAP):
        return ""
    match = NUMBER.match(text.replace(MINUS, "-"))
    if match is None:
        return text
    return repr(float(match[1].replace(",", "")) * SCALES.get(match[2], 1.0))


def unbroken(text: str, number: bool) -> str:
    """Text in which a number does not wrap; only its interval may move to the next line."""
    return text.replace(" ", "\u00a0").replace("\u00a0[", " [") if number else text


def _grouped(blocks: Sequence[Block]) -> list[tuple[bool, list[Block]]]:
    """Runs of pictures, which stand side by side where there is room, and of other blocks."""
    return [(pictures, list(run)) for pictures, run in groupby(blocks, key=lambda block: isinstance(block, Picture))]


def _drawing(figures: Path, picture: Picture) -> markupsafe.Markup:
    """The picture as an element."""
    vector = (figures / picture.file).with_suffix(".svg")
    if vector.exists():
        name = f"figure-{slug(vector.stem)}"
        drawn = svg.inline(
            vector.read_text(encoding="utf-8"), name=name, label=picture.caption, colours=style.variables()
        )
        return markupsafe.Markup(drawn)
    data = base64.b64encode((figures / picture.file).read_bytes()).decode()
    element = '<img class="chart" src="data:image/png;base64,{}" alt="{}">'
    return markupsafe.Markup(element).format(data, picture.caption)


def _resource(name: str) -> str:
    return files("ablate.report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
