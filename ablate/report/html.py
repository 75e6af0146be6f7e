"""Blocks as one HTML page that embeds its pictures and loads nothing else. Escapes all text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2

from ablate.analysis.numbers import GAP, MINUS
from ablate.report.blocks import Block, Bullets, Code, Heading, Paragraph, Picture, Table, slug
from ablate.report.markdown import WIDTH
from ablate.report.tables import Cell

TESTS = {"heading": Heading, "paragraph": Paragraph, "bullets": Bullets, "table": Table, "picture": Picture}
TESTS |= {"code": Code}
NUMBER = re.compile(r"[<>≤≥~±\s]*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z]*)")
# Factors of count suffixes and time units, so that 48 s is sorted before 1.5 h and 900k before 1.2M.
SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "min": 60.0, "h": 3600.0}


def render(blocks: Sequence[Block], title: str, figures: Path) -> str:
    """The page; the pictures in the folder `figures` are embedded in it.

    Its content security policy allows only the template's script and style, by their digests: no text from a study
    can run as code, and nothing is loaded from elsewhere.
    """
    css, script = (_resource(name) for name in ("page.css", "sort.js"))
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
    environment.filters |= {"base64": lambda picture: _inline(figures, picture)}
    return environment.get_template("page.html.jinja").render(
        blocks=blocks,
        title=title,
        width=WIDTH,
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


def _inline(figures: Path, picture: Picture) -> str:
    return base64.b64encode((figures / picture.file).read_bytes()).decode()


def _resource(name: str) -> str:
    return files("ablate.report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
