"""The words and the environment with which a command is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from ablate.study import RunSpec
from ablate.study.command_template import fill, fill_word
from ablate.study.run_rules import honoured_controls, setting_values
from ablate.trainers.context import THREAD_VARIABLES, Context

SCORES = "scores.json"


def command_line(spec: RunSpec, context: Context, own: Path, scores_file: Path) -> tuple[list[str], dict[str, str]]:
    """The words of the command, every placeholder replaced, and its environment but for the choice of a GPU."""
    section = spec.settings["run"]
    values = setting_values(section) | honoured_controls(spec.settings)
    values |= {
        "seed": spec.own_seed,
        "out": str(scores_file.resolve()),
        "dir": str(own.resolve()),
        "device": context.device.partition(":")[0],
        "threads": context.threads,
        "phase": spec.phase,
    }
    words = fill(section["command"], values)
    environment = {**base_environment(context), **context.environment}
    environment |= {name: fill_word(text, values) for name, text in section.get("env", {}).items()}
    return [_program(words[0], context.study_dir / section.get("cwd", "."), environment), *words[1:]], environment


def base_environment(context: Context) -> dict[str, str]:
    """This process's environment with the thread counts of the runs, without its choice of a GPU."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **dict.fromkeys(THREAD_VARIABLES, str(context.threads))}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return environment


def _program(name: str, folder: Path, environment: Mapping[str, str]) -> str:
    """The path of a program; `python` is the interpreter that runs ablate. The name itself where there is none."""
    if name == "python":
        return sys.executable
    return shutil.which(str(folder / name) if "/" in name else name, path=environment.get("PATH")) or name
