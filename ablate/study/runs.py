"""A run as it is asked for (RunSpec), as it ended (RunResult) and as a store holds it (Record). Plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ablate.study.command_template import is_placeholder_of

Scalar = bool | int | float | str
DATASET_CHARS = 36  # of a data digest: MLflow stores no more
Phase = Literal["tune", "compare", "train"]
Split = Literal["test", "val"]
TrainerKind = Literal["built-in", "command", "function", "adopted"]  # adopted: trained elsewhere, scores alone
DEFAULT_CODE = ("**/*.py",)  # of a command, below the study's folder
PRUNED = "pruned"  # in the provenance of a trial that ended early by `tuning.pruner`: after which epoch
# Of [settings.run]: where the code and its inputs are and how long it may take, not what it computes.
NOT_IN_KEY = ("inputs", "code", "cwd", "timeout_s", "resumes", "honours", "parameters", "selection")


def trainer_kind(settings: Mapping[str, Any]) -> TrainerKind:
    """What trains a run with these settings."""
    run = settings.get("run")
    if not isinstance(run, Mapping):
        return "built-in"
    if "adopted" in run and "command" not in run and "function" not in run:
        return "adopted"
    return "function" if "function" in run else "command"


def logs_to_mlflow(settings: Mapping[str, Any]) -> bool:
    """Whether the script of a run with these settings writes its scores to MLflow itself."""
    return trainer_kind(settings) == "command" and settings["run"].get("scores") == "mlflow"


def compared_split(settings: Mapping[str, Any]) -> Split:
    """The split whose scores are compared: the one that tuning uses where `settings.run.test` is "none"."""
    return "val" if settings.get("run", {}).get("test") == "none" else "test"


def code_sources(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What names the code behind a run with these resolved settings: globs of files, or import paths."""
    kind = trainer_kind(settings)
    if kind == "command":
        return tuple(settings["run"].get("code", DEFAULT_CODE))
    if kind == "adopted":
        return ()
    if kind == "function":
        counts = [settings["run"]["parameters"]] if is_matched(settings) else []
        return (str(settings["run"]["function"]), *map(str, counts))
    training = settings.get("training", {})
    own = [training[name]["factory"] for name in ("optimizer", "schedule") if training.get(name)]
    return (*(str(settings[section].get("factory")) for section in ("model", "data", "loss")), *own)


def is_matched(settings: Mapping[str, Any]) -> bool:
    """Whether a run's control matches its parameters to another arm's, by what `settings.run.parameters` names."""
    return "match_parameters" in settings.get("control", {}) and bool(settings.get("run", {}).get("parameters"))


def same_components(settings: Mapping[str, Any]) -> str:
    """Equal for runs whose code is one: where it differs between two of them, it was changed."""
    run = settings.get("run", {})  # the words of a command name its script
    return repr((code_sources(settings), run.get("command"), run.get("cwd")))


def key_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the settings that is in a run's key."""
    if "run" not in settings:
        return settings
    control = settings.get("control", {})
    in_key = {**settings, "run": _run_in_key(settings["run"], control)}
    if match := control.get("match_parameters"):
        of_run = _run_in_key(match["of_run"], match.get("of_control", {}))
        in_key["control"] = {**control, "match_parameters": {**match, "of_run": of_run}}
    return in_key


def _run_in_key(section: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a `run` section that is in the key of a run with this control.

    Not in it are words of a command that stand for a control which the run does not have: it is started without them.
    So a study may get a control after its other arms have run.
    """
    run = {name: value for name, value in section.items() if name not in NOT_IN_KEY}
    if section.get("honours") and "command" in run:
        absent = set(section["honours"]) - control.keys()
        run["command"] = [word for word in run["command"] if not is_placeholder_of(word, absent)]
    return run


class NamedRun:
    """A run's name: `hybrid-seed3`, or `hybrid-trial2-seed101` while tuning."""

    arm: str
    seed: int
    phase: Phase
    key: Any  # text; a RunSpec computes it
    trial: int | None

    @property
    def name(self) -> str:
        trial = "" if self.trial is None else f"-trial{self.trial}"
        return f"{self.arm}{trial}-seed{self.seed}"

    @property
    def folder_name(self) -> str:
        """Of the folder that holds its checkpoints and artifacts until it is recorded."""
        return f"{self.phase}-{self.name}-{self.key}"


@dataclass(frozen=True)
class RunSpec(NamedRun):
    """One training and evaluation to do, of one arm with one seed. Plain data that can be sent to any machine."""

    study: str
    arm: str
    seed: int
    phase: Phase
    settings: Mapping[str, Any]  # resolved: baseline + arm + tuned values
    data_digest: str  # of the bytes of the data file or the inputs; "" when there are none
    replicate: int = 0
    trial: int | None = None  # index while tuning
    overrides: Mapping[str, Scalar] = field(default_factory=dict)  # the tuned values within `settings`

    @property
    def dataset(self) -> str:
        """Digest of the data file's bytes, or of the data settings when no file is read, as MLflow keeps it.

        "" for a command or a function that names no inputs.
        """
        own = digest(self.settings["data"]) if "data" in self.settings else ""
        return (self.data_digest or own)[:DATASET_CHARS]

    @property
    def own_seed(self) -> int:
        """What a command or a function is seeded with: `seed`, or for a replicate a number below 2**31 of its own.

        So a twin repeats its arm independently. The built-in loop draws from streams of its own (`builtin.seeding`).
        """
        return self.seed if self.replicate == 0 else int(digest([self.seed, "replicate", self.replicate])[:8], 16) >> 1

    @property
    def keeps_log(self) -> bool:
        """Whether its log is stored: that of a tuning run by a command or a function may name test scores."""
        return self.phase != "tune" or trainer_kind(self.settings) == "built-in"

    @cached_property
    def key(self) -> str:
        """Identity of the result: settings, seed and data content; never a path, a name or a time."""
        identity = [key_settings(self.settings), self.seed, self.data_digest, self.replicate]
        return digest(identity)[:16]


@dataclass(frozen=True)
class RunResult:
    """How a run ended: scores and history of a FINISHED run, or the reason of a FAILED one."""

    key: str
    status: Literal["FINISHED", "FAILED"]
    scores: Mapping[str, float] = field(default_factory=dict)  # deterministic: val/…, test/…, cost/parameters…
    history: Sequence[Mapping[str, float]] = ()  # one mapping per epoch, keys as in MLflow, plus "epoch" from 1
    timings: Mapping[str, float] = field(default_factory=dict)  # measured: time/…_s
    provenance: Mapping[str, str] = field(default_factory=dict)
    artifacts: Path | None = None  # folder: model/ (weights.safetensors, model.json), scores.parquet, examples.npz
    error: str = ""


@dataclass(frozen=True)
class Record(NamedRun):
    """A run as a Tracker reads it back from the store."""

    run_id: str
    arm: str
    seed: int
    phase: Phase
    key: str
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
    scores: Mapping[str, float] = field(default_factory=dict)  # latest value of every metric of the run
    overrides: Mapping[str, Scalar] = field(default_factory=dict)
    trial: int | None = None
    error: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""  # digest of its data, however many examples were used: see `RunSpec.dataset`
    failures: int = 0  # failed attempts at the same cell, before this run; a KILLED run counts itself too

    @property
    def pruned(self) -> bool:
        """Whether it is a trial that ended early by `tuning.pruner`: its scores are of the epoch where it did."""
        return PRUNED in self.provenance


@dataclass(frozen=True)
class StoredRun:
    """A run with everything that a store holds of it except curves and files, to be copied to another store."""

    study: str
    record: Record
    origin: str  # its id in the store where it was first recorded, 32 hexadecimal digits
    started: int  # ms since the epoch, as all times here
    ended: int
    params: Mapping[str, str] = field(default_factory=dict)  # the resolved settings by dotted path, arm and seed
    tags: Mapping[str, str] = field(default_factory=dict)  # those that others have set
    later: Mapping[str, int] = field(default_factory=dict)  # scores measured after it ended, with their times
    model: bool = False  # whether its network is stored
    discarded: bool = False


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of a plain value (sorted keys, no spaces, shortest floats)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
