"""MLflow's own loggers write into the runs of `ablate run`: autolog, Lightning's and the Hugging Face Trainer's."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from toy_project import Project, clean_environment

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.trainers.context import THREAD_VARIABLES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.examples
ARMS = "SELECT run_uuid FROM tags WHERE key = 'ablate.role' AND value = 'arm'"

STUDY = """
name = "logged"
question = "Are the scores those of the script?"
baseline = "plain"
seeds = [2]

[settings.run]
command = [{words}]
scores = "mlflow"
{section}

[metric.accuracy]
direction = "higher"
val = "{val}"
test = "{test}"

[arms.plain]
"""

AUTOLOG = '''
"""Which digit is it? Logged by mlflow.autolog alone."""

import sys

import mlflow
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

mlflow.autolog(log_models=False)
X, y = load_digits(return_X_y=True)
X_train, X_rest, y_train, y_rest = train_test_split(X, y, test_size=0.5, random_state=0)
X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0)
model = RandomForestClassifier(n_estimators=10, random_state=int(sys.argv[1])).fit(X_train, y_train)
print("scores", model.score(X_val, y_val), model.score(X_test, y_test))
'''


def edited(text: str, *edits: tuple[str, str]) -> str:
    """With texts replaced that occur exactly once."""
    for old, new in edits:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def run(folder: Path, initialised_store: Path) -> Record:
    """The one run of the study, which is the one run of its store but for the study's own."""
    project = Project(folder)
    project.store(initialised_store)
    done = project.call("run", "logged.toml", "--workers", "1", "--threads", "1", "--device", "cpu")
    (record,) = LocalStore(folder / "mlruns" / "mlflow.db").records("logged")
    assert (record.status, record.error) == ("FINISHED", ""), done.stderr
    return record


def runs_in(folder: Path) -> int:
    """How many runs MLflow has in the study's store beside those of the study and its arms, deleted ones too."""
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as connection:
        (count,) = connection.execute(
            f"SELECT count(*) FROM runs WHERE name != 'logged' AND run_uuid NOT IN ({ARMS})"
        ).fetchone()
    return int(count)


def bare(folder: Path, *words: str) -> str:
    """What the script prints when it is started as its author would, with one thread."""
    folder.mkdir(exist_ok=True)
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'bare.db'}", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**clean_environment(), **dict.fromkeys(THREAD_VARIABLES, "1"), **own}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(record: Record) -> tuple[float, float]:
    return record.scores["val/accuracy"], record.scores["test/accuracy"]


def write_study(folder: Path, *words: str, val: str, test: str, section: str = "") -> None:
    listed = ", ".join(f'"{word}"' for word in words)
    (folder / "logged.toml").write_text(
        STUDY.format(words=listed, val=val, test=test, section=section), encoding="utf-8"
    )


def test_autolog_of_scikit_learn(tmp_path: Path, initialised_store: Path) -> None:
    (tmp_path / "train.py").write_text(AUTOLOG, encoding="utf-8")
    name = "RandomForestClassifier_score"  # MLflow counts the calls of `score`
    write_study(tmp_path, "python", "train.py", "{seed}", val=f"{name}_X_val", test=f"{name}-2_X_test")
    record = run(tmp_path, initialised_store)
    words = bare(tmp_path / "bare", "../train.py", "2").split("scores ")[1].split()
    assert scores(record) == (float(words[0]), float(words[1]))
    assert "training_accuracy_score" in record.scores
    assert runs_in(tmp_path) == 1


def test_logger_of_lightning_that_is_given_the_run(tmp_path: Path, initialised_store: Path) -> None:
    script = edited(
        (EXAMPLES / "lightning_module" / "train.py").read_text(encoding="utf-8"),
        ("import logging\n", "import logging\nimport os\n"),
        ("import torch\n", "import torch\nfrom lightning.pytorch.loggers import MLFlowLogger\n"),
        (
            "logger=False",
            'logger=MLFlowLogger("waves", run_id=os.environ.get("MLFLOW_RUN_ID"))',  # without the id a new run
        ),
    )
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    words = ("train.py", "--max-epochs=3")
    write_study(
        tmp_path, "python", *words, "--seed={seed}", "--folder={dir}", "--scores={dir}/scores.json",
        val="val_acc", test="test_acc",
    )  # fmt: skip
    record = run(tmp_path, initialised_store)
    bare(tmp_path / "bare", f"../{words[0]}", *words[1:], "--seed=2")
    written = json.loads((tmp_path / "bare" / "scores.json").read_text(encoding="utf-8"))
    assert scores(record) == (written["val_acc"], written["test_acc"])
    assert runs_in(tmp_path) == 1


TRAINER = ("--num_train_epochs=2", "--save_strategy=no", "--disable_tqdm=true", "--use_cpu=true", "--report_to=mlflow")


def test_trainer_of_hugging_face_as_it_is(tmp_path: Path, initialised_store: Path) -> None:
    """What it logs while it trains is in the run; what it logs after that is not, as it has ended the run."""
    shutil.copy(EXAMPLES / "huggingface_trainer" / "run_classification.py", tmp_path)
    words = ("run_classification.py", *TRAINER, "--eval_strategy=epoch")
    write_study(
        tmp_path, "python", *words, "--seed={seed}", "--output_dir={dir}",
        val="eval_accuracy", test="predict_accuracy", section='test = "none"',
    )  # fmt: skip
    record = run(tmp_path, initialised_store)
    bare(tmp_path / "bare", f"../{words[0]}", *words[1:], "--seed=2", "--output_dir=out")
    written = json.loads((tmp_path / "bare" / "out" / "all_results.json").read_text(encoding="utf-8"))
    assert record.scores["val/accuracy"] == written["eval_accuracy"]
    assert "train_loss" in record.scores
    assert runs_in(tmp_path) == 2


def test_trainer_of_hugging_face_within_one_run(tmp_path: Path, initialised_store: Path) -> None:
    """One line more, and what is logged after training is in the run, too."""
    script = edited(
        (EXAMPLES / "huggingface_trainer" / "run_classification.py").read_text(encoding="utf-8"),
        ("import numpy as np\n", "import mlflow\nimport numpy as np\n"),
        (
            'if __name__ == "__main__":\n    main()\n',
            'if __name__ == "__main__":\n    with mlflow.start_run():\n        main()\n',
        ),
        (
            'predictions = trainer.predict(test_dataset, metric_key_prefix="predict")\n',
            'print("test", trainer.evaluate(test_dataset, metric_key_prefix="test")["test_accuracy"])\n',
        ),
        ('    trainer.log_metrics("predict", predictions.metrics)\n', ""),
        ('    trainer.save_metrics("predict", predictions.metrics)\n', ""),
    )
    (tmp_path / "run_classification.py").write_text(script, encoding="utf-8")
    words = ("run_classification.py", *TRAINER)
    write_study(
        tmp_path, "python", *words, "--seed={seed}", "--output_dir={dir}", val="eval_accuracy", test="test_accuracy"
    )
    record = run(tmp_path, initialised_store)
    printed = bare(tmp_path / "bare", f"../{words[0]}", *words[1:], "--seed=2", "--output_dir=out")
    written = json.loads((tmp_path / "bare" / "out" / "all_results.json").read_text(encoding="utf-8"))
    (test,) = re.findall(r"^test ([\d.]+)$", printed, flags=re.MULTILINE)
    assert scores(record) == (written["eval_accuracy"], float(test))
    assert runs_in(tmp_path) == 1
