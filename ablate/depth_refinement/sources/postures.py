"""Joint angles of everyday postures, by class, independent of bone lengths. Degrees, plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ablate.depth_refinement.sources.anatomy import SIDES, Array, Bodies, clamp

_Angles = dict[str, Array]
_Draw = Callable[[Bodies, np.random.Generator], _Angles]


def draw_posture(posture: str, bodies: Bodies, *, rng: np.random.Generator) -> _Angles:
    """One pose of the named class (`POSTURES`) for each body, every angle within its range of motion."""
    angles = _head(len(bodies), rng) | POSTURES[posture][0](bodies, rng)
    angles["yaw"] = rng.uniform(-180, 180, len(bodies))
    return clamp(angles)


def _standing(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    n = len(bodies)
    knee = np.abs(rng.normal(0, 7, n))
    return (
        _trunk(n, rng, flexion=(4, 5), bend=4, rotation=6)
        | {"pelvis_pitch": rng.normal(1, 3, n), "pelvis_roll": rng.normal(0, 3, n)}
        | _legs(n, rng, thigh=0.5 * knee, knee=knee, pitch=rng.normal(1, 3, n), abduction=(6, 4), spread=4)
        | _arms(n, rng, (0.6, 0.2, 0.1, 0.1))
    )


def _walking(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    """Sagittal hip and knee curves after Winter (1991), scaled by speed; arms swing with the opposite leg."""
    n = len(bodies)
    phase, speed = rng.random(n), rng.uniform(0.6, 1.6, n)
    angles = _trunk(n, rng, flexion=(3, 4), bend=2, rotation=2)
    angles |= {"pelvis_pitch": rng.normal(2, 2, n) + 3 * np.maximum(speed - 1, 0), "pelvis_roll": rng.normal(0, 2, n)}
    angles["lumbar_rotation"] = angles["lumbar_rotation"] + 5 * speed * np.cos(2 * np.pi * phase)
    for side, shift in (("l", 0.0), ("r", 0.5)):
        cycle = (phase + shift) % 1  # 0 = heel strike of this side
        swing = np.cos(2 * np.pi * cycle)
        angles[f"{side}_hip_flexion"] = 10 + 20 * speed * swing + rng.normal(0, 3, n)
        angles[f"{side}_hip_abduction"] = rng.normal(2, 2, n)
        angles[f"{side}_hip_rotation"] = rng.normal(-3, 4, n)
        angles[f"{side}_knee_flexion"] = 5 + 12 * speed * _bump(cycle, 0.15, 0.07) + 55 * _bump(cycle, 0.72, 0.1)
        angles[f"{side}_shoulder_flexion"] = -18 * speed * swing + rng.normal(0, 6, n)
        angles[f"{side}_shoulder_abduction"] = rng.normal(8, 3, n)
        angles[f"{side}_shoulder_rotation"] = rng.normal(10, 10, n)
        angles[f"{side}_elbow_flexion"] = 12 + 25 * np.maximum(speed - 0.8, 0) - 10 * swing + rng.normal(5, 6, n)
    return angles


def _reaching(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    """One or both hands reach for a high, level or low target; for a low one the hips move back and the trunk down."""
    n = len(bodies)
    low = rng.random(n) < 0.3
    knee = np.where(low, rng.uniform(5, 60, n), np.abs(rng.normal(0, 8, n)))
    lean = np.where(low, rng.uniform(20, 75, n), rng.normal(6, 6, n))
    lumbar = np.where(low, 0.4 * lean, rng.normal(3, 6, n))
    pitch = lean - 0.75 * lumbar
    angles = _trunk(n, rng, flexion=(0, 1), bend=7, rotation=14) | {"lumbar_flexion": lumbar, "pelvis_pitch": pitch}
    angles |= _legs(n, rng, thigh=0.55 * knee, knee=knee, pitch=pitch, abduction=(8, 5), spread=6)
    angles |= _arms(n, rng, (0.7, 0.3, 0.0, 0.0))
    one = rng.random(n)
    for side, reaches in (("l", one < 0.65), ("r", one > 0.35)):
        reach = {
            "shoulder_flexion": rng.uniform(35, 170, n),
            "shoulder_abduction": rng.uniform(-15, 60, n),
            "shoulder_rotation": rng.uniform(-30, 40, n),
            "elbow_flexion": np.abs(rng.normal(0, 25, n)),
        }
        for name, value in reach.items():
            angles[f"{side}_{name}"] = np.where(reaches, value, angles[f"{side}_{name}"])
    return angles


def _sitting(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    """On a chair, or (one of four) on the floor with the legs stretched out or drawn up."""
    n = len(bodies)
    floor = rng.random(n) < 0.25
    pitch = rng.normal(-4, 8, n) - 4 * floor
    drawn_up = rng.uniform(0, 85, n)
    # thigh and shank are nearly equally long, and the heels are on the floor, 0.02 statures lower than the hips
    on_floor = drawn_up / 2 + np.rad2deg(np.arccos(0.0425 / np.cos(np.deg2rad(drawn_up / 2))))
    knee = np.where(floor, drawn_up, rng.normal(88, 14, n))
    thigh = np.where(floor, on_floor, rng.normal(86, 5, n))
    angles = _trunk(n, rng, flexion=(10, 10), bend=6, rotation=8) | {"pelvis_pitch": pitch}
    angles |= _legs(n, rng, thigh=thigh, knee=knee, pitch=pitch, abduction=(8, 6), spread=3)
    return angles | _arms(n, rng, (0.15, 0.65, 0.0, 0.2))


def _crouching(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    """On both feet with the trunk in balance, or (three of ten) on one knee."""
    n = len(bodies)
    knee = rng.uniform(50, 130, n)
    thigh = knee - rng.uniform(8, 32, n)  # the shank leans forward by the difference
    lean = np.clip(_balanced_lean(bodies, thigh, knee) + rng.normal(0, 4, n), -5, 65)
    lumbar = np.clip(lean * rng.uniform(0.2, 0.7, n), -20, 70)
    pitch = np.minimum(lean - 0.75 * lumbar, 125 - thigh)
    angles = _trunk(n, rng, flexion=(0, 1), bend=5, rotation=10) | {"lumbar_flexion": lumbar, "pelvis_pitch": pitch}
    angles |= _legs(n, rng, thigh=thigh, knee=knee, pitch=pitch, abduction=(12, 6), spread=3)
    kneels, upright = rng.random(n) < 0.3, rng.normal(4, 6, n)
    angles["pelvis_pitch"] = np.where(kneels, upright, angles["pelvis_pitch"])
    angles["lumbar_flexion"] = np.where(kneels, rng.normal(6, 8, n), angles["lumbar_flexion"])
    left_down = rng.random(n) < 0.5
    for side, down in (("l", left_down), ("r", ~left_down)):
        bent = np.where(down, rng.normal(2, 5, n), rng.normal(82, 6, n)) + upright
        angles[f"{side}_hip_flexion"] = np.where(kneels, bent, angles[f"{side}_hip_flexion"])
        shin = np.where(down, rng.uniform(85, 110, n), rng.normal(88, 8, n))
        angles[f"{side}_knee_flexion"] = np.where(kneels, shin, angles[f"{side}_knee_flexion"])
    return angles | _arms(n, rng, (0.2, 0.5, 0.1, 0.2))


def _dancing(bodies: Bodies, rng: np.random.Generator) -> _Angles:
    """One supporting leg, the other free, arms over their whole range, the trunk turned and bent."""
    n = len(bodies)
    pitch = rng.normal(4, 12, n)
    angles = _trunk(n, rng, flexion=(4, 16), bend=12, rotation=18)
    angles |= {"pelvis_pitch": pitch, "pelvis_roll": rng.normal(0, 8, n)}
    knee = np.abs(rng.normal(0, 30, n))
    angles |= _legs(n, rng, thigh=0.5 * knee, knee=knee, pitch=pitch, abduction=(8, 8), spread=8)
    left_free = rng.random(n) < 0.5
    for side, free in (("l", left_free), ("r", ~left_free)):
        kick = rng.random(n) < 0.25
        leg = {
            "hip_flexion": np.where(kick, rng.uniform(40, 110, n), rng.uniform(-15, 60, n)),
            "hip_abduction": rng.uniform(-10, 42, n),
            "hip_rotation": rng.uniform(-40, 25, n),
            "knee_flexion": np.where(kick, rng.uniform(0, 60, n), rng.uniform(0, 100, n)),
        }
        for name, value in leg.items():
            angles[f"{side}_{name}"] = np.where(free, value, angles[f"{side}_{name}"])
        angles[f"{side}_shoulder_flexion"] = rng.uniform(-40, 180, n)
        angles[f"{side}_shoulder_abduction"] = rng.uniform(0, 95, n)
        angles[f"{side}_shoulder_rotation"] = rng.uniform(-80, 60, n)
        angles[f"{side}_elbow_flexion"] = rng.uniform(0, 130, n)
    return angles


# Class → (function that draws its angles, share of the poses).
POSTURES: dict[str, tuple[_Draw, float]] = {
    "standing": (_standing, 0.22),
    "walking": (_walking, 0.24),
    "reaching": (_reaching, 0.16),
    "sitting": (_sitting, 0.12),
    "crouching": (_crouching, 0.10),
    "dancing": (_dancing, 0.16),
}


def _balanced_lean(bodies: Bodies, thigh: Array, knee: Array) -> Array:
    """Forward lean that puts the centre of mass over the middle of the foot.

    Segment masses (head, arms and trunk 0.678, thighs 0.200, shanks 0.093) and centres: Winter, table 4.1.
    """
    thigh_sin, shank_sin = np.sin(np.deg2rad(thigh)), np.sin(np.deg2rad(thigh - knee))
    knee_ahead = -bodies.shank * shank_sin  # of the ankle
    hip_ahead = knee_ahead - bodies.thigh * thigh_sin
    thighs = 0.200 * (hip_ahead + 0.433 * bodies.thigh * thigh_sin)
    shanks = 0.093 * (knee_ahead + 0.433 * bodies.shank * shank_sin)
    foot_middle = 0.04 * bodies.stature
    trunk_ahead = (0.971 * foot_middle - thighs - shanks) / 0.678 - hip_ahead
    return np.rad2deg(np.arcsin(np.clip(trunk_ahead / (0.626 * bodies.trunk), -0.1, 0.99)))


def _head(n: int, rng: np.random.Generator) -> _Angles:
    return {
        "neck_flexion": rng.normal(5, 12, n),
        "neck_bend": rng.normal(0, 6, n),
        "neck_rotation": rng.normal(0, 20, n),
    }


def _trunk(n: int, rng: np.random.Generator, *, flexion: tuple[float, float], bend: float, rotation: float) -> _Angles:
    return {
        "lumbar_flexion": rng.normal(*flexion, n),
        "lumbar_bend": rng.normal(0, bend, n),
        "lumbar_rotation": rng.normal(0, rotation, n),
    }


def _legs(
    n: int,
    rng: np.random.Generator,
    *,
    thigh: Array,
    knee: Array,
    pitch: Array,
    abduction: tuple[float, float],
    spread: float,
) -> _Angles:
    """Both legs with the same mean; `spread` is the SD between them. `thigh` is the thigh's angle in the world.

    Hip flexion is the sum of that angle and the pelvis' pitch.
    """
    angles: _Angles = {}
    for side in SIDES:
        more = rng.normal(0, spread, n)
        angles[f"{side}_hip_flexion"] = thigh + pitch + more
        angles[f"{side}_hip_abduction"] = rng.normal(*abduction, n)
        angles[f"{side}_hip_rotation"] = rng.normal(-5, 6, n)
        angles[f"{side}_knee_flexion"] = knee + 1.5 * np.abs(more)
    return angles


# Mean and SD of an arm's flexion, abduction, rotation and elbow flexion: hanging, gesturing, hand on hip, hand at head.
_ARMS: NDArray[np.float64] = np.array(
    [
        [(0, 10), (9, 4), (10, 15), (14, 9)],
        [(40, 18), (12, 14), (20, 20), (75, 25)],
        [(-15, 8), (42, 8), (45, 10), (95, 10)],
        [(105, 20), (20, 15), (20, 20), (125, 15)],
    ],
    dtype=np.float64,
)


def _arms(n: int, rng: np.random.Generator, shares: tuple[float, float, float, float]) -> _Angles:
    names = ("shoulder_flexion", "shoulder_abduction", "shoulder_rotation", "elbow_flexion")
    left = rng.choice(len(shares), n, p=shares)
    right = np.where(rng.random(n) < 0.6, left, rng.choice(len(shares), n, p=shares))  # arms often do the same
    angles: _Angles = {}
    for side, kind in (("l", left), ("r", right)):
        drawn = rng.normal(_ARMS[kind, :, 0], _ARMS[kind, :, 1])
        angles |= {f"{side}_{name}": drawn[:, i] for i, name in enumerate(names)}
    return angles


def _bump(cycle: Array, centre: float, width: float) -> Array:
    away = (cycle - centre + 0.5) % 1 - 0.5
    bump: Array = np.exp(-0.5 * (away / width) ** 2)
    return bump
