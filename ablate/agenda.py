"""What a study still has to do: its missing cells in order, tuning chains included. Runs and records nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ablate.design import plan
from ablate.edges import tuning
from ablate.study import Record, RunSpec, Scalar, Study

CellId = tuple[str, str, str, int | None]  # key, phase, arm, trial: two trials may choose the same values


class Agenda:
    """The cells of `study` that `wanted` accepts and the `records` do not hold. `data_digests` is by arm."""

    def __init__(
        self,
        study: Study,
        data_digests: Mapping[str, str],
        records: Iterable[Record],
        wanted: Callable[[RunSpec], bool] = lambda spec: True,
    ) -> None:
        self.study, self.data_digests, self.wanted = study, data_digests, wanted
        self.records = list(records)
        self.proposed: dict[tuple[str, int], Mapping[str, Scalar]] = {}

    def add(self, record: Record) -> None:
        """Take note of a cell that has ended."""
        self.records.append(record)

    def ready(self, busy: Collection[CellId]) -> list[RunSpec]:
        """Cells that can start now and are not `busy`, in order: tuning first, since comparison waits for it."""
        specs = [spec for arm in self.study.arms for spec in self._next(arm)]
        specs.sort(key=lambda spec: spec.phase != "tune")
        return [spec for spec in specs if cell_id(spec) not in busy and self.wanted(spec)]

    def _next(self, arm: str) -> list[RunSpec]:
        digest = self.data_digests[arm]
        overrides: Mapping[str, Scalar] = {}
        if self.study.tuning and not self.study.arms[arm].reference:
            outcomes = plan.trial_outcomes(self.study, arm, self.records, digest)
            trials = self._trials(arm, outcomes)
            if trials:
                return trials
            try:
                overrides = plan.best(outcomes, plan.tuning_direction(self.study))
            except plan.TuningFailed:
                return []  # nothing to compare with: the arm's row stays a gap
        return self._missing(plan.compare_spec(self.study, arm, seed, overrides, digest) for seed in self.study.seeds)

    def _trials(self, arm: str, outcomes: Sequence[plan.TrialOutcome]) -> list[RunSpec]:
        """What is left of the trials begun, else the next of the arm's chain; quasi-random ones go side by side."""
        assert self.study.tuning is not None
        left = self._missing(spec for outcome in outcomes for spec in outcome.specs)
        begun = {outcome.index for outcome in outcomes}
        new = [trial for trial in range(self.study.tuning.trials) if trial not in begun]
        if self.study.tuning.sampler != "qmc":
            new = [] if left else new[:1]
        return [*left, *(spec for trial in new for spec in self._propose(arm, trial, outcomes))]

    def _propose(self, arm: str, trial: int, outcomes: Sequence[plan.TrialOutcome]) -> list[RunSpec]:
        if (arm, trial) not in self.proposed:
            earlier = [outcome for outcome in outcomes if outcome.index < trial]
            self.proposed[arm, trial] = self._ask(arm, trial, earlier)
        return plan.trial_specs(self.study, arm, trial, self.proposed[arm, trial], self.data_digests[arm])

    def _ask(self, arm: str, trial: int, outcomes: Sequence[plan.TrialOutcome]) -> Mapping[str, Scalar]:
        assert self.study.tuning is not None
        return tuning.propose(
            self.study.tuning.space,
            [(outcome.overrides, outcome.value) for outcome in outcomes],
            index=trial,
            total=self.study.tuning.trials,
            seed=plan.tuning_seed(self.study.name, arm, trial),
            sampler=self.study.tuning.sampler,
            direction=plan.tuning_direction(self.study),
            defaults=plan.setting_values(self.study, arm),
        )

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        ended = {(r.key, r.phase, r.arm, r.trial) for r in self.records if r.status in ("FINISHED", "FAILED")}
        return [spec for spec in specs if cell_id(spec) not in ended]


def cell_id(spec: RunSpec) -> CellId:
    """What tells a cell from every other of its study."""
    return spec.key, spec.phase, spec.arm, spec.trial
