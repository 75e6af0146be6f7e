"""docs/designs.md: what it quotes is in the files that it names, its links lead somewhere, and its example loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ablate.study import study_file
from ablate.study.design import MAX_FACTORIAL
from ablate.study.fractions import GENERATORS, MOST_PARTS, defining_words, resolution, sizes

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "designs.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "feature_groups" / "leave_one_out.toml"


def test_the_example_loads_and_has_the_arms_that_are_named() -> None:
    study = study_file.load(EXAMPLE)
    assert list(study.arms) == ["full", "without-mean", "without-error", "without-worst"]
    assert all(f"`{arm}`" in TEXT for arm in study.arms)


def test_what_is_quoted_of_the_example_and_the_study_is_there() -> None:
    example, information = (tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
    whole = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert example["leave_one_out"]["parts"]["mean"] == whole["leave_one_out"]["parts"]["mean"]
    factorial = tomllib.loads((ROOT / "studies" / "controls_factorial.toml").read_text(encoding="utf-8"))["factorial"]
    for name, part in information["factorial"]["parts"].items():
        assert part.items() <= factorial["parts"][name].items()


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_the_numbers_of_arms_are_those_of_the_code() -> None:
    assert f"k ≤ {MAX_FACTORIAL}" in TEXT
    assert f"for 6 to {MOST_PARTS} parts" in TEXT
    assert {arms for parts in range(6, MOST_PARTS + 1) for arms in sizes(parts)} == {8, 16, 32}
    reference = (ROOT / "docs" / "study-files.md").read_text(encoding="utf-8")
    named = {}
    for name, fractions in re.findall(r"^\| (III|IV|V, VI) \| ([0-9/, ]+) \|", reference, re.MULTILINE):
        named |= {tuple(map(int, each.split("/"))): name for each in fractions.split(", ")}
    words = {3: "III", 4: "IV", 5: "V, VI", 6: "V, VI"}
    assert named == {key: words[resolution(defining_words(*key))] for key in GENERATORS}
