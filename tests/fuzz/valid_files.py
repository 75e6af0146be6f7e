"""Small valid files of every kind that `ablate` reads, to be damaged. Made once; about a kilobyte each."""

from __future__ import annotations

import functools
import io
import json
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import bvh_writer
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from ablate.depth_refinement.model import create_model
from ablate.depth_refinement.skeleton import JOINTS
from ablate.depth_refinement.sources import synthetic
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"d_model": 8, "num_layers": 1, "num_heads": 2, "fusion_dim": 8}


@functools.cache
def bvh() -> str:
    """A person of 21 joints and three frames."""
    return bvh_writer.bvh_text(turns=bvh_writer.walk(frames=3))


@functools.cache
def mocap() -> dict[str, np.ndarray]:
    poses = synthetic.generate(subjects=3, poses_per_subject=3, seed=1)
    return {
        "joints": poses.joints,
        "subject_id": poses.subject_id,
        "clip_id": poses.clip_id % 2,
        "split": poses.split,
        "subject_names": np.array(["ann", "bob", "cleo"]),
        "clip_names": np.array(["walk", "sit"]),
        "joint_names": np.array(JOINTS),
    }


@functools.cache
def poses() -> dict[str, np.ndarray]:
    """Two poses for `ablate predict`."""
    rng = np.random.default_rng(0)
    return {
        "pose_2d": rng.normal(300, 80, (2, 17, 2)),
        "pose_3d": rng.normal(0, 0.4, (2, 17, 3)),
        "visibility": rng.random((2, 17)),
    }


def _turned(degrees: float) -> np.ndarray:
    """A camera that looks at the origin horizontally from this azimuth: world +Z up."""
    angle = np.deg2rad(degrees)
    ahead = np.array([-np.cos(angle), -np.sin(angle), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    return np.stack([np.cross(down, ahead), down, ahead])


@functools.cache
def _scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two people of one recording (F, 17, 3) with +Z up, rotations (C, 3, 3) and what three cameras see."""
    upright = synthetic.generate(subjects=3, poses_per_subject=1, seed=3).joints[:2].astype(np.float64)
    upright -= upright.mean(axis=1, keepdims=True)
    world = np.stack([upright[..., 2], upright[..., 0], upright[..., 1]], axis=-1)
    rotations = np.stack([_turned(angle) for angle in (10, 100, 200)])
    seen = np.einsum("cij,fkj->fcki", rotations, world) + np.array([0, 0, 4.0])
    return world, rotations, 500 + 900 * seen[..., :2] / seen[..., 2:]


@functools.cache
def recording() -> dict[str, np.ndarray]:
    world, rotations, pixels = _scene()
    return {
        "kp2d": pixels,
        "conf": np.full(pixels.shape[:3], 0.8),
        "K": np.tile([[900.0, 0, 500], [0, 900, 500], [0, 0, 1]], (3, 1, 1)),
        "dist": np.zeros((3, 4)),
        "R": rotations,
        "t": np.tile([0.0, 0, 4], (3, 1)),
        "joints3d": world,
        "world_up": np.array([0.0, 0, 1]),
        "cam_names": np.array(["a", "b", "c"]),
        "image_size": np.full((3, 2), 1000.0),
        "fps": np.array(30.0),
        "joint_names": np.array(JOINTS),
    }


@functools.cache
def openpose() -> dict[str, Any]:
    """Path → document of three cameras and two frames: COCO-17 as it is."""
    _, _, pixels = _scene()
    documents = {}
    for frame, cameras in enumerate(pixels):
        for camera, points in enumerate(cameras):
            flat = [round(float(v), 2) for x, y in points for v in (x, y, 0.8)]
            documents[f"clip/cam{camera}/f{frame}.json"] = {"version": 1.3, "people": [{"pose_keypoints_2d": flat}]}
    return documents


@functools.cache
def calibration() -> dict[str, Any]:
    from scipy.spatial.transform import Rotation

    _, rotations, _ = _scene()
    return {
        f"cam_{i}": {
            "name": f"cam_{i}",
            "size": [1000.0, 1000.0],
            "matrix": [[900.0, 0.0, 500.0], [0.0, 900.0, 500.0], [0.0, 0.0, 1.0]],
            "distortions": [0.0, 0.0, 0.0, 0.0],
            "rotation": Rotation.from_matrix(rotation).as_rotvec().tolist(),
            "translation": [0.0, 0.0, 4.0],
            "fisheye": False,
        }
        for i, rotation in enumerate(rotations)
    }


def npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=True, **arrays)
    return stream.getvalue()


def tar(documents: dict[str, Any], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, document in documents.items():
            content = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@functools.cache
def studies() -> tuple[dict[str, Any], ...]:
    """Documents of the shipped studies that need no data file, and of the toy."""
    files = [*sorted((ROOT / "studies").glob("*.toml")), ROOT / "tests" / "toy" / "linear.toml"]
    found = [tomllib.loads(file.read_text(encoding="utf-8")) for file in files]
    kept = tuple(document for document in found if "file" not in document["settings"]["data"])
    assert len(kept) > 1
    return kept


@functools.cache
def study_text() -> str:
    return (ROOT / "studies" / "quick.toml").read_text(encoding="utf-8")


def network() -> dict[str, Any]:
    """model.json."""
    return {"factory": "ablate.depth_refinement.model:create_model", "settings": dict(NETWORK), "inputs_shape": [17, 6]}


@functools.cache
def weights() -> bytes:
    torch.manual_seed(0)
    return save(create_model(**NETWORK).state_dict())


def checkpoint(folder: Path) -> bytes:
    generator = torch.Generator().manual_seed(1)
    state = {
        "epoch": 1,
        "model": {"w": torch.randn(4, 4)},
        "generator": generator.get_state(),
        "history": [{"loss": 0.5}],
    }
    ResumeCheckpoint(folder / "checkpoint.pt").save(state)
    return (folder / "checkpoint.pt").read_bytes()


@functools.cache
def scores() -> bytes:
    """scores.parquet."""
    stream = io.BytesIO()
    frame = pd.DataFrame({"error": np.arange(40.0), "subject": np.arange(40) % 4, "seen": np.arange(40) % 2 == 0})
    frame.to_parquet(stream, compression="zstd", index=False)
    return stream.getvalue()


@functools.cache
def given_scores(*, parquet: bool) -> bytes:
    """A table of results for `ablate adopt`."""
    rows = [(arm, seed, who, seed / 7) for arm in ("A", "B") for seed in range(1, 6) for who in ("x", "y")]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "subject", "score"])
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False) if parquet else frame.to_csv(stream, index=False)
    return stream.getvalue()


@functools.cache
def document() -> dict[str, Any]:
    """What the store keeps of a study."""
    from ablate.depth_refinement.metrics import METRICS
    from ablate.study import amend, study_file

    study = study_file.load(ROOT / "studies" / "quick.toml", imports=False)
    return json.loads(json.dumps(amend.document(study, METRICS, command="ablate run quick.toml", today="2025-01-01")))
