"""The placeholders in the words of a command. Pure: no I/O.

`{lr}` is a setting or a built-in value, `{a.b}` a nested setting, `{x?--flag}` the text after `?` where x is true and
nothing where it is not; a word that is `{xs}` alone becomes one word per item of a list, and within a word the items
are separated by commas. `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

BUILT_IN = ("seed", "out", "dir", "device", "threads", "phase")
_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}?]*)(?P<condition>\?(?P<text>[^{}]*))?\}|(?P<brace>[{}])")


class Placeholder(NamedTuple):
    """One placeholder. `text` is what stands after its `?`; None without one."""

    name: str
    text: str | None
    alone: bool  # the word holds nothing else


class TemplateError(ValueError):
    """A word with a brace that opens or closes nothing."""


def templates(section: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a `run` section that may hold placeholders, by their place in it: of `command` and of `env`."""
    words = {f"command[{index}]": word for index, word in enumerate(section.get("command") or ())}
    return words | {f"env.{name}": text for name, text in (section.get("env") or {}).items()}


def placeholders(word: str) -> Iterator[Placeholder]:
    """The placeholders of one word. Raises TemplateError."""
    for match in _TOKEN.finditer(word):
        if match["brace"]:
            raise TemplateError(
                f"has a {match['brace']!r} without its other half; write {match['brace'] * 2} for a brace"
            )
        if match["name"] is not None:
            yield Placeholder(match["name"], match["text"], alone=match.span() == (0, len(word)))


def is_placeholder_of(word: str, names: Collection[str]) -> bool:
    """Whether the whole word is a placeholder with one of these names."""
    match = _TOKEN.fullmatch(word)
    return match is not None and match["name"] in names


def fill(words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The words with every placeholder replaced. `values`: settings and built-in values by dotted path.

    Raises TemplateError, and KeyError for a placeholder without a value.
    """
    filled: list[str] = []
    for word in words:
        found = list(placeholders(word))
        if found and found[0].alone:
            name, text, _ = found[0]
            if text is None and isinstance(values[name], list):
                filled += [value_text(item) for item in values[name]]
                continue
            if text is not None and not values[name]:
                continue
        filled.append(fill_word(word, values))
    return filled


def fill_word(word: str, values: Mapping[str, Any]) -> str:
    """One word, or the value of an environment variable, with its placeholders replaced."""

    def replacement(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0][0]  # {{ or }}
        value = values[match["name"]]
        if match["condition"]:
            return match["text"] if value else ""
        return ",".join(map(value_text, value)) if isinstance(value, list) else value_text(value)

    return _TOKEN.sub(replacement, word)


def value_text(value: Any) -> str:
    """A setting as a script reads it: numbers by repr, true and false in lower case."""
    return (
        ("true" if value else "false") if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
    )
