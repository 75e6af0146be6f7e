"""Characters that a terminal or a log cannot show: signs by their plain forms, others by a question mark."""

from __future__ import annotations

import codecs
import io
from collections.abc import Mapping

HANDLER = "ablate.plain"
PLAIN: Mapping[str, str] = {  # a lost sign could turn a number into another
    "−": "-",
    "–": "-",
    "—": "-",
    "±": "+-",
    "×": "x",
    "°": " deg",
    "Δ": "d",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "■": "#",
    "▸": ">",
    "·": ".",
    "○": "o",
}


def use_plain_signs(*streams: object) -> None:
    """Have these text streams write what their encoding lacks in plain forms, in place of raising an error."""
    codecs.register_error(HANDLER, _plain)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(PLAIN.get(character, "?") for character in error.object[error.start : error.end])
    return text, error.end
