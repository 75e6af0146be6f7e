"""Make the arms of `[leave_one_out]`, `[add_one_in]` or `[factorial]` from the parts it names. Pure: no I/O, no torch.

The study's settings are the design without any of its parts; a part's `set` puts it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from ablate.study import Arm, Control, Design, DesignKind, Study
from ablate.study.fractions import defining_words, in_fraction
from ablate.study.resolve import NAME_LISTS

BARE, FULL = "bare", "full"
MAX_FACTORIAL = 5  # parts of a full one: 32 arms
NAMED = {"leave_one_out": "without-{}", "add_one_in": "with-{}"}
LABELLED = {"leave_one_out": "Without {}", "add_one_in": "With {}"}


def expand_design(study: Study) -> Study:
    """The study with the design's arms before those in the file; unchanged where it has them already."""
    if study.design is None or any(arm.parts is not None for arm in study.arms.values()):
        return study
    kind, design = study.design
    return study.model_copy(update={"arms": {**dict(_arms(kind, design)), **study.arms}})


def arm_names(kind: DesignKind, design: Design) -> list[str]:
    """The names of the arms that the design makes, in study order."""
    return [arm_name(kind, chosen, list(design.parts)) for chosen in subsets(kind, list(design.parts), design.arms)]


def arm_name(kind: DesignKind, chosen: Sequence[str], parts: Sequence[str]) -> str:
    """The arm with the parts `chosen` out of `parts`: `bare`, `a+b`, `with-a`, `without-a`, `full`."""
    return BARE if kind != "leave_one_out" and not chosen else _named(kind, NAMED, FULL, "+", chosen, parts)


def subsets(kind: DesignKind, parts: Sequence[str], arms: int | None = None) -> list[tuple[str, ...]]:
    """The parts of every arm of the design, in study order; each in the order of `parts`.

    `arms`: of a fraction of a factorial. Raises KeyError where there is no fraction of that size, and for more parts
    than a full factorial may have.
    """
    words = defining_words(len(parts), arms) if kind == "factorial" and arms is not None else []
    if kind == "factorial" and not words and len(parts) > MAX_FACTORIAL:
        raise KeyError(f"a factorial of {len(parts)} parts")
    if kind == "leave_one_out":
        return [tuple(parts), *(tuple(p for p in parts if p != left_out) for left_out in parts)]
    sizes = range(len(parts) + 1) if kind == "factorial" else range(2)
    every = (chosen for size in sizes for chosen in combinations(parts, size))
    return [chosen for chosen in every if in_fraction([parts.index(part) for part in chosen], words)]


def is_generated(study: Study, arm: str, name: str = "") -> bool:
    """Whether the expansion of the study's design made this arm and named it, before data sets did, `name`."""
    parts, name = study.arms[arm].parts, name or arm
    if study.design is None or parts is None:
        return False
    kind, design = study.design
    try:
        made = subsets(kind, list(design.parts), design.arms)
    except KeyError:
        return False
    return tuple(parts) in made and name == arm_name(kind, parts, list(design.parts))


def part_label(design: Design, part: str) -> str:
    """The part's label; its name where it has none."""
    return design.parts[part].label or part


def _arms(kind: DesignKind, design: Design) -> Iterator[tuple[str, Arm]]:
    parts = list(design.parts)
    labels = [part_label(design, part) for part in parts]
    for chosen in subsets(kind, parts, design.arms):
        chosen_labels = [part_label(design, part) for part in chosen]
        label = "Bare" if not chosen else _named(kind, LABELLED, "Full", " + ", chosen_labels, labels)
        changes = {path: value for part in chosen for path, value in design.parts[part].set.items()}
        control = _without(design, [part for part in parts if part not in chosen])
        yield arm_name(kind, chosen, parts), Arm(label=label, set=changes, parts=list(chosen), control=control)


def _without(design: Design, left_out: Sequence[str]) -> Control | None:
    """The control of an arm without these parts, all of theirs together; None where none of them has one."""
    controls = [control for part in left_out if (control := design.parts[part].without) is not None]
    lists = {key: [name for control in controls for name in getattr(control, key)] for key in NAME_LISTS}
    return Control.model_validate(lists) if controls else None


def _named(
    kind: DesignKind, pattern: dict[str, str], full: str, joint: str, chosen: Sequence[str], parts: Sequence[str]
) -> str:
    if kind == "factorial":
        return joint.join(chosen)
    if kind == "add_one_in":
        return pattern[kind].format(*chosen)
    left_out = [part for part in parts if part not in chosen]
    return pattern[kind].format(*left_out) if left_out else full
