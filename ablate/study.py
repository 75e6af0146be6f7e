"""The nouns: what a study asks and what its runs answer. Imports nothing of ablate, torch or mlflow."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

Phase = Literal["tune", "compare", "train"]
Direction = Literal["lower", "higher"]
Reduction = Literal["mean", "median", "rms"]
Purpose = Literal["init", "order", "split", "fold"]
Scalar = bool | int | float | str
DATASET_CHARS = 36  # of a digest of data: more MLflow does not keep


# What turns a terminal's or a reader's head: controls (but not line breaks and tabs), overrides of the direction of
# writing, halves of surrogate pairs, which no file takes.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
MESSAGE_LIMIT = 4000  # characters of one problem


def printable(text: str) -> str:
    """The text with what cannot be printed safely as an escape, `\\x1b`: for words that come out of files."""
    return _UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)


class Problem(NamedTuple):
    """One thing wrong with what a person gave: where it stands, the rule, the value, the nearest valid choice."""

    file: str
    place: str
    rule: str
    value: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        got = f" (got {self.value})" if self.value else ""
        hint = f"; {self.nearest}" if self.nearest else ""
        text = printable(f"{where}: {self.rule}{got}{hint}")
        return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} …"


class InputError(Exception):
    """Wrong usage: one or many Problems, raised together, before anything is created. Exit code 2."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))


class Frozen(BaseModel):
    """A model that cannot change, takes no unknown key and converts no type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrainingSettings(Frozen):
    """`[settings.training]`: the loop's own settings. Fixed hyperparameters unless the study tunes them."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=384, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)  # of all steps, linear; then cosine to 0
    gradient_clip: float = Field(default=1.0, ge=0)  # global norm; 0 = off
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    threads: int = Field(default=1, ge=1)


class Match(Frozen):
    """Widen the whole-number setting `by` until the arm has as many parameters as the arm `of`, to within 1 %."""

    of: str
    by: str


class Control(Frozen):
    """What an arm rules out. Every field but `same_information` changes the run; that one only says what it is for."""

    match_parameters: Match | None = None
    shuffle_input: list[str] = []  # named inputs that come from another example
    drop_input: list[str] = []  # named inputs that are all zero
    drop_joints: list[str] = []  # named joints that are all zero in every input
    freeze: list[str] = []  # submodules that keep their random weights
    same_information: str = ""  # the arm whose information this one has, without its design


class Arm(Frozen):
    """One condition: the baseline's settings (or those of the arm `like`) with a few replaced. `set` maps dotted
    paths to values; a path that names a whole section replaces that section."""

    label: str = ""
    like: str = ""
    information: dict[str, str] = {}  # what each predicted quantity can be read from, a column each in the matrix
    set: dict[str, Any] = {}
    control: Control | None = None
    reference: bool = False  # a yardstick: never tuned, stands below the arms in every table
    replicate: int = Field(default=0, ge=0)  # a deliberate twin with random streams of its own
    family: str = ""  # of an arm made by a factor: the arm it was made of …
    level: Scalar | None = None  # … and the factor's level


class SpaceEntry(Frozen):
    """One nuisance hyperparameter. `when` maps another entry's path to the value under which this one exists."""

    when: dict[str, Scalar] = {}


class FloatSpace(SpaceEntry):
    """A real number between `low` and `high`, uniform, or uniform in its logarithm."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False


class IntSpace(SpaceEntry):
    """A whole number from `low` to `high`, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False


class CategoricalSpace(SpaceEntry):
    """One of `choices`."""

    type: Literal["categorical"]
    choices: list[Scalar] = Field(min_length=1)


Space = Annotated[FloatSpace | IntSpace | CategoricalSpace, Field(discriminator="type")]


class Tuning(Frozen):
    """`[tuning]`: the budget every arm is allotted, and the space all arms share."""

    trials: int = Field(ge=1)
    seeds: list[int] = Field(min_length=1)
    metric: str  # "val/<metric>": validation only, test data cannot be named here
    epochs: int | None = Field(default=None, ge=1)  # default: settings.training.epochs
    sampler: Literal["tpe", "random", "qmc"] = "tpe"
    space: dict[str, Space] = Field(min_length=1)


class Hypothesis(Frozen):
    """A claim made before the runs: `arm` is better than `against` in `metric` by more than `margin`."""

    arm: str
    against: str
    metric: str
    margin: float = Field(default=0.0, ge=0)


class Condition(Frozen):
    """A per-example column along which the report shows each metric; `period` makes the figure polar."""

    label: str = ""
    column: str = ""  # default: the name under which the condition stands
    period: float | None = Field(default=None, gt=0)
    bins: int = Field(default=8, ge=2)
    groups: dict[str, list[float]] = {}  # instead of bins: a name for some values, as an action for its clips
    metrics: list[str] = []  # default: the study's metrics


class Density(Frozen):
    """True against predicted values as a density. `error` is the metric that is predicted minus true."""

    error: str
    label: str = ""
    period: float | None = Field(default=None, gt=0)


class Factor(Frozen):
    """`[factor]`: one setting run through levels; every arm in `arms` becomes an arm a level, `arm@level`."""

    setting: str
    levels: list[Scalar] = Field(min_length=2)
    label: str = ""
    arms: list[str] = []  # default: every arm that is not a reference; of a data setting, every arm


class ReportSettings(Frozen):
    """What the report shows beside the matrix; never part of a run's key."""

    conditions: dict[str, Condition] = {}
    densities: dict[str, Density] = {}  # by the column of true values
    gallery: str | None = None  # "module:attribute", draws example pictures; see pages/figures.py

    def column_of(self, condition: str) -> str:
        """The per-example column that a condition cuts: two conditions may cut one column differently."""
        return self.conditions[condition].column or condition


class Study(Frozen):
    """One question: baseline, arms, seeds, metrics, tuning budget and hypotheses. What one TOML file says."""

    name: str
    question: str
    baseline: str
    seeds: list[int] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)  # the first is primary
    catalogue: str  # "module:attribute" of a mapping name → Metric
    settings: dict[str, dict[str, Any]]  # model, data, loss, training
    arms: dict[str, Arm]
    tuning: Tuning | None = None
    hypotheses: list[Hypothesis] = []
    vary: list[Purpose] = ["init", "order"]  # what a seed draws anew; "split" or "fold": the subjects' split too
    factor: Factor | None = None
    retries: int = Field(default=0, ge=0, le=10)  # how often a failed run is tried again; part of no run's key
    report: ReportSettings = ReportSettings()

    def baseline_of(self, arm: str) -> str:
        """What `arm` is compared with: the baseline, at the same level where a factor made both."""
        level = self.arms[arm].level
        same = [n for n, a in self.arms.items() if a.family == self.baseline and a.level == level]
        return same[0] if same else self.baseline


@dataclass(frozen=True)
class Metric:
    """A named per-example function of (output, targets) and how a split's values become one score.

    `per_example` gives a float tensor (batch,); NaN marks an example for which the metric is undefined.
    """

    name: str
    label: str
    unit: str
    direction: Direction
    per_example: Callable[[Any, Mapping[str, Any]], Any]
    reduction: Reduction = "mean"
    pooled: bool = False  # means something for a whole split only: no value of an example is kept


class Named:
    """What a run is called: `hybrid-seed3`, or `hybrid-trial2-seed101` while tuning."""

    arm: str
    seed: int
    trial: int | None

    @property
    def name(self) -> str:
        trial = "" if self.trial is None else f"-trial{self.trial}"
        return f"{self.arm}{trial}-seed{self.seed}"


@dataclass(frozen=True)
class RunSpec(Named):
    """What is asked: one training and evaluation of one arm with one seed. Plain data, safe to send anywhere."""

    study: str
    arm: str
    seed: int
    phase: Phase
    settings: Mapping[str, Any]  # resolved: baseline + arm + tuned values
    data_digest: str  # of the data file's bytes; "" when the source reads no file
    replicate: int = 0
    trial: int | None = None  # index while tuning
    overrides: Mapping[str, Scalar] = field(default_factory=dict)  # the tuned values within `settings`

    @property
    def dataset(self) -> str:
        """Digest of the data file's bytes, or of the data settings when no file is read, as MLflow keeps it."""
        return (self.data_digest or digest(self.settings["data"]))[:DATASET_CHARS]

    @cached_property
    def key(self) -> str:
        """Identity of the result: settings, seed and data content; never a path, a name or a time."""
        identity = [self.settings, self.seed, self.data_digest, self.replicate]
        return digest(identity)[:16]


@dataclass(frozen=True)
class RunResult:
    """What happened: scores and history of a FINISHED run, or the reason of a FAILED one."""

    key: str
    status: Literal["FINISHED", "FAILED"]
    scores: Mapping[str, float] = field(default_factory=dict)  # deterministic: val/…, test/…, cost/parameters…
    history: Sequence[Mapping[str, float]] = ()  # one mapping an epoch, keys as in MLflow, plus "epoch" from 1
    timings: Mapping[str, float] = field(default_factory=dict)  # measured: time/…_s
    provenance: Mapping[str, str] = field(default_factory=dict)
    artifacts: Path | None = None  # folder: model/ (weights.safetensors, model.json), scores.parquet, examples.npz
    error: str = ""


@dataclass(frozen=True)
class Record(Named):
    """A run as the store remembers it: what a Tracker reads back."""

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
    dataset: str = ""  # digest of the data it was given, however much of it was used: see `RunSpec.dataset`
    failures: int = 0  # tries of the same cell that have failed before, or with this run where it is KILLED


@dataclass(frozen=True)
class StoredRun:
    """A run with all that a store keeps of it, its curves and files aside: what travels to another store."""

    study: str
    record: Record
    origin: str  # its id in the store where it was made, 32 hexadecimal digits
    started: int  # ms since the epoch, as all times here
    ended: int
    params: Mapping[str, str] = field(default_factory=dict)  # the resolved settings by dotted path, arm and seed
    tags: Mapping[str, str] = field(default_factory=dict)  # what others have noted on it
    later: Mapping[str, int] = field(default_factory=dict)  # scores measured after it ended, and when
    model: bool = False  # whether its network is kept
    discarded: bool = False


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of a plain value (sorted keys, no spaces, shortest floats)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


SCHEMA = 1  # of a store's records: their tags, artifacts and document; 0: written before records said so


class StoreUnavailable(Exception):
    """The store cannot be used just now (server away, database locked, disk full): the same call may succeed later."""


class RunDiscarded(LookupError):
    """The run that a call writes to has been deleted in the store by somebody else."""


def study_in_use(place: str, by: str = "", command: str = "") -> Problem:
    """That a study is taken: where that is known from, and who it is and what it runs, where they have said so."""
    rule = "another `ablate run` of this study is at work" + (f": {by}" if by else "")
    return Problem(place, "", rule, nearest=f"it runs: {printable(command)}" if command else "")


class Tracker(Protocol):
    """The store of finished work. The driver alone writes; everyone may read.

    A study's *document* is plain JSON: {"study": Study as JSON, "metrics": {name: {"label", "unit", "direction",
    "reduction", "pooled", "column"}}, "data_digests": {arm: digest of its data file's bytes, "" for none}, "created":
    ISO date, "amendments": [{"date", "what"}], "hypotheses_digest": str, "command": str, "schema": SCHEMA}; "column" is
    the metric under whose name the values of examples lie, "" for a pooled one. Older documents have no digests.

    Every call raises StoreUnavailable while the store cannot be used, and may then be made again, whatever of it was
    done before. Those that write to a run raise RunDiscarded when it is no longer there.
    """

    def studies(self) -> list[str]:
        """The names of the studies that were opened here, in alphabetical order."""

    def document(self, study: str) -> dict[str, Any] | None:
        """The study's document, or None before the first `open`."""

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        """Create or update the study's experiment and parent run with this document."""

    def close(self, study: str, *, finished: bool) -> None:
        """Mark the parent run FINISHED, or FAILED when a run is missing or failed."""

    def records(self, study: str) -> list[Record]:
        """Every run of the study that is not discarded, oldest first; tuning trials included."""

    def sweep(self, study: str) -> int:
        """Mark KILLED what a driver that is no more left RUNNING, and delete half-written models; how many runs."""

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        """A new RUNNING run. Of the same key, phase, arm and trial, KILLED and FAILED runs and those that were started
        through this tracker and have not ended are discarded. Returns the run id.

        `failures`: how many tries of it have failed before.
        """

    def log_epoch(self, run_id: str, scores: Mapping[str, float]) -> None:
        """One entry of `RunResult.history` ("epoch" is the step)."""

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        """Several of them at once."""

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        """Record scores, timings, provenance, artifacts and the model; the run ends FINISHED or FAILED.

        `failures`: how many tries have failed, this one included, of a cell that is tried again: the run ends KILLED,
        as one that was interrupted, so that whoever drives next tries it again too.
        """

    def kill(self, run_id: str) -> None:
        """The run was interrupted and will be resumed: KILLED."""

    def discard(self, run_ids: Sequence[str]) -> None:
        """Forget runs that are to be done again (kept in the store as deleted)."""

    def forget(self, study: str) -> None:
        """Forget a study and all its runs (kept in the store as deleted)."""

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        """Scores measured after the run ended (latency, measured alone)."""

    def history(self, run_id: str) -> list[dict[str, float]]:
        """The per-epoch entries as logged, by epoch; keys with a "/" and "epoch"."""

    def histories(self, study: str, run_ids: Collection[str]) -> Iterable[tuple[str, list[dict[str, float]]]]:
        """Run id and history of many runs of one study, in any order: one answer of the store for all of them."""

    def artifact(self, run_id: str, path: str) -> Path | None:
        """Local path of "scores.parquet", "conditions.parquet", "examples.npz" or the folder "model"; None when the
        run has none."""

    # What runs need to travel from store to store: see `archive`.

    def stored(self, study: str) -> list[StoredRun]:
        """Every run of the study, oldest first; discarded ones too."""

    def files(self, run_id: str) -> Path | None:
        """Local folder with the files of a run, until the next call; its model may be among them. None: it has none."""

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        """Add a run that has ended in another store, to a study that is open; its id here.

        It is whole once it has ended here too. Raises InputError for what the store does not take.
        """

    def add_model(self, run_id: str, model: Path) -> None:
        """Give a run that has ended the model that it lacks."""
