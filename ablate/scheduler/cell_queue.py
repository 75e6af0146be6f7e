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
    setting_values,
    trial_outcome,
    trial_specs,
    tuning_direction,
    tuning_seed,
)
from ablate.study import Record, RunSpec, Scalar, Study
from ablate.tuning import optuna

ArmQueue = dict[CellId, RunSpec]  # in the order of the study


class CellQueue:
    """The cells of `study` that `wanted` accepts and the `records` do not hold. `data_digests` is by arm.

    The queue of an arm is computed once and shrinks as its cells end, so `ready` takes the same time in a study of ten
    cells and of ten thousand. Only a tuning record makes its arm's queue be computed again.
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
        self._queues: dict[str, ArmQueue] = {}
        self._outcomes: dict[tuple[str, int], TrialOutcome | None] = {}  # by arm and trial
        self._proposed: dict[tuple[str, int], list[RunSpec]] = {}  # by arm and trial

    def add(self, record: Record) -> None:
        """Add the record of a cell that has ended."""
        self.records.append(record)
        self._index.add(record)
        if record.trial is not None:
            self._queues.pop(record.arm, None)
            self._outcomes.pop((record.arm, record.trial), None)
        elif record.status in ("FINISHED", "FAILED"):
            self._queues.get(record.arm, {}).pop(cell_id(record), None)

    def ready(self, busy: Collection[CellId], limit: int | None = None) -> list[RunSpec]:
        """Cells that can start now and are not `busy`, in order: tuning first, since comparison waits for it.

        `limit`: at most so many, because there are no more free workers.
        """
        queues = [self._queue(arm) for arm in self.study.arms]
        return list(islice(self._startable(queues, busy), limit))

    def _startable(self, queues: Sequence[ArmQueue], busy: Collection[CellId]) -> Iterator[RunSpec]:
        for tuning in (True, False):
            for queue in queues:  # all cells of one queue are of one phase
                if queue and (next(iter(queue.values())).phase == "tune") == tuning:
                    yield from (spec for cell, spec in queue.items() if cell not in busy)

    def _queue(self, arm: str) -> ArmQueue:
        if arm not in self._queues:
            self._queues[arm] = {cell_id(spec): spec for spec in self._next_cells(arm) if self._wanted(spec)}
        return self._queues[arm]

    def _next_cells(self, arm: str) -> list[RunSpec]:
        """The arm's missing trials that can start now; once its tuning is done, its missing comparison runs."""
        overrides: Mapping[str, Scalar] = {}
        if self.study.tuning and not self.study.arms[arm].reference:
            outcomes = self._trial_outcomes(arm, self.study.tuning.trials)
            trials = self._missing_trials(arm, outcomes)
            if trials:
                return trials
            try:
                overrides = best(outcomes, tuning_direction(self.study))
            except TuningFailed:
                return []  # no settings to compare with: the arm's row stays a gap
        return self._missing(plan.compare_specs(self.study, arm, overrides, self.data_digests[arm]))

    def _trial_outcomes(self, arm: str, trials: int) -> list[TrialOutcome]:
        for trial in range(trials):
            if (arm, trial) not in self._outcomes:
                outcome = trial_outcome(self.study, arm, trial, self._index, self.data_digests[arm])
                self._outcomes[arm, trial] = outcome
        outcomes = (self._outcomes[arm, trial] for trial in range(trials))
        return [outcome for outcome in outcomes if outcome is not None]

    def _missing_trials(self, arm: str, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        """The missing runs of the trials proposed so far, and of new trials.

        A sampler that learns from earlier trials proposes one at a time; quasi-random trials are all proposed at once.
        """
        assert self.study.tuning is not None
        unfinished = self._missing(spec for outcome in outcomes for spec in outcome.specs)
        proposed = {outcome.index for outcome in outcomes}
        new = [trial for trial in range(self.study.tuning.trials) if trial not in proposed]
        if self.study.tuning.sampler != "qmc":
            new = [] if unfinished else new[:1]
        return [*unfinished, *(spec for trial in new for spec in self._propose(arm, trial, outcomes))]

    def _propose(self, arm: str, trial: int, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        if (arm, trial) not in self._proposed:
            earlier = [outcome for outcome in outcomes if outcome.index < trial]
            overrides = self._propose_overrides(arm, trial, earlier)
            specs = trial_specs(self.study, arm, trial, overrides, self.data_digests[arm])
            self._proposed[arm, trial] = specs
        return self._proposed[arm, trial]

    def _propose_overrides(self, arm: str, trial: int, outcomes: Sequence[TrialOutcome]) -> Mapping[str, Scalar]:
        assert self.study.tuning is not None
        return optuna.propose(
            self.study.tuning.space,
            [(outcome.overrides, outcome.value) for outcome in outcomes],
            index=trial,
            total=self.study.tuning.trials,
            seed=tuning_seed(self.study.name, arm, trial),
            sampler=self.study.tuning.sampler,
            direction=tuning_direction(self.study),
            defaults=setting_values(self.study, arm),
        )

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if not self._index.ended(spec)]
