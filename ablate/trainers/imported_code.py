"""Find what Python modules import by parsing their import statements, without executing anything."""

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
class ModuleLocation:
    """The file of a module and the folders of its submodules."""

    file: Path | None  # None: built into Python, or a folder without `__init__`
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A module's code without comments, docstrings and layout, and what it imports.

    `imports` holds dotted names: of modules and of attributes of modules, as the import statement alone does not tell
    which. "module:*" stands for all that `module` exports.
    """

    code: str = ""
    imports: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()  # its `__all__`, which may name submodules


NO_SOURCE = Source()


class Finder:
    """Finds modules in these folders by Python's own rules, without importing their packages."""

    def __init__(self, folders: Sequence[str]) -> None:
        importlib.invalidate_caches()  # files may have appeared since this process listed the folders
        self._folders, self._locations = list(folders), dict[str, ModuleLocation | None]()

    def find(self, module: str) -> ModuleLocation | None:
        """None where there is no such module: the name may be that of an attribute."""
        if module not in self._locations:
            self._locations[module] = self._search(module)
        return self._locations[module]

    def _search(self, module: str) -> ModuleLocation | None:
        package, _, name = module.rpartition(".")
        if package:
            parent = self.find(package)
            # the name alone: given a dotted name, Python would look up the imported parent package
            spec = PathFinder.find_spec(name, list(parent.folders)) if parent and parent.folders else None
        else:
            spec = self._top_level(name) if name.isidentifier() else None
        if spec is None:
            return None
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        folders = tuple(spec.submodule_search_locations or ()) if file or spec.origin is None else ()
        return ModuleLocation(file, folders)

    def _top_level(self, name: str) -> ModuleSpec | None:
        for finder in sys.meta_path:  # includes the finders of editable installs
            folders = self._folders if cast(object, finder) is PathFinder else None
            try:
                spec = finder.find_spec(name, folders)
            except (ImportError, ValueError, AttributeError):
                continue
            if spec is not None:
                return spec
        return None


def follow_imports(modules: Iterable[str], source_of: Callable[[str], Source]) -> dict[str, Source]:
    """The Source of every module that importing `modules` executes, their packages included.

    `source_of` reads the Source of one module.
    """
    sources: dict[str, Source] = {}
    pending = list(modules)
    while pending:
        module, _, star = pending.pop().partition(":")
        if module not in sources:
            sources[module] = source_of(module)
            pending += [*_parent_packages(module), *sources[module].imports]
        if star:
            pending += [f"{module}.{name}" for name in sources[module].exports]
    return sources


def _parent_packages(module: str) -> Iterator[str]:
    names = module.split(".")
    return (".".join(names[:count]) for count in range(1, len(names)))


def read_source(file: Path, module: str, *, without_imports_of: str = "") -> Source:
    """The Source in a module's file. A file that is not Python or cannot be parsed is represented by its SHA-256.

    The code leaves out imports of modules in the package `without_imports_of`: the package may rename its modules.
    """
    try:
        status = file.stat()
        return _read(file, module, without_imports_of, status.st_mtime_ns, status.st_size)
    except OSError:
        return Source("unreadable")


@functools.lru_cache(maxsize=5000)  # the loop's modules are read for every arm
def _read(file: Path, module: str, without_imports_of: str, modified_ns: int, size: int) -> Source:
    content = file.read_bytes()
    try:
        if file.suffix != ".py":
            raise ValueError("not Python")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the component's code: importing it shows them
            tree = ast.parse(content)
        nodes = list(ast.walk(tree))
        package = module if file.stem == "__init__" else module.rpartition(".")[0]
        imports = tuple(dict.fromkeys(name for node in nodes for name in _imports(node, package)))
        exports = tuple(name for node in nodes for name in _exports(node))
        return Source(ast.unparse(_Stripper(without_imports_of).visit(tree)), imports, exports)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # importing the module reports it
        return Source(hashlib.sha256(content).hexdigest())


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        try:
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
        except ImportError:  # a relative import beyond the top-level package
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


class _Stripper(ast.NodeTransformer):
    """Removes docstrings, and imports of modules in one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
        return super().generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.Import | None:
        node.names = [alias for alias in node.names if not self._in_package(alias.name)]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        relative = bool(self.package) and node.level > 0
        return None if relative or self._in_package(node.module or "") else node

    def _in_package(self, module: str) -> bool:
        return bool(self.package) and module.partition(".")[0] == self.package
