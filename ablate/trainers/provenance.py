"""Where a result came from: commits, library versions, machine, and a digest of the code that made it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.study import digest, trust
from ablate.study.data_digests import file_digest
from ablate.study.distribution import DISTRIBUTION
from ablate.study.runs import DEFAULT_CODE, code_sources, is_matched, trainer_kind
from ablate.trainers.imported_code import NO_SOURCE, Finder, Source, follow_imports, read_source

DIFF_LIMIT = 1_000_000  # characters of uncommitted changes; a longer diff is cut and says so
LIBRARIES = ("ablate", "torch", "numpy", "mlflow", "optuna")


def git_state(folder: Path) -> tuple[dict[str, str], str]:
    """Commit of the repository that holds `folder`, and its uncommitted diff ("" when clean or not a repository)."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {"commit": "none (not under git)"}, ""
    diff = _git(folder, "diff", "HEAD")
    shortened = diff if len(diff) <= DIFF_LIMIT else diff[:DIFF_LIMIT] + "\n… cut here\n"
    return {"commit": commit.strip(), "dirty": "yes" if diff else "no"}, shortened


def _git(folder: Path, *arguments: str) -> str:
    try:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, errors="replace", timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout if completed.returncode == 0 else ""


def environment(device: str, threads: int) -> dict[str, str]:
    """Versions and hardware that the bytes of a result of the built-in loop depend on."""
    import torch

    return machine(device, threads) | {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else _cpu_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }


def machine(device: str, threads: int) -> dict[str, str]:
    """Versions and hardware, as far as they can be told without torch."""
    return {
        **{f"version/{name}": _version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "device": device if device.startswith("cuda") else _cpu_name(),
        "threads": str(threads),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION if name == OWN_PACKAGE else name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


VERSION = "4"  # of the way the code digest is computed; a digest without a version is of the first way
COMMAND_VERSION = "4c"  # of a command that uses files which "4" does not count
UNLOADABLE = "model"  # provenance key: why the run has no saved network, where the saved one could not be loaded
OWN_PACKAGE = "ablate"
LOOP_MODULE = "ablate.trainers.builtin.run"  # the training loop that every run goes through
SEARCHES = 100  # for files, while other runs make and remove folders of their own
MAX_READ_MODULES = 500  # in a component's distribution; to read torch's 1500 for every run would take 45 s


def code_digest(settings: Mapping[str, Any], study_dir: Path, *, source: str = "") -> str:
    """Digest of the code behind a run with these resolved settings. `source`: the text of a function that no module
    holds."""
    kind = trainer_kind(settings)
    if source:
        return f"{VERSION}:{digest(source)[:16]}"
    if kind == "command":
        return _command_digest(settings, study_dir)
    return source_digest(code_sources(settings), study_dir, with_loop=kind == "built-in")


def _command_digest(settings: Mapping[str, Any], study_dir: Path) -> str:
    """Version and SHA-256 of the names and contents of the files behind a command.

    They are those below the study's folder that match `code`, and the program and script that the command names. Where
    it works outside that folder and no `code` is set, Python files below its working folder count too.
    """
    section = settings["run"]
    names = _matching(code_sources(settings), study_dir)
    cwd = (study_dir / section.get("cwd", ".")).resolve()
    others: dict[str, Path] = {}
    if "code" not in section and not _is_inside_folder(cwd, study_dir) and cwd not in (Path(cwd.anchor), Path.home()):
        others = _matching(DEFAULT_CODE, cwd)
    known = {file.resolve() for file in names.values()}
    for words in (section["command"], *([section["parameters"]] if is_matched(settings) else [])):
        others |= dict(_named_files(words, cwd))
    outside = {f"cwd/{name}": file for name, file in others.items() if file.resolve() not in known}
    identity = [[name, file_digest(file)] for name, file in sorted((names | outside).items())]
    return f"{COMMAND_VERSION if outside else VERSION}:{digest(identity)[:16]}"


def _matching(globs: Iterable[str], folder: Path) -> dict[str, Path]:
    """The files below `folder` that match a glob, by their names from there."""
    files = {file for glob in globs for file in _found(folder, glob) if file.is_file()}
    names = {str(file.relative_to(folder)): file for file in files}
    return {name: file for name, file in names.items() if not any(map(_is_no_code, Path(name).parts))}


def _found(folder: Path, glob: str) -> list[Path]:
    """What matches the glob. The search begins again where another run removes its folder, which ends it in pathlib."""
    for _ in range(SEARCHES):
        with suppress(FileNotFoundError):
            return list(folder.glob(glob))
    return list(folder.glob(glob))


def _named_files(command: Sequence[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """The program, where it is a relative path, and the script: the first word after it that names a file."""
    program, *words = command
    # os.path.isfile: a word may be a whole program, too long for a name
    script = next((word for word in words if word[:1] != "-" and os.path.isfile(folder / word)), "")
    for name in (program if "/" in program else "", script):
        if name and not os.path.isabs(name) and os.path.isfile(folder / name):
            yield name, folder / name


def _is_inside_folder(folder: Path, other: Path) -> bool:
    return folder.is_relative_to(other.resolve())


def _is_no_code(part: str) -> bool:
    """Whether a folder or file of this name holds no code of the user's: it is hidden, or written by a tool."""
    return part.startswith(".") or part in ("mlruns", "reports", "__pycache__", "site-packages", "dask-scratch-space")


def source_digest(components: Iterable[str], study_dir: Path, *, with_loop: bool = True) -> str:
    """Version and SHA-256 of the code behind a run: the loop, and what these `module:attribute` components import.

    A function trains without the loop: what it imports is all.

    Three kinds of code count in three ways. By its source, without comments, docstrings and layout: code in the
    study's folder, the working folder or an editable install, and the distribution that holds a component. By its
    version: any other installed package. Not at all: Python's standard library. Imports are read from the source and
    nothing is executed, so the digest does not depend on what else a process has imported.

    Of ablate only the loop and the subjects count, by their contents without module names: a module that moves or is
    renamed does not change the digest. What the loop imports from other packages does not count: the versions of
    torch and numpy are recorded with every run, and the others only write files.
    """
    roots = [name.partition(":")[0] for name in components]
    # the folders that `components.importable` adds; "" is the working folder
    finder = Finder([*sys.path, str(study_dir.resolve()), ""])
    loop_reader, component_reader = _SourceReader(finder, ()), _SourceReader(finder, roots)
    loop_sources = follow_imports([LOOP_MODULE] if with_loop else [], loop_reader.source)
    component_sources = follow_imports(roots, component_reader.source)
    own = {s.code for module, s in (loop_sources | component_sources).items() if _is_inside(module, OWN_PACKAGE)} - {""}
    others = [(m, s.code) for m, s in component_sources.items() if s.code and not _is_inside(m, OWN_PACKAGE)]
    identity = repr((sorted(own), sorted(others), sorted(component_reader.versions.items())))
    return f"{VERSION}:{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


class _SourceReader:
    """Reads the modules that count by their source, and collects the versions of packages that count by version."""

    def __init__(self, finder: Finder, roots: Sequence[str]) -> None:
        self._finder, self.versions = finder, dict[str, str]()
        self._read_distributions: set[str] = set()  # those of the components: they count by their source
        for root in roots:
            location, top = finder.find(root), root.partition(".")[0]
            if location is not None and location.file is not None:
                self._read_distributions.update(filter(_small_enough, self._distributions(top, location.file)))

    def source(self, module: str) -> Source:
        """NO_SOURCE for a module that does not count by its source."""
        top = module.partition(".")[0]
        location = self._finder.find(module)
        if top == OWN_PACKAGE:
            if location is None or location.file is None or not _affects_scores(module):
                return NO_SOURCE
            return read_source(location.file, module, without_imports_of=OWN_PACKAGE)
        if location is None and module == top:
            self.versions[top] = "missing"  # code may check for it and behave differently where it is installed
        if location is None or location.file is None or _in_standard_library(location.file):
            return NO_SOURCE
        distributions = self._distributions(top, location.file)
        if not distributions or self._read_distributions.intersection(distributions):
            return read_source(location.file, module)
        # without the local part, as in "2.13.0+cpu": the machines of a study may have different builds
        self.versions[top] = ", ".join(f"{name} {_version(name).partition('+')[0]}" for name in distributions)
        return NO_SOURCE

    def _distributions(self, top: str, file: Path) -> list[str]:
        """The distributions that installed this file's top-level package; [] for a file outside `site-packages`."""
        return sorted(filter(None, {*_distributions_on(tuple(sys.path)).get(top, ())})) if _installed(file) else []


def _in_standard_library(file: Path) -> bool:
    return file.is_relative_to(sysconfig.get_path("stdlib")) and not _installed(file)


def _installed(file: Path) -> bool:
    """False for an editable install, whose files stay in its source folder."""
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


@functools.lru_cache(maxsize=8)
def _distributions_on(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Distributions by top-level package. `path` is sys.path, as the cache's key: the search takes 0.2 s."""
    return importlib.metadata.packages_distributions()


def _small_enough(distribution: str) -> bool:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:  # its metadata folder has another name
        return True
    return sum(file.suffix == ".py" for file in files) <= MAX_READ_MODULES


def _affects_scores(module: str) -> bool:
    """Whether a module of ablate may change a score: the loop's package and the installed subjects."""
    packages = {LOOP_MODULE.rpartition(".")[0], *(name.rpartition(".")[0] for name in trust.offered_modules())}
    return any(_is_inside(module, package) for package in packages)


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
