"""A run by a command: start the script as it stands, follow its progress, take its scores. Needs no torch."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, RunResult, RunSpec, components
from ablate.study.run_rules import RunSection
from ablate.study.runs import compared_split
from ablate.trainers import child_process, provenance
from ablate.trainers.child_process import POLL_S, Child
from ablate.trainers.command_line import SCORES, command_line
from ablate.trainers.context import OWN_FOLDER, Context
from ablate.trainers.errors import RunFailed, Stopped
from ablate.trainers.given_scores import (
    curve_entry,
    is_position,
    named_scores,
    numbers_in,
    pruned_scores,
    read_scores,
)
from ablate.trainers.gpu import visible_gpu
from ablate.trainers.parameters import Counter, matched_setting
from ablate.trainers.progress_log import PROGRESS, ProgressLog, log_alone
from ablate.untrusted.wording import listing, nearest, nearest_file, shown


def train(spec: RunSpec, context: Context, folder: Path, progress_log: ProgressLog) -> RunResult:
    """Do the run. Raises RunFailed where the command fails or gives no scores, and Stopped."""
    section = RunSection.model_validate(dict(spec.settings["run"]))
    own, scores_file = folder / OWN_FOLDER, folder / SCORES
    counter = Counter(context, folder / "count", context.log_file(spec), progress_log.safe_point)
    matched, counted = counter.of_run(spec)
    own.mkdir(parents=True, exist_ok=True)
    _remove(scores_file)
    follower = _Progress(own / PROGRESS, context, progress_log, resumes=section.resumes)
    code = provenance.code_digest(spec.settings, context.study_dir)
    words, environment = command_line(matched, context, own, scores_file)
    progress_log.log(f"command {shlex.join(words)}")
    cwd = context.study_dir / section.cwd
    with visible_gpu(context.device, context.work, progress_log.safe_point) as gpu:
        environment = {"CUDA_VISIBLE_DEVICES": gpu, **environment}
        started = time.perf_counter()
        log, unsaid = context.log_file(spec), _names_test_scores(spec, context)
        with child_process.running(words, cwd, environment, log, section.pattern, unsaid) as child:
            exit_code = _follow(child, follower, progress_log, section.timeout_s)
        seconds = time.perf_counter() - started
    follower.update()
    scores: dict[str, float] = {}  # those in MLflow are read by the process that records the run
    if progress_log.pruned:  # also where the command had ended by then: a result must not depend on that
        scores = pruned_scores(list(follower.history.values()))
    elif exit_code != 0:
        raise RunFailed(f"the command {child_process.ending(exit_code)}{child.said()}")
    elif section.scores != "mlflow":
        given = numbers_in(child.scores) if section.pattern else _read(scores_file, child)
        scores = named_scores(given, context.metric_names, spec.phase, compared_split(spec.settings))
    artifacts = log_alone(progress_log.log_file, folder / "out") if spec.keeps_log else None
    counts = counted | ({"count/epochs": float(len(follower.history))} if follower.history else {})
    facts = {"source_digest": code, **matched_setting(spec, matched)}
    facts |= provenance.machine(context.device, context.threads)
    timings = {"time/train_s": seconds, "time/total_s": seconds}
    return RunResult(spec.key, "FINISHED", scores | counts, list(follower.history.values()), timings, facts, artifacts)


def _names_test_scores(spec: RunSpec, context: Context) -> re.Pattern[str] | None:
    """What is found in a line of output that may hold a test score, where none may be stored; else None.

    A number, and the name of a test score or a word that begins with "test"; not the places in a traceback.
    """
    if spec.phase != "tune" or compared_split(spec.settings) != "test":
        return None
    names = "|".join([r"(?<![^\W_])test", *(re.escape(test) for _, test in context.metric_names.values())])
    return re.compile(rf'^(?!\s*File ")(?=.*\d).*({names})', re.IGNORECASE)


def _remove(path: Path) -> None:
    """Remove what an earlier attempt wrote there, a folder too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def check(spec: RunSpec, context: Context) -> list[Problem]:
    """What is wrong with the command on this machine: its program or script is missing.

    Raises InputError where its working folder is, or its words cannot be filled.
    """
    folder = components.working_folder(spec.settings["run"], context.study_dir)
    try:
        words, environment = command_line(spec, context, folder, folder / SCORES)
    except (ValueError, KeyError) as error:
        raise InputError(Problem("", "settings.run.command", str(error))) from error
    problems = []
    path = environment.get("PATH")
    if shutil.which(words[0], path=path) is None:
        hint = _programs(folder, words[0], path)
        problems.append(Problem("", "settings.run.command", "no such program", shown(words[0]), hint))
    script = words[1] if Path(words[0]).name.startswith("python") and len(words) > 1 else ""
    if script.endswith(".py") and not (folder / script).is_file():
        problems.append(
            Problem("", "settings.run.command", f"no such script in {folder}", shown(script), _scripts(folder, script))
        )
    return problems


def _programs(folder: Path, missing: str, path: str | None) -> str:
    """The program that was probably meant, or how one is named. `path`: the folders in which one is looked for."""
    file = folder / missing
    if "/" in missing:
        if file.is_file():
            return f"it is not executable; `chmod +x {shlex.quote(missing)}`, or start it by its interpreter"
        return nearest_file(file) or "there is no such file"
    if file.is_file():
        return f"./{missing} is the file in {folder}"
    names = {"python"}
    for searched in (path or os.defpath).split(os.pathsep):
        with suppress(OSError):
            names.update(os.listdir(searched or "."))
    near = nearest(missing, names)
    if near.startswith("did"):
        return near
    return "name one on PATH, a path such as ./train.sh, or python, the interpreter that runs ablate"


def _scripts(folder: Path, missing: str) -> str:
    """The script that was probably meant, or those of the folder."""
    there = sorted(file.name for file in folder.glob("*.py"))
    if close := difflib.get_close_matches(Path(missing).name, there, n=1):
        return f"did you mean {close[0]!r}?"
    return f"the Python files there are {listing(there)}" if there else "there is no Python file in it"


class _Progress:
    """The curve that a command appends to `{dir}/progress.jsonl`: a JSON object a line, with "epoch" or "step"."""

    def __init__(self, file: Path, context: Context, progress_log: ProgressLog, *, resumes: bool) -> None:
        self._file, self._log, self._read = file, progress_log, 0
        self._metrics = context.metric_names
        self._modified_ns = 0
        self.history: dict[float, dict[str, float]] = {}  # by epoch
        if not resumes:
            _remove(file)

    def update(self) -> None:
        """Log the new lines, and a sign of life: a command that writes no such file is not expected to show any."""
        with suppress(OSError):
            modified_ns = self._file.stat().st_mtime_ns
            if modified_ns == self._modified_ns:
                return
            self._modified_ns = modified_ns
            with self._file.open("rb") as stream:
                stream.seek(self._read)
                complete, newline, _ = stream.read(child_process.LOG_BYTES).rpartition(b"\n")
            self._read += len(complete + newline)
            for line in complete.splitlines():
                self._add(line)
        self._log.heartbeat()

    def _add(self, line: bytes) -> None:
        if self._log.pruned:
            return
        with suppress(ValueError, RecursionError, OverflowError):
            values = json.loads(line)
            if isinstance(values, dict):
                numbers = {k: float(v) for k, v in values.items() if type(v) in (int, float)}
                epoch = numbers.pop("epoch", numbers.pop("step", len(self.history) + 1.0))
                if not is_position(epoch):
                    return
                entry = {"epoch": epoch, **curve_entry(numbers, self._metrics)}
                self.history[epoch] = entry
                self._log.log_epoch(entry)


def _follow(child: Child, progress: _Progress, log: ProgressLog, timeout_s: float | None) -> int:
    """Wait for the end of the command, or end a trial that is pruned; returns its exit code.

    Raises Stopped, and RunFailed after `timeout_s`.
    """
    started = time.monotonic()
    while (code := child.wait(POLL_S)) is None:
        progress.update()
        if log.pruned:
            child.stop()
            return 0
        if log.stop_requested():
            child.stop()
            raise Stopped  # whatever its exit code: scores of a training cut short would look like any others
        if timeout_s is not None and time.monotonic() - started > timeout_s:
            child.stop()
            raise RunFailed(f"the command did not end within timeout_s = {timeout_s:g}{child.said()}")
    return code


def _read(scores_file: Path, child: Child) -> dict[str, Any]:
    try:
        return read_scores(scores_file)
    except RunFailed as error:
        raise RunFailed(f"{error}{child.said()}") from None
