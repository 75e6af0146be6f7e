"""`ablate data` given recordings and poses that are odd or absurd."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bvh_writer import write_bvh

from ablate.depth_refinement.sources import synthetic

Cli = Callable[..., Any]


@pytest.mark.parametrize("number", [-1000, 2**64 - 1])
def test_subjects_may_have_any_number(tmp_path: Path, cli: Cli, number: int) -> None:
    poses = synthetic.generate(subjects=4, poses_per_subject=10, seed=1)
    kind = np.int64 if number < 0 else np.uint64
    np.savez(tmp_path / "poses.npz", joints=poses.joints[:10], subject_id=np.full(10, number, dtype=kind))
    answer = cli("data", "inspect", str(tmp_path / "poses.npz"))
    assert answer.code == 0
    assert "10 poses, 1 subjects" in answer.out


@pytest.mark.parametrize("metres_per_unit", ["100", "0.0001"])
def test_people_that_no_study_would_read_are_not_written(tmp_path: Path, cli: Cli, metres_per_unit: str) -> None:
    walker, out = write_bvh(tmp_path / "walk.bvh"), tmp_path / "poses.npz"
    answer = cli("data", "import", "bvh", str(walker), "--out", str(out), "--metres-per-unit", metres_per_unit)
    assert answer.code == 2
    assert "skeleton: stature must be 0.5 to 2.5 m (got" in answer.err
    assert not out.exists()


def test_frames_cannot_follow_each_other_in_no_time(tmp_path: Path, cli: Cli) -> None:
    walker, out = write_bvh(tmp_path / "walk.bvh"), tmp_path / "poses.npz"
    text, count = re.subn("Frame Time: .*", "Frame Time: 1e-300", walker.read_text(encoding="utf-8"))
    assert count == 1
    walker.write_text(text, encoding="utf-8")
    answer = cli("data", "import", "bvh", str(walker), "--out", str(out))
    assert answer.code == 2
    assert "Frame Time must be at least 1e-05 seconds (got 1e-300)" in answer.err
    assert not out.exists()
