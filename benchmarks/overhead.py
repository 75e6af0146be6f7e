"""What tracking, tuning, checkpoints and the process pool add to bare training, on a study's own runs.

    python benchmarks/overhead.py studies/quick.toml --trials 3 --seeds 5
    python benchmarks/overhead.py examples/reinforcement_learning/study.toml --trials 3 --seeds 7
    python benchmarks/overhead.py tests/function/dropout.toml --trials 2 --seeds 7

The same cells of one arm (tuning trials, then comparison runs) twice in one go: bare and through `ablate` (scheduler,
worker process, MLflow store, Optuna, resume checkpoints, artifacts, logged model). Bare is, for the built-in loop,
data, network and training with its validation, nothing written; for a command, the same words started as a process;
for a function, a process that imports its module, seeds `random` and calls it once, with a `run` that keeps nothing.
Cell by cell in turns, so that a slow minute of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

# What is slow to import is imported in functions: every worker process imports this file anew, as it would the
# console script of `ablate`, which imports little.
if TYPE_CHECKING:
    from ablate.scheduler.loaded_study import LoadedStudy
    from ablate.scheduler.workspace import Workspace
    from ablate.study import RunResult, RunSpec
    from ablate.trainers.context import Context


class Silent:
    """A view that shows nothing and remembers which specs ran."""

    def __init__(self) -> None:
        self.specs: list[RunSpec] = []

    def started(self, spec: RunSpec) -> None:
        self.specs.append(spec)

    def epoch(self, spec: RunSpec, entry: object) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None:
        if result.status != "FINISHED":
            raise SystemExit(f"{spec.name}: {result.error}")

    def note(self, text: str) -> None:
        print(text)


def bare(spec: RunSpec, context: Context) -> float:
    """Seconds to build and train one cell as a script would: no store, no checkpoint, no artifact."""
    import torch

    from ablate.study import TrainingSettings
    from ablate.study.catalogue import load_catalogue
    from ablate.trainers.builtin import evaluation
    from ablate.trainers.builtin.run import build, make_trainer

    started = time.perf_counter()
    settings = TrainingSettings(**spec.settings["training"])
    torch.set_num_threads(settings.threads)
    device = torch.device(context.device)
    data, model, loss = build(spec, context, device)
    catalogue = load_catalogue(context.catalogue, file="benchmark")
    curve = [catalogue[name] for name in context.curve_metrics]
    make_trainer(spec, data, loss, curve, device, lambda entry: None).run(model)
    test = data.examples("test")
    evaluation.score(evaluation.predict(model, test), test.targets, list(catalogue.values()))
    return time.perf_counter() - started


def bare_command(spec: RunSpec, context: Context) -> float:
    """Seconds of a command's process, its output in a file."""
    from ablate.trainers import command

    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "dir"
        own.mkdir()
        words, environment = command.command_line(spec, context, own, Path(folder) / "scores.json")
        cwd = context.study_dir / spec.settings["run"].get("cwd", ".")
        with (Path(folder) / "log").open("wb") as log:
            started = time.perf_counter()
            subprocess.run(words, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)
            return time.perf_counter() - started


CALL = """
import importlib, json, pathlib, random, sys, types
at, settings, given = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
paths = {"folder": pathlib.Path(given["folder"]), "inputs": [pathlib.Path(path) for path in given["inputs"]]}
nothing = dict.fromkeys(("epoch", "examples", "model"), lambda *_, **__: None)
random.seed(given["seed"])
module, _, name = at.partition(":")
print(getattr(importlib.import_module(module), name)(settings, types.SimpleNamespace(**given | paths | nothing)))
"""  # `-c` makes the working folder importable


def bare_function(spec: RunSpec, context: Context) -> float:
    """Seconds of a process that calls the function once, its output in a file. Its scores are compared with nothing."""
    from ablate.study import components
    from ablate.study.run_rules import run_settings
    from ablate.trainers.context import THREAD_VARIABLES

    section = spec.settings["run"]
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "seed": spec.seed,
            "folder": folder,
            "device": context.device,
            "threads": context.threads,
            "budget": section.get("budget"),
            "phase": spec.phase,
            "inputs": [str(path.resolve()) for path in components.find_inputs(section, context.study_dir)],
        }
        arguments = [section["function"], json.dumps(run_settings(section)), json.dumps(given)]
        cwd = context.study_dir / section.get("cwd", ".")
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(context.threads))}
        with (Path(folder) / "log").open("wb") as log:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", CALL, *arguments], cwd=cwd, env=environment, stdout=log, stderr=log, check=True
            )
            return time.perf_counter() - started


def one_arm(loaded: LoadedStudy, arm: str, trials: int, seeds: int) -> LoadedStudy:
    """The study cut to one arm, a few trials and a few seeds."""
    study = loaded.study
    tuning = study.tuning.model_copy(update={"trials": trials}) if study.tuning and trials else None
    cut = {"arms": {arm: study.arms[arm]}, "baseline": arm, "tuning": tuning, "seeds": study.seeds[:seeds]}
    return replace(loaded, study=study.model_copy(update={**cut, "hypotheses": []}))


def main() -> None:
    from ablate.executors.local import usable_cores
    from ablate.scheduler.loaded_study import load
    from ablate.scheduler.workspace import Workspace

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?", default=Path("studies/quick.toml"))
    parser.add_argument("--data-root", type=Path, help="default: $ABLATE_DATA, or beside the study")
    parser.add_argument("--arm", help="default: the baseline")
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    workspace = Workspace(data_root=options.data_root, device="cpu")
    loaded = load(options.study, workspace)
    loaded = one_arm(loaded, options.arm or loaded.study.baseline, options.trials, options.seeds)
    cells = f"{options.trials} tuning trial(s), {options.seeds} seed(s)"
    print(f"{loaded.study.name}, arm {loaded.study.baseline}: {cells}, one worker")
    with tempfile.TemporaryDirectory() as folder:
        ours, bares = measure(loaded, replace(workspace, mlruns=Path(folder)))
    ratios = [a / b for a, b in zip(ours, bares, strict=True)]
    for number, (a, b, ratio) in enumerate(zip(ours, bares, ratios, strict=True), start=1):
        print(f"cell {number}: through ablate {a:7.2f} s   bare {b:7.2f} s   ratio {ratio:.4f}")
    print(f"all cells: ratio {sum(ours) / sum(bares):.4f}   median of cells {statistics.median(ratios):.4f}")
    print(f"ablate adds {100 * (sum(ours) / sum(bares) - 1):.1f} % to bare training")
    added = [a - b for a, b in zip(ours, bares, strict=True)]
    print(
        f"a cell: mean {statistics.mean(added):.2f} s, median {statistics.median(added):.2f} s, "
        f"from {min(added):.2f} to {max(added):.2f} s ({len(added)} cells, {usable_cores()} cores)"
    )


def measure(loaded: LoadedStudy, workspace: Workspace) -> tuple[list[float], list[float]]:
    """Seconds of each cell through the scheduler and bare, in turns. The fork server starts before the clock."""
    from ablate.executors import local
    from ablate.scheduler.loaded_study import context_of
    from ablate.scheduler.scheduler import Scheduler
    from ablate.study import amend

    tracker, view = workspace.tracker(), Silent()
    tracker.open(loaded.study.name, amend.document(loaded.study, loaded.catalogue, command="", today="2000-01-01"))
    root = workspace.mlruns
    context = context_of(loaded, workspace, root / "work", root / "logs")
    as_process = {"command": bare_command, "function": bare_function}.get(loaded.study.trainer)
    engine = local.pool_for("cpu", loaded.study.trainer)

    def scheduler(wanted: Callable[[RunSpec], bool] = lambda spec: True) -> Scheduler:
        return Scheduler(loaded.study, tracker, context, loaded.digests, 1, engine, view, wanted=wanted)

    ours: list[float] = []
    bares: list[float] = []
    with engine(1) as pool:
        pool.submit(os.getpid).result()
        while ready := scheduler().ready():
            spec = ready[0]
            only_this_cell = scheduler(lambda other, key=spec.key: other.key == key)
            started = time.perf_counter()
            only_this_cell.run()
            ours.append(time.perf_counter() - started)
            bares.append(as_process(spec, context) if as_process else pool.submit(bare, spec, context).result())
    return ours, bares


if __name__ == "__main__":
    main()
