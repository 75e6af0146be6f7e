"""How long the runs that are left will take, by those that are finished. Pure: no I/O."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean as mean

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
    alike: defaultdict[tuple[str, Phase], list[float]] = defaultdict(list)
    whole: defaultdict[str, list[float]] = defaultdict(list)  # by arm, as if each had trained like a comparison run
    for arm, phase, taken in times:
        alike[arm, phase].append(taken)
        whole[arm].append(taken / share(study, phase))
    of_all = mean(value for values in whole.values() for value in values)

    @cache
    def seconds(arm: str, phase: Phase) -> float:
        if (arm, phase) in alike:
            return mean(alike[arm, phase])
        return share(study, phase) * (mean(whole[arm]) if arm in whole else of_all)

    return Forecast(len(cells), sum(seconds(cell.arm, cell.phase) for cell in cells), len(times))


def _seconds(record: Record, began: int, ended: int) -> float:
    """What the run took of a worker; a resumed one was also at work before it began here."""
    own = record.scores.get(TIME, 0.0)
    return max(0.0, (ended - began) / 1000, own if math.isfinite(own) else 0.0)
