"""The training command of the built-in subject as a command study gives the numbers of the built-in loop's study."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_project import Project, finish

from ablate.depth_refinement.sources import synthetic
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ablate_train" / "study.toml"
SMALLER = (
    ('data = "synthetic"', 'data = "people.npz"\ninputs = ["people.npz"]'),
    ("budget = 5", "budget = 2"),
    ("--d-model=32", "--d-model=16"),
    ("--num-layers=2", "--num-layers=1"),
    ("--elepose-hidden-dim=128", "--elepose-hidden-dim=32"),
    ("--batch-size=128", "--batch-size=64"),
)
BUILT_IN = """
name = "built-in"
question = "The same by the built-in loop?"
baseline = "existing"
seeds = [1, 2, 3]
metrics = ["azimuth_mae_deg", "elevation_mae_deg"]
catalogue = "ablate.depth_refinement.metrics:METRICS"

[settings]
data = { factory = "ablate.depth_refinement.data:mocap", file = "people.npz" }
loss = { factory = "ablate.depth_refinement.losses:pose_loss" }
training = { epochs = 2, batch_size = 64, learning_rate = 2e-3, threads = 1 }

[settings.model]
factory = "ablate.depth_refinement.model:create_model"
d_model = 16
num_layers = 1
num_heads = 4
elepose_hidden_dim = 32
use_elepose = false

[arms.existing]
[arms.hybrid]
set."model.use_elepose" = true
"""


@pytest.fixture
def folder(tmp_path: Path, initialised_store: Path) -> Path:
    """The example, made smaller, the same study by the built-in loop, and a few procedural people."""
    project = Project(tmp_path)
    project.store(initialised_store)
    shutil.copy(EXAMPLE, tmp_path)
    project.edit(*SMALLER, file="study.toml")
    (tmp_path / "built-in.toml").write_text(BUILT_IN, encoding="utf-8")
    poses = synthetic.generate(subjects=8, poses_per_subject=30, seed=5)
    np.savez(tmp_path / "people.npz", joints=poses.joints, subject_id=poses.subject_id, split=poses.split)
    return tmp_path


def scores(cli: Cli, file: str, name: str) -> dict[tuple[str, str], float]:
    """Validation and test scores of seed 2, by arm and metric."""
    done = cli("run", file, "--only", "existing:2", "--only", "hybrid:2", "--workers", "1", "--device", "cpu")
    records = LocalStore(Path("mlruns/mlflow.db")).records(name)
    assert [(r.arm, r.seed, r.error) for r in records] == [("existing", 2, ""), ("hybrid", 2, "")], done.err
    metrics = [f"{split}/{angle}_mae_deg" for split in ("val", "test") for angle in ("azimuth", "elevation")]
    return {(record.arm, metric): record.scores[metric] for record in records for metric in metrics}


@pytest.mark.usefixtures("threads")
def test_with_and_without_elepose_to_the_last_digit(folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    by_command = scores(cli, "study.toml", "ablate-train")
    assert len(set(by_command.values())) == 8  # two arms, two splits, two metrics, and none by mistake for another
    assert by_command == scores(cli, "built-in.toml", "built-in")


KILLED_AFTER_TRAINING = """
import os, signal, subprocess, sys
done = subprocess.run([sys.executable, "-m", "ablate", "train", *sys.argv[1:]])
if done.returncode == 0 and not os.path.exists("killed"):
    os.mkdir("killed")
    os.kill(int(open("driver").read()), signal.SIGKILL)
    signal.pause()  # until it is killed with its driver
sys.exit(done.returncode)
"""


@pytest.mark.long
def test_a_driver_killed_before_it_has_recorded_what_the_command_trained(folder: Path) -> None:
    """The next attempt finds the finished network in {dir} and takes its scores."""
    (folder / "then_kill.py").write_text(KILLED_AFTER_TRAINING)
    project = Project(folder)
    project.edit(('"-m", "ablate", "train"', '"then_kill.py"'), file="study.toml")
    only = ["--only", "existing:2", "--workers", "1", "--device", "cpu"]
    driver = project.start("run", "study.toml", *only)
    (folder / "driver").write_text(str(driver.pid))
    assert finish(driver).returncode == -signal.SIGKILL
    assert (folder / "killed").is_dir()
    done = project.call("run", "study.toml", *only)
    records = LocalStore(folder / "mlruns" / "mlflow.db").records("ablate-train")
    (finished,) = [record for record in records if record.status == "FINISHED"]
    assert "test/azimuth_mae_deg" in finished.scores, done.stderr
    log = LocalStore(folder / "mlruns" / "mlflow.db").artifact(finished.run_id, "run.log")
    assert log is not None
    assert "holds this run already; nothing is trained again" in log.read_text()
