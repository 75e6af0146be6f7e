"""The readers of files from anywhere: for each how a damaged file is made, and what reads it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import mutations
import numpy as np
import torch
import valid_files

from ablate.analysis.example_tables import read_columns
from ablate.depth_refinement import inspection, prediction
from ablate.depth_refinement.recording import recording
from ablate.depth_refinement.sources import bvh, calibration, openpose_files, retarget
from ablate.depth_refinement.sources.openpose import import_openpose
from ablate.planning import plan
from ablate.scheduler.loaded_study import load
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError
from ablate.study.document import checked
from ablate.study.score_table import score_table
from ablate.tracking.record_format import record_of
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint
from ablate.untrusted import npz_reader
from ablate.untrusted.tables import read_table

Reader = Callable[[Random, Path], None]  # damages in a fresh folder, then reads


def study_file(random: Random, folder: Path) -> None:
    path = folder / "study.toml"
    if random.random() < 0.4:
        text = mutations.mutated_text(random, valid_files.study_text())
    else:
        text = mutations.as_toml(mutations.mutated_value(random, random.choice(valid_files.studies())))
    path.write_bytes(mutations.sometimes(random, mutations.mutated_bytes, text.encode("utf-8", "surrogatepass"), 0.1))
    try:
        loaded = load(path, Workspace(folder / "mlruns"), imports=False)
    except InputError as error:
        if any(p.file != str(path) or not p.rule or "pydantic" in p.rule for p in error.problems):
            raise AssertionError("a problem that does not say what is wrong and where") from error
        raise
    made = plan.make_plan(loaded.study, [], loaded.digests.__getitem__, direction="lower")
    assert made.cells


DTYPES = ("<f8", "<f4", "<f2", "<i8", "<u8", "<i1", "?", "<c16", "<U3", "S3", "O", "<M8[s]", "V4")
HEADERS = (
    b"(1000000000000,)", b"(-1,)", b"(2, 17", b"'|O'", b"'<U0'", b"'<f8', (9,)", b"[('a', '<f8')]",
    b"(99999999999999999999,)",
)  # fmt: skip


def _npz(random: Random, valid: dict[str, np.ndarray], path: Path) -> None:
    """Arrays left out, of another type or shape, with absurd values; then perhaps bytes of the archive."""
    found: dict[str, Any] = dict(valid)
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(sorted(found) or ["none"])
        array = found.pop(name, np.zeros(3))
        with np.errstate(all="ignore"):
            match random.randrange(8):
                case 0:
                    continue
                case 1:
                    found[name] = _cast(array, random.choice(DTYPES))
                case 2:
                    found[name] = array[: random.randrange(3)] if array.ndim else array
                case 3:
                    found[name] = np.moveaxis(array, 0, -1) if array.ndim else array[None]
                case 4:
                    found[name] = np.array([{"a": object}, None], dtype=object)
                case 5 if array.dtype.kind in "fiu" and array.size:
                    changed = array.astype(np.float64)
                    changed.flat[random.randrange(array.size)] = random.choice((math.nan, math.inf, 1e308, -1e30, 0.0))
                    found[name] = changed
                case 6 if array.dtype.kind in "fiu":
                    found[name] = array.astype(np.float64) * random.choice((0, -1, 1e-3, 1e3, 1e200))
                case _:
                    found[name] = np.concatenate([array, array]) if array.ndim else array
    content = valid_files.npz(found)
    if random.random() < 0.3:
        content = mutations.mutated_bytes(random, content)
    path.write_bytes(content)
    if random.random() < 0.2:
        _lying_header(random, found, path)


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Of the type, with the old values where they can be had."""
    plain = array.dtype.kind in "fiub" and np.dtype(dtype).kind in "fiubc"
    return array.astype(dtype) if plain else np.zeros(array.shape, dtype=dtype)


def _lying_header(random: Random, found: dict[str, Any], path: Path) -> None:
    """Headers that announce other shapes and types than the bytes behind them have."""
    import io
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in found.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array, allow_pickle=True)
            content = stream.getvalue()
            if random.random() < 0.5:
                start, end = content.index(b"{"), content.index(b"\n")
                old = content[start:end].rstrip()
                place = random.randrange(len(old))
                new = (old[:place] + random.choice(HEADERS) + old[place + random.randrange(20) :])[: end - start]
                content = content[:start] + new.ljust(end - start) + content[end:]
            archive.writestr(f"{name}.npy", content)


def motion_capture(random: Random, folder: Path) -> None:
    _npz(random, valid_files.mocap(), folder / "poses.npz")
    found, _ = inspection.inspect(folder / "poses.npz")
    inspection.text(found)
    json.dumps(found.plain(), allow_nan=False)


def recordings(random: Random, folder: Path) -> None:
    _npz(random, valid_files.recording(), folder / "recording.npz")
    recording.reads(folder / "recording.npz")  # type: ignore[attr-defined]
    recording(file=folder / "recording.npz", device="cpu").examples("test")


def poses(random: Random, folder: Path) -> None:
    _npz(random, valid_files.poses(), folder / "poses.npz")
    prediction.read_poses(folder / "poses.npz")


def examples(random: Random, folder: Path) -> None:
    _npz(random, {**valid_files.poses(), "index": np.arange(2)}, folder / "examples.npz")
    npz_reader.read_npz(folder / "examples.npz", most_bytes=10_000_000)


def bvh_motion(random: Random, folder: Path) -> None:
    text = mutations.mutated_text(random, valid_files.bvh())
    content = mutations.sometimes(random, mutations.mutated_bytes, text.encode("utf-8", "surrogatepass"), 0.1)
    (folder / "walk.bvh").write_bytes(content)
    retarget.retarget(bvh.read_bvh(folder / "walk.bvh"), "walk.bvh")


def openpose_json(random: Random, folder: Path) -> None:
    document = mutations.mutated_value(random, random.choice(list(valid_files.openpose().values())))
    text = json.dumps(document)
    if random.random() < 0.5:
        text = mutations.mutated_text(random, text.replace(",", ",\n"))
    openpose_files.people(text.encode("utf-8", "surrogatepass"), "f.json")


def openpose_recording(random: Random, folder: Path) -> None:
    """Documents, or the archive around them, or the calibration; then the whole import."""
    part = random.randrange(3)
    documents, rig = valid_files.openpose(), valid_files.calibration()
    if part == 0:
        changed = mutations.mutated_value(random, documents)
        documents = changed if isinstance(changed, dict) else {"clip/cam0/0.json": changed}
    mode = random.choice(("w", "w:gz", "w:bz2", "w:xz"))
    archive = valid_files.tar({str(k)[:90].replace("\x00", "0"): v for k, v in documents.items()}, mode)
    (folder / "json.tar").write_bytes(mutations.mutated_bytes(random, archive) if part == 1 else archive)
    text = mutations.as_toml(mutations.mutated_value(random, rig) if part == 2 else rig)
    (folder / "rig.toml").write_text(text, encoding="utf-8")
    import_openpose(folder / "json.tar", folder / "out.npz", calibration=folder / "rig.toml", model="coco_17")


def calibration_file(random: Random, folder: Path) -> None:
    text = mutations.as_toml(mutations.mutated_value(random, valid_files.calibration()))
    if random.random() < 0.4:
        text = mutations.mutated_text(random, text)
    (folder / "rig.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    calibration.read_toml(folder / "rig.toml")


def network(random: Random, folder: Path) -> None:
    """model.json or the weights beside it; then the command."""
    settings, weights = json.dumps(valid_files.network()), valid_files.weights()
    if random.random() < 0.7:
        settings = json.dumps(mutations.mutated_value(random, valid_files.network()))
    else:
        weights = mutations.mutated_bytes(random, weights)
    (folder / "model.json").write_bytes(mutations.sometimes(random, mutations.mutated_bytes, settings.encode(), 0.1))
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "poses.npz").write_bytes(valid_files.npz(valid_files.poses()))
    prediction.predict_file(folder, folder / "poses.npz")


def checkpoints(random: Random, folder: Path) -> None:
    """A damaged state is none; where the damage is put right in the checksum too, what is inside is still only data."""
    import hashlib

    from ablate.trainers.builtin.checkpoints import DIGEST_SIZE, MAGIC

    content = valid_files.checkpoint(folder)
    head = len(MAGIC)
    if random.random() < 0.7:
        payload = mutations.mutated_bytes(random, content[head + DIGEST_SIZE :])
        content = content[:head] + hashlib.sha256(payload).digest() + payload
    else:
        content = mutations.mutated_bytes(random, content)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(content)
    state = ResumeCheckpoint(folder / "checkpoint.pt").load(torch.device("cpu"))
    assert state is None or isinstance(state, dict)
    if state is None:
        raise InputError


def tables(random: Random, folder: Path) -> None:
    (folder / "scores.parquet").write_bytes(mutations.mutated_bytes(random, valid_files.scores()))
    read_columns(folder / "scores.parquet")


def given_scores(random: Random, folder: Path) -> None:
    file = folder / "results"
    file.write_bytes(mutations.mutated_bytes(random, valid_files.given_scores(parquet=random.random() < 0.5)))
    table = read_table(file, ["arm", "seed", "score"], ["dataset", "subject"])
    scores = score_table(table, ["score"])
    assert set(scores.scores) <= {(arm, seed) for arm in scores.arms for seed in scores.seeds}


def documents(random: Random, folder: Path) -> None:
    study, facts = checked(mutations.mutated_value(random, valid_files.document()), "quick")
    assert set(study.metrics) <= facts.keys()


TAGS = {
    "ablate.arm": "a", "ablate.seed": "1", "ablate.phase": "tune", "ablate.key": "k", "ablate.overrides": '{"a": 1}',
    "ablate.trial": "0", "ablate.error": "no", "ablate.provenance": '{"device": "cpu"}',
}  # fmt: skip


def tags(random: Random, folder: Path) -> None:
    """A run's tags; what `records_from_sqlite` says of the ones that cannot be read is tested elsewhere."""
    found = {key: mutations.mutated_text(random, text) if random.random() < 0.3 else text for key, text in TAGS.items()}
    try:
        record_of("id", "FINISHED", found, {"test/error": 1.0}, "d")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError from error


READERS: dict[str, Reader] = {
    reader.__name__: reader
    for reader in (
        study_file, motion_capture, recordings, poses, examples, bvh_motion, openpose_json, openpose_recording,
        calibration_file, network, checkpoints, tables, given_scores, documents, tags,
    )
}  # fmt: skip
