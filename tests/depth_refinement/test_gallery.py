from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from toy_results import pictures, standing

from ablate.depth_refinement import gallery
from ablate.depth_refinement.skeleton import L_WRIST, NOSE, R_WRIST


def arrays(level: float) -> dict[str, np.ndarray]:
    return pictures(level, level, np.random.default_rng(int(level)))


def test_azimuth_turns_to_the_subjects_right() -> None:
    assert gallery._above(0.0) == pytest.approx((0, 1))  # in front: up the page
    assert gallery._above(np.pi / 2) == pytest.approx((1, 0))  # at the subject's right: right
    assert gallery._aside(np.pi / 2) == pytest.approx((0, 1))


def test_a_row_for_each_of_at_most_four_examples() -> None:
    figure = gallery.draw({"Existing": arrays(7), "Hybrid": arrays(3)})
    assert len(figure.axes) == 12
    first = figure.axes[1]
    labels = first.get_legend_handles_labels()[1]
    assert labels == ["truth", "Existing", "Hybrid"]


def test_a_perfect_arm_lies_on_the_true_ray() -> None:
    exact = arrays(7)
    azimuth, elevation = np.deg2rad(exact["target/azimuth_deg"]), np.deg2rad(exact["target/elevation_deg"])
    exact["output/angles"] = np.stack([np.sin(azimuth), np.cos(azimuth), elevation], -1)
    figure = gallery.draw({"Exact": exact})
    for axis in np.array(figure.axes).reshape(-1, 3)[:, 1:].ravel():
        drawn = {line.get_label(): np.array([line.get_xdata()[-1], line.get_ydata()[-1]]) for line in axis.lines}
        truth, guess = drawn["truth"], drawn["Exact"]
        assert truth / np.linalg.norm(truth) == pytest.approx(guess / np.linalg.norm(guess), abs=1e-6)


def test_only_examples_that_all_arms_have_are_drawn() -> None:
    one, other = arrays(7), arrays(3)
    other["index"] = np.array([10, 0, 30, 99, 98, 97])
    rows = gallery.common_rows({"a": one, "b": other})
    assert rows == [{"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 3, "b": 2}]
    other["index"] = other["index"] + 1000
    with pytest.raises(ValueError, match="no example in common"):
        gallery.draw({"a": one, "b": other})


def test_the_toy_person_keeps_the_conventions() -> None:
    seen_from_front, seen_from_right = standing(0.0, 0.0), standing(np.pi / 2, 0.0)
    assert seen_from_front[L_WRIST, 0] > seen_from_front[R_WRIST, 0]  # facing us, the left hand is on our right
    assert seen_from_front[NOSE, 2] < 0  # nearer to the camera than the pelvis
    assert seen_from_right[R_WRIST, 2] < seen_from_right[L_WRIST, 2]


def test_the_gallery_needs_no_torch() -> None:
    code = "import sys, ablate.depth_refinement.gallery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
