"""Where a result came from: commits, library versions, machine, and a digest of the code that made it."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

DIFF_LIMIT = 1_000_000  # bytes of uncommitted changes kept; more says so
LIBRARIES = ("ablate", "torch", "numpy", "mlflow", "optuna")


def git_state(folder: Path) -> tuple[dict[str, str], str]:
    """Commit of the repository around `folder` and its uncommitted diff ("" when clean or not a repository)."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {"commit": "none (not under git)"}, ""
    diff = _git(folder, "diff", "HEAD")
    kept = diff if len(diff) <= DIFF_LIMIT else diff[:DIFF_LIMIT] + "\n… cut here\n"
    return {"commit": commit.strip(), "dirty": "yes" if diff else "no"}, kept


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, errors="replace", timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def environment(device: str, threads: int) -> dict[str, str]:
    """Versions and hardware that the bytes of a result depend on."""
    import torch

    versions = {f"version/{name}": _version(name) for name in LIBRARIES}
    machine = {
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else _cpu_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": str(threads),
    }
    return versions | machine


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


EXECUTION = "ablate.runs.execution"  # the loop that every run goes through
# Nouns and rules: what they let through is in the run's settings already.
WITHOUT_EFFECT = ("ablate.study", "ablate.design")


def source_digest(components: Iterable[str]) -> str:
    """SHA-256 of the code that makes a run: the loop, and what these `module:attribute` components import from
    their own packages. Comments, docstrings and layout do not count.

    The files are found by reading import statements, never by executing them, so the digest does not depend on
    what else a process has loaded.
    """
    reached: dict[str, Path] = {}
    for name in (*components, EXECUTION):
        _reach(name.partition(":")[0], reached)
    # A package is executed before its modules, but what else it imports is not their business.
    packages = {parent: _file(parent) for module in reached for parent in _parents(module)}
    files = {module: path for module, path in {**packages, **reached}.items() if path}
    codes = [(module, _code(path)) for module, path in sorted(files.items())]
    return hashlib.sha256(repr(codes).encode()).hexdigest()[:16]


def _code(path: Path) -> str:
    """The source without comments, docstrings and layout."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def _reach(module: str, reached: dict[str, Path]) -> None:
    """Add `module` and all that it imports from its own top-level package, as far as they have source files."""
    path = None if module in reached or module.startswith(WITHOUT_EFFECT) else _file(module)
    if path is None:
        return
    reached[module] = path
    package, _, _ = module.partition(".")
    for node in ast.walk(ast.parse(path.read_bytes())):
        for imported in _imports(node, module, is_package=path.name == "__init__.py"):
            if imported.partition(".")[0] == package:
                _reach(imported, reached)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _file(module: str) -> Path | None:
    """The source file of a module; None when it has none, or is an attribute of a module."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # only a top-level name is found without importing anything
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    places = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    candidates = [path for place in places for path in (place / "__init__.py", place.with_name(f"{place.name}.py"))]
    return next((path for path in candidates if path.is_file()), None)


def _imports(node: ast.AST, module: str, *, is_package: bool) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parts = module.split(".")
        base = parts[: len(parts) - node.level + is_package] if node.level else []
        origin = ".".join([*base, *([node.module] if node.module else [])])
        return [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return []
