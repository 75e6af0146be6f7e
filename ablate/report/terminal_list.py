"""What `ablate list` prints: a line for each study, or JSON. Computes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ablate.study import printable
from ablate.untrusted.wording import cut

QUESTION_WIDTH = 24  # that is left to the question at least, however narrow the terminal
NAME_CHARACTERS = 32


@dataclass(frozen=True)
class ListedStudy:
    """A study of a store. `changed` is an ISO time in UTC; `damage` says why its runs could not be counted."""

    name: str
    question: str
    done: int
    failed: int
    runs: int  # comparison runs that the study asks for
    changed: str | None
    damage: str = ""


def document(studies: Sequence[ListedStudy]) -> list[dict[str, Any]]:
    """Plain JSON."""
    return [asdict(study) for study in studies]


def lines(studies: Sequence[ListedStudy], width: int = 80) -> Iterator[str]:
    """Name, runs that are done, last change in local time, and the question, which wraps in its column."""
    header = ("study", "runs done", "last change")
    rows = [(cut(printable(s.name), NAME_CHARACTERS), _runs(s), _time(s.changed)) for s in studies]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    yield "  ".join([*(f"{text:<{w}}" for text, w in zip(header, widths, strict=True)), "question"])
    room = max(QUESTION_WIDTH, width - sum(widths) - 6)
    for study, row in zip(studies, rows, strict=True):
        question = textwrap.wrap(printable(study.damage or study.question), room, break_on_hyphens=False) or [""]
        cells = [f"{text:<{w}}" for text, w in zip(row, widths, strict=True)]
        yield "  ".join([*cells, question[0]]).rstrip()
        yield from (" " * (sum(widths) + 6) + line for line in question[1:])


def _runs(study: ListedStudy) -> str:
    failed = f", {study.failed} failed" if study.failed else ""
    return f"{study.done} of {study.runs}{failed}"


def _time(moment: str | None) -> str:
    return "–" if moment is None else f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"
