"""Every sentence that a report, a comparison, a judgement or a plan can print is a claim.

`sentence_table.SENTENCES` has a row for each: a case that says it and one, mostly next to it, that must not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sentence_templates
from sentence_cases import CASES, said
from sentence_table import ELSEWHERE, FILES, NO_SENTENCES, SENTENCES
from sentence_templates import FEWEST_WORDS, ROOT, parts, pattern, templates, words

Said = Callable[[str], str]


@pytest.fixture(scope="module")
def text_of(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """All that a case says, made once."""
    folder, texts = tmp_path_factory.mktemp("cases"), {}

    def text(case: str) -> str:
        if case not in texts:
            texts[case] = said(case, folder)
        return texts[case]

    return text


def says(text: str, template: str) -> bool:
    return all(part in text for part in parts(template)) and bool(pattern(template).search(text))


@pytest.mark.parametrize("template", SENTENCES, ids=lambda template: template[:60])
def test_a_sentence_is_said_in_one_case_and_not_in_another(template: str, text_of: Said) -> None:
    with_it, without = SENTENCES[template]
    assert says(text_of(with_it), template), f"the case {with_it!r} does not say it"
    assert not says(text_of(without), template), f"the case {without!r} says it"


def test_every_sentence_in_the_source_has_a_row() -> None:
    found = templates(*FILES)
    listed = {*SENTENCES, *ELSEWHERE}
    missing = [f"{place}: {t!r}" for t, place in found.items() if words(t) >= FEWEST_WORDS and t not in listed]
    rule = "add a row to tests/analysis/sentence_table.py, with a case that says it and one that must not"
    assert not missing, "\n".join([rule, *missing])
    assert sorted(listed - set(found)) == [], "rows of sentences that no source has"


def test_a_new_sentence_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_templates, "ROOT", tmp_path)
    source = '"""A docstring of many words."""\nX = f"{1} is better than" f" {2:.2f} by far"\nY = "short one"\n'
    source += 'Z = {"a": "it needs {things} to hold"}\nraise ValueError("an error has its own tests")\n'
    (tmp_path / "new.py").write_text(source, encoding="utf-8")
    texts = [text for text in templates("new.py") if words(text) >= FEWEST_WORDS]
    assert sorted(texts) == ["it needs {} to hold", "{} is better than {} by far"]


def test_every_module_that_puts_sentences_together_is_looked_at() -> None:
    """Others of `report` draw, or write what these say in a format: they have no text of many words."""
    folders = [ROOT / "analysis", ROOT / "report"]
    others = [str(f.relative_to(ROOT)) for folder in folders for f in sorted(folder.glob("*.py"))]
    others = [name for name in others if name not in FILES and name not in NO_SENTENCES]
    assert others == []


def test_every_case_of_a_row_exists() -> None:
    assert {case for row in SENTENCES.values() for case in row} <= set(CASES)
