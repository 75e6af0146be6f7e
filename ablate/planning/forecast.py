"""How long the runs that are left will take, by those that are finished. Pure: no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.planning.plan import Cell
from ablate.study import Phase, Record, Study

TIME = "time/total_s"


@dataclass(frozen=True)
class Forecast:
    """What is left of a study. `seconds` is of one worker that does the runs one after another."""

    runs: int
    seconds: float | None  # None where no finished run has a time
    measured: int  # finished runs that it rests on


def share(study: Study, phase: Phase) -> float:
    """How much a run of this phase trains, as a part of a comparison run: less where tuning has fewer epochs."""
    if phase != "tune" or study.tuning is None:
        return 1.0
    of_trial: float | None = study.tuning.epochs if study.tuning.budget is None else study.tuning.budget
    section, name = ("training", "epochs") if study.tuning.budget is None else ("run", "budget")
    of_run = study.settings.get(section, {}).get(name)
    return of_trial / of_run if of_trial and isinstance(of_run, int | float) and of_run > 0 else 1.0


def forecast(
    study: Study, cells: Sequence[Cell], records: Iterable[Record], when: Mapping[str, tuple[int, int]]
) -> Forecast:
    """The time of these cells: that of finished runs of the same arm and phase, else of others, by what they train.

    `when`: see `RunReader.times`.
    """
    finished = [record for record in records if record.status == "FINISHED" and not record.pruned]
    times = [(r.arm, r.phase, taken) for r in finished if (taken := _seconds(r, *when.get(r.run_id, (0, 0))))]
    if not times:
        return Forecast(len(cells), None, 0)

    def seconds(cell: Cell) -> float:
        alike = [s for arm, phase, s in times if (arm, phase) == (cell.arm, cell.phase)]
        if alike:
            return sum(alike) / len(alike)
        of_arm = [(phase, s) for arm, phase, s in times if arm == cell.arm]
        others = of_arm or [(phase, s) for _, phase, s in times]
        return share(study, cell.phase) * sum(s / share(study, phase) for phase, s in others) / len(others)

    return Forecast(len(cells), sum(map(seconds, cells)), len(times))


def _seconds(record: Record, began: int, ended: int) -> float:
    """What the run took of a worker; a resumed one was also at work before it began here."""
    own = record.scores.get(TIME, 0.0)
    return max(0.0, (ended - began) / 1000, own if math.isfinite(own) else 0.0)
