"""Words for Problems: places, values and nearest names. It must not know about studies."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

LISTED = 8  # names listed when none is close
SHOWN_CHARACTERS = 60
SIMILARITY_MARGIN = 0.08  # of difflib ratios: for "model.extr" suggest model.extra, not also model.head

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def nearest(value: str, choices: Iterable[object]) -> str:
    """`did you mean 'a' or 'b'?`, or the valid names when none is close and they are few; "" without choices."""
    names = sorted({str(c) for c in choices})
    found = close(value, names)
    # The last part of a dotted name may match where the whole is not close: "dropout" for "model.dropout".
    found = found or [n for n in names if value and n.rpartition(".")[2] == value.rpartition(".")[2]][:2]
    if found:
        return f"did you mean {' or '.join(repr(c) for c in found)}?"
    return f"valid: {listing(names)}" if names else ""


def nearest_file(file: Path, start: Path | None = None) -> str:
    """`did you mean 'walk.npz'?`, of the files of the same ending in its folder; "" where none is close.

    `start`: the folder from which its path is shown.
    """
    try:
        names = [other.name for other in file.parent.iterdir() if other.suffix == file.suffix]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""
    found = close(file.name, names)
    files = [file.with_name(name) for name in found]
    shown_files = [os.path.relpath(each, start) if start else str(each) for each in files]
    return f"did you mean {' or '.join(map(repr, shown_files))}?" if found else ""


def close(value: str, names: list[str]) -> list[str]:
    """The nearest name, and a second one that is about as near."""
    matches = difflib.get_close_matches(value, names, n=2)
    ratios = [difflib.SequenceMatcher(None, value, name).ratio() for name in matches]
    return [name for name, ratio in zip(matches, ratios, strict=True) if ratio > ratios[0] - SIMILARITY_MARGIN]


def listing(names: Iterable[str]) -> str:
    """`a, b, c`, cut to the first few with a count of the rest."""
    items = list(names)
    rest = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + rest


def shown(value: object) -> str:
    """A value as in TOML, cut to one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table that contains itself
        text = f"a {type(value).__name__} too long to show"
    text = text.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be printed
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, cut in the middle: an error message is informative at both ends."""
    half = limit // 2 - 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def place(*parts: str | int) -> str:
    """A dotted path as in TOML: `arms.hybrid.set."model.use_elepose"`, `hypotheses[0].arm` (from 0)."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{key}" if text else key
    return text
