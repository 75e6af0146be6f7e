"""What the hostile files share: a marker that nobody may make, bounded memory and time, trust in nobody."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.study import trust

MEMORY = 3 << 30  # bytes above what the process has
PATIENCE_S = 60  # on a machine ten times slower than an idle one


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """Made by a trap that sprang."""
    yield tmp_path / "sprung"
    assert not (tmp_path / "sprung").exists(), "code of a file was executed"


@pytest.fixture(autouse=True)
def _bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trust, "_trusted_paths", set())
    monkeypatch.setattr(trust, "_trusted_packages", set())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    start = time.process_time()
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start < PATIENCE_S
