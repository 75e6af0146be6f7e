"""How far a study with `[stopping]` has come: looks taken, what they decided, how many seeds it needs now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ablate.analysis.phrasing import counted, listed
from ablate.analysis.results import Results
from ablate.analysis.spending import NAMES
from ablate.analysis.study_analysis import judged
from ablate.analysis.verdicts import Verdict
from ablate.study import Spending
from ablate.study.amend import claim_words, history_of


@dataclass(frozen=True)
class Progress:
    """The state of a study with looks. `decided`: hypotheses, of those that can get a verdict (`hypotheses`)."""

    spending: Spending
    looks: tuple[int, ...]  # numbers of seeds, as planned
    taken: tuple[int, ...]
    seeds: int  # that the study needs now
    hypotheses: int
    decided: int

    @property
    def ended(self) -> bool:
        """Whether no look is to come: everything is decided, or the last look was taken."""
        return self.seeds in self.taken

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "ended": self.ended}

    def lines(self) -> Iterator[str]:
        """What was planned and what has happened, in whole sentences."""
        at = listed([str(look) for look in self.looks])
        yield f"looks are planned at {at} seeds ({NAMES[self.spending]} spending)."
        if self.taken:
            yield self.words

    @property
    def words(self) -> str:
        """What the last look has decided, and what follows."""
        last = self.taken[-1]
        found = (
            f"look at {last} seeds: {self.decided} of {counted(self.hypotheses, 'hypothesis', 'hypotheses')} decided"
        )
        if not self.ended:
            return f"{found}; the study goes on to {self.seeds} seeds."
        spared = self.looks[-1] - last
        stops = f"the study stops, {spared} of {self.looks[-1]} seeds are not needed"
        return f"{found}; {stops if spared else 'it was the last'}."


def now(results: Results) -> Results:
    """The results of the seeds that the study needs now, all of them without `[stopping]`.

    These are the seeds up to the look that decided the last hypothesis, else up to the first look that is not yet
    taken, else all. It is a function of the stored runs alone.
    """
    if results.study.stopping is None:
        return results
    for look in results.study.stopping.looks:
        part = results.first(look)
        if look not in part.looks or not _open(part):
            return part
    return results


def progress(results: Results) -> Progress | None:
    """The state of the study by `now`; None without `[stopping]`."""
    planned, current = results.study.stopping, now(results)
    if planned is None:
        return None
    taken = current.looks
    last = current.first(taken[-1]) if taken else current
    judged = len(_judgeable(last))
    return Progress(
        planned.spending,
        tuple(planned.looks),
        taken,
        len(current.study.seeds),
        judged,
        judged - (len(_open(last)) if taken else judged),
    )


def _open(results: Results) -> list[Verdict]:
    """The hypotheses that the looks so far have not decided, and that a later one may."""
    return [verdict for verdict in _judgeable(results) if verdict.look is None]


def _judgeable(results: Results) -> list[Verdict]:
    """The hypotheses that may get a verdict: all but those that were declared late."""
    late = history_of(results.document, results.study).late
    pairs = zip(judged(results), results.study.hypotheses, strict=True)
    return [verdict for (_, verdict), h in pairs if claim_words(h) not in late]
