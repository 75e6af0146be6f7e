"""The toy's components as an imported module, and a disk that can run full."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from small_disk import SmallDisk, mounted
from toy_project import Project


@pytest.fixture
def toy(project: Project) -> ModuleType:
    return importlib.import_module("linear_toy.components")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A tmpfs of 4 MB."""
    with mounted(tmp_path / "disk", size="4m") as disk:
        yield disk
