"""Parse TOML from anywhere into plain tables, or say what is wrong with it. Knows nothing of what the keys mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from ablate.untrusted.problems import InputError, Problem

MAX_DEPTH = 40  # of tables and lists; every walk over a document may then recurse
MAX_ITEMS = 10_000  # keys and items; each may be wrong in a way of its own, and is then compared with the right ones

# Strings and comments, closed or not; never backtracks.
_TEXT = re.compile(
    r'"""(?:(?!""")(?:\\.|[^\\]))*+(?:""")?|' r"'''(?:(?!''').)*+(?:''')?|"
    r'"(?:\\.|[^"\\\n])*+"?|' r"'[^'\n]*+'?|#[^\n]*+",
    re.DOTALL,
)  # fmt: skip
# Measured: tomllib takes 4 minutes for one key of 50,000 parts (100 kB), for their number counts squared.
_LONG_KEY = re.compile(rf"\.(?:[^.,=\[\]{{}}\n]*+\.){{{MAX_DEPTH}}}")


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The document. Raises InputError naming `file` and the place."""
    deep = Problem(file, "", "is nested too deeply")
    if _LONG_KEY.search(_TEXT.sub("s", text)):
        raise InputError(deep)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(deep) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(_malformed(file, str(error))) from None
    except ValueError:  # from int(), which refuses thousands of digits
        raise InputError(Problem(file, "", "holds a number with too many digits")) from None
    _check_extent(document, deep)
    return document


def _malformed(file: str, message: str) -> Problem:
    """tomllib's message with the position moved to the place."""
    rule, _, position = message.partition(" (at ")
    at = re.fullmatch(r"line (\d+), column (\d+)\)", position)
    where = f"line {at[1]}, column {at[2]}" if at else "last line" if position else ""
    rule = re.sub(r"\(('.*?),?\)", lambda keys: f"[{keys[1].replace(chr(39), '').replace(', ', '.')}]", rule)
    return Problem(file, where, f"is not valid TOML: {rule[:1].lower()}{rule[1:]}"[:300])


def _check_extent(document: dict[str, Any], deep: Problem) -> None:
    level: list[Any] = [document]
    count = depth = 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > MAX_DEPTH:
            raise InputError(deep)
        if count > MAX_ITEMS:
            raise InputError(Problem(deep.file, "", f"must have at most {MAX_ITEMS:,} keys and items"))
        level = [item for value in level if isinstance(value, dict | list) for item in _items(value)]


def _items(value: dict[str, Any] | list[Any]) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value
