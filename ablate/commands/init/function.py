"""What the source of a training function says of itself: the settings it reads. Nothing is executed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from ablate.commands.init.script import score_names, syntax_tree
from ablate.study import Scalar


@dataclass(frozen=True)
class Function:
    """A training function `def train(settings, run)`, as far as its source can be read."""

    path: str  # "module:name"
    found: bool = False
    settings: tuple[tuple[str, Scalar | None], ...] = ()  # the names it reads, with the default of `.get`
    budget: bool = False  # whether it reads run.budget
    scores: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # the functions of the module, where it is not there


def read_function(path: str, folder: Path) -> Function:
    """The function at "module:name", looked up from `folder`."""
    module, _, name = path.partition(":")
    tree = syntax_tree(folder / f"{module.replace('.', '/')}.py")
    if tree is None:
        return Function(path)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    node = functions.get(name)
    if node is None:
        return Function(path, others=tuple(functions))
    names = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args]][:2]
    settings, run = [*names, "", ""][:2]
    read: dict[str, Scalar | None] = {}
    for each in ast.walk(node):
        key, default = _reads(each, settings)
        if key and read.get(key) is None:
            read[key] = default
    budget = any(isinstance(n, ast.Attribute) and n.attr == "budget" and _is(n.value, run) for n in ast.walk(node))
    return Function(path, True, tuple(read.items()), budget, score_names(tree))


def _reads(node: ast.AST, settings: str) -> tuple[str, Scalar | None]:
    """The name, and the default, that `settings["name"]` or `settings.get("name", default)` reads; "" for others."""
    if isinstance(node, ast.Subscript) and _is(node.value, settings):
        return _text(node.slice), None
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return "", None
    if node.func.attr != "get" or not _is(node.func.value, settings):
        return "", None
    default = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else None
    return _text(node.args[0]), default if isinstance(default, bool | int | float | str) else None


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and name != ""


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
