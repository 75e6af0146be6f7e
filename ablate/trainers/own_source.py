"""The text of a function that no module holds, and of what it takes along: its code, as far as it can change."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any


def own_source(function: FunctionType) -> str:
    """The function's source text, that of the functions and classes of its module that it refers to, and the values of
    the numbers and texts.

    Raises OSError or TypeError where the function itself has no source text.
    """
    return "\n".join([inspect.getsource(function), *_referred(function, {id(function)})])


def _referred(function: FunctionType, seen: set[int]) -> Iterator[str]:
    for name, value in sorted(_values(function).items()):
        if isinstance(value, bool | int | float | str | None):
            yield f"{name} = {value!r}"
            continue
        if getattr(value, "__module__", None) != function.__module__ or id(value) in seen:
            continue
        seen.add(id(value))
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in (m for m in members if isinstance(m, FunctionType)):
            yield _text(member)
            yield from _referred(member, seen)


def _values(function: FunctionType) -> Mapping[str, Any]:
    """What the names in a function stand for, globals and captured ones; those of functions inside it too."""
    captured = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    nonlocals = {name: cell.cell_contents for name, cell in captured if _is_filled(cell)}
    names = set(_names(function.__code__))
    return {name: value for name, value in function.__globals__.items() if name in names} | nonlocals


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _text(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # its class made it, as a dataclass does
        return function.__name__
