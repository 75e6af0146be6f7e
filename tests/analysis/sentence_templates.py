"""The sentences in the source of what reports and comparisons say, as patterns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import ablate

ROOT = Path(ablate.__file__).parent
HOLE = "{}"  # what a template fills in
FEWEST_WORDS = 3  # a text with fewer is a label or a part of a word, and is checked where it is listed all the same


@cache
def templates(*files: str) -> dict[str, str]:
    """Every text with a blank in these files below `ablate` → the first place that has it.

    An f-string is one text, with `{}` for its values; so are texts that follow each other without a comma. Docstrings
    are none. Names in braces, of texts that are formatted later, become `{}` too.
    """
    found: dict[str, str] = {}
    for file in files:
        for line, text in _texts(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if " " in text.strip():
                found.setdefault(text, f"{file}:{line}")
    return found


def words(template: str) -> int:
    """How many words of two letters or more a template has of its own."""
    return len(re.findall(r"[^\W\d_]{2,}", template.replace(HOLE, " ")))


def parts(template: str) -> list[str]:
    """The texts between a template's holes, without the first letter, which a sentence may have made a capital one."""
    texts = template.split(HOLE)
    return [texts[0][1:], *texts[1:]] if template[:1].isalpha() else texts


def pattern(template: str) -> re.Pattern[str]:
    """Finds a text that the template gave. Several holes in a row are one, and those at the ends need no match."""
    template = re.sub(r"(\{\})+", HOLE, template)
    template = template.removeprefix(HOLE).removesuffix(HOLE)
    first = f"[{template[0].lower()}{template[0].upper()}]" if template[:1].isalpha() else ""
    return re.compile(first + ".*?".join(map(re.escape, parts(template))))


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    raised = (part for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node))
    problems = (
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        for part in ast.walk(node)
    )
    inside |= {id(part) for part in (*raised, *problems)}  # errors, which have tests of their own
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (str(v.value) if isinstance(v, ast.Constant) else HOLE for v in node.values)
            yield node.lineno, _holes("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, _holes(node.value)


def _holes(text: str) -> str:
    """`{base}` of a text that is formatted later, as a hole; without the markup of a terminal, such as `[bold]`."""
    return re.sub(r"\[/?bold\]", "", re.sub(r"\{[a-z_]*\}", HOLE, text))
