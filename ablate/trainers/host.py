"""Do one run with its trainer, in a worker process: keep its log and progress, and turn its failure into a result.

Knows no trainer but by name, and no tracking or tuning.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ablate.study import RunResult, RunSpec
from ablate.study.runs import PRUNED, trainer_kind
from ablate.trainers import print_capture
from ablate.trainers.context import OWN_FOLDER, Context
from ablate.trainers.errors import RunFailed, Stopped, storage_failure
from ablate.trainers.progress_log import OnEpoch, ProgressLog, log_alone


def execute(spec: RunSpec, context: Context, on_epoch: OnEpoch | None = None) -> RunResult:
    """Do the run. Its failure is a result: FAILED, with the reason, and the log with the traceback as its artifact.

    `on_epoch` is called with every epoch's scores in this process; other processes read `progress.jsonl`. Raises
    Stopped when `context.stop_file` appears, and Unavailable when the run's folders cannot be written; after either
    the same run can be done again and continues from its last checkpoint.
    """
    try:
        return _attempt(spec, context, on_epoch)
    except Exception as error:
        failure = storage_failure(error, (context.work, context.logs))
        if failure is None:
            raise
        raise failure from error


def _attempt(spec: RunSpec, context: Context, on_epoch: OnEpoch | None) -> RunResult:
    folder, log_file = context.folder(spec), context.log_file(spec)
    prunes = context.pruning.start() if context.pruning else None
    progress_log = ProgressLog(log_file, folder, context.stop_file, on_epoch, prunes)
    progress_log.log(f"{spec.study} {spec.name} key {spec.key} settings {json.dumps(dict(spec.settings))}")
    with _output_to(log_file):
        try:
            result = _trainer(spec)(spec, context, folder, progress_log)
        except Stopped:
            progress_log.log("stopped; the same run again goes on from here")
            raise
        except BaseException as error:  # a component may raise anything: asyncio.CancelledError, SystemExit, its own
            if _is_ctrl_c(error) or storage_failure(error, (context.work, context.logs)):
                raise
            progress_log.log(traceback.format_exc())
            reason = _reason(error, spec, folder, context.study_dir)
            artifacts = log_alone(log_file, folder / "out") if spec.keeps_log else None
            return RunResult(spec.key, "FAILED", error=reason, artifacts=artifacts)
        progress_log.log(result.status)
        if progress_log.pruned:
            return replace(result, provenance={**result.provenance, PRUNED: progress_log.pruned})
        return result


@contextmanager
def _output_to(log_file: Path) -> Iterator[None]:
    """Append what components print to the log, in a worker process; in the main process leave it on the terminal."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with print_capture.to_file(log_file):
        yield


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether Python's own handler raised it in the main thread. In a worker process SIGINT has another handler."""
    default_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    in_main_thread = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and default_handler and in_main_thread


def _reason(error: BaseException, spec: RunSpec, folder: Path, study_dir: Path) -> str:
    """Why the run failed, in words, and where in the user's code."""
    if isinstance(error, RunFailed):
        return str(error)
    made = {"command": (OWN_FOLDER,), "function": (OWN_FOLDER, "out")}.get(trainer_kind(spec.settings), ())
    gone = [name for name in made if not (folder / name).is_dir()]  # reports make the folder itself again
    if isinstance(error, FileNotFoundError) and gone:
        return f"the run's own folder was deleted before the run had ended: {folder}"
    place = _place(error, study_dir)
    return f"{type(error).__name__}: {error}{f' ({place})' if place else ''}"


def _place(error: BaseException, study_dir: Path) -> str:
    """`train.py, line 14`: the last line of code that was neither installed nor is ablate's; "" where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.lineno and Path(f.filename).is_file() and not _is_installed(Path(f.filename))]
    if not own:
        return ""
    file = Path(own[-1].filename).resolve()
    folder = study_dir.resolve()
    return f"{file.relative_to(folder) if file.is_relative_to(folder) else file.name}, line {own[-1].lineno}"


def _is_installed(file: Path) -> bool:
    """Whether a file is of ablate, of Python or of an installed package."""
    places = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")))
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts) or any(map(file.is_relative_to, places))


def _trainer(spec: RunSpec) -> Callable[[RunSpec, Context, Path, ProgressLog], RunResult]:
    """The trainer of a run. Only the built-in one imports torch."""
    if trainer_kind(spec.settings) == "command":
        from ablate.trainers import command

        return command.train
    if trainer_kind(spec.settings) == "function":
        from ablate.trainers import function

        return function.train
    from ablate.trainers.builtin import run

    return run.train
