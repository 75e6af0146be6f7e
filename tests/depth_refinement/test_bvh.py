"""The BVH reader: kinematics one can check by hand, and every kind of broken file named by line and rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bvh_writer import bvh_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.depth_refinement.sources.bvh import END_SITE, forward_kinematics, read_bvh
from ablate.study import InputError

ARM = """\
HIERARCHY
ROOT Root
{
\tOFFSET 1 2 3
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Elbow
\t{
\t\tOFFSET 0 2 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 1 0
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.5
0 0 0 0 0 0 0 0 0
10 0 0 90 0 0 0 90 0
"""
WALK = bvh_text()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "arm.bvh"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_bvh(write(tmp_path, text))
    return str(caught.value)


def test_hand_checked_arm(tmp_path: Path) -> None:
    motion = read_bvh(write(tmp_path, ARM))
    assert motion.names == ("Root", "Elbow", f"Elbow {END_SITE}")
    assert motion.parents == (-1, 0, 1)
    assert motion.frame_time == 0.5
    positions, rotations = forward_kinematics(motion)
    np.testing.assert_allclose(positions[0], [[0, 0, 0], [0, 2, 0], [0, 3, 0]], atol=1e-12)
    # a quarter turn about z lays the upper arm along −x; then one about the elbow's own x, now the world's y
    np.testing.assert_allclose(positions[1], [[10, 0, 0], [8, 0, 0], [8, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(rotations[1, 0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(("order", "tip"), [("Zrotation Xrotation", (0, 0, 1)), ("Xrotation Zrotation", (-1, 0, 0))])
def test_rotations_apply_in_the_order_of_the_channels(
    tmp_path: Path, order: str, tip: tuple[float, float, float]
) -> None:
    text = ARM.replace("CHANNELS 3 Zrotation Xrotation Yrotation", f"CHANNELS 3 {order} Yrotation")
    text = text.replace("10 0 0 90 0 0 0 90 0", "0 0 0 0 0 0 90 90 0")
    positions, _ = forward_kinematics(read_bvh(write(tmp_path, text)))
    np.testing.assert_allclose(positions[1, 2] - positions[1, 1], tip, atol=1e-12)


@pytest.mark.parametrize(("given_y", "expected_y"), [(2.1, 2.1), (0.1, 2.1)])
def test_position_channels_of_inner_joints_replace_or_add(tmp_path: Path, given_y: float, expected_y: float) -> None:
    text = ARM.replace("CHANNELS 3 Zrotation", "CHANNELS 6 Xposition Yposition Zposition Zrotation")
    row = f"0 0 0 0 0 0 0 {given_y} 0 0 0 0"
    text = "\n".join([*text.splitlines()[:-2], row, row, ""])
    positions, _ = forward_kinematics(read_bvh(write(tmp_path, text)))
    np.testing.assert_allclose(positions[0, 1], [0, expected_y, 0], atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        ARM.replace("\n", "\r\n"),
        "\ufeff" + ARM,
        ARM.replace("ROOT Root\n{", "ROOT Root {").replace("OFFSET 0 1 0\n\t\t}", "OFFSET 0 1 0 }"),
        ARM.replace("HIERARCHY", "hierarchy").replace("OFFSET", "Offset").replace("Xrotation", "XROTATION"),
        ARM.replace("Frame Time: 0.5", "Frame Time:\t.5\n\n") + "\n\n",
    ],
)
def test_harmless_differences_are_read_alike(tmp_path: Path, text: str) -> None:
    np.testing.assert_array_equal(read_bvh(write(tmp_path, text)).values, read_bvh(write(tmp_path, ARM)).values)


def test_names_may_hold_spaces(tmp_path: Path) -> None:
    assert read_bvh(write(tmp_path, ARM.replace("Elbow", "Bip01 L Elbow"))).names[1] == "Bip01 L Elbow"


@pytest.mark.parametrize(
    ("old", "new", "line", "rule"),
    [
        ("10 0 0 90 0 0 0 90 0\n", "", 19, "declares 2 frames and holds 1"),
        ("Frames: 2", "Frames: 1", 20, "declares 1 frames and holds 2"),
        ("10 0 0 90 0 0 0 90 0", "10 0 0 90 0", 20, "frame 2 must have 9 values"),
        ("10 0 0 90", "10 0 x 90", 20, "values of frame 2 must be numbers (got 'x')"),
        ("10 0 0 90", "10 0 nan 90", 20, "values of frame 2 must be finite"),
        ("Frames: 2", "Frames: two", 17, "Frames must be numbers (got 'two')"),
        ("Frames: 2", "Frames: 0", 17, "whole number of at least 1"),
        ("Frame Time: 0.5", "Frame Time: 0", 18, "greater than 0"),
        ("Frame Time: 0.5", "FrameTime: 0.5", 18, "expected 'Frame Time:'"),
        ("Frame Time: 0.5", "Frame Time: 1e-300", None, "Frame Time must be at least 1e-05 seconds (got 1e-300)"),
        ("MOTION\n", "", 16, "expected 'MOTION'"),
        ("HIERARCHY", "HIERARCHIE", 1, "expected 'HIERARCHY'"),
        ("OFFSET 0 2 0", "OFFSET 0 2", 8, "OFFSET of 'Elbow' takes 3 numbers (got 2)"),
        ("OFFSET 0 2 0", "OFFSET 0 2 inf", 8, "finite"),
        ("\t\tOFFSET 0 2 0\n", "", 6, "'Elbow' has no OFFSET"),
        ("\t\tCHANNELS 3 Zrotation Xrotation Yrotation\n", "", 6, "'Elbow' has no CHANNELS"),
        ("CHANNELS 3 Z", "CHANNELS 2 Z", 9, "as many names"),
        ("3 Zrotation", "3 Wrotation", 9, "channel of 'Elbow' unknown (got Wrotation); known: Xposition"),
        ("3 Zrotation", "3 Xrotation", 9, "stands twice"),
        ("JOINT Elbow", "JOINT Root", 6, "'Root' stands twice"),
        ("JOINT Elbow", "LIMB Elbow", 6, "expected OFFSET, CHANNELS, JOINT"),
        ("MOTION", "ROOT Second\n{\n}\nMOTION", 16, "only one ROOT"),
        (ARM, "", None, "is empty"),
    ],
)
def test_broken_files_are_refused_by_line_and_rule(
    tmp_path: Path, old: str, new: str, line: int | None, rule: str
) -> None:
    assert old in ARM
    message = refused(tmp_path, ARM.replace(old, new, 1))
    assert "arm.bvh: " in message
    assert rule in message
    if line is not None:
        assert f"line {line}:" in message


def test_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.bvh"
    path.write_bytes(b"HIERARCHY\nROOT \xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.bvh: line 2: is not UTF-8 text"):
        read_bvh(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 0.999))
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.bvh"
    path.write_text(WALK[: int(keep * (len(WALK) - 12))])  # the last number itself may be cut unseen
    with pytest.raises(InputError):
        read_bvh(path)
