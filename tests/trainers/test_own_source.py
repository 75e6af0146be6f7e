"""What counts as the code of a function that is sent: all of it that can change what it gives."""

from __future__ import annotations

import linecache
from types import FunctionType
from typing import Any

import pytest

from ablate.trainers.own_source import own_source

CODE = """
import math
from dataclasses import dataclass

RATE, UNUSED = 0.1, 1
TABLE = {"a": 1}

@dataclass
class Net:
    width: int
    def forward(self):
        return scale(self.width)

def scale(x):
    return x * 2

def unused(x):
    return x * 3

def made(offset):
    def train(settings, run):
        nets = [Net(width).forward() for width in (1, 2)]
        return {"loss": math.sqrt(nets[0]) + RATE + offset, "train": train}
    return train
"""


def source(code: str, offset: float = 1.0) -> str:
    """Of the function that `made` gives, in code that is nowhere but in the line cache, as in a notebook."""
    name = f"<cell {hash(code)}>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, name, "exec"), names)
    function = names["made"](offset)
    assert isinstance(function, FunctionType)
    return own_source(function)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ RATE", "- RATE"),
        ("x * 2", "x * 4"),
        ("scale(self.width)", "scale(1)"),
        (" = 0.1", " = 0.2"),
    ],
)
def test_what_the_function_uses_counts(old: str, new: str) -> None:
    assert old in CODE
    assert source(CODE.replace(old, new)) != source(CODE)


@pytest.mark.parametrize(("old", "new"), [("x * 3", "x * 4"), (", 1\n", ", 2\n")])
def test_what_it_does_not_use_does_not(old: str, new: str) -> None:
    assert old in CODE
    assert source(CODE.replace(old, new)) == source(CODE)


def test_what_it_captures_counts() -> None:
    assert source(CODE, offset=2.0) != source(CODE)
    assert source(CODE) == source(CODE)
