"""What is wrong with what a person gave, told as file, place, rule, value and nearest valid choice."""

from __future__ import annotations

import re
from typing import NamedTuple

# What turns a terminal's or a reader's head: controls (but not line breaks and tabs), overrides of the direction of
# writing, halves of surrogate pairs, which no file takes.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
MESSAGE_LIMIT = 4000  # characters of one problem


def printable(text: str) -> str:
    """The text with what cannot be printed safely as an escape, `\\x1b`: for words that come out of files."""
    return _UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)


class Problem(NamedTuple):
    """One thing wrong with what a person gave: where it stands, the rule, the value, the nearest valid choice."""

    file: str
    place: str
    rule: str
    value: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        got = f" (got {self.value})" if self.value else ""
        hint = f"; {self.nearest}" if self.nearest else ""
        text = printable(f"{where}: {self.rule}{got}{hint}")
        return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} …"


class InputError(Exception):
    """Wrong usage: one or many Problems, raised together, before anything is created. Exit code 2."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))
