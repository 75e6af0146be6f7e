"""Experiment-tracked ablation studies: does the added part earn its parameters?

Everything that a component, a metric or a script needs is imported from here: `from ablate import Metric`. Each name is
imported on first use, so that `import ablate` stays light.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.cli.from_python import run as run
    from ablate.cli.progress import ProgressView as ProgressView
    from ablate.commands.study_results import Plots as Plots
    from ablate.commands.study_results import StudyResults as StudyResults
    from ablate.commands.study_results import load_results as load_results
    from ablate.commands.study_results import open as open
    from ablate.executors.local import usable_cores as usable_cores
    from ablate.scheduler.workspace import Workspace as Workspace
    from ablate.scheduler.workspace import check_file as check_file
    from ablate.scheduler.workspace import check_folder as check_folder
    from ablate.scheduler.workspace import resolve_device as resolve_device
    from ablate.study import Frozen as Frozen
    from ablate.study import Metric as Metric
    from ablate.study import RunSpec as RunSpec
    from ablate.study import Study as Study
    from ablate.study import TrainingSettings as TrainingSettings
    from ablate.study.components import bind as bind
    from ablate.study.components import data_digest as data_digest
    from ablate.trainers.atomic_write import write_whole as write_whole
    from ablate.trainers.builtin.checkpoints import load_model as load_model
    from ablate.trainers.builtin.checkpoints import read_settings as read_settings
    from ablate.trainers.builtin.evaluation import predict as predict
    from ablate.trainers.builtin.model_size_check import check_size as check_size
    from ablate.trainers.builtin.run import load_data as load_data
    from ablate.trainers.context import Context as Context
    from ablate.trainers.contract import Batch as Batch
    from ablate.trainers.contract import Data as Data
    from ablate.trainers.contract import Fits as Fits
    from ablate.trainers.contract import Loss as Loss
    from ablate.trainers.contract import Model as Model
    from ablate.trainers.contract import Split as Split
    from ablate.trainers.contract import UsesTargets as UsesTargets
    from ablate.trainers.errors import Pruned as Pruned
    from ablate.trainers.errors import Stopped as Stopped
    from ablate.trainers.errors import Unavailable as Unavailable
    from ablate.trainers.function_run import Run as Run
    from ablate.trainers.host import execute as execute
    from ablate.untrusted.npz_reader import Arrays as Arrays
    from ablate.untrusted.npz_reader import array_names as array_names
    from ablate.untrusted.npz_reader import open_npz as open_npz
    from ablate.untrusted.problems import InputError as InputError
    from ablate.untrusted.problems import Problem as Problem
    from ablate.untrusted.toml import parse_toml as parse_toml
    from ablate.untrusted.wording import shown as shown

_MODULES = {
    "cli.from_python": ["run"],
    "cli.progress": ["ProgressView"],
    "commands.study_results": ["Plots", "StudyResults", "load_results", "open"],
    "executors.local": ["usable_cores"],
    "scheduler.workspace": ["Workspace", "check_file", "check_folder", "resolve_device"],
    "study": ["Frozen", "Metric", "RunSpec", "Study", "TrainingSettings"],
    "study.components": ["bind", "data_digest"],
    "trainers.atomic_write": ["write_whole"],
    "trainers.builtin.checkpoints": ["load_model", "read_settings"],
    "trainers.builtin.evaluation": ["predict"],
    "trainers.builtin.model_size_check": ["check_size"],
    "trainers.builtin.run": ["load_data"],
    "trainers.context": ["Context"],
    "trainers.contract": ["Batch", "Data", "Fits", "Loss", "Model", "Split", "UsesTargets"],
    "trainers.errors": ["Pruned", "Stopped", "Unavailable"],
    "trainers.function_run": ["Run"],
    "trainers.host": ["execute"],
    "untrusted.npz_reader": ["Arrays", "array_names", "open_npz"],
    "untrusted.problems": ["InputError", "Problem"],
    "untrusted.toml": ["parse_toml"],
    "untrusted.wording": ["shown"],
}
_HOME = {name: f"ablate.{module}" for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]  # all are texts


def __getattr__(name: str) -> object:
    if name == "__version__":
        from ablate.study.distribution import DISTRIBUTION

        return version(DISTRIBUTION)
    if name not in _HOME:
        raise AttributeError(f"module 'ablate' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
