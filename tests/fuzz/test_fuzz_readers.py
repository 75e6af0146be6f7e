"""Damaged files of every kind: a reader answers, or says what is wrong. It never crashes, hangs or eats the memory."""

from __future__ import annotations

import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS

from ablate.study import InputError

SHORT, LONG = 1_008, 100_002  # inputs in all, the same number for each reader
MEMORY = 2 << 30  # bytes above what the process has: a file of a kilobyte needs none of them
PATIENCE = timedelta(seconds=20)  # of one input, on a machine ten times slower than an idle one


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """What asks for more gets MemoryError, which only a reader that meant to try may turn into a message."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("total", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name: str, total: int) -> None:
    outcomes: Counter[str] = Counter()
    said: list[int] = []  # characters of each refusal
    count = total // len(READERS)

    @settings(
        max_examples=count,
        deadline=PATIENCE,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.integers(0, 2**64 - 1))
    def read(seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                READERS[name](Random(seed), Path(folder))
                outcomes["read"] += 1
            except InputError as error:
                outcomes["refused"] += 1
                said.append(len(str(error)))

    read()
    assert outcomes.total() >= count
    assert outcomes["refused"] > count // 20  # else the damage is none
    assert max(said) < 100_000
