"""Errors in user input: each names file, place, rule, value and the nearest valid choice."""

from __future__ import annotations

import re
from typing import NamedTuple

# Control characters (but not line breaks and tabs), overrides of the writing direction, and halves of surrogate pairs:
# they change how a terminal shows a text, or cannot be written to a file.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
MESSAGE_LIMIT = 4000  # characters of one problem


def printable(text: str) -> str:
    """The text with unprintable characters as escapes, `\\x1b`: for texts that come from files."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class Problem(NamedTuple):
    """One error in user input: file, place in it, the rule that is broken, the value, the nearest valid choice."""

    file: str
    place: str  # inside the file, for example a dotted path
    rule: str
    value: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        location = f"{self.file}: {self.place}" if self.place else self.file
        got = f" (got {self.value})" if self.value else ""
        hint = f"; {self.nearest}" if self.nearest else ""
        text = printable(f"{location}: {self.rule}{got}{hint}")
        return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} …"


class InputError(Exception):
    """One or many Problems, raised together and before anything is created. Exit code 2."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))
