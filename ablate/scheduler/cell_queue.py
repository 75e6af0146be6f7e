"""What a study still has to do: its missing cells in order, tuning chains included. Runs and records nothing."""

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

__all__ = ["CellId", "CellQueue", "cell_id"]

Queue = dict[CellId, RunSpec]  # in the order of the study


class CellQueue:
    """The cells of `study` that `wanted` accepts and the `records` do not hold. `data_digests` is by arm.

    Every arm has a queue that is worked out once and shrinks as its cells end, so that asking what is ready costs the
    same in a study of ten cells and of ten thousand. Only a tuning record has its arm's queue worked out anew.
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
        self._known = RecordIndex(self.records)
        self._queues: dict[str, Queue] = {}
        self._outcomes: dict[tuple[str, int], TrialOutcome | None] = {}
        self._proposed: dict[tuple[str, int], list[RunSpec]] = {}

    @property
    def wanted(self) -> Callable[[RunSpec], bool]:
        """Whether a cell is to be run at all."""
        return self._wanted

    @wanted.setter
    def wanted(self, accepts: Callable[[RunSpec], bool]) -> None:
        self._wanted = accepts
        self._queues.clear()

    def add(self, record: Record) -> None:
        """Take note of a cell that has ended."""
        self.records.append(record)
        self._known.add(record)
        if record.trial is not None:
            self._queues.pop(record.arm, None)
            self._outcomes.pop((record.arm, record.trial), None)
        elif record.status in ("FINISHED", "FAILED"):
            self._queues.get(record.arm, {}).pop(cell_id(record), None)

    def ready(self, busy: Collection[CellId], limit: int | None = None) -> list[RunSpec]:
        """Cells that can start now and are not `busy`, in order: tuning first, since comparison waits for it.

        `limit`: no more than so many, which is all that the free workers can take.
        """
        queues = [self._queue(arm) for arm in self.study.arms]
        return list(islice(self._free(queues, busy), limit))

    def _free(self, queues: Sequence[Queue], busy: Collection[CellId]) -> Iterator[RunSpec]:
        for tuned in (True, False):
            for queue in queues:  # all cells of one queue are of one phase
                if queue and (next(iter(queue.values())).phase == "tune") == tuned:
                    yield from (spec for cell, spec in queue.items() if cell not in busy)

    def _queue(self, arm: str) -> Queue:
        if arm not in self._queues:
            self._queues[arm] = {cell_id(spec): spec for spec in self._next(arm) if self._wanted(spec)}
        return self._queues[arm]

    def _next(self, arm: str) -> list[RunSpec]:
        overrides: Mapping[str, Scalar] = {}
        if self.study.tuning and not self.study.arms[arm].reference:
            outcomes = self._outcomes_of(arm, self.study.tuning.trials)
            trials = self._trials(arm, outcomes)
            if trials:
                return trials
            try:
                overrides = best(outcomes, tuning_direction(self.study))
            except TuningFailed:
                return []  # nothing to compare with: the arm's row stays a gap
        return self._missing(plan.compare_specs(self.study, arm, overrides, self.data_digests[arm]))

    def _outcomes_of(self, arm: str, trials: int) -> list[TrialOutcome]:
        for trial in range(trials):
            if (arm, trial) not in self._outcomes:
                outcome = trial_outcome(self.study, arm, trial, self._known, self.data_digests[arm])
                self._outcomes[arm, trial] = outcome
        found = (self._outcomes[arm, trial] for trial in range(trials))
        return [outcome for outcome in found if outcome is not None]

    def _trials(self, arm: str, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        """What is left of the trials begun, else the next of the arm's chain; quasi-random ones go side by side."""
        assert self.study.tuning is not None
        left = self._missing(spec for outcome in outcomes for spec in outcome.specs)
        begun = {outcome.index for outcome in outcomes}
        new = [trial for trial in range(self.study.tuning.trials) if trial not in begun]
        if self.study.tuning.sampler != "qmc":
            new = [] if left else new[:1]
        return [*left, *(spec for trial in new for spec in self._propose(arm, trial, outcomes))]

    def _propose(self, arm: str, trial: int, outcomes: Sequence[TrialOutcome]) -> list[RunSpec]:
        if (arm, trial) not in self._proposed:
            earlier = [outcome for outcome in outcomes if outcome.index < trial]
            overrides = self._ask(arm, trial, earlier)
            specs = trial_specs(self.study, arm, trial, overrides, self.data_digests[arm])
            self._proposed[arm, trial] = specs
        return self._proposed[arm, trial]

    def _ask(self, arm: str, trial: int, outcomes: Sequence[TrialOutcome]) -> Mapping[str, Scalar]:
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
        return [spec for spec in specs if not self._known.ended(spec)]
