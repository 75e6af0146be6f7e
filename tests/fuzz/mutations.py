"""Damage a valid thing a little: bytes, lines of words, and nested plain values. Knows no format's meaning."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

WORDS = (
    "", "0", "-1", "1e400", "nan", "inf", "²", "１", "1_0", "9" * 5000, "x" * 5000, "{", "}", "{ } {", "\x00",
    "\x1b[2J", "\u202e", "../../etc/passwd", "os:system", "MOTION", "JOINT", "End", "ROOT", "OFFSET", "CHANNELS",
    "Frames:", "[", "]", '"""', "'''", "\\", "=", ".", "a." * 30 + "b", "[[" * 30, "#", ",", "true", "1e308", "-1e-320",
    "\ufeff", "<script>", "$\\frac{", "|", "\r", "\x0b", "\u2028",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 17, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, math.nan, math.inf,
    -math.inf, 0.5, "", "x", "x" * 3000, "\x00\x1b[2J", "\u202eevil", "../../etc/passwd", "os:system", "nan", [], {},
    [[[]]], [None], [math.nan] * 3, {"": {}}, {"a.b": 1}, {"factory": "os:system"}, [0.0] * 600, ["a", 1, None],
)  # fmt: skip
# Lengths and counts as they stand in binary headers.
NUMBERS = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff" * 8,
    b"\x01" + b"\x00" * 7,
    b"\x7f" * 2,
)


def mutated_bytes(random: Random, valid: bytes, others: Sequence[bytes] = ()) -> bytes:
    data = bytearray(valid)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((1, 2, 4, 16, 200)))
        match random.randrange(7):
            case 0:
                data[start:end] = bytes(byte ^ (1 << random.randrange(8)) for byte in data[start:end])
            case 1:
                del data[start:end]
            case 2:
                del data[start:]
            case 3:
                data[start:start] = data[start:end] * random.choice((1, 3, 50))
            case 4:
                number = random.choice(NUMBERS)
                data[start : start + len(number)] = number
            case 5:
                data[start:end] = random.randbytes(end - start)
            case 6:
                other = random.choice(others) if others else valid
                data[start:] = other[random.randrange(len(other) + 1) :]
    return bytes(data)


def mutated_text(random: Random, valid: str) -> str:
    """Lines and words exchanged, doubled, left out, or replaced by what parsers stumble over."""
    lines = valid.split("\n")
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        place = random.randrange(len(lines))
        match random.randrange(7):
            case 0 | 1 | 2:
                words = lines[place].split(" ")
                words[random.randrange(len(words))] = random.choice(WORDS)
                lines[place] = " ".join(words)
            case 3:
                del lines[place : place + random.choice((1, 1, 5, 100))]
            case 4:
                lines[place:place] = lines[place : place + random.choice((1, 5))] * random.choice((1, 2, 100))
            case 5:
                other = random.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 6:
                cut = random.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:cut] + random.choice(WORDS) + lines[place][cut:]
        lines = lines or [""]
    return "\n".join(lines)


def mutated_value(random: Random, valid: Any) -> Any:
    """A deep copy of plain values with nodes replaced, left out, doubled, exchanged or wrapped."""
    root = [copy.deepcopy(valid)]
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(root))
        holder, key = random.choice(places)
        match random.randrange(7):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(random.choice(VALUES))
            case 3 if holder is not root:
                del holder[key]
            case 4:
                other, at = random.choice(places)
                holder[key] = copy.deepcopy(other[at])
            case 5:
                for _ in range(random.choice((1, 3, 90))):
                    holder[key] = [holder[key]] if random.random() < 0.5 else {"people": holder[key]}
            case _:
                new = random.choice(("", "x", "factory", "num_layers", "\x1b", "a.b", "label"))
                if isinstance(holder[key], dict):
                    holder[key][new] = copy.deepcopy(random.choice(VALUES))
                elif isinstance(holder[key], list):
                    holder[key] += copy.deepcopy(holder[key])
    return root[0]


def _places(root: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every node but the root itself, as the container that holds it and its key there."""
    waiting: list[Any] = [root]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def as_toml(value: Any) -> str:
    """Plain values as TOML, as far as it can say them; None becomes a date, which no setting may be."""
    return (
        "\n".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        if isinstance(value, dict)
        else ""
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return "2024-01-01" if value is None else json.dumps(value)


def sometimes(random: Random, change: Callable[[Random, bytes], bytes], valid: bytes, share: float = 0.2) -> bytes:
    """`valid`, in one case of five damaged."""
    return change(random, valid) if random.random() < share else valid
