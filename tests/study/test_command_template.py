"""The placeholders of a command, against what a shell would be given."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.study.command_template import Placeholder, TemplateError, fill, placeholders

VALUES: dict[str, Any] = {
    "lr": 1e-05, "n": 3, "big": 1e22, "yes": True, "no": False, "xs": [1, 2.5, "a b"], "none": [], "name": "a b",
    "a.b": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "filled"),
    [
        (["--lr={lr}", "{n}"], ["--lr=1e-05", "3"]),
        (["{big}", "{a.b}"], ["1e+22", "0.1"]),
        (["{yes}", "x={no}"], ["true", "x=false"]),
        (["{yes?--flag}", "{no?--flag}"], ["--flag"]),
        (["--mode={yes?on}", "--mode={no?on}"], ["--mode=on", "--mode="]),
        (["{yes?}"], [""]),
        (["--xs", "{xs}", "{none}"], ["--xs", "1", "2.5", "a b"]),
        (["--xs={xs}", "--xs={none}", "{xs?--some}", "{none?--some}"], ["--xs=1,2.5,a b", "--xs=", "--some"]),
        (["{{n}}", "{{{n}}}", "{name}"], ["{n}", "{3}", "a b"]),
        (["a; rm -rf $HOME `id`"], ["a; rm -rf $HOME `id`"]),  # no shell reads it
        ([""], [""]),
    ],
)
def test_words_are_filled(words: list[str], filled: list[str]) -> None:
    assert fill(words, VALUES) == filled


def test_placeholders_are_found_in_order() -> None:
    assert list(placeholders("{a}{{x}}{b?c d}")) == [Placeholder("a", None, False), Placeholder("b", "c d", False)]
    assert list(placeholders("{xs}")) == [Placeholder("xs", None, True)]


@pytest.mark.parametrize("word", ["{", "}", "{lr", "lr}", "{a{b}", "{{{"])
def test_a_brace_without_its_other_half_is_an_error(word: str) -> None:
    with pytest.raises(TemplateError, match="without its other half"):
        list(placeholders(word))


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill(["{unknown}"], VALUES)
