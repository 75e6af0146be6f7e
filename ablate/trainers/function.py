"""A run by a function of the user's: import it, seed the generators, call it, take its scores. Imports no torch."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import pickle
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, RunResult, RunSpec, Split, components
from ablate.study.run_rules import RunSection, honoured_controls, run_settings
from ablate.study.runs import compared_split
from ablate.trainers import provenance
from ablate.trainers.context import OWN_FOLDER, THREAD_VARIABLES, Context
from ablate.trainers.errors import RunFailed, Stopped
from ablate.trainers.function_run import EPOCHS, Reports, Run, plain_number
from ablate.trainers.given_scores import by_split, named_scores, pruned_scores
from ablate.trainers.parameters import Counter, matched_setting
from ablate.trainers.progress_log import ProgressLog
from ablate.untrusted.wording import shown

SIGNATURE = "def train(settings, run)"
PLACE = "settings.run.function"


def train(spec: RunSpec, context: Context, folder: Path, progress_log: ProgressLog) -> RunResult:
    """Do the run. Raises Stopped, RunFailed for scores that cannot be used, and whatever the function raises."""
    section = RunSection.model_validate(dict(spec.settings["run"]))
    source = context.function.source if context.function else ""
    code = provenance.code_digest(spec.settings, context.study_dir, source=source)
    split = compared_split(spec.settings)
    run, reports = _run_object(spec, context, folder, progress_log, split)
    counter = Counter(context, folder / "count", context.log_file(spec), progress_log.safe_point)
    matched, counted = counter.of_run(spec)
    settings = copy.deepcopy(run_settings(matched.settings["run"])) | honoured_controls(spec.settings)
    started = time.perf_counter()
    with _in_folder(context.study_dir / section.cwd), _thread_variables(context.threads):
        seed_generators(run.seed, context.threads)  # for what the module draws when it is imported
        function = load(spec.settings["run"]["function"], context)
        torch_seeded = seed_generators(run.seed, context.threads)
        called = time.perf_counter()
        given = _call(function, settings, run, reports, progress_log)
    ended = time.perf_counter()
    if not torch_seeded and "torch" in sys.modules:
        progress_log.log(
            "torch was not seeded: it was imported after the function's module had been loaded; "
            "import it in the module, or call torch.manual_seed(run.seed)"
        )
    history = reports.history
    if progress_log.pruned:
        scores = pruned_scores(history)
    else:
        flat, names = by_split(given, context.metric_names)
        numbers = {name: plain_number(value) for name, value in flat.items()}
        scores = named_scores(numbers, names, spec.phase, split)
    counts = counted | ({"count/epochs": float(len(history))} if history else {})
    machine = provenance.environment if "torch" in sys.modules else provenance.machine
    facts = {"source_digest": code, **matched_setting(spec, matched)}
    facts |= {**machine(context.device, context.threads), **reports.facts}
    timings = {"time/train_s": ended - called, "time/total_s": ended - started}
    artifacts = None
    if spec.keeps_log:
        artifacts = folder / "out"
        progress_log.save_log(artifacts)
    return RunResult(spec.key, "FINISHED", scores | counts | reports.measured, history, timings, facts, artifacts)


def _run_object(spec: RunSpec, context: Context, folder: Path, log: ProgressLog, split: Split) -> tuple[Run, Reports]:
    """What the function is given, with an empty folder for what it leaves and its own folder as it was."""
    own, out = folder / OWN_FOLDER, folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    for path in (own, out):
        path.mkdir(parents=True, exist_ok=True)
    section = spec.settings["run"]
    reports = Reports(own.resolve() / EPOCHS, out.resolve(), log, context.metric_names, spec.phase, split)
    run = Run(
        seed=spec.own_seed,
        folder=own.resolve(),
        device=context.device,
        threads=context.threads,
        budget=section.get("budget"),
        phase=spec.phase,
        inputs=tuple(components.find_inputs(section, context.study_dir)),
        _reports=reports,
    )
    return run, reports


def load(path: str, context: Context) -> Callable[..., Any]:
    """The function of a run. Raises InputError where it cannot be imported or is no function."""
    if context.function is not None:
        try:
            function = pickle.loads(context.function.content)  # from this user's own process
        except Exception as error:
            rule = f"cannot be sent to the process of a run: {type(error).__name__}: {error}"
            raise InputError(Problem("", PLACE, rule, path)) from error
    else:
        components.importable([context.study_dir])
        function = components.load_component(path, file="", place=PLACE)
    if not callable(function):
        raise InputError(Problem("", PLACE, f"must be a function: {SIGNATURE}", shown(path)))
    return function  # type: ignore[no-any-return]


def check(spec: RunSpec, context: Context) -> list[Problem]:
    """What is wrong with the function: no working folder, it cannot be imported, it does not take settings and run."""
    path = spec.settings["run"]["function"]
    try:
        components.working_folder(spec.settings["run"], context.study_dir)
        signature = inspect.signature(load(path, context))
        signature.bind({}, None)
    except InputError as error:
        return list(error.problems)
    except ValueError:  # some C callables have no signature: the call itself reports errors
        return []
    except TypeError:
        return [Problem("", PLACE, f"must take two arguments: {SIGNATURE}", f"{path.rpartition(':')[2]}{signature}")]
    return []


def seed_generators(seed: int, threads: int) -> bool:
    """Seed the global generators of `random`, NumPy and, if it is imported, torch; returns whether torch was.

    Torch's number of threads is set with its seed: its results depend on both.
    """
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    return True


def _call(
    function: Callable[..., Any], settings: Mapping[str, Any], run: Run, reports: Reports, log: ProgressLog
) -> Any:
    """The function's answer; None of a pruned trial. Raises Stopped also where the function has caught it."""
    with reports.signs_of_life():
        try:
            return function(settings, run)
        except Exception:
            if not log.pruned:  # what a function raises when it is ended need not be Pruned
                raise
            return None
        finally:
            if reports.stopped:
                raise Stopped


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """The study's folder, or `cwd`, is the working folder, as for a command."""
    if not folder.is_dir():
        raise RunFailed(f"no such folder: {folder}")
    with contextlib.chdir(folder):
        yield


@contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    """Set the usual variables: libraries read them when they are imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
