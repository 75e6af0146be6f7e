"""Find a person's joints in a skeleton by their names, in the naming of many programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

# Part → its possible names, best first: where a skeleton has both "arm" and "shoulder", the arm begins at "arm".
# CMU cgspeed, DAZ-like CMU, iClone CC_Base, Mixamo, 3ds Max Biped, Blender Rigify, ASF, SMPL, Xsens, LAFAN.
SIDED_PARTS: dict[str, tuple[str, ...]] = {
    "hip": ("upleg", "upperleg", "thigh", "femur", "hip", "hipjoint"),
    "knee": ("knee", "lowerleg", "lowleg", "calf", "shin", "tibia", "leg"),
    "ankle": ("ankle", "foot"),
    "toe": ("toebase", "toe", "toes", "ball", "foot"),
    "collar": ("collar", "clavicle", "shoulder"),
    "shoulder": ("upperarm", "uparm", "humerus", "arm", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm", "radius"),
    "wrist": ("wrist", "hand"),
    "eye": ("eye",),
}
OPTIONAL_PARTS = ("toe", "collar", "eye")
NEEDED = (*(f"{side}_{part}" for part in SIDED_PARTS if part not in OPTIONAL_PARTS for side in "lr"), "head")

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SIDES = {"l": "l", "left": "l", "r": "r", "right": "r"}


class Missing(NamedTuple):
    """A joint that no name of the file fits: the names it could have, and the file's most similar names."""

    role: str
    known_names: str
    nearest: str


def find_roles(names: Sequence[str]) -> tuple[dict[str, int], list[Missing]]:
    """Role ("l_hip", "head", …) → index into `names`; and the `NEEDED` roles that no name fits.

    Where several joints have the same name of a part, the first one, nearest to the root, is used.
    """
    by_part = _parts_of(names)
    roles: dict[str, int] = {}
    for side in "lr":
        used: set[int] = set()
        # in this order the ankle gets "foot" before the toe, and the arm gets "shoulder" before the collar
        for part in ("hip", "knee", "ankle", "toe", "shoulder", "collar", "elbow", "wrist", "eye"):
            found = [by_part[side, word] for word in SIDED_PARTS[part] if (side, word) in by_part]
            free = [index for index in found if index not in used]
            if free:
                roles[f"{side}_{part}"] = free[0]
                used.add(free[0])
    for role in ("head", "neck"):
        if ("", role) in by_part:
            roles[role] = by_part["", role]
    unused = [name for i, name in enumerate(names) if i not in roles.values()]
    return roles, [_describe(role, unused) for role in NEEDED if role not in roles]


def _parts_of(names: Sequence[str]) -> Mapping[tuple[str, str], int]:
    parts: dict[tuple[str, str], int] = {}
    words = {word for known in SIDED_PARTS.values() for word in known}
    for index, name in enumerate(names):
        for candidate in _readings(name, words):
            parts.setdefault(candidate, index)
    return parts


def _readings(name: str, words: set[str]) -> list[tuple[str, str]]:
    """(side, part) that a name can mean: "mixamorig:LeftUpLeg", "CC_Base_L_Thigh", "thigh.L", "lfemur", "Head"."""
    tokens = [token.lower() for token in _TOKEN.findall(name.rsplit(":", 1)[-1])]
    for i, token in enumerate(tokens):
        if token in _SIDES:
            after, before = "".join(tokens[i + 1 :]), "".join(tokens[:i])
            return [(_SIDES[token], part) for part in (after, before) if part]
    if not tokens:
        return []
    for prefix, side in (("left", "l"), ("right", "r"), ("l", "l"), ("r", "r")):
        rest = "".join(tokens)
        if rest.startswith(prefix) and rest[len(prefix) :] in words:
            return [(side, rest[len(prefix) :])]
    return [("", tokens[-1] if not tokens[-1].isdigit() else "".join(tokens[-2:-1]))]


def _describe(role: str, unused: Sequence[str]) -> Missing:
    side, _, part = role.rpartition("_")
    word = {"l": "Left", "r": "Right", "": ""}[side]
    known = [f"{word}{name.capitalize()}" for name in SIDED_PARTS.get(part, (part,))]

    def likeness(name: str) -> float:
        bare = name.lower().rsplit(":", 1)[-1]
        return max(SequenceMatcher(None, bare, wanted.lower()).ratio() for wanted in known)

    nearest = sorted((name for name in unused if not name.endswith("End Site")), key=likeness, reverse=True)
    close = [name for name in nearest[:3] if likeness(name) > 0.5]
    return Missing(f"{word} {part}".strip().lower(), ", ".join(known), ", ".join(close))
