"""A jointed human body: segment lengths, joint ranges and forward kinematics. Plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ablate.depth_refinement.skeleton import INDEX, NUM_JOINTS
from ablate.depth_refinement.sources.rotations import axis_rotation

Array = NDArray[np.float64]
Angles = Mapping[str, Array]

SIDES = ("l", "r")

# Fractions of stature, Drillis & Contini 1966 in Winter, Biomechanics and Motor Control, fig. 4.1.
# Those above the pelvis and along the leg add up to 1.
LENGTHS = {"head": 0.130, "neck": 0.052, "trunk": 0.288, "thigh": 0.245, "shank": 0.246, "ankle_height": 0.039}
ARM_LENGTHS = {"upper_arm": 0.186, "forearm": 0.146}
# Outer breadths, reduced by 15 % because joint centres lie further in.
BREADTHS = {"half_shoulders": 0.129 * 0.85, "half_hips": 0.191 / 2 * 0.85}

# Degrees. AAOS, Joint Motion: Method of Measuring and Recording; shoulder rotation: + internal, hip abduction: + out.
_SIDE_LIMITS = {
    "shoulder_flexion": (-60.0, 180.0),
    "shoulder_abduction": (-30.0, 180.0),  # −30: adduction across the front of the body
    "shoulder_rotation": (-90.0, 70.0),
    "elbow_flexion": (0.0, 150.0),
    "hip_flexion": (-15.0, 125.0),
    "hip_abduction": (-30.0, 45.0),
    "hip_rotation": (-45.0, 45.0),
    "knee_flexion": (0.0, 130.0),
}
LIMITS: dict[str, tuple[float, float]] = {
    "yaw": (-np.inf, np.inf),  # of the whole body in the world, free
    "pelvis_pitch": (-90.0, 90.0),  # + forward
    "pelvis_roll": (-45.0, 45.0),  # + towards the right
    "lumbar_flexion": (-30.0, 75.0),
    "lumbar_bend": (-35.0, 35.0),
    "lumbar_rotation": (-45.0, 45.0),
    "neck_flexion": (-55.0, 70.0),
    "neck_bend": (-45.0, 45.0),
    "neck_rotation": (-70.0, 70.0),
    **{f"{side}_{name}": limits for side in SIDES for name, limits in _SIDE_LIMITS.items()},
}

# Face points relative to the midpoint between the ears, in head heights (0.226 m at 1.74 m): x to the left, y up,
# z forward.
# Bitragion breadth 145 mm, pupils 63 mm apart, nose tip 122 mm and eyes 95 mm ahead of the ears (NASA-STD-3000).
FACE = {"nose": (0.0, -0.13, 0.54), "eye": (0.14, 0.05, 0.42), "ear": (0.32, 0.0, 0.0)}
_EARS_ABOVE_CHIN = 0.45  # head heights
_EARS_AHEAD_OF_NECK = 0.08  # head heights
_LUMBAR_HEIGHT = 0.25  # of the trunk, from the hips: the single trunk joint is at L4/L5

# Height of a joint's centre above the floor when that part of the body rests on the floor, in statures.
_CLEARANCE = {"hip": 0.06, "knee": 0.035, "ankle": LENGTHS["ankle_height"], "wrist": 0.02}
_CLEARANCE_ELSEWHERE = 0.05


@dataclass(frozen=True)
class Bodies:
    """Segment lengths in metres, one row for each of n people; left and right alike."""

    stature: Array
    head: Array
    neck: Array
    trunk: Array
    thigh: Array
    shank: Array
    ankle_height: Array
    upper_arm: Array
    forearm: Array
    half_shoulders: Array
    half_hips: Array

    def __len__(self) -> int:
        return int(self.stature.shape[0])

    def __getitem__(self, rows: NDArray[np.intp]) -> Bodies:
        return Bodies(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_bodies(count: int, *, rng: np.random.Generator) -> Bodies:
    """People of both sexes and different builds: stature 1.45 to 2.05 m, segments ±3 %, breadths ±6 % (one SD)."""
    tall = rng.random(count) < 0.5
    # NHANES adults: men 1.76 ± 0.075 m, women 1.62 ± 0.07 m.
    stature = np.clip(np.where(tall, rng.normal(1.76, 0.075, count), rng.normal(1.62, 0.07, count)), 1.45, 2.05)

    def vary(fractions: Mapping[str, float], spread: float) -> dict[str, Array]:
        return {name: part * np.clip(rng.normal(1, spread, count), 0.85, 1.15) for name, part in fractions.items()}

    heights = vary(LENGTHS, 0.03)
    total = sum(heights.values())  # the varied parts must add up to the stature again
    parts = {name: part / total for name, part in heights.items()} | vary(ARM_LENGTHS, 0.03) | vary(BREADTHS, 0.06)
    return Bodies(stature=stature, **{name: part * stature for name, part in parts.items()})


def clamp(angles: Angles) -> dict[str, Array]:
    """The same angles in degrees, clipped to `LIMITS`; missing ones are 0."""
    count = next(iter(angles.values())).shape[0]
    unknown = set(angles) - set(LIMITS)
    if unknown:
        raise KeyError(f"no such joint angles: {sorted(unknown)}")
    return {name: np.clip(angles.get(name, np.zeros(count)), low, high) for name, (low, high) in LIMITS.items()}


def joints_of(bodies: Bodies, angles: Angles) -> Array:
    """Forward kinematics: n bodies, n values of every angle in degrees → (n, 17, 3) metres, +Y up.

    At yaw 0 the body faces +Z with its left at +X. The lowest part of the body touches the floor y = 0.
    """
    angles = clamp(angles)
    joints = np.zeros((len(bodies), NUM_JOINTS, 3))
    pelvis = (
        axis_rotation(1, angles["yaw"])
        @ axis_rotation(0, angles["pelvis_pitch"])
        @ axis_rotation(2, angles["pelvis_roll"])
    )  # about the mid-hip point, the origin
    chest = pelvis @ _trunk_rotation(angles, "lumbar", share=1.0)
    shoulders = _up(pelvis, _LUMBAR_HEIGHT * bodies.trunk) + _up(chest, (1 - _LUMBAR_HEIGHT) * bodies.trunk)
    _place_head(joints, bodies, angles, chest, shoulders)
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        _place_arm(joints, bodies, angles, chest, shoulders, side, sign)
        _place_leg(joints, bodies, angles, pelvis, side, sign)
    clearance = np.array([_CLEARANCE.get(name[2:], _CLEARANCE_ELSEWHERE) for name in INDEX])
    floor = (joints[..., 1] - clearance * bodies.stature[:, None]).min(axis=1)
    joints[..., 1] -= floor[:, None]
    return joints


def _place_head(joints: Array, bodies: Bodies, angles: Angles, chest: Array, shoulders: Array) -> None:
    """The neck bends half at its base and half at the skull, because the cervical spine distributes the bend."""
    neck = chest @ _trunk_rotation(angles, "neck", share=0.5)
    head = neck @ _trunk_rotation(angles, "neck", share=0.5)
    rise = np.stack(
        [
            np.zeros_like(bodies.neck),
            bodies.neck + _EARS_ABOVE_CHIN * bodies.head,
            _EARS_AHEAD_OF_NECK * bodies.head,
        ],
        axis=-1,
    )
    ears = shoulders + _turn(neck, rise)
    for name, (x, y, z) in FACE.items():
        for side, sign in (("", 1.0),) if name == "nose" else (("l_", 1.0), ("r_", -1.0)):
            point = bodies.head[:, None] * np.array([sign * x, y, z])
            joints[:, INDEX[side + name]] = ears + _turn(head, point)


def _place_arm(
    joints: Array, bodies: Bodies, angles: Angles, chest: Array, shoulders: Array, side: str, sign: float
) -> None:
    upper = (
        chest
        @ axis_rotation(0, -angles[f"{side}_shoulder_flexion"])
        @ axis_rotation(2, sign * angles[f"{side}_shoulder_abduction"])
        @ axis_rotation(1, -sign * angles[f"{side}_shoulder_rotation"])
    )
    fore = upper @ axis_rotation(0, -angles[f"{side}_elbow_flexion"])
    shoulder = shoulders + sign * bodies.half_shoulders[:, None] * chest[..., 0]
    elbow = shoulder - _up(upper, bodies.upper_arm)
    joints[:, INDEX[f"{side}_shoulder"]] = shoulder
    joints[:, INDEX[f"{side}_elbow"]] = elbow
    joints[:, INDEX[f"{side}_wrist"]] = elbow - _up(fore, bodies.forearm)


def _place_leg(joints: Array, bodies: Bodies, angles: Angles, pelvis: Array, side: str, sign: float) -> None:
    thigh = (
        pelvis
        @ axis_rotation(0, -angles[f"{side}_hip_flexion"])
        @ axis_rotation(2, sign * angles[f"{side}_hip_abduction"])
        @ axis_rotation(1, -sign * angles[f"{side}_hip_rotation"])
    )
    shank = thigh @ axis_rotation(0, angles[f"{side}_knee_flexion"])
    hip = sign * bodies.half_hips[:, None] * pelvis[..., 0]
    knee = hip - _up(thigh, bodies.thigh)
    joints[:, INDEX[f"{side}_hip"]] = hip
    joints[:, INDEX[f"{side}_knee"]] = knee
    joints[:, INDEX[f"{side}_ankle"]] = knee - _up(shank, bodies.shank)


def _trunk_rotation(angles: Angles, part: str, *, share: float) -> Array:
    """Rotation by `share` of the part's flexion (forward), bend (to the right) and rotation (to the left)."""
    return (
        axis_rotation(0, share * angles[f"{part}_flexion"])
        @ axis_rotation(2, share * angles[f"{part}_bend"])
        @ axis_rotation(1, share * angles[f"{part}_rotation"])
    )


def _up(frame: Array, length: Array) -> Array:
    return frame[..., 1] * length[:, None]


def _turn(frame: Array, vector: Array) -> Array:
    turned: Array = np.einsum("nij,nj->ni", frame, vector)
    return turned
