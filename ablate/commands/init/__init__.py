"""`ablate init`: write a commented study file for a command, a function or the built-in subject. Imports no torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ablate.commands.init.command import read_command
from ablate.commands.init.function import read_function
from ablate.commands.init.text import command_study, function_study
from ablate.scheduler.workspace import check_file
from ablate.study import InputError, Problem, printable, shipped
from ablate.study.components import IMPORT_PATH, IMPORT_PATH_RULE
from ablate.study.rules import NAME
from ablate.untrusted.wording import nearest, shown

QUICK = "quick"  # the shipped study of the built-in subject that `--pose` begins with
_NOTES = {  # what a copy of it says of each section
    "[settings.data]": '# Procedural people. Your own: `ablate data import`, then file = "mine.npz" (see the README).',
    "[settings.model]": "# What every arm starts from: arguments of the factory.",
    "[settings.training]": "# The training loop: AdamW, a linear warm-up, then a cosine to 0.",
    "[arms.existing]": "# An arm is a few replaced settings.",
    "[arms.constant]": "# References: yardsticks, never tuned.",
    "[tuning]": "# Every arm but the references is tuned on the same budget, on validation data.",
    "[report]": "# What the report shows beside its tables.",
}


def for_command(text: str, out: Path) -> str:
    """Write the study of a command, as it would be typed in the working folder; returns the study's name.

    Raises InputError for a command that needs a shell, and for a file that is there already.
    """
    _check(out)
    command = read_command(text, Path.cwd())
    name = _name(out, Path(command.script.file or command.words[0][0]).stem)
    cwd = Path(os.path.relpath(Path.cwd(), out.resolve().parent)).as_posix()
    _write(out, command_study(command, name=name, file=str(out), cwd=cwd, typed=text))
    return name


def for_function(path: str, out: Path) -> str:
    """Write the study of the function at "module:name"; returns the study's name. Raises InputError."""
    _check(out)
    if not IMPORT_PATH.fullmatch(path):
        raise InputError(Problem("--function", "", IMPORT_PATH_RULE, shown(path)))
    function = read_function(path, out.resolve().parent)
    if function.others:
        wanted = path.partition(":")[2]
        hint = nearest(wanted, function.others)
        raise InputError(Problem("--function", "", f"its module has no function {wanted}", shown(path), hint))
    name = _name(out, path.partition(":")[2])
    _write(out, function_study(function, name=name, file=str(out)))
    return name


def for_pose(out: Path) -> str:
    """Write a commented copy of the quick study of the built-in subject; returns the study's name."""
    _check(out)
    name = _name(out, "pose")
    text = (shipped.FOLDER / f"{QUICK}.toml").read_text(encoding="utf-8")
    edits = {
        f"ablate run studies/{QUICK}.toml": f"ablate run {out}",
        f'name = "{QUICK}"': f'name = "{name}"',
        "threads = 1\n": 'threads = 1\nprecision = "float32"\nlast_batch = "keep"\n',
        **{f"\n{section}\n": f"\n{note}\n{section}\n" for section, note in _NOTES.items()},
    }
    for old, new in edits.items():
        text = text.replace(old, new, 1)
    _write(out, text)
    return name


def _check(out: Path) -> None:
    """Raise InputError where the file cannot be written, or is there already."""
    if printable(str(out)) != str(out):
        raise InputError(Problem("--out", "", "must not hold control characters", shown(printable(str(out)))))
    if out.suffix != ".toml":
        raise InputError(Problem("--out", "", "must be a file NAME.toml", shown(str(out))))
    check_file("--out", out)
    if out.exists() or out.is_symlink():
        raise _exists(out)


def _exists(out: Path) -> InputError:
    return InputError(Problem("--out", "", "is there already, and is not overwritten", str(out), "give another name"))


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as stream:  # never overwrites
            stream.write(text)
    except FileExistsError:
        raise _exists(out) from None


def _name(out: Path, otherwise: str) -> str:
    """The study's name: that of its file; for the usual `study.toml` the name of what it is about."""
    wanted = otherwise if out.stem == "study" else out.stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted).strip("-._")[:60].rstrip("-._")
    return name if NAME.fullmatch(name) else "study"
