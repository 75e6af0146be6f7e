"""Propose tuning trials, and copy finished runs to a database for optuna-dashboard. The only module with Optuna."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from ablate.planning import plan
from ablate.planning.trials import TrialOutcome, by_tuning
from ablate.study import (
    CategoricalSpace,
    Direction,
    InputError,
    IntSpace,
    Record,
    Scalar,
    StoreUnavailable,
    Study,
    digest,
)
from ablate.study.catalogue import catalogue_of
from ablate.study.space_rules import Entry, by_dependence, contains
from ablate.untrusted.addresses import checked, is_postgres, unreachable, with_driver

Finished = Sequence[tuple[Mapping[str, Scalar], float | None]]  # (overrides, value) of trials; None: failed
KEY = "ablate.key"  # user attribute that identifies a trial, so that it is copied once
CONNECT_TIMEOUT_S = 5
TRIES, PAUSE_S = 3, 1.0  # to open a database: of two machines that create its tables at once one fails
STARTUP_TRIALS = 10  # random trials before TPE starts, Optuna's default; of smaller budgets a third

optuna.logging.set_verbosity(optuna.logging.WARNING)


def propose(
    space: Mapping[str, Entry],
    finished: Finished,
    *,
    total: int,
    seed: int,
    sampler: Literal["tpe", "random", "qmc"],
    direction: Direction,
    defaults: Mapping[str, Scalar] | None,
    index: int | None = None,
    sequence: int | None = None,
    pruned: Mapping[int, tuple[int, float]] | None = None,
) -> dict[str, Scalar]:
    """The values of trial `index` (from 0; default: the next), path → value, without entries whose `when` fails.

    A pure function of its arguments. With `defaults`, the settings as written, trial 0 has these values if they lie in
    the space. `tpe` and `random` draw from `seed`, which should differ from trial to trial (`tuning_seed`). `qmc` takes
    point `index` of a scrambled Sobol sequence that depends only on the space and on `sequence`, so that every arm is
    tried at the same points and no trial depends on another's result. `finished`: the trials so far, in order; of those
    that were `pruned`, by position, the last epoch and its score.
    """
    index = len(finished) if index is None else index
    written = None if defaults is None else _as_written(space, defaults)
    if index == 0 and written is not None:
        return written
    if sampler == "qmc":
        return _quasi_random(space, index, sequence)
    optuna_study = _optuna_study(_sampler(sampler, seed, total), direction)
    for position, (values, value) in enumerate(finished):
        optuna_study.add_trial(_frozen(space, values, value, {}, (pruned or {}).get(position)))
    trial = optuna_study.ask()
    return _values(space, lambda path: _suggested(trial, path, space[path]))


def _suggested(trial: optuna.Trial, path: str, entry: Entry) -> Scalar:
    if isinstance(entry, CategoricalSpace):
        return cast("Scalar", trial.suggest_categorical(path, entry.choices))
    if isinstance(entry, IntSpace):
        return trial.suggest_int(path, entry.low, entry.high, log=entry.log)
    return trial.suggest_float(path, entry.low, entry.high, log=entry.log)


def _sampler(name: str, seed: int, total: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    startup = min(STARTUP_TRIALS, max(1, total // 3))
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)


def _optuna_study(sampler: optuna.samplers.BaseSampler, direction: Direction, **storage: Any) -> optuna.Study:
    # NopPruner, because the default is MedianPruner, whose pruned trials depend on timing.
    optuna_direction: Literal["minimize", "maximize"] = "minimize" if direction == "lower" else "maximize"
    pruner = optuna.pruners.NopPruner()
    return optuna.create_study(sampler=sampler, pruner=pruner, direction=optuna_direction, **storage)


def _quasi_random(space: Mapping[str, Entry], index: int, sequence: int | None) -> dict[str, Scalar]:
    """Point `index` of the sequence. Conditional entries have a coordinate too; absent ones are dropped afterwards."""
    of_space = {path: entry.model_dump() for path, entry in space.items()}
    scramble = int(digest(of_space if sequence is None else [of_space, sequence])[:8], 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # QMCSampler has not changed since 3.0
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=scramble)
    optuna_study = _optuna_study(sampler, "lower")
    distributions = {path: _distribution(space[path]) for path in sorted(space)}
    # The sampler takes its space from the first trial, whatever its values.
    first = {p: e.choices[0] if isinstance(e, CategoricalSpace) else e.low for p, e in space.items()}
    optuna_study.add_trial(optuna.trial.create_trial(params=first, distributions=distributions, value=0.0))
    for _ in range(index):
        optuna_study.ask(distributions)
    return _values(space, optuna_study.ask(distributions).params.__getitem__)


def _as_written(space: Mapping[str, Entry], defaults: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
    """The settings as written, as a trial's values; None when one of them lies outside the space."""
    try:
        values = _values(space, defaults.__getitem__)
    except KeyError:
        return None
    if not all(contains(space[path], value) for path, value in values.items()):
        return None
    return {path: float(value) if space[path].type == "float" else value for path, value in values.items()}


def _values(space: Mapping[str, Entry], value_of: Callable[[str], Scalar]) -> dict[str, Scalar]:
    """The value of every entry whose `when` holds, in the order of the space. `when` on an absent entry does not."""
    values: dict[str, Scalar] = {}
    for path in by_dependence(space):
        if all(other in values and values[other] == value for other, value in space[path].when.items()):
            values[path] = value_of(path)
    return {path: values[path] for path in space if path in values}


def _distribution(entry: Entry) -> BaseDistribution:
    if isinstance(entry, CategoricalSpace):
        return CategoricalDistribution(entry.choices)
    if isinstance(entry, IntSpace):
        return IntDistribution(entry.low, entry.high, log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def pruned_at(outcome: TrialOutcome, metric: str) -> tuple[int, float]:
    """The last epoch of a pruned trial, and its score."""
    record = next(record for record in outcome.records if record is not None)
    return int(record.scores.get("count/epochs", 0)), record.scores.get(metric, math.nan)


def _frozen(
    space: Mapping[str, Entry],
    values: Mapping[str, Scalar],
    value: float | None,
    attributes: Mapping[str, Any],
    pruned: tuple[int, float] | None = None,
) -> FrozenTrial:
    without = TrialState.FAIL if pruned is None else TrialState.PRUNED
    return optuna.trial.create_trial(
        state=without if value is None else TrialState.COMPLETE,
        value=value,
        intermediate_values=None if pruned is None else dict([pruned]),
        params=dict(values),
        distributions={path: _distribution(space[path]) for path in values},
        user_attrs=dict(attributes),
    )


def check_storage(address: str) -> None:
    """Connect to the storage at this address and create its tables. Raises InputError when that fails."""
    with _storage(checked("--storage", address)):
        return


@contextmanager
def _storage(address: str) -> Iterator[optuna.storages.RDBStorage]:
    """An Optuna storage, closed afterwards. Raises InputError, without the password, when it cannot be opened."""
    storage = _open(address)
    try:
        yield storage
    finally:
        storage.engine.dispose()  # otherwise the file stays open


def _open(address: str) -> optuna.storages.RDBStorage:
    options = {"connect_args": {"connect_timeout": CONNECT_TIMEOUT_S}} if is_postgres(address) else {}
    for tries_left in reversed(range(TRIES)):
        try:
            template = with_driver(address).replace("{", "{{").replace("}", "}}")  # optuna formats it
            return optuna.storages.RDBStorage(template, options)
        except Exception as error:  # from SQLAlchemy, the driver, or Optuna for tables of another version
            # OperationalError: the database cannot be reached. Another one: two machines may be creating the tables.
            retry = isinstance(error, (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError))
            retry = retry and not isinstance(error, sqlalchemy.exc.OperationalError)
            if not (tries_left and retry):
                raise InputError(unreachable(address, error)) from None
        time.sleep(PAUSE_S)
    raise AssertionError("the last try returns or raises")


def mirror(
    address: str,
    study: Study,
    records: Iterable[Record],
    digest_of_arm: Callable[[str], str],
    directions: Mapping[str, Direction] | None = None,
) -> None:
    """Copy the tuning trials and comparison runs that count into the database at `address`, for optuna-dashboard.

    Writes an Optuna study `<study>/<arm>` for every tuned arm, or `<study>/<arm>/seed<seed>` where each seed has a
    tuning of its own, and `<study>/compare` with arm and seed as parameters and the primary metric as value; the value
    has the metric's name. `directions`: of the metrics, by name; default: as the study's catalogue has them.
    Idempotent; writes only trials that have ended. Raises StoreUnavailable when the database cannot be used.
    """
    if directions is None:
        directions = {name: metric.direction for name, metric in catalogue_of(study, file=study.name).items()}
    tuned = study.tuning.metric if study.tuning else ""
    tuning_direction = directions.get(tuned.removeprefix("val/"), "lower")
    planned = plan.make_plan(study, records, digest_of_arm, direction=tuning_direction)
    try:
        with _storage(address) as storage:
            for arm, of_arm in planned.trials.items():
                for seed, outcomes in by_tuning(study, of_arm).items():
                    name = f"{study.name}/{arm}" + ("" if seed is None else f"/seed{seed}")
                    _add(storage, name, _tuning_trials(study, outcomes), tuning_direction, tuned)
            compared = _comparison(study, planned.compared.values())
            _add(
                storage,
                f"{study.name}/compare",
                compared,
                directions[study.metrics[0]],
                study.score_key(study.metrics[0]),
            )
    except InputError as error:
        raise StoreUnavailable(str(error)) from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StoreUnavailable(str(unreachable(address, error))) from None


def _tuning_trials(study: Study, outcomes: Iterable[TrialOutcome]) -> list[FrozenTrial]:
    assert study.tuning is not None
    return [
        _frozen(
            study.tuning.space,
            outcome.overrides,
            outcome.value,
            # With the index, because the runs of trials with equal values have equal keys.
            {KEY: f"{outcome.index} {digest([spec.key for spec in outcome.specs])[:16]}", "trial": outcome.index},
            pruned_at(outcome, study.tuning.metric) if outcome.pruned else None,
        )
        for outcome in outcomes
        if outcome.done
    ]


def _comparison(study: Study, compared: Iterable[Record]) -> list[FrozenTrial]:
    space: dict[str, Entry] = {
        "arm": CategoricalSpace(type="categorical", choices=list(study.arms)),
        "seed": CategoricalSpace(type="categorical", choices=cast("list[Scalar]", study.seeds)),
    }
    metric = study.score_key(study.metrics[0])
    return [
        _frozen(space, {"arm": r.arm, "seed": r.seed}, _finite(r.scores.get(metric)), {KEY: f"{r.arm} {r.key}"})
        for r in compared
    ]


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None


def _add(
    storage: optuna.storages.BaseStorage,
    name: str,
    trials: Sequence[FrozenTrial],
    direction: Direction,
    metric: str,
) -> None:
    """Add the trials that the Optuna study lacks; their value is called `metric`.

    It is deleted and written again if it has another space, trials that no longer count, or keys of older versions.
    """
    optuna_study = _optuna_study(
        optuna.samplers.RandomSampler(), direction, storage=storage, study_name=name, load_if_exists=True
    )
    present = {t.user_attrs.get(KEY): t for t in optuna_study.trials}
    wanted = {t.user_attrs[KEY]: t for t in trials}
    if any(key not in wanted or t.distributions != wanted[key].distributions for key, t in present.items()):
        optuna.delete_study(study_name=name, storage=storage)
        present = {}
        optuna_study = _optuna_study(optuna.samplers.RandomSampler(), direction, storage=storage, study_name=name)
    if optuna_study.metric_names != [metric]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # as it is since 3.2
            optuna_study.set_metric_names([metric])
    optuna_study.add_trials([trial for key, trial in wanted.items() if key not in present])
