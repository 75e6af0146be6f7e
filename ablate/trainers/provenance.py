"""Where a result came from: commits, library versions, machine, and a digest of the code that made it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ablate.study import trust
from ablate.trainers.imported_code import NOTHING, Finder, Source, follow, read

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


VERSION = "3"  # of how the digest of code is made; a digest without a version is of the first
OWN = "ablate"
EXECUTION = "ablate.trainers.builtin.run"  # the loop that every run goes through
LARGEST_OWN = 500  # modules; reading the 1500 that torch imports takes 45 s, and would be done for every run


def source_digest(components: Iterable[str], study_dir: Path) -> str:
    """Version and SHA-256 of the code that makes a run: the loop, and what these `module:attribute` components import.

    Code in the study's folder, the working folder or wherever else the person edits it counts by its source, without
    comments, docstrings and layout; so does the distribution that holds a component. Other installed packages count by
    their versions, Python's own not at all. What files import is read, never executed, so the digest does not depend
    on what else a process has loaded.

    Of ablate only the loop and the subjects count, and that by their contents: a module that moves or has another name
    is no other code. What the loop imports from other packages does not count: the versions of torch and numpy are
    among the facts of every run, and the others only write files.
    """
    roots = [name.partition(":")[0] for name in components]
    finder = Finder([*sys.path, str(study_dir.resolve()), ""])  # as `components.importable` adds; "" is where we are
    loop, made = _Code(finder, ()), _Code(finder, roots)
    own = follow([EXECUTION], loop.source)
    person = follow(roots, made.source)
    contents = {source.code for module, source in (own | person).items() if _below(module, OWN)} - {""}
    named = [(module, source.code) for module, source in person.items() if source.code and not _below(module, OWN)]
    whole = repr((sorted(contents), sorted(named), sorted(made.versions.items())))
    return f"{VERSION}:{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


class _Code:
    """Says for each module whether its source counts, and keeps the versions of packages that count by those."""

    def __init__(self, finder: Finder, roots: Sequence[str]) -> None:
        self._finder, self.versions = finder, dict[str, str]()
        self._of_components: set[str] = set()  # distributions whose source counts
        for root in roots:
            place, top = finder.find(root), root.partition(".")[0]
            if place is not None and place.file is not None:
                self._of_components.update(filter(_can_be_read, self._distributions(top, place.file)))

    def source(self, module: str) -> Source:
        """NOTHING for what does not count by its source."""
        top = module.partition(".")[0]
        place = self._finder.find(module)
        if top == OWN:
            return read(place.file, module, imports_of=OWN) if place and place.file and _decides(module) else NOTHING
        if place is None and module == top:
            self.versions[top] = "missing"  # what tries to import it does something else where it is installed
        if place is None or place.file is None or _of_python(place.file):
            return NOTHING
        distributions = self._distributions(top, place.file)
        if not distributions or self._of_components.intersection(distributions):
            return read(place.file, module)
        # a build's local part, as in "2.13.0+cpu", does not count: a study's machines may have different ones
        self.versions[top] = ", ".join(f"{name} {_version(name).partition('+')[0]}" for name in distributions)
        return NOTHING

    def _distributions(self, top: str, file: Path) -> list[str]:
        """The distributions that have installed this file's top-level package; [] for a file that the person edits."""
        return sorted(filter(None, {*_packages(tuple(sys.path)).get(top, ())})) if _installed(file) else []


def _of_python(file: Path) -> bool:
    return file.is_relative_to(sysconfig.get_path("stdlib")) and not _installed(file)


def _installed(file: Path) -> bool:
    """Not so for editable installs, whose files stay where they are."""
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


@functools.lru_cache(maxsize=8)
def _packages(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Distributions by top-level package, of those on this `path`, which is sys.path: finding out takes 0.2 s."""
    return importlib.metadata.packages_distributions()


def _can_be_read(distribution: str) -> bool:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:  # its folder has another name
        return True
    return sum(file.suffix == ".py" for file in files) <= LARGEST_OWN


def _decides(module: str) -> bool:
    """Whether a module of ablate may change a score: the loop's package and the installed subjects."""
    rooms = {EXECUTION.rpartition(".")[0], *(name.rpartition(".")[0] for name in trust.offered())}
    return any(_below(module, room) for room in rooms)


def _below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
