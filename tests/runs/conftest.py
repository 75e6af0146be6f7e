"""The toy's components, as the parts of a run meet them."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from toy_project import Project


@pytest.fixture
def toy(project: Project) -> ModuleType:
    return importlib.import_module("linear_toy.components")
