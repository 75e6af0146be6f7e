"""Weights and checkpoints: whole or not at all, and nothing in a file is ever executed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ablate.runs.checkpoints import ResumeCheckpoint, load_model, load_weights, read_settings, save_model
from ablate.runs.serving import _load_pyfunc
from ablate.study import InputError

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
                "settings.factory: must not stand among the settings .got os:system",
            ),
            ("model.json", b"\xff\xfe", "must be readable JSON"),
            ("weights.safetensors", None, "weights.safetensors: a model folder holds this file"),
            ("weights.safetensors", b"garbage", "must hold the weights of the network"),
        ],
    )
    def test_says_what_is_wrong(self, folder: Path, name: str, content: bytes | None, message: str) -> None:
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


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


class TestResumeCheckpoint:
    def test_reads_back_what_was_saved(self, tmp_path: Path) -> None:
        checkpoint = ResumeCheckpoint(tmp_path / "deep" / "checkpoint.pt")
        assert checkpoint.load(torch.device("cpu")) is None
        checkpoint.save({"weights": torch.arange(3), "history": [{"epoch": 1.0}]})
        checkpoint.save({"weights": torch.arange(4), "history": [{"epoch": 2.0}]})
        state = checkpoint.load(torch.device("cpu"))
        assert state is not None
        assert state["weights"].tolist() == [0, 1, 2, 3]
        assert state["history"] == [{"epoch": 2.0}]
        assert [p.name for p in checkpoint.path.parent.iterdir()] == ["checkpoint.pt"]
        checkpoint.delete()
        checkpoint.delete()
        assert checkpoint.load(torch.device("cpu")) is None

    @pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
    def test_a_damaged_file_counts_as_none(self, tmp_path: Path, damage: str) -> None:
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        checkpoint.save({"weights": torch.arange(1000)})
        whole = checkpoint.path.read_bytes()
        checkpoint.path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"hello"}[damage])
        assert checkpoint.load(torch.device("cpu")) is None

    def test_a_kill_while_saving_leaves_the_last_whole_one(self, tmp_path: Path) -> None:
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        checkpoint.save({"epoch": 1})
        with pytest.raises(TypeError):
            checkpoint.save({"epoch": 2, "cannot": (x for x in [])})  # fails half-way, as a full disk would
        assert checkpoint.load(torch.device("cpu")) == {"epoch": 1}

    def test_executes_nothing(self, tmp_path: Path) -> None:
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        torch.save({"weights": Evil(tmp_path / "owned")}, checkpoint.path)
        assert checkpoint.load(torch.device("cpu")) is None
        checkpoint.path.write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
        assert checkpoint.load(torch.device("cpu")) is None
        assert not (tmp_path / "owned").exists()
