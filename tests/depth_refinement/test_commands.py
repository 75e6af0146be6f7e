"""`ablate train` and `ablate predict`: a network from flags, killed and continued, and what it says of poses."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toy_project import clean_environment, finish, wait_until

from ablate.depth_refinement.simulation import assemble
from ablate.depth_refinement.skeleton import JOINTS
from ablate.depth_refinement.sources import synthetic
from ablate.trainers.builtin.checkpoints import load_model

Cli = Callable[..., Any]
Arrays = Mapping[str, np.ndarray]

SMALL = ["--d-model", "16", "--num-layers", "1", "--num-heads", "2", "--elepose-hidden-dim", "32"]
FLAGS = [*SMALL, "--elepose", "--batch-size", "64", "--learning-rate", "0.002", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A motion capture file of a few procedural people."""
    poses = synthetic.generate(subjects=8, poses_per_subject=30, seed=5)
    np.savez(tmp_path / "people.npz", joints=poses.joints, subject_id=poses.subject_id, split=poses.split)
    return tmp_path / "people.npz"


@pytest.fixture(scope="session")
def trained(once: Callable[..., Path]) -> Path:
    """A folder filled by the real command, with every flag the seed's users know, and what it said."""
    return once("trained", train_with_every_flag) / "net"


def train_with_every_flag(folder: Path) -> None:
    more = ["--epochs", "1", "--data", "synthetic", "--fp16", "--angle-noise-std", "5", "--angle-noise-warmup", "1"]
    more += ["--batch-size", "512", "--seed", "3", "--out", "net"]
    command = [sys.executable, "-m", "ablate", "train", *FLAGS, *more]
    done = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout, encoding="utf-8")
    (folder / "stderr").write_text(done.stderr, encoding="utf-8")


def poses(count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "pose_2d": rng.normal(300, 80, (count, 17, 2)),
        "pose_3d": rng.normal(0, 0.4, (count, 17, 3)).astype(np.float32),
        "visibility": rng.random((count, 17)),
    }


class TestTrain:
    def test_writes_the_network_and_its_validation_scores(self, trained: Path) -> None:
        assert {path.name for path in trained.iterdir()} == {"model", "run.json", "scores.json", "hybrid-seed3.log"}
        printed = json.loads((trained.parent / "stdout").read_text())
        assert {"val/azimuth_mae_deg", "val/elevation_mae_deg", "cost/parameters"} <= printed.keys()
        assert not [name for name in printed if name.startswith("test/")]
        assert printed.items() <= json.loads((trained / "scores.json").read_text()).items()
        settings = json.loads((trained / "model" / "model.json").read_text())
        assert settings["inputs_shape"] == [17, 6]
        assert settings["settings"] == {
            "d_model": 16,
            "num_layers": 1,
            "num_heads": 2,
            "use_elepose": True,
            "elepose_hidden_dim": 32,
            "angle_noise_std": 5.0,
            "angle_noise_warmup": 1,
        }

    def test_says_that_a_cpu_has_no_float16(self, trained: Path) -> None:
        talk = (trained.parent / "stderr").read_text()
        assert "--fp16 on a CPU: bfloat16 is used instead" in talk
        assert "trained network in net/model" in talk
        assert "Warning" not in talk

    def test_killed_and_continued_gives_the_same_weights(self, people: Path, tmp_path: Path, cli: Cli) -> None:
        noise = ["--angle-noise-std", "5", "--angle-noise-warmup", "1"]
        command = ["train", *FLAGS, *noise, "--data", str(people), "--epochs", "25"]
        killed = tmp_path / "killed"
        hasty = "from ablate.trainers.builtin import loop; loop.CHECKPOINT_SECONDS = 0.0; "
        hasty += "from ablate.cli.app import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", hasty, *command, "--out", str(killed)],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: list(killed.rglob("checkpoint-*.pt")))
        os.kill(process.pid, signal.SIGKILL)
        finish(process)
        assert not (killed / "model").exists()

        assert cli(*command, "--out", str(killed)).code == 0
        assert "continued from a checkpoint after epoch" in (killed / "hybrid-seed0.log").read_text()
        assert cli(*command, "--out", str(tmp_path / "whole")).code == 0
        one, other = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("killed", "whole"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert (killed / "scores.json").read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()
        assert not (killed / "work").exists()

    def test_scores_of_both_splits_in_a_file_on_request(self, people: Path, tmp_path: Path, cli: Cli) -> None:
        command = ["train", *FLAGS, "--data", str(people), "--epochs", "1"]
        answer = cli(*command, "--out", str(tmp_path / "with"), "--scores", str(tmp_path / "scores.json"))
        assert answer.code == 0
        written = json.loads((tmp_path / "scores.json").read_text())
        assert {f"{split}/azimuth_mae_deg" for split in ("val", "test")} <= written.keys()
        assert {name.partition("/")[0] for name in written} == {"val", "test"}
        plain = cli(*command, "--out", str(tmp_path / "without"))
        assert plain.out == answer.out  # validation scores alone, and the same
        assert not [name for name in json.loads(plain.out) if name.startswith("test/")]
        assert "test/" not in (tmp_path / "without" / "scores.json").read_text()

    def test_a_finished_folder_of_the_same_run_is_done(
        self, people: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        def call(*arguments: str) -> Any:
            return cli("train", *FLAGS, "--data", str(people), *arguments)

        def content() -> dict[str, bytes]:
            files = [path for path in (tmp_path / "net").rglob("*") if path.is_file()]
            return {str(path): path.read_bytes() for path in files}

        same = ["--epochs", "1", "--out", "net"]
        first = call(*same, "--scores", "scores.json")
        assert first.code == 0, first.err
        before, scores = content(), (tmp_path / "scores.json").read_bytes()
        (tmp_path / "net" / "work").mkdir()  # a kill came while it was deleted
        again = call(*same, "--scores", "again.json")
        assert (again.code, again.out) == (0, first.out)
        assert "net holds this run already; nothing is trained again" in again.err
        assert (content(), (tmp_path / "again.json").read_bytes()) == (before, scores)
        assert not (tmp_path / "net" / "work").exists()
        assert call(*same).out == first.out  # without --scores too
        for other in (["--seed", "1"], ["--epochs", "2"]):
            refused = call(*same, *other, "--scores", "other.json")
            assert (refused.code, refused.out) == (2, "")
            assert "--out: holds other work already; name a new folder (got net)" in refused.err
        assert (content(), (tmp_path / "other.json").exists()) == (before, False)
        assert call("--epochs", "1", "--out", "plain").code == 0
        untested = call("--epochs", "1", "--out", "plain", "--scores", "other.json")
        assert "holds other work already" in untested.err  # it has no test scores

    def test_divergence_is_told_with_its_epoch(self, people: Path, tmp_path: Path, cli: Cli) -> None:
        arguments = [*FLAGS, "--data", str(people), "--epochs", "1", "--learning-rate", "1e30"]
        answer = cli("train", *arguments, "--out", str(tmp_path / "net"))
        assert (answer.code, answer.out) == (1, "")
        assert "FAILED: the training loss is not finite in epoch 1" in answer.err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--num-heads", "3"], "d_model: must be divisible by num_heads"),
            (["--learning-rate", "0"], "learning_rate"),
            (["--data", "no-such.npz"], "no such data file"),
            (["--device", "abacus"], "--device: not usable on this machine"),
            (["--epochs", "0"], "--epochs"),
            (["--out", "people.npz"], "--out: must be a folder"),
            (["--out", "people.npz/net"], "--out: cannot be written"),
            (["--out", "."], "--out: holds other work already"),
            (["--learning-rate", "inf"], "--learning-rate: must be a finite number (got inf)"),
            (["--angle-noise-std", "inf"], "--angle-noise-std: must be a finite number (got inf)"),
            (["--seed", "4294967296"], "--seed"),
            (["--scores", "people.npz/scores.json"], "--scores: cannot be written: its folder does not exist"),
            (["--scores", "."], "--scores: cannot be written: it is a folder"),
            (["--device", "meta"], "valid: auto, cpu, cuda, cuda:N"),
            (["--d-model", "30000000", "--num-heads", "1"], "ablate train: these sizes make no network"),
            (["--data", "poses.npz"], "joints: array is missing"),
            (["--data", "text.npz"], "text.npz: is not an .npz archive"),
            (["--data", "alone.npz"], "alone.npz: has no training examples"),
        ],
    )
    def test_refuses_wrong_usage_and_creates_nothing(
        self, people: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
    ) -> None:
        monkeypatch.chdir(people.parent)
        monkeypatch.delenv("ABLATE_DATA", raising=False)
        np.savez("poses.npz", **poses())
        np.savez("alone.npz", joints=np.load("people.npz")["joints"][:5], subject_id=np.zeros(5, dtype=np.int64))
        Path("text.npz").write_text("no archive", encoding="utf-8")
        before = sorted(Path().rglob("*"))
        answer = cli("train", *SMALL, "--data", "people.npz", "--out", "net", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
        assert sorted(Path().rglob("*")) == before

    def test_a_folder_that_turns_out_to_be_closed(
        self, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", refuse)
        answer = cli("train", *SMALL, "--out", "trained")
        assert answer.code == 2
        assert "--out: cannot be written (got trained); Read-only file system" in answer.err


class TestPredict:
    def test_is_what_the_network_says(self, trained: Path, tmp_path: Path, cli: Cli) -> None:
        arrays = poses()
        np.savez(tmp_path / "poses.npz", **arrays)
        answer = cli("predict", str(trained), str(tmp_path / "poses.npz"))
        assert (answer.code, answer.err) == (0, "")
        table = pd.read_csv(io.StringIO(answer.out), index_col="pose")
        assert list(table.index) == [0, 1, 2]
        assert list(table.columns[:3]) == ["azimuth_deg", "elevation_deg", "nose_x_m"]

        inputs = assemble(*(torch.as_tensor(arrays[name], dtype=torch.float32) for name in arrays))
        with torch.no_grad():
            output = load_model(trained / "model")(inputs)
        sin, cos, elevation = output["angles"].unbind(-1)
        assert table["azimuth_deg"].to_numpy() == pytest.approx(torch.atan2(sin, cos).rad2deg().remainder(360).numpy())
        assert table["elevation_deg"].to_numpy() == pytest.approx(elevation.rad2deg().numpy())
        assert table["azimuth_deg"].between(0, 360).all()
        assert table["elevation_deg"].between(-90, 90).all()
        joints = table[[f"{joint}_{axis}_m" for joint in JOINTS for axis in "xyz"]].to_numpy()
        assert joints == pytest.approx(output["pose_3d"].flatten(1).numpy(), abs=1e-6)

    def test_writes_csv_and_json_files(self, trained: Path, tmp_path: Path, cli: Cli) -> None:
        np.savez(tmp_path / "poses.npz", **poses())
        ask = ["predict", str(trained / "model"), str(tmp_path / "poses.npz")]  # the inner folder does as well
        printed = json.loads(cli(*ask, "--json").out)
        for name in ("angles.csv", "angles.json"):
            answer = cli(*ask, "--out", str(tmp_path / name))
            assert (answer.code, answer.out) == (0, "")
            assert f"3 poses in {tmp_path / name}" in answer.err
        written = json.loads((tmp_path / "angles.json").read_text())
        assert written == printed
        table = pd.read_csv(tmp_path / "angles.csv", index_col="pose")
        assert [row["azimuth_deg"] for row in written] == pytest.approx(table["azimuth_deg"].to_list())

    def test_does_not_depend_on_place_or_scale_of_the_2d_pose(self, trained: Path, tmp_path: Path, cli: Cli) -> None:
        arrays = poses()
        moved = {**arrays, "pose_2d": 3 * arrays["pose_2d"] + 1000, "pose_3d": arrays["pose_3d"] + [0.1, 0.2, 4]}
        tables = []
        for name, content in (("a", arrays), ("b", moved)):
            np.savez(tmp_path / f"{name}.npz", **content)
            tables.append(pd.read_csv(io.StringIO(cli("predict", str(trained), str(tmp_path / f"{name}.npz")).out)))
        assert tables[0].to_numpy() == pytest.approx(tables[1].to_numpy(), rel=1e-3, abs=1e-3)

    @pytest.mark.parametrize(
        ("changes", "messages"),
        [
            (
                {"pose_2d": np.zeros((3, 17, 3))},
                ["pose_2d: must have the shape (n, 17, 2), n at least 1 (got (3, 17, 3))"],
            ),
            (
                {"pose_2d": np.zeros((3, 5, 2)), "visibility": np.zeros(17), "pose_3d": None},
                [
                    "pose_2d: must",
                    "visibility: must",
                    "pose_3d: must have the shape (n, 17, 3), n at least 1 (got missing)",
                ],
            ),
            ({"visibility": np.zeros((2, 17))}, ["the same number of poses (got pose_2d 3, pose_3d 3, visibility 2)"]),
            (
                {"pose_3d": np.full((3, 17, 3), np.nan)},
                ["pose_3d: must be finite", "(0, 0, 0)", "not detected the visibility 0"],
            ),
            ({"pose_3d": np.full((3, 17, 3), 1e200)}, ["must give finite predictions"]),
            ({"pose_3d": np.zeros((3, 17, 3), dtype=complex)}, ["pose_3d: must hold numbers (got complex128)"]),
            ({"visibility": np.full((3, 17), "yes")}, ["visibility: must hold numbers"]),
            ({"pose_2d": np.array([object()])}, ["pose_2d: cannot be read as a plain array: holds Python objects"]),
            ({name: array[:0] for name, array in poses().items()}, ["n at least 1 (got (0, 17, 2))"]),
            ({"pose_2d": np.float64(1)}, ["pose_2d: must have the shape (n, 17, 2), n at least 1 (got ())"]),
        ],
    )
    def test_refuses_what_are_no_poses(
        self, trained: Path, tmp_path: Path, cli: Cli, changes: Mapping[str, Any], messages: list[str]
    ) -> None:
        arrays = {name: array for name, array in {**poses(), **changes}.items() if array is not None}
        np.savez(tmp_path / "poses.npz", **arrays)
        refused(cli("predict", str(trained), str(tmp_path / "poses.npz")), *messages)

    @pytest.mark.parametrize("damage", ["missing", "folder", "npy", "text", "truncated", "flipped"])
    def test_refuses_what_is_no_npz_file(self, trained: Path, tmp_path: Path, cli: Cli, damage: str) -> None:
        path = tmp_path / "poses.npz"
        np.savez(path, **poses())
        whole = path.read_bytes()
        if damage in ("missing", "folder"):
            path.unlink()
            if damage == "folder":
                path.mkdir()
        elif damage == "npy":
            np.save(tmp_path / "poses.npy", poses()["pose_2d"])
            (tmp_path / "poses.npy").replace(path)
        else:
            flipped = whole[:200] + bytes(byte ^ 255 for byte in whole[200:240]) + whole[240:]
            path.write_bytes({"text": b"hello", "truncated": whole[:300], "flipped": flipped}[damage])
        messages = {
            "missing": "no such file",
            "folder": "is a folder, not an .npz file",
            "flipped": "pose_2d: cannot be read as a plain array",
        }
        message = messages.get(damage, "is not an .npz archive")
        refused(cli("predict", str(trained), str(path)), message)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_heads": 7}, "must be divisible by num_heads"),
            ({"d_modle": 16}, "takes no such argument"),
            ({"d_model": 32}, "must hold the weights of the network in model.json"),
            ({"factory": "os:system"}, 'settings.factory: must not be among the settings (got "os:system")'),
        ],
    )
    def test_refuses_settings_that_do_not_fit(
        self, trained: Path, tmp_path: Path, cli: Cli, settings: dict[str, Any], message: str
    ) -> None:
        folder = edited_model(trained, tmp_path, settings)
        np.savez(tmp_path / "poses.npz", **poses())
        refused(cli("predict", str(folder), str(tmp_path / "poses.npz")), message)

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            ("x.txt", "must end in .csv or .json"),
            ("no/x.csv", "--out: cannot be written: its folder does not exist"),
            ("folder.csv", "--out: cannot be written: it is a folder"),
        ],
    )
    def test_refuses_an_answer_that_cannot_be_written(
        self, trained: Path, tmp_path: Path, cli: Cli, out: str, message: str
    ) -> None:
        (tmp_path / "folder.csv").mkdir()
        np.savez(tmp_path / "poses.npz", **poses())
        refused(cli("predict", str(trained), str(tmp_path / "poses.npz"), "--out", str(tmp_path / out)), message)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.csv", "poses.npz"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("data_commands", {"numpy", "torch", "matplotlib", "pydantic"}),
        ("metrics", {"torch", "mlflow"}),
        ("gallery", {"torch"}),
    ],
)
def test_importing_imports_nothing_heavy(module: str, heavy: set[str]) -> None:
    code = f"import sys, ablate.depth_refinement.{module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def edited_model(trained: Path, tmp_path: Path, settings: Mapping[str, Any]) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(trained / "model", folder)
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, "settings": {**document["settings"], **settings}}))
    return folder


def refused(answer: Any, *messages: str) -> None:
    assert (answer.code, answer.out) == (2, ""), answer
    assert "Traceback" not in answer.err
    for message in messages:
        assert message in answer.err
