"""A study of commands or functions needs no torch: no command imports it, in none of its processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_project import clean_environment

SCRIPT = Path(__file__).parents[1] / "script"
FUNCTION = Path(__file__).parents[1] / "function"
# Python imports this module in place of torch: it writes down who asked, and is not there.
NO_TORCH = """
import os, pathlib, sys, traceback
with open(os.environ["ASKED_FOR_TORCH"], "a") as file:
    print(sys.argv, "".join(traceback.format_stack()), file=file)
raise ImportError("No module named 'torch'")
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, initialised_store: Path) -> Path:
    """The folder of a study of a command and of one of a function, with a Python path on which there is no torch."""
    folder = tmp_path_factory.mktemp("without-torch") / "study"
    shutil.copytree(SCRIPT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "dropout.toml").read_text(encoding="utf-8")
    assert text.count("[1, 2, 3, 4, 5]") == 1
    (folder / "dropout.toml").write_text(text.replace("[1, 2, 3, 4, 5]", "[1, 2]"), encoding="utf-8")
    shutil.copy(FUNCTION / "ablation.py", folder)
    text = (FUNCTION / "dropout.toml").read_text(encoding="utf-8")
    untuned = text[: text.index("[tuning]")] + text[text.index("[[hypotheses]]") :]
    for old, new in (("[1, 2, 3, 4, 5]", "[1]"), ('name = "dropout"', 'name = "function"')):
        assert untuned.count(old) == 1
        untuned = untuned.replace(old, new)
    (folder / "function.toml").write_text(untuned, encoding="utf-8")
    (folder / "mlruns").mkdir()
    shutil.copy(initialised_store, folder / "mlruns" / "mlflow.db")
    (folder.parent / "path" / "torch").mkdir(parents=True)
    (folder.parent / "path" / "torch" / "__init__.py").write_text(NO_TORCH, encoding="utf-8")
    return folder


# Makes one call after another in its process, and writes the exit codes as JSON.
CALLS = """
import json, sys
from ablate.cli.app import main
codes = []
for sys.argv in json.load(sys.stdin):
    try:
        main()
    except SystemExit as ended:
        codes.append(ended.code or 0)
with open("codes", "w") as file:
    json.dump(codes, file)
"""


def call(study: Path, *commands: list[str]) -> tuple[list[int], str]:
    """The exit codes of these commands, made in one process, and what they said on stderr."""
    asked = study.parent / "asked"
    asked.unlink(missing_ok=True)
    environment = {**clean_environment(), "PYTHONPATH": str(study.parent / "path"), "ASKED_FOR_TORCH": str(asked)}
    done = subprocess.run(
        [sys.executable, "-c", CALLS],
        input=json.dumps([["ablate", *arguments] for arguments in commands]),
        cwd=study,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not asked.exists(), asked.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads((study / "codes").read_text()), done.stderr


def test_no_process_of_a_command_imports_torch(study: Path) -> None:
    """The study is tuned, compared and reported with two workers; then come the other commands."""
    commands = [
        ["run", "dropout.toml", "--workers", "2"],
        ["--help"],
        ["--version"],
        ["init", "--command", "python train.py --lr 0.1", "--out", "new.toml"],
        ["init", "--pose", "--out", "pose.toml"],
        ["plan", "dropout.toml", "--check"],
        ["run", "dropout.toml"],
        ["run", "dropout.toml", "--smoke"],
        ["run", "dropout.toml", "--rerun", "plain", "--only", "plain:1"],
        ["status", "dropout.toml"],
        ["report", "dropout", "--format", "md,csv"],
        ["compare", "dropout", "dropout", "plain"],
        ["export", "dropout", "dropout.zip"],
        ["import", "dropout.zip", "--mlruns", "elsewhere"],
        ["gc", "--dry-run"],
        ["discard", "dropout:dropout", "--yes"],
        ["plan", "function.toml", "--check"],
        ["run", "function.toml", "--workers", "2"],
    ]
    codes, said = call(study, *commands)
    assert list(zip(codes, commands, strict=True)) == [(0, command) for command in commands], said


def test_this_would_be_seen(study: Path) -> None:
    """The built-in loop does import it, in this same environment."""
    with pytest.raises(AssertionError, match="torch"):
        call(study, ["plan", "quick", "--check"])
