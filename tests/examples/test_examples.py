"""A run of every example gives the scores that its bare script gives at the same settings and seed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project, clean_environment

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.trainers.context import THREAD_VARIABLES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Scores = dict[str, float]
Cli = Callable[..., Any]


@dataclass(frozen=True)
class Example:
    """One run of an example, and the same as its author would start it."""

    folder: str
    arm: str
    script: str  # the bare command, of words without spaces; tuned settings in braces
    scores: Callable[[str, Path], Scores]  # from its output and the folder in which it ran
    tuned: bool = False  # whether the trials of the arm are run before; else the settings are those in the file
    seed: int = 2


def in_file(name: str, **keys: str) -> Callable[[str, Path], Scores]:
    """Scores from a JSON file; `keys`: the key of the file by the score's name, `val` or `test` before `__`."""

    def read(output: str, folder: Path) -> Scores:
        written = json.loads((folder / name).read_text(encoding="utf-8"))
        return {score.replace("__", "/"): float(written[key]) for score, key in keys.items()}

    return read


def last_printed(**before: str) -> Callable[[str, Path], Scores]:
    """Scores from the output; `before`: the text before the number by the score's name."""

    def read(output: str, folder: Path) -> Scores:
        found = {name: re.findall(re.escape(text) + r"(-?[\d.]+)", output)[-1] for name, text in before.items()}
        return {name.replace("__", "/"): float(number) for name, number in found.items()}

    return read


LIGHT = [
    Example(
        "char_language_model",
        "tied",
        "train.py config/tiny.py --learning_rate=0.01 --tie_weights=True --seed=2",
        last_printed(val__loss="val loss "),
    ),
    Example(
        "gan",
        "penalty",
        "gan.py --lr-g=0.001 --lr-d=0.001 --r1=0.1 --seed=2",
        in_file(
            "results.json", val__energy_distance="val_energy_distance", test__energy_distance="test_energy_distance"
        ),
    ),
    Example(
        "reinforcement_learning",
        "value-baseline",
        "train.py --lr={run.lr} --baseline --seed=12",
        last_printed(val__return="final return="),
        tuned=True,
        seed=12,
    ),
    Example(
        "graph_network",
        "no-edges",
        "train.py --lr=0.01 --no_edges --seed=2",
        last_printed(val__accuracy="Val: ", test__accuracy="Test: "),
    ),
    Example(
        "digits",
        "no-dropout",
        "main.py --lr=1.0 --gamma=0.7 --dropout=0 --seed=12",
        lambda output, folder: {"val/accuracy": float(re.findall(r"\(([\d.]+)%\)", output)[-1])},
        seed=12,
    ),
    Example(
        "feature_groups",
        "no-worst",
        "pipeline.py --features mean error --C={run.C} --seed=2",
        in_file("metrics.json", val__auc="cv_auc", test__auc="test_auc"),
        tuned=True,
    ),
    Example(
        "hydra_application",
        "momentum",
        "app.py optimizer.lr=0.1 optimizer.momentum=0.9 seed=2",
        in_file("results.json", val__accuracy="val_accuracy", test__accuracy="test_accuracy"),
    ),
]
HEAVY = [
    Example(
        "lightning_module",
        "batch-norm",
        "train.py --lr=0.003 --batch-norm --max-epochs=8 --seed=2",
        in_file("scores.json", val__accuracy="val_acc", test__accuracy="test_acc"),
    ),
    Example(
        "huggingface_trainer",
        "no-positions",
        "run_classification.py --learning_rate=0.003 --position_embeddings=false --num_train_epochs=6 --seed=2 "
        "--output_dir=out --per_device_train_batch_size=32 --save_strategy=no --report_to=none --disable_tqdm=true "
        "--use_cpu=true",
        in_file("out/all_results.json", val__accuracy="eval_accuracy", test__accuracy="predict_accuracy"),
    ),
]
IN_EVERY_TEST_RUN = ("graph_network", "feature_groups", "hydra_application")
ALL = [
    *(
        pytest.param(
            example, id=example.folder, marks=() if example.folder in IN_EVERY_TEST_RUN else (pytest.mark.long,)
        )
        for example in LIGHT
    ),
    *(pytest.param(example, id=example.folder, marks=pytest.mark.examples) for example in HEAVY),
]


@pytest.mark.parametrize("example", ALL)
@pytest.mark.usefixtures("threads")
def test_a_run_gives_the_scores_of_the_bare_script(
    example: Example, tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ablate").mkdir()
    monkeypatch.chdir(tmp_path / "ablate")
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    record = run_through_ablate(cli, EXAMPLES / example.folder, example, initialised_store)
    own = {name: score for name, score in record.scores.items() if name.startswith(("val/", "test/"))}
    assert own == run_bare(EXAMPLES / example.folder, tmp_path / "bare", example, record)


def run_through_ablate(cli: Cli, source: Path, example: Example, initialised_store: Path) -> Record:
    """In the working folder: the record of the run, after the trials of its arm where the example is to be tuned."""
    folder = Path.cwd()
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    project = Project(folder)
    project.store(initialised_store)
    text = (folder / "study.toml").read_text(encoding="utf-8")
    if not example.tuned:
        text = re.sub(r"^\[tuning\]\n(?:(?!\[\[).*\n)*", "", text, flags=re.MULTILINE)
        (folder / "study.toml").write_text(text, encoding="utf-8")
    only = f"{example.arm}:{example.seed}"
    done = cli("run", "study.toml", "--only", only, "--workers", "1", "--threads", "1", "--device", "cpu")
    name = tomllib.loads(text)["name"]
    assert ("tuning" in tomllib.loads(text)) == example.tuned
    records = LocalStore(folder / "mlruns" / "mlflow.db").records(name)
    assert [r.error for r in records if r.status != "FINISHED"] == [], done.err
    compared = [record for record in records if record.phase == "compare"]
    assert [(record.arm, record.seed) for record in compared] == [(example.arm, example.seed)], done.err
    return compared[0]


def run_bare(source: Path, folder: Path, example: Example, record: Record) -> Scores:
    """The scores of the script, started as its author would, with the tuned settings of a run and one thread."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    script = example.script
    for name, value in record.overrides.items():
        script = script.replace(f"{{{name}}}", str(value))
    environment = {**clean_environment(), **dict.fromkeys(THREAD_VARIABLES, "1"), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, *script.split()]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return example.scores(done.stdout, folder)


def test_every_example_is_tested() -> None:
    folders = {file.parent.name for file in EXAMPLES.glob("*/study.toml")}
    assert folders == {example.folder for example in (*LIGHT, *HEAVY)} | {"ablate_train"}
