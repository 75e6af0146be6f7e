"""Parse TOML from strangers into plain tables, within limits. It must not know what the keys mean."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from typing import Any

from ablate.untrusted.problems import InputError, Problem

MAX_DEPTH = 40  # of tables and lists, so that code that walks a document may recurse
MAX_ITEMS = 10_000  # keys and items: each unknown one is compared with all valid names

# Strings and comments, terminated or not. Possessive quantifiers (*+): it never backtracks.
_TEXT = re.compile(
    r'"""(?:(?!""")(?:\\.|[^\\]))*+(?:""")?|' r"'''(?:(?!''').)*+(?:''')?|"
    r'"(?:\\.|[^"\\\n])*+"?|' r"'[^'\n]*+'?|#[^\n]*+",
    re.DOTALL,
)  # fmt: skip
# Measured: tomllib takes 4 minutes for one key of 50,000 parts (100 kB); its time grows with their number squared.
_LONG_KEY = re.compile(rf"\.(?:[^.,=\[\]{{}}\n]*+\.){{{MAX_DEPTH}}}")


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The document. Raises InputError with `file` and the position of the error."""
    if _LONG_KEY.search(_TEXT.sub("s", text)):
        raise InputError(_too_deep(file))
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(_too_deep(file)) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(_malformed(file, str(error))) from None
    except ValueError:  # from int(), which refuses more than 4300 digits
        raise InputError(Problem(file, "", "holds a number with too many digits")) from None
    _check_extent(document, file)
    return document


def _malformed(file: str, message: str) -> Problem:
    """tomllib's message, its position as the place of a Problem."""
    rule, _, position = message.partition(" (at ")
    at = re.fullmatch(r"line (\d+), column (\d+)\)", position)
    location = f"line {at[1]}, column {at[2]}" if at else "last line" if position else ""
    rule = re.sub(r"\(('.*?),?\)", lambda keys: f"[{keys[1].replace(chr(39), '').replace(', ', '.')}]", rule)
    return Problem(file, location, f"is not valid TOML: {rule[:1].lower()}{rule[1:]}"[:300])


def _check_extent(document: dict[str, Any], file: str) -> None:
    """Raises InputError where the document is nested too deeply or has too many items. Level by level, no recursion."""
    level: list[Any] = [document]
    count = depth = 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > MAX_DEPTH:
            raise InputError(_too_deep(file))
        if count > MAX_ITEMS:
            raise InputError(Problem(file, "", f"must have at most {MAX_ITEMS:,} keys and items"))
        tables = [value for value in level if isinstance(value, dict | list)]
        level = list(chain.from_iterable(table.values() if isinstance(table, dict) else table for table in tables))


def _too_deep(file: str) -> Problem:
    return Problem(file, "", "is nested too deeply")
