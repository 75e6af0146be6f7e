"""What a run needs beside its settings. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ablate.study import Record, RunSpec
from ablate.trainers.given_scores import MetricNames
from ablate.trainers.progress_log import Prunes

OWN_FOLDER = "dir"  # below a run's folder: what a command or a function keeps until its run is finished
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class SentFunction:
    """A function that no module holds, such as one of a notebook: it travels to the processes of the runs as bytes."""

    content: bytes  # as cloudpickle writes it
    source: str  # its text: the code of the runs


class Pruning(Protocol):
    """The rule by which one trial ends early; it travels to the process of the run."""

    def start(self) -> Prunes:
        """The rule at the beginning of the curve. An attempt that goes on from a checkpoint tells it every epoch."""


@dataclass(frozen=True)
class Context:
    """What a run needs beside its settings: paths, device and metrics. None of it is part of the run's key."""

    catalogue: str
    curve_metrics: tuple[str, ...]  # scored on validation after every epoch; the first is the study's primary
    study_dir: Path
    work: Path  # checkpoints, and artifacts until they are recorded
    logs: Path
    device: str = "cpu"
    data_root: Path | None = None
    limit: int | None = None  # at most this many examples of every split, to try that a study runs at all
    stop: Path | None = None  # a stop file for this run alone, in place of the study's
    threads: int = 1  # of a command or a function; the built-in loop has `training.threads`
    named_metrics: tuple[str, ...] = ()  # those that the study asks for; another that cannot be computed is left out
    metric_names: MetricNames = field(default_factory=dict)  # of declared metrics
    function: SentFunction | None = None  # in place of the one that `settings.run.function` names
    environment: Mapping[str, str] = field(default_factory=dict)  # with which a script logs to its own MLflow run
    pruning: Pruning | None = None  # of this run alone, a trial
    counted: Mapping[str, int] = field(default_factory=dict)  # parameters that were counted before: see `parameters`

    def folder(self, run: RunSpec | Record) -> Path:
        return self.work / run.folder_name

    @property
    def stop_file(self) -> Path:
        """While it exists, runs stop at their next safe point."""
        return self.stop or self.work / "stop"

    def log_file(self, spec: RunSpec) -> Path:
        return self.logs / f"{spec.name}.log"
