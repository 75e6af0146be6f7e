"""The cells that a study still lacks, in order, with its chains of tuning trials. Runs and records nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from ablate.planning import plan
from ablate.planning.counting import CellId, RecordIndex, cell_id
from ablate.planning.trials import (
    TrialOutcome,
    TuningFailed,
    best,
    sequence_seed,
    setting_values,
    trial_outcome,
    trial_specs,
    tuned_arms,
    tuning_direction,
    tuning_of,
    tuning_seed,
)
from ablate.study import Record, RunSpec, Scalar, Study
from ablate.tuning import optuna

Queue = dict[CellId, RunSpec]  # in the order of the study
Part = tuple[str, int | None]  # an arm, and a comparison seed where each has a tuning of its own
Number = tuple[str, int | None, int]  # of a trial: the part whose tuning it is of, and its number


class CellQueue:
    """The cells of `study` that `wanted` accepts and the `records` do not hold. `data_digests` is by arm.

    The queue of an arm, or of an arm and a seed where each seed has a tuning of its own, is computed once and shrinks
    as its cells end, so `ready` takes the same time in a study of ten cells and of ten thousand. Only a tuning record
    makes its queue be computed again.
    """

    def __init__(
        self,
        study: Study,
        data_digests: Mapping[str, str],
        records: Iterable[Record],
        wanted: Callable[[RunSpec], bool] = lambda spec: True,
    ) -> None:
        self.study, self.data_digests = study, data_digests
        self.records = list(records)
        self._wanted = wanted
        self._index = RecordIndex(self.records)
        self._tuned = frozenset(tuned_arms(study))
        self._per_seed = study.tuning is not None and study.tuning.per == "seed"
        self._parts: list[list[Part]] = (
            [[(arm, seed) for arm in study.arms] for seed in study.seeds]
            if self._per_seed
            else [[(arm, None) for arm in study.arms]]
        )
        self._queues: dict[Part, Queue] = {}
        self._outcomes: dict[Number, TrialOutcome | None] = {}
        self._proposed: dict[Number, list[RunSpec]] = {}

    def add(self, record: Record) -> None:
        """Add the record of a cell that has ended."""
        self.records.append(record)
        self._index.add(record)
        part = (record.arm, record.seed if self._per_seed else None)
        if record.trial is not None:
            self._queues.pop(part, None)
            self._outcomes.pop((*part, record.trial), None)
        elif record.status in ("FINISHED", "FAILED"):
            self._queues.get(part, {}).pop(cell_id(record), None)

    def ready(self, busy: Collection[CellId], limit: int | None = None) -> list[RunSpec]:
        """Cells that can start now and are not `busy`, in order: tuning first, since comparison waits for it.

        Where each seed has a tuning of its own, the cells of a seed come before those of the next: a study that is
        stopped has whole pairs. `limit`: at most so many, because there are no more free workers.
        """
        return list(islice(self._startable(busy), limit))

    def _startable(self, busy: Collection[CellId]) -> Iterator[RunSpec]:
        for parts in self._parts:
            queues = [queue for part in parts if (queue := self._queue(part))]
            for tuning in (True, False):
                for queue in queues:  # all cells of one queue are of one phase
                    if (next(iter(queue.values())).phase == "tune") == tuning:
                        yield from (spec for cell, spec in queue.items() if cell not in busy)

    def earlier_trials(self, spec: RunSpec) -> list[TrialOutcome]:
        """The trials of lower numbers in the tuning of a trial's run, those that have ended."""
        outcomes = self._trial_outcomes(spec.arm, spec.seed if self._per_seed else None)
        return [outcome for outcome in outcomes if outcome.done and outcome.index < (spec.trial or 0)]

    def _queue(self, part: Part) -> Queue:
        if part not in self._queues:
            self._queues[part] = {cell_id(spec): spec for spec in self._next_cells(*part) if self._wanted(spec)}
        return self._queues[part]

    def _next_cells(self, arm: str, seed: int | None) -> list[RunSpec]:
        """The missing trials that can start now; once the tuning is done, the missing comparison runs."""
        overrides: Mapping[str, Scalar] = {}
        if arm in self._tuned:
            outcomes = self._trial_outcomes(arm, seed)
            trials = self._missing_trials(arm, seed, outcomes)
            if trials:
                return trials
            try:
                overrides = best(outcomes, tuning_direction(self.study))
            except TuningFailed:
                return []  # no settings to compare with: a gap
        seeds = None if seed is None else [seed]
        return self._missing(plan.compare_specs(self.study, arm, overrides, self.data_digests[arm], seeds))

    def _trial_outcomes(self, arm: str, seed: int | None) -> list[TrialOutcome]:
        numbers = [(arm, seed, trial) for trial in range(tuning_of(self.study).trials)]
        for number in numbers:
            if number not in self._outcomes:
                outcome = trial_outcome(self.study, arm, number[2], self._index, self.data_digests[arm], seed)
                self._outcomes[number] = outcome
        outcomes = (self._outcomes[number] for number in numbers)
        return [outcome for outcome in outcomes if outcome is not None]

    def _missing_trials(self, arm: str, seed: int | None, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        """The missing runs of the trials proposed so far, and of new trials.

        A sampler that learns from earlier trials proposes one at a time; quasi-random trials are all proposed at once.
        Trials that may be pruned run one after the other, because each is compared with those before it.
        """
        tuning = tuning_of(self.study)
        unfinished = self._missing(spec for outcome in outcomes for spec in outcome.specs)
        if tuning.pruner is not None and unfinished:
            return unfinished[:1]
        proposed = {outcome.index for outcome in outcomes}
        new = [trial for trial in range(tuning.trials) if trial not in proposed]
        if tuning.sampler != "qmc" or tuning.pruner is not None:
            new = [] if unfinished else new[:1]
        return [*unfinished, *(spec for trial in new for spec in self._propose(arm, seed, trial, outcomes))]

    def _propose(self, arm: str, seed: int | None, trial: int, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        number = (arm, seed, trial)
        if number not in self._proposed:
            earlier = [outcome for outcome in outcomes if outcome.index < trial]
            overrides = self._propose_overrides(arm, seed, trial, earlier)
            self._proposed[number] = trial_specs(self.study, arm, trial, overrides, self.data_digests[arm], seed)
        return self._proposed[number]

    def _propose_overrides(
        self, arm: str, seed: int | None, trial: int, outcomes: Sequence[TrialOutcome]
    ) -> Mapping[str, Scalar]:
        tuning = tuning_of(self.study)
        return optuna.propose(
            tuning.space,
            [(outcome.overrides, outcome.value) for outcome in outcomes],
            pruned={
                i: optuna.pruned_at(outcome, tuning.metric) for i, outcome in enumerate(outcomes) if outcome.pruned
            },
            index=trial,
            total=tuning.trials,
            seed=tuning_seed(self.study.name, arm, trial, seed),
            sampler=tuning.sampler,
            direction=tuning_direction(self.study),
            defaults=setting_values(self.study, arm) if tuning.include_defaults else None,
            sequence=sequence_seed(self.study.name, seed),
        )

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if not self._index.ended(spec)]
