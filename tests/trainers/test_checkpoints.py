"""Weights and checkpoints: written atomically, and nothing in a file is ever executed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_disk import SmallDisk
from torch import nn

from ablate.study import InputError
from ablate.tracking.mlflow.mlflow_pyfunc import _load_pyfunc
from ablate.trainers.builtin.checkpoints import (
    ResumeCheckpoint,
    load_model,
    load_weights,
    read_settings,
    save_model,
)

SECTION = {"factory": "torch.nn:Linear", "in_features": 3, "out_features": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(nn.Linear(3, 2), SECTION, [3], tmp_path / "model")
    return tmp_path / "model"


class TestModelFolder:
    def test_reads_back_the_same_network(self, tmp_path: Path) -> None:
        model = nn.Linear(3, 2)
        save_model(model, SECTION, [3], tmp_path)
        inputs = torch.randn(4, 3)
        loaded = load_model(tmp_path)
        assert not loaded.training
        assert torch.equal(loaded(inputs), model(inputs))
        assert _load_pyfunc(str(tmp_path)).predict(inputs.numpy()).tolist() == model(inputs).tolist()
        settings = {"in_features": 3, "out_features": 2}
        assert read_settings(tmp_path) == {"factory": "torch.nn:Linear", "settings": settings, "inputs_shape": [3]}

    def test_keeps_tied_and_transposed_weights(self, tmp_path: Path) -> None:
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        model[1].weight = nn.Parameter(model[0].weight.T)  # one memory, not contiguous
        save_model(model, {"factory": "x:y"}, [3], tmp_path)
        fresh = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        load_weights(fresh, tmp_path)
        assert torch.equal(fresh[1].weight, model[0].weight.T)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("model.json", None, "model.json: a model folder holds this file"),
            ("model.json", b"{", "must be readable JSON"),
            ("model.json", b"[1]", "must hold factory, settings, inputs_shape"),
            ("model.json", b'{"factory": 1, "settings": {}, "inputs_shape": []}', "must hold factory"),
            (
                "model.json",
                b'{"factory": "torch.nn:Linear", "settings": {"factory": "os:system"}, "inputs_shape": [3]}',
                "settings.factory: must not be among the settings .got .os:system",
            ),
            ("model.json", b"\xff\xfe", "must be readable JSON"),
            ("weights.safetensors", None, "weights.safetensors: a model folder holds this file"),
            ("weights.safetensors", b"garbage", "must hold the weights of the network"),
        ],
    )
    def test_damage_is_reported(self, folder: Path, name: str, content: bytes | None, message: str) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_model(folder)
        assert str(folder) in str(caught.value)

    def test_names_the_weights_that_do_not_fit(self, folder: Path) -> None:
        document = json.loads((folder / "model.json").read_text())
        document["settings"]["out_features"] = 5
        (folder / "model.json").write_text(json.dumps(document))
        with pytest.raises(InputError, match="size mismatch for weight"):
            load_model(folder)


CPU = torch.device("cpu")
# In a process of its own, which forks: torch is then imported once for all the kills. With one thread, since a forked
# child has only the forking thread and would wait forever for the others of a pool.
KILLER = """
import os, random, signal, sys, time, torch
from pathlib import Path
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint
torch.set_num_threads(1)
checkpoint, chance, last = ResumeCheckpoint(Path(sys.argv[1])), random.Random(0), 1

def save(number):
    checkpoint.save({"number": number, "weights": torch.full((300_000,), float(number))})

def written():
    try:
        return checkpoint.path.stat().st_mtime_ns
    except FileNotFoundError:  # between the two renamings
        return before

before = 0
save(last)
for kill in range(25):
    before = written()
    child = os.fork()
    signal.alarm(60 if child == 0 else 0)  # in case it is not killed
    while child == 0:  # saves until it is killed
        last += 1
        save(last)
    while written() == before:
        assert os.waitpid(child, os.WNOHANG)[0] == 0, "the child ended by itself"
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    state = checkpoint.load(torch.device("cpu"))
    assert checkpoint.damage == "", checkpoint.damage
    assert torch.equal(state["weights"], torch.full((300_000,), float(state["number"])))
    assert state["number"] >= last
    last = state["number"]
print(last)
"""


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit of a weight flipped: torch loads it without an error."""
    position = content.index(torch.full((8,), 2.0).numpy().tobytes())
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


class TestResumeCheckpoint:
    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> ResumeCheckpoint:
        """Two saved states, 1 and 2."""
        checkpoint = ResumeCheckpoint(tmp_path / "deep" / "checkpoint.pt")
        assert checkpoint.load(CPU) is None
        for number in (1, 2):
            checkpoint.save({"number": number, "weights": torch.full((1000,), float(number))})
        return checkpoint

    def test_reads_back_what_was_saved(self, checkpoint: ResumeCheckpoint) -> None:
        state = checkpoint.load(CPU)
        assert state is not None
        assert (state["number"], state["weights"].tolist(), checkpoint.damage) == (2, [2.0] * 1000, "")
        names = {path.name for path in checkpoint.path.parent.iterdir()}
        assert names == {"checkpoint.pt", "checkpoint.previous"}
        checkpoint.delete()
        checkpoint.delete()
        assert checkpoint.load(CPU) is None

    @pytest.mark.parametrize("damage", [truncated, flipped, lambda content: b"", lambda content: b"hello"])
    def test_a_damaged_file_is_reported_and_the_previous_one_used(
        self, checkpoint: ResumeCheckpoint, damage: Callable[[bytes], bytes]
    ) -> None:
        checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
        state = checkpoint.load(CPU)
        assert state is not None
        assert state["number"] == 1
        assert re.fullmatch(r"damaged checkpoint checkpoint.pt \(it.*\); the one before was used", checkpoint.damage), (
            checkpoint.damage
        )
        checkpoint.save({"number": 3})  # must not rename the damaged file to `previous`
        checkpoint.path.unlink()
        assert (checkpoint.load(CPU) or {})["number"] == 1
        assert checkpoint.damage == ""

    def test_a_failed_save_leaves_the_last_state(self, checkpoint: ResumeCheckpoint) -> None:
        with pytest.raises(TypeError):
            checkpoint.save({"number": 3, "cannot": (x for x in [])})
        assert (checkpoint.load(CPU) or {})["number"] == 2

    def test_a_full_disk_leaves_both_files_and_no_partial_one(self, disk: SmallDisk) -> None:
        checkpoint = ResumeCheckpoint(disk.folder / "checkpoint.pt")
        for number in (1, 2):
            checkpoint.save({"number": number})
        disk.fill(free=100_000)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save({"number": 3, "weights": torch.zeros(100_000)})
        assert {path.name for path in disk.folder.iterdir()} == {"checkpoint.pt", "checkpoint.previous", "filler"}
        assert (checkpoint.load(CPU) or {})["number"] == 2
        disk.remount("ro")
        with pytest.raises(OSError, match="Read-only"):
            checkpoint.save({"number": 3})
        assert (checkpoint.load(CPU) or {})["number"] == 2

    def test_kills_while_saving_leave_an_undamaged_state(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", KILLER, str(tmp_path / "checkpoint.pt")]
        killer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert killer.returncode == 0, killer.stderr
        assert int(killer.stdout) > 20  # most of the 25 children saved at least once before they were killed
