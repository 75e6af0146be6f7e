"""Tensors in mappings, tuples and lists, as a network's inputs and outputs come. Knows no batch and no study.

The form of a tree, as JSON without its rows: `{"shape": [17, 6], "dtype": "float32"}` of a tensor, a table of forms
`{"mapping": {…}}`, or a list of them, `{"tuple": […]}` or `{"list": […]}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.trainers.contract import Tree

RULE = "must be a tensor, or a mapping, tuple or list of tensors"


class NoTree(TypeError):
    """Something in a tree is no tensor; the text says where and what."""


def named_tensors(tree: Tree, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its place below `name`, such as `output["mask"][0]`. Raises NoTree."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from named_tensors(value, f'{name}["{key}"]')
    elif isinstance(tree, tuple | list):
        for index, value in enumerate(tree):
            yield from named_tensors(value, f"{name}[{index}]")
    else:
        raise NoTree(f"{name} {RULE}, not {type(tree).__name__}")


def map_tensors(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """`function` of each tensor of `tree` and those in the same place of `others`. A mapping becomes a dict."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, Mapping):
        return {key: map_tensors(function, value, *(o[key] for o in others)) for key, value in tree.items()}
    items = [map_tensors(function, *values) for values in zip(tree, *others, strict=True)]
    if isinstance(tree, tuple):  # a named tuple takes its items one by one
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    return items


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Trees of one form, joined along the first dimension of every tensor."""
    return map_tensors(lambda *tensors: torch.cat(tensors), *trees)


def rows(tree: Tree, index: slice | Tensor) -> Tree:
    """The chosen rows of every tensor."""

    def chosen(tensor: Tensor) -> Tensor:
        return tensor[index.to(tensor.device) if isinstance(index, Tensor) else index]

    return map_tensors(chosen, tree)


def row_count(tree: Tree, name: str = "inputs") -> int:
    """The first dimension, which all tensors must share. Raises NoTree, also where there is no tensor."""
    sizes = {place: tensor.shape[0] if tensor.ndim else None for place, tensor in named_tensors(tree, name)}
    count = next(iter(sizes.values()), None)
    for place, size in sizes.items():
        if size is None or size != count:
            rule = "must have one row an example"
            raise NoTree(f"{place} {rule}: {count} as the others, not {size or 'a single number'}")
    if count is None:
        raise NoTree(f"{name} {RULE}, and is empty")
    return count


def flat(tree: Tree, name: str = "") -> dict[str, Tensor]:
    """Every tensor by a name for files, its keys and indices joined by dots; `name` for a tree that is a tensor."""
    if isinstance(tree, Tensor):
        return {name: tree}
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    below = {key: flat(value) for key, value in items}
    return {".".join(filter(None, [str(key), rest])): v for key, values in below.items() for rest, v in values.items()}


def form(tree: Tree) -> dict[str, Any]:
    """The shape of one row and the dtype of every tensor, as JSON."""
    if isinstance(tree, Tensor):
        return {"shape": list(tree.shape[1:]), "dtype": str(tree.dtype).removeprefix("torch.")}
    if isinstance(tree, Mapping):
        return {"mapping": {str(key): form(value) for key, value in tree.items()}}
    return {"tuple" if isinstance(tree, tuple) else "list": [form(value) for value in tree]}


def of_form(form: Mapping[str, Any], make: Callable[[list[int], torch.dtype], Tensor]) -> Tree:
    """A tree of this form, each tensor by `make(shape of a row, dtype)`. Raises ValueError for what is no form."""
    match form:
        case {"shape": list(shape), "dtype": str(dtype)} if isinstance(getattr(torch, dtype, None), torch.dtype):
            return make(shape, getattr(torch, dtype))
        case {"mapping": dict(items)}:
            return {key: of_form(value, make) for key, value in items.items()}
        case {"tuple": list(items)}:
            return tuple(of_form(value, make) for value in items)
        case {"list": list(items)}:
            return [of_form(value, make) for value in items]
    raise ValueError(f"no form of inputs: {str(form)[:80]}")
