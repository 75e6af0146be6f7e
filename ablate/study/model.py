"""The content of one study file as frozen pydantic models. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ablate.study.pruners import AnyPruner
from ablate.study.runs import Scalar, Split, TrainerKind, compared_split, trainer_kind

Direction = Literal["lower", "higher"]
Reduction = Literal["mean", "median", "rms"]
Purpose = Literal["init", "order", "split", "fold"]
ClaimKind = Literal["better", "not_worse", "equivalent"]
Spending = Literal["obrien-fleming", "pocock"]
Color = Literal["blue", "vermilion", "green", "purple", "orange", "sky", "black"]
DesignKind = Literal["leave_one_out", "add_one_in", "factorial"]
Label = Annotated[str, AfterValidator(str.strip)]  # one of blanks counts as none
MIN_SEEDS = 5  # of a verdict
DESIGN_BASELINES: dict[DesignKind, str] = {"leave_one_out": "full", "add_one_in": "bare", "factorial": "bare"}


class Frozen(BaseModel):
    """A model that cannot change, refuses unknown keys and converts no types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrainingSettings(Frozen):
    """`[settings.training]`: the settings of the training loop. Fixed hyperparameters unless the study tunes them."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=384, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)  # of all steps, linear; then cosine to 0
    gradient_clip: float = Field(default=1.0, ge=0)  # global norm; 0 = off
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    threads: int = Field(default=1, ge=1)
    last_batch: Literal["drop", "keep"] = "drop"  # of an epoch, where it is not full
    optimizer: dict[str, Any] = {}  # factory and its settings; default: AdamW
    schedule: dict[str, Any] = {}  # factory and its settings; default: linear warm-up, then cosine to 0

    @model_serializer(mode="wrap")
    def _without_later_settings(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without settings that came later, where they have their default: the keys of older runs stay."""
        values: dict[str, Any] = plain(self)
        later = {name: type(self).model_fields[name].default for name in ("last_batch", "optimizer", "schedule")}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}


class Match(Frozen):
    """Change the whole-number setting `by` until the arm has as many parameters as the arm `of`, or as much compute."""

    of: str
    by: str


class Control(Frozen):
    """How the arm is a control. `same_information` only says what it controls for; any other field changes its runs."""

    match_parameters: Match | None = None  # to within 1 %, by widening
    match_compute: Match | None = None  # FLOPs of a forward pass × epochs, by widening or by `training.epochs`
    shuffle_input: list[str] = []  # named inputs that are taken from another example
    drop_input: list[str] = []  # named inputs that are all zero
    drop_joints: list[str] = []  # named joints that are all zero in every input
    freeze: list[str] = []  # submodules that keep their random weights
    same_information: str = ""  # the arm whose information this one has, without its design


class Arm(Frozen):
    """One condition: the baseline's settings (or those of the arm `like`) with a few replaced. `set` maps dotted
    paths to values; a path without a dot replaces a whole section."""

    label: Label = ""
    like: str = ""
    information: dict[str, str] = {}  # what each predicted quantity can be derived from; each is a column of the matrix
    set: dict[str, Any] = {}
    control: Control | None = None
    reference: bool = False  # never tuned; listed below the other arms in every table
    knows_truth: bool = False  # a reference that is given part of what the arms predict: no warning compares with it
    replicate: int = Field(default=0, ge=0)  # above 0: a deliberate twin of another arm, with random streams of its own
    family: str = ""  # set by the expansion of a factor or of data sets: the arm in the file …
    level: Scalar | None = None  # … and the level, or the name of the data set
    parts: list[str] | None = None  # set by the expansion of a design: the parts that the arm has


class SpaceEntry(Frozen):
    """One nuisance hyperparameter. It is tuned only where each other entry in `when` has the value given there."""

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
    """`[tuning]`: the budget of every arm, and the space that all arms share.

    As older versions wrote it, with seeds and without `per`, it has `per = "arm"` and `include_defaults = true`.
    """

    trials: int = Field(ge=1)
    seeds: list[int] = []  # of the trials, with per = "arm"; with "seed" each trial has the seed of its comparison run
    # "seed": every comparison run has a tuning of its own, so that a comparison is one of whole procedures; "arm": one
    # tuning for all seeds of an arm.
    per: Literal["seed", "arm"] = Field(default_factory=lambda given: "arm" if given.get("seeds") else "seed")
    metric: str  # "val/<metric>": validation only, test data cannot be named here
    epochs: int | None = Field(default=None, ge=1)  # default: settings.training.epochs
    budget: int | float | None = Field(default=None, gt=0)  # default: settings.run.budget
    sampler: Literal["tpe", "random", "qmc"] = Field(
        default_factory=lambda given: "tpe" if given.get("per") == "arm" else "qmc"
    )
    include_defaults: bool = False  # the settings as written are the first trial
    pruner: AnyPruner | None = None  # ends trials early, by their curves and those of the trials before
    space: dict[str, Space] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _as_older_versions_wrote_it(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("seeds") and not {"per", "include_defaults"} & set(values):
            return {**values, "include_defaults": True}
        return values

    @property
    def per_is_written(self) -> bool:
        return "per" in self.model_fields_set


class Hypothesis(Frozen):
    """A claim made before the runs about `arm` and `against` in `metric`.

    `better`: by more than `margin`; `not_worse`: at most `margin` worse; `equivalent`: better or worse
    by less than `margin`.
    """

    arm: str
    against: str
    metric: str
    margin: float = Field(default=0.0, ge=0)
    kind: ClaimKind = "better"


class Stopping(Frozen):
    """`[stopping]`: the numbers of seeds at which the study is looked at, and how its error is spent over them.

    At a look the study stops where every hypothesis is decided; the last look is at all its seeds.
    """

    looks: list[int] = Field(min_length=1)
    spending: Spending = "obrien-fleming"


class Condition(Frozen):
    """A per-example column along which the report shows each metric; `period` makes the figure polar."""

    label: Label = ""
    column: str = ""  # default: the condition's own name
    period: float | None = Field(default=None, gt=0)
    bins: int = Field(default=8, ge=2)
    groups: dict[str, list[float]] = {}  # instead of bins: named lists of values, such as the clips of an action
    metrics: list[str] = []  # default: the study's metrics


class Density(Frozen):
    """True against predicted values as a density. `error` is the metric that is predicted minus true."""

    error: str
    label: Label = ""
    period: float | None = Field(default=None, gt=0)


class Factor(Frozen):
    """`[factor]`: one setting at several levels; every arm in `arms` becomes one arm per level, `arm@level`."""

    setting: str
    levels: list[Scalar] = Field(min_length=2)
    label: Label = ""
    arms: list[str] = []  # default: every arm that is not a reference; for a data setting, every arm


class Dataset(Frozen):
    """`[datasets.NAME]`: every arm becomes one arm per data set, `arm@NAME`, with the settings in `set`."""

    label: Label = ""
    set: dict[str, Any] = Field(min_length=1)


class Part(Frozen):
    """A named part of a design: `set` puts it into the study's settings, which are written without it, and `without` is
    the control of the arms that do not have it, such as an input that is another's."""

    label: Label = ""
    set: dict[str, Any] = {}
    without: Control | None = None


class Design(Frozen):
    """`[leave_one_out]`, `[add_one_in]` or `[factorial]`: the arms are made from the parts, see `study/design.py`."""

    parts: dict[str, Part]
    arms: int | None = None  # of a factorial: how many of its arms, a fraction of them; default: all


class DeclaredMetric(Frozen):
    """`[metric.<name>]`: a score that a command or a function computes itself, in place of a catalogue's metric."""

    direction: Direction
    label: Label = ""
    unit: str = ""
    val: str = ""  # the names under which the scores come; default: val_<name> and test_<name>
    test: str = ""


class ReportSettings(Frozen):
    """What the report shows beside the matrix; never part of a run's key."""

    conditions: dict[str, Condition] = {}
    densities: dict[str, Density] = {}  # by the column of true values
    gallery: str | None = None  # "module:attribute", draws example pictures; see report/figures.py
    colors: dict[str, Color] = {}  # of arms, so that an arm has the same in all studies; the others get those left

    def column_of(self, condition: str) -> str:
        """The per-example column of a condition: two conditions may group one column differently."""
        return self.conditions[condition].column or condition


class Study(Frozen):
    """One question: baseline, arms, seeds, metrics, tuning budget and hypotheses. The content of one TOML file."""

    name: str
    question: str
    baseline: str
    seeds: list[int] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)  # the first is primary; default: every declared metric
    catalogue: str = ""  # "module:attribute" of a mapping name → Metric
    metric: dict[str, DeclaredMetric] = {}  # in place of a catalogue
    settings: dict[str, dict[str, Any]]  # model, data, loss, training; or run alone
    arms: dict[str, Arm]
    tuning: Tuning | None = None
    hypotheses: list[Hypothesis] = []
    stopping: Stopping | None = None
    vary: list[Purpose] = ["init", "order"]  # what each seed draws anew; with "split" or "fold" the subjects' split too
    factor: Factor | None = None
    datasets: dict[str, Dataset] = {}
    cluster: str = ""  # the per-example column of people, clips or the like; verdicts then hold over seeds and these
    leave_one_out: Design | None = None
    add_one_in: Design | None = None
    factorial: Design | None = None
    retries: int = Field(default=0, ge=0, le=10)  # how often a failed run is tried again; not part of a run's key
    report: ReportSettings = ReportSettings()

    @model_validator(mode="before")
    @classmethod
    def _all_declared_metrics(cls, values: Any) -> Any:
        declared = values.get("metric") if isinstance(values, dict) else None
        if isinstance(declared, dict) and declared and "metrics" not in values:
            return {**values, "metrics": list(declared)}
        return values

    @model_validator(mode="before")
    @classmethod
    def _arms_of_the_design(cls, values: Any) -> Any:
        """A design makes the arms, so that a file need not write any, nor which of them is the baseline."""
        kinds = [kind for kind in DESIGN_BASELINES if isinstance(values, dict) and values.get(kind) is not None]
        return {"baseline": DESIGN_BASELINES[kinds[0]], "arms": {}, **values} if kinds else values

    def first(self, seeds: int) -> Study:
        """The study with the first of its seeds alone."""
        return self.model_copy(update={"seeds": self.seeds[:seeds]})

    @property
    def design(self) -> tuple[DesignKind, Design] | None:
        """The design that makes the study's arms, with its kind."""
        found = [(kind, design) for kind in DESIGN_BASELINES if (design := getattr(self, kind)) is not None]
        return found[0] if found else None

    @property
    def named_metrics(self) -> tuple[str, ...]:
        """Every metric that the study asks for: its own, that of the tuning, the hypotheses' and the report's."""
        names = [*self.metrics, *(hypothesis.metric for hypothesis in self.hypotheses)]
        if self.tuning:
            names.append(self.tuning.metric.removeprefix("val/"))
        for condition in self.report.conditions.values():
            names += condition.metrics
        names += [density.error for density in self.report.densities.values()]
        return tuple(dict.fromkeys(names))

    @property
    def trainer(self) -> TrainerKind:
        """What trains every run of the study."""
        return trainer_kind(self.settings)

    @property
    def tuning_seeds(self) -> list[int]:
        """The seeds that a trial of each number is trained with; none when the study has no tuning."""
        if self.tuning is None:
            return []
        return self.seeds if self.tuning.per == "seed" else self.tuning.seeds

    @property
    def split(self) -> Split:
        """The split whose scores are compared."""
        return compared_split(self.settings)

    def score_key(self, metric: str) -> str:
        """The key of the score that counts: the one rule for tables, verdicts, power and exports."""
        return f"{self.split}/{metric}"

    def members(self, name: str) -> list[str]:
        """The arms that a name stands for: the arm itself, or one for each data set or level where it is a family."""
        return [name] if name in self.arms else [n for n, arm in self.arms.items() if arm.family == name]

    def over_datasets(self, name: str) -> bool:
        """Whether the name stands for an arm on all data sets together: its score is the mean of its scores there."""
        return bool(self.datasets) and name not in self.arms and len(self.members(name)) == len(self.datasets)

    @property
    def over_all_datasets(self) -> list[str]:
        """The names of which each stands for an arm on all data sets together."""
        return [name for name in dict.fromkeys(arm.family for arm in self.arms.values()) if self.over_datasets(name)]

    def baseline_of(self, arm: str) -> str:
        """The arm that `arm` is compared with: the baseline, at the same level or on the same data set."""
        level = self.arms[arm].level
        at_level = [n for n, a in self.arms.items() if a.family == self.baseline and a.level == level]
        return at_level[0] if at_level else self.baseline


class Accumulator(Protocol):
    """Adds up the score of a split, some examples at a time."""

    def update(self, output: Any, targets: Mapping[str, Any]) -> None: ...

    def compute(self) -> Any:
        """A number, or a tensor with one."""


def _no_function(output: Any, targets: Mapping[str, Any]) -> Any:
    raise RuntimeError("this metric gives no values of single examples")


@dataclass(frozen=True)
class Metric:
    """A named per-example function of (output, targets) and how a split's values become one score.

    `per_example` gives a float tensor (batch,); NaN marks an example for which the metric is undefined.

    In its place, `accumulator` makes an object that adds up the score of a split without its outputs being kept: it
    has `update(output, targets)`, called with some examples at a time, and `compute()`, which gives the number. The
    metric is then pooled.
    """

    name: str
    label: str
    unit: str
    direction: Direction
    per_example: Callable[[Any, Mapping[str, Any]], Any] = _no_function
    reduction: Reduction = "mean"
    pooled: bool = False  # defined only for a whole split: per-example values are not stored
    accumulator: Callable[[], Accumulator] | None = None

    def __post_init__(self) -> None:
        if (self.per_example is _no_function) == (self.accumulator is None):
            raise ValueError(f"metric {self.name!r} needs a function per_example or an accumulator, and not both")
        if self.accumulator is not None:
            object.__setattr__(self, "pooled", True)
