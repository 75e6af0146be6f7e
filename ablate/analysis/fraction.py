"""A fraction of a factorial in words: its resolution, and which effects share their numbers. Pure."""

from __future__ import annotations

from ablate.analysis.phrasing import listed, quoted
from ablate.study import Design, Study
from ablate.study.design import part_label
from ablate.study.fractions import alias_pairs, defining_words, pair_groups, resolution

ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI"}
OF_THREE = (
    "main effects and interactions of two parts share their numbers with interactions of three parts or more alone"
)


def fraction_words(study: Study) -> list[str]:
    """What a fraction cannot tell apart, for a study that has not run yet; nothing for other designs."""
    design = study.design[1] if study.design is not None else None
    if design is None or design.arms is None:
        return []
    count = len(design.parts)
    words = defining_words(count, design.arms)
    shared = [OF_THREE] if resolution(words) > 4 else [*_shared_main_effects(design), *_shared_interactions(design)]
    return [
        f"the factorial is a fraction of resolution {ROMAN[resolution(words)]}, {design.arms} of {2**count:,} arms: "
        f"{'; '.join(shared)}."
    ]


def _shared_main_effects(design: Design) -> list[str]:
    words = defining_words(len(design.parts), design.arms or 0)
    found = {part: alias_pairs([index], words) for index, part in enumerate(design.parts)}
    texts = [
        f"{quoted(part_label(design, part))} with {listed([_product(design, pair) for pair in pairs])}"
        for part, pairs in found.items()
        if pairs
    ]
    if not texts:
        return ["main effects share their numbers with no interaction of two parts"]
    return [f"main effects share their numbers with interactions of two parts ({'; '.join(texts)})"]


def _shared_interactions(design: Design) -> list[str]:
    words = defining_words(len(design.parts), design.arms or 0)
    groups = [group for group in pair_groups(len(design.parts), words) if len(group) > 1]
    sums = [" + ".join(_product(design, pair) for pair in group) for group in groups]
    return [f"of some interactions of two parts only the sum can be told ({'; '.join(sums)})"] if sums else []


def _product(design: Design, pair: tuple[int, ...]) -> str:
    parts = list(design.parts)
    return " × ".join(quoted(part_label(design, parts[index])) for index in pair)
