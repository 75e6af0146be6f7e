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


def source_digest(components: Iterable[str]) -> str:
    """SHA-256 over the source files that these `module:attribute` components import from their own packages.

    The files are found by reading import statements, never by executing them, so the digest does not depend on
    what else a process has loaded.
    """
    files: dict[str, str] = {}
    for name in components:
        module = name.partition(":")[0]
        _collect(module, module.partition(".")[0], files)
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def _collect(module: str, package: str, files: dict[str, str]) -> None:
    if module in files:
        return
    source = _source(module)
    if source is None:
        return
    files[module] = hashlib.sha256(source).hexdigest()
    for node in ast.walk(ast.parse(source)):
        for imported in _imports(node, module):
            if imported.partition(".")[0] == package:
                _collect(imported, package, files)


def _source(module: str) -> bytes | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_bytes()


def _imports(node: ast.AST, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parent = module.split(".")[: -node.level] if node.level else []
        base = ".".join([*parent, *([node.module] if node.module else [])])
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []
