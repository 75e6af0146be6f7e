from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_results import pictures, standing

from ablate.depth_refinement import gallery, gallery_extremes, geometry


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


def extremes(level: float) -> dict[str, np.ndarray]:
    """The example of row 1 is the median, that of row 4 the worst; the world's pose is the body's, turned."""
    found = arrays(level)
    turn = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])
    upright = standing(0.0, 0.0) * [1.0, -1.0, -1.0]  # camera axes in front of the person → left, up, forward
    found["target/pose_world"] = np.stack([upright @ turn] * 6)
    return found | {"role": np.array([0, 1, 0, 0, 2, 0])}


def test_every_arm_has_its_own_median_and_worst_pose() -> None:
    one, other = extremes(7), extremes(3)
    other["index"] = other["index"] + 1000  # no example in common: each arm shows its own
    figure = gallery.draw({"Existing": one, "Hybrid": other})
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert len(titles) == 8
    assert [bool(title) for title in titles] == [True, False] * 4
    true, (sin, cos, _) = one["target/azimuth_deg"][4], one["output/angles"][4]
    off = abs((np.rad2deg(np.arctan2(sin, cos)) - true + 180) % 360 - 180)
    assert titles[2].startswith(f"Worst: azimuth off {off:.1f}°,")


def test_without_roles_the_gallery_is_the_spread() -> None:
    assert len(gallery.draw({"Existing": extremes(7), "Old": arrays(3)}).axes) == 12
    nothing = extremes(7) | {"role": np.zeros(6, dtype=int)}  # the primary metric was nowhere defined
    assert not gallery_extremes.has_extremes({"Existing": nothing})


def test_the_body_frame_is_that_of_the_labels() -> None:
    pose = extremes(7)["target/pose_world"][0]
    axes = geometry.body_axes(torch.tensor(pose), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    centred = pose - pose[[11, 12]].mean(0)
    assert gallery_extremes.body_frame(pose) == pytest.approx(centred @ axes.numpy().T)
    in_body_axes = torch.eye(3)  # left, up, forward
    direction = geometry.angles_direction(torch.tensor(1.1), torch.tensor(0.4), in_body_axes)
    assert gallery_extremes.towards(1.1, 0.4) == pytest.approx(direction.numpy(), abs=1e-6)


def test_seen_from_the_front_the_left_hand_is_on_the_right() -> None:
    view = gallery_extremes.seen_from(0.0, 0.0)
    assert np.array([1.0, 0, 0]) @ view == pytest.approx([1, 0])
    assert np.array([0.0, 1, 0]) @ view == pytest.approx([0, 1])
    from_the_right = gallery_extremes.seen_from(np.pi / 2, 0.0)  # the person faces right on the page
    assert np.array([0.0, 0, 1]) @ from_the_right == pytest.approx([1, 0])


def test_the_true_camera_stands_at_the_right_of_its_scene() -> None:
    for azimuth in (0.0, 1.0, 3.0, 5.0):
        view = gallery_extremes.seen_from(azimuth + gallery_extremes.FROM_AZIMUTH, 0.3)
        assert (gallery_extremes.towards(azimuth, 0.2) @ view)[0] > 0.5


def test_errors_go_the_short_way_around() -> None:
    assert gallery_extremes.errors_deg((np.deg2rad(350), 0.1), (np.deg2rad(10), -0.1)) == pytest.approx(
        (20, np.rad2deg(0.2))
    )
