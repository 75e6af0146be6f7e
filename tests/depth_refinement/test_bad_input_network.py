"""`ablate predict` and `ablate train` given what no network can come of, or what would call anything it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.depth_refinement.model import create_model
from ablate.depth_refinement.sources import synthetic
from ablate.trainers.builtin.checkpoints import save_model

Cli = Callable[..., Any]

SIZES = {"d_model": 16, "num_layers": 1, "num_heads": 2}
SMALL = ["--d-model", "16", "--num-layers", "1", "--num-heads", "2", "--epochs", "1", "--threads", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: an untrained network and a file of poses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    section = {"factory": "ablate.depth_refinement.model:create_model", **SIZES}
    save_model(create_model(**SIZES), section, [17, 6], tmp_path / "net")
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "poses.npz",
        pose_2d=rng.normal(300, 80, (3, 17, 2)),
        pose_3d=rng.normal(0, 0.4, (3, 17, 3)),
        visibility=rng.random((3, 17)),
    )
    return tmp_path


def change_settings(folder: Path, **settings: object) -> None:
    path = folder / "net" / "model.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["settings"] = settings
    path.write_text(json.dumps(document), encoding="utf-8")


class TestPredict:
    def test_the_fixture_is_sound(self, folder: Path, cli: Cli) -> None:
        assert cli("predict", "net", "poses.npz", "--out", "angles.csv").code == 0
        assert (folder / "angles.csv").is_file()

    def test_settings_cannot_bring_a_factory_of_their_own(self, folder: Path, cli: Cli) -> None:
        change_settings(folder, factory="os:system", command="touch called")
        answer = cli("predict", "net", "poses.npz")
        assert (answer.code, answer.out) == (2, "")
        assert 'settings.factory: must not be among the settings (got "os:system")' in answer.err
        assert not (folder / "called").exists()

    def test_sizes_that_no_memory_holds(self, folder: Path, cli: Cli) -> None:
        change_settings(folder, d_model=30_000_000, num_heads=1)
        answer = cli("predict", "net", "poses.npz")
        assert answer.code == 2
        assert "model.json: settings.d_model: is out of reach" in answer.err

    @pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000], ids=["deep", "long"])
    def test_json_that_python_gives_up_on(self, folder: Path, cli: Cli, text: str) -> None:
        (folder / "net" / "model.json").write_text(text, encoding="utf-8")
        answer = cli("predict", "net", "poses.npz")
        assert answer.code == 2
        assert "model.json: must be readable JSON" in answer.err

    @pytest.mark.parametrize(
        ("out", "message"), [("folder.csv", "it is a folder"), ("no/angles.csv", "its folder does not exist")]
    )
    def test_nothing_is_left_where_the_answer_cannot_be(self, folder: Path, cli: Cli, out: str, message: str) -> None:
        (folder / "folder.csv").mkdir()
        before = sorted(folder.rglob("*"))
        answer = cli("predict", "net", "poses.npz", "--out", out)
        assert answer.code == 2
        assert f"--out: cannot be written: {message}" in answer.err
        assert sorted(folder.rglob("*")) == before


class TestTrain:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--learning-rate", "inf"], "--learning-rate: must be a finite number (got inf)"),
            (["--angle-noise-std", "inf"], "--angle-noise-std: must be a finite number (got inf)"),
            (["--seed", "4294967296"], "--seed"),
            (["--device", "meta"], "valid: auto, cpu, cuda, cuda:N"),
            (["--d-model", "30000000", "--num-heads", "1"], "ablate train: these sizes make no network"),
            (["--data", "poses.npz"], "joints: array is missing"),
            (["--data", "text.npz"], "text.npz: is not an .npz archive"),
            (["--data", "alone.npz"], "alone.npz: has no training examples"),
        ],
    )
    def test_refused_before_anything_is_made(self, folder: Path, cli: Cli, arguments: list[str], message: str) -> None:
        (folder / "text.npz").write_text("no archive", encoding="utf-8")
        one = synthetic.generate(subjects=4, poses_per_subject=5, seed=1)
        np.savez(folder / "alone.npz", joints=one.joints[:5], subject_id=np.zeros(5, dtype=np.int64))
        answer = cli("train", *SMALL, *arguments, "--out", "trained")
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
        assert not (folder / "trained").exists()

    def test_a_folder_that_turns_out_to_be_closed(
        self, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", refuse)
        answer = cli("train", *SMALL, "--out", "trained")
        assert answer.code == 2
        assert "--out: cannot be written (got trained); Read-only file system" in answer.err
