"""What a worker must have so that a cell has the same result as at the driver: versions, code, data.

Knows nothing of Dask.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ablate.executors.dask.script_requirements import ScriptNeeds, script_faults, script_needs
from ablate.study import InputError, RunSpec, components, data_digests
from ablate.study.distribution import DISTRIBUTION
from ablate.study.runs import trainer_kind

AnyNeeds: TypeAlias = "Needs | ScriptNeeds"
# Results depend on the versions of these.
PACKAGES = (DISTRIBUTION, "torch", "numpy", "scipy", "distributed")


@dataclass(frozen=True)
class Needs:
    """The versions, code and data that a cell of the built-in loop uses, as the driver has them."""

    factories: tuple[str, ...]  # of model, data and loss
    sources: tuple[str, str]  # digests of the training loop, and of the loop with all that the factories import
    data_file: str | None
    data_digest: str  # of the file's bytes
    data_root: Path | None
    study_dir: Path
    versions: tuple[tuple[str, str], ...]


def needs_of(spec: RunSpec, context: Any) -> AnyNeeds:
    """What this process has and a worker must have as well. `context`: of the run."""
    from ablate.trainers.provenance import source_digest  # not the cached one below: of what is on disk now

    own_versions = tuple(versions().items())
    if trainer_kind(spec.settings) != "built-in":
        return script_needs(spec, context, own_versions)
    data_root, study_dir = context.data_root, context.study_dir
    factories = tuple(str(spec.settings[section]["factory"]) for section in ("model", "data", "loss"))
    file = spec.settings["data"].get("file")
    sources = source_digest((), study_dir), source_digest(factories, study_dir)
    return Needs(factories, sources, file, spec.data_digest, data_root, study_dir, own_versions)


def versions() -> dict[str, str]:
    """Versions of Python and of PACKAGES, without the local part of a build ("+cu126")."""
    packages = {name: _version(name) for name in PACKAGES}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **packages}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "missing"


@functools.cache  # as long as the process lives: an imported module does not change with its file
def _source_digest(factories: tuple[str, ...], study_dir: Path) -> str:
    from ablate.trainers import provenance

    with _no_garbage_collection():
        return provenance.source_digest(factories, study_dir)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A garbage collection runs code of Dask, which may switch threads inside `ast.parse`. If the other thread calls
    `ast.parse` too, CPython 3.11 raises SystemError: measured, 3 of 42 cells."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@functools.cache
def _file_digest(path: Path, modified_ns: int, size: int) -> str:
    return data_digests.file_digest(path)


async def all_faults(needs: Sequence[AnyNeeds]) -> list[str]:
    """Why this process could not run such cells. In a thread beside the event loop: importing torch takes seconds."""
    return await asyncio.to_thread(lambda: list(dict.fromkeys(fault for each in needs for fault in faults(each))))


def faults(needs: AnyNeeds) -> Iterator[str]:
    """What this process lacks. Imports the factories that a cell of the built-in loop names."""
    own_versions = versions()
    for name, version in needs.versions:
        if own_versions.get(name) != version:
            yield f"has {name} {own_versions.get(name)}, the driver {version}"
    if isinstance(needs, ScriptNeeds):
        with _no_garbage_collection():
            missing = list(script_faults(needs))
        yield from missing
        return
    components.importable([needs.study_dir, Path.cwd()])
    for factory in needs.factories:
        try:
            components.load_component(factory, file="settings", place="factory")
        except InputError as error:
            problem = error.problems[0]
            yield f"cannot import {factory} ({problem.rule})"
    sources = tuple(_source_digest(factories, needs.study_dir) for factories in ((), needs.factories))
    if sources != needs.sources:
        names = ", ".join(sorted({factory.partition(":")[0] for factory in needs.factories}))
        rule = f"has other source code of {names} or of ablate than the driver, or other packages that they import"
        yield f"{rule}; install them and restart the worker"
    if needs.data_file is not None:
        yield from _data_faults(needs, needs.data_file)


def _data_faults(needs: Needs, name: str) -> Iterator[str]:
    try:
        path = components.find_data_file(name, data_root=needs.data_root, study_dir=needs.study_dir)
    except InputError as error:
        problem = error.problems[0]
        yield f"has {problem.rule}: {problem.value}; set ABLATE_DATA where the worker is started"
        return
    status = path.stat()
    if _file_digest(path, status.st_mtime_ns, status.st_size) != needs.data_digest:
        yield f"has another {path} than the driver"
