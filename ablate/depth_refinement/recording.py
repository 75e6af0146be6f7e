"""The data factory for external tests: real detections from calibrated cameras, with a simulated 3D estimate.

`sources.recording` reads the file. A recording has no training examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from ablate import Batch, Frozen, InputError, Problem, Split
from ablate.depth_refinement.data import plain_arguments
from ablate.depth_refinement.geometry import body_axes, direction_angles, minimal_rotation, pelvis, torso_lean
from ablate.depth_refinement.noise import (
    DetectorErrors,
    GrossErrors,
    ImageErrors,
    estimate_3d,
    joint_constants,
    person_area,
)
from ablate.depth_refinement.occlusion import occluded_joints
from ablate.depth_refinement.simulation import INPUTS, assemble, described, wrap_degrees
from ablate.depth_refinement.skeleton import FACE, JOINTS, L_HIP, L_SHOULDER, LIMBS, NUM_JOINTS, R_HIP, R_SHOULDER
from ablate.depth_refinement.sources import recording as layout
from ablate.depth_refinement.sources.recording import Array, Mask, Recording, is_recording

TRUNK = (L_SHOULDER, R_SHOULDER, L_HIP, R_HIP)
# Median absolute value of a standard normal.
_MAD = 0.6745
# Per-axis SD of a joint that was not detected, as a share of the person's size in the image.
_UNDETECTED_SD = 0.5


class RealDetections(Frozen):
    """Which pictures become examples, and how the detector's confidence becomes visibility."""

    seed: int = Field(default=0, ge=0)  # of the simulated 3D estimates
    min_detected: int = Field(default=12, ge=4, le=17)  # joints, including both shoulders and hips and a face joint
    # OpenPose gives 0.6 to 0.7 to joints in plain view (median 0.66 on real recordings). A joint with at least this
    # confidence has visibility 1, one below it a proportional visibility.
    clear_confidence: float = Field(default=0.7, gt=0, le=1)


class _Views(NamedTuple):
    """N pictures of one person in crop axes: the camera turned onto the detected mid-hip by the shortest rotation."""

    joints: Float[Tensor, "n 17 3"]  # true, from the camera's centre, metres
    image: Float[Tensor, "n 17 2"]  # detected x/z, y/z
    detected: Bool[Tensor, "n 17"]
    confidence: Float[Tensor, "n 17"]
    left: Float[Tensor, "n 3"]  # the body's left axis
    to_camera: Float[Tensor, "n 3"]  # from the pelvis, world axes with +Y up
    world: Float[Tensor, "n 17 3"]  # true, world axes with +Y up
    camera: Int[Tensor, " n"]


@dataclass(frozen=True)
class RecordingData:
    """Every usable picture of a recording as an example (implements `Data`). The only split is the test split."""

    source: str
    digest: str
    batch: Batch
    train_size: int = 0
    inputs: ClassVar[Mapping[str, tuple[int, int]]] = INPUTS
    joints: ClassVar[Sequence[str]] = JOINTS

    def sample(self, index: Tensor, *, generator: Generator) -> Batch:
        """Raises InputError: a recording is only for testing."""
        raise InputError(Problem(self.source, "", "a recording has no training examples; it is for `ablate evaluate`"))

    def examples(self, split: Split) -> Batch:
        """The examples, the cameras of a frame next to each other. Raises InputError for "val": no data for tuning."""
        if split == "val":
            raise InputError(Problem(self.source, "", "a recording has no validation examples; it is a test set"))
        return self.batch


# Frozen models can be defaults, because they never change; `plain_arguments` reads their fields.
_DETECTIONS, _ERRORS = RealDetections(), DetectorErrors()


@plain_arguments  # type: ignore[arg-type]  # its types are those of poses behind simulated cameras
def recording(
    *,
    file: Path,
    device: torch.device | str,
    detections: RealDetections = _DETECTIONS,
    errors: DetectorErrors = _ERRORS,
) -> RecordingData:
    """Real 2D detections of a multi-camera recording (.npz in the layout of `sources.recording`).

    2D: the detections, undistorted, cropped and normalised. An undetected joint gets the position of its limb's next
    joint towards the trunk, an undetected face joint the mean of the detected face joints: the true pose is not used.
    Visibility: from the confidence, 0 where not detected. 3D: the triangulated pose with errors of the detector-error
    model, in which the real 2D error replaces the simulated one in the image plane, to the degree set by `agreement`.
    `noise_level` and its spread have no effect: the level is measured. Targets: those of `simulation.described`, but
    noise_level is NaN and clip is the camera's number.
    """
    file = Path(file)
    measured = layout.read(file)
    views = _views(measured, detections, str(file))
    batch = _examples(views, detections, errors)
    targets = {name: value.to(device) for name, value in batch.targets.items()}
    return RecordingData(str(file), _digest(measured), Batch(batch.inputs.to(device), targets))


recording.reads = is_recording  # type: ignore[attr-defined]  # `ablate evaluate` calls it to find the factory for a file


def _views(measured: Recording, detections: RealDetections, source: str) -> _Views:
    rig, truth = measured.rig, layout.complete_heads(measured.joints3d)
    plane = rig.undistort(measured.kp2d)
    detected_joints: Mask = np.asarray(np.isfinite(plane).all(-1))  # (F, C, 17)
    usable: Mask = detected_joints.sum(-1) >= detections.min_detected
    usable &= detected_joints[..., TRUNK].all(-1) & detected_joints[..., FACE].any(-1)
    usable &= np.asarray(np.isfinite(truth).all((-1, -2)))[:, None]
    axes = np.einsum("cij,fkj->fcki", rig.R, truth) + rig.t[:, None]
    usable &= (axes[..., 2] > 0.1).all(-1)  # NaN compares as False
    if not usable.any():
        rule = f"no frame has {detections.min_detected} detected joints in a camera and a whole triangulated pose"
        raise InputError(Problem(source, "", rule, f"shoulders, hips and a face joint among the {NUM_JOINTS}"))
    frame, camera = np.nonzero(usable)
    detected = detected_joints[frame, camera]
    rays = np.concatenate([fill(plane[frame, camera], detected), np.ones((len(frame), NUM_JOINTS, 1))], axis=-1)
    hip = (rays[:, L_HIP] + rays[:, R_HIP]) / 2
    crop = minimal_rotation(torch.from_numpy(hip)).numpy()
    turned = rays @ crop.swapaxes(-1, -2)
    to_up = upright(measured.world_up)
    world = truth[frame] @ to_up.T
    position = -np.einsum("cji,cj->ci", rig.R, rig.t)[camera] @ to_up.T
    body = body_axes(torch.from_numpy(world), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)).numpy()
    to_crop = crop @ rig.R[camera] @ to_up.T  # from +Y-up world axes to crop axes
    return _Views(
        joints=_float(axes[frame, camera] @ crop.swapaxes(-1, -2)),
        image=_float(turned[..., :2] / turned[..., 2:]),
        detected=torch.from_numpy(detected),
        confidence=_float(measured.confidence[frame, camera]),
        left=_float((to_crop @ body[:, 0, :, None])[..., 0]),
        to_camera=_float(position - (world[:, L_HIP] + world[:, R_HIP]) / 2),
        world=_float(world),
        camera=torch.from_numpy(camera.astype(np.int64)),
    )


def fill(plane: Array, detected: Mask) -> Array:
    """Image points (n, 17, 2) with undetected ones replaced from detected ones of the same picture.

    An undetected limb joint gets the position of its limb's next joint towards the trunk, an undetected face joint the
    mean of the detected face joints.
    """
    filled = plane.copy()
    for chain in LIMBS:
        for root, joint in pairwise(chain):
            filled[:, joint] = np.where(detected[:, joint, None], plane[:, joint], filled[:, root])
    face = list(FACE)
    detected_face = detected[:, face, None]
    mean = np.where(detected_face, plane[:, face], 0.0).sum(1) / np.maximum(detected_face.sum(1), 1)
    filled[:, face] = np.where(detected_face, plane[:, face], mean[:, None])
    return filled


def upright(world_up: Array) -> Array:
    """The shortest rotation (3, 3) that turns `world_up` to +z, then a quarter turn of +z to +Y."""
    onto_z = minimal_rotation(torch.from_numpy(world_up)).numpy()
    return np.asarray(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]) @ onto_z)


def _examples(views: _Views, detections: RealDetections, errors: DetectorErrors) -> Batch:
    generator = Generator().manual_seed(detections.seed)
    occluded = occluded_joints(views.joints)
    widening = torch.where(occluded, errors.occluded_factor, 1.0)
    wrong = _image_errors(views, widening, generator)
    estimate = estimate_3d(views.joints, views.left, wrong, widening, errors, generator)
    visibility = (views.confidence / detections.clear_confidence).clamp(max=1.0)
    axes = body_axes(views.world, torch.tensor([0.0, 1.0, 0.0]))
    azimuth, elevation = direction_angles(views.to_camera, axes)
    targets = {
        "azimuth_deg": wrap_degrees(azimuth.rad2deg()),
        "elevation_deg": elevation.rad2deg(),
        "pose_3d": views.joints - pelvis(views.joints).unsqueeze(-2),
        "lean_deg": torso_lean(views.world, torch.tensor([0.0, 1.0, 0.0])).rad2deg(),
        "visible_joints": (visibility > 0.5).sum(-1).float(),
        "distance_m": views.to_camera.norm(dim=-1),
        "noise_level": torch.full_like(azimuth, torch.nan),
        "subject": torch.zeros_like(views.camera),
        "image_2d": views.image,
        "image_sd": wrong.sd,
    }
    batch = Batch(assemble(views.image, estimate, visibility), targets)
    return described(batch, views.world, views.camera)


def _image_errors(views: _Views, widening: Tensor, generator: Generator) -> ImageErrors:
    """The real 2D errors in units of the SD that the error model gives for this detector.

    The noise level is measured, so that the median error is that of a normal distribution. Joints without a detection
    get a random error, because the 3D needs one.
    """
    area = person_area(views.joints).sqrt().unsqueeze(-1)
    sd = area / 2**0.5 * joint_constants(area.device).sigmas * widening
    truth = views.joints[..., :2] / views.joints[..., 2:]
    unit = (views.image - truth) / sd.unsqueeze(-1)
    level = (unit[views.detected].abs().median() / _MAD).clamp_min(1e-6)
    drawn = torch.randn(unit.shape, generator=generator)
    unit = torch.where(views.detected.unsqueeze(-1), unit / level, drawn)
    # the real errors include gross errors already
    none = GrossErrors(torch.zeros_like(views.detected), torch.zeros_like(unit))
    return ImageErrors(torch.where(views.detected, level * sd, _UNDETECTED_SD * area), unit, none)


def _digest(measured: Recording) -> str:
    sha = hashlib.sha256()
    rig = measured.rig
    poses = measured.kp2d, measured.confidence, measured.joints3d
    for array in (*poses, rig.K, rig.dist, rig.R, rig.t, measured.world_up):
        sha.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return sha.hexdigest()


def _float(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
