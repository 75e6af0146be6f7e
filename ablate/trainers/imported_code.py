"""What Python modules import, found by reading import statements: nothing is executed, nothing else is read."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import cast


@dataclass(frozen=True)
class Place:
    """Where a module is."""

    file: Path | None  # None: built into Python, or a folder without `__init__`
    folders: tuple[str, ...] = ()  # of its submodules


@dataclass(frozen=True)
class Source:
    """A module's code without comments, docstrings and layout, and what it imports.

    `imports` holds names of modules, and of attributes, which cannot be told from modules here; "module:*" stands for
    all that `module` exports.
    """

    code: str = ""
    imports: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()  # its `__all__`, which may name submodules


NOTHING = Source()


class Finder:
    """Finds modules as Python would in these folders, and does not import their packages for it."""

    def __init__(self, folders: Sequence[str]) -> None:
        importlib.invalidate_caches()  # files may have appeared since this process last looked
        self._folders, self._found = list(folders), dict[str, Place | None]()

    def find(self, module: str) -> Place | None:
        """None where there is no such module: it may be an attribute of one."""
        if module not in self._found:
            self._found[module] = self._search(module)
        return self._found[module]

    def _search(self, module: str) -> Place | None:
        package, _, name = module.rpartition(".")
        if package:
            around = self.find(package)
            # without the package's name, by which Python would look for the imported package
            spec = PathFinder.find_spec(name, list(around.folders)) if around and around.folders else None
        else:
            spec = self._top_level(name) if name.isidentifier() else None
        if spec is None:
            return None
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        return Place(file, tuple(spec.submodule_search_locations or ()) if file or spec.origin is None else ())

    def _top_level(self, name: str) -> ModuleSpec | None:
        for finder in sys.meta_path:  # those of editable installs among them
            folders = self._folders if cast(object, finder) is PathFinder else None
            try:
                found = finder.find_spec(name, folders)
            except (ImportError, ValueError, AttributeError):
                continue
            if found is not None:
                return found
        return None


def follow(modules: Iterable[str], source_of: Callable[[str], Source]) -> dict[str, Source]:
    """All that importing `modules` executes, their packages included: the Source of each, as `source_of` reads it."""
    sources: dict[str, Source] = {}
    todo = list(modules)
    while todo:
        module, _, everything = todo.pop().partition(":")
        if module not in sources:
            sources[module] = source_of(module)
            todo += [*_packages(module), *sources[module].imports]
        if everything:
            todo += [f"{module}.{name}" for name in sources[module].exports]
    return sources


def _packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def read(file: Path, module: str, *, imports_of: str = "") -> Source:
    """What is in a module's file. One that is no readable Python counts by its bytes.

    The code leaves out the imports of modules below the package `imports_of`, which that package may rename.
    """
    try:
        status = file.stat()
        return _read(file, module, imports_of, status.st_mtime_ns, status.st_size)
    except OSError:
        return Source("unreadable")


@functools.lru_cache(maxsize=5000)  # the loop is read for every arm
def _read(file: Path, module: str, imports_of: str, modified_ns: int, size: int) -> Source:
    content = file.read_bytes()
    try:
        if file.suffix != ".py":
            raise ValueError("not Python")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the person's code: importing it gives them
            tree = ast.parse(content)
        nodes = list(ast.walk(tree))
        package = module if file.stem == "__init__" else module.rpartition(".")[0]
        imports = tuple(dict.fromkeys(name for node in nodes for name in _imports(node, package)))
        exports = tuple(name for node in nodes for name in _exports(node))
        return Source(ast.unparse(_Bare(imports_of).visit(tree)), imports, exports)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a fault of the code's, told where it is imported
        return Source(hashlib.sha256(content).hexdigest())


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        try:
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
        except ImportError:  # it leads out of the package
            return
        for alias in node.names:
            yield f"{origin}:*" if alias.name == "*" else f"{origin}.{alias.name}"


def _exports(node: ast.AST) -> Iterator[str]:
    """Names in a statement `__all__ = [...]` or `__all__ += [...]`."""
    targets: Sequence[ast.expr] = ()
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = (node.target,)
    if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        for value in ast.walk(node):
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings, and imports of modules below one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
        return super().generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.Import | None:
        node.names = [alias for alias in node.names if not self._left_out(alias.name)]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        relative = bool(self.package) and node.level > 0
        return None if relative or self._left_out(node.module or "") else node

    def _left_out(self, module: str) -> bool:
        return bool(self.package) and module.partition(".")[0] == self.package
