"""How a Problem is worded: places, values and nearest names. Knows nothing of studies."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

LISTED = 8  # names shown when nothing comes close; more than that is no help on one line
SHOWN_CHARACTERS = 60
AS_NEAR = 0.08  # difference of difflib ratios: "model.extr" is nearer to model.extra than to model.head

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def nearest(value: str, choices: Iterable[object]) -> str:
    """`did you mean 'a' or 'b'?`, or the valid names when none is close and they are few; "" without choices."""
    names = sorted({str(c) for c in choices})
    close = _close(value, names)
    # The last part alone often holds the typo's cure: "dropout" for "model.dropout".
    close = close or [n for n in names if value and n.rpartition(".")[2] == value.rpartition(".")[2]][:2]
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"valid: {listing(names)}" if names else ""


def _close(value: str, names: list[str]) -> list[str]:
    """The nearest name, and a second one where it is about as near."""
    matches = difflib.get_close_matches(value, names, n=2)
    likeness = [difflib.SequenceMatcher(None, value, name).ratio() for name in matches]
    return [name for name, ratio in zip(matches, likeness, strict=True) if ratio > likeness[0] - AS_NEAR]


def listing(names: Iterable[str]) -> str:
    """`a, b, c`, cut to the first few with a count of the rest."""
    known = list(names)
    rest = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return ", ".join(known[:LISTED]) + rest


def shown(value: object) -> str:
    """A value as its TOML writes it, cut to one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table without end
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def place(*parts: str | int) -> str:
    """A dotted path as TOML writes it: `arms.hybrid.set."model.use_elepose"`, `hypotheses[0].arm` (from 0)."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{key}" if text else key
    return text
