"""What a person sees of a study at work: the Protocols that the scheduler and `ablate run` report to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ablate.study import RunResult, RunSpec, Study

if TYPE_CHECKING:
    from ablate.planning.plan import Cell


class View(Protocol):
    """What a person sees while cells run."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


class StudyView(View, Protocol):
    """What a person sees of a whole study."""

    def step(self, text: str) -> None:
        """What is done now, outside of the runs."""

    def expect(
        self, study: Study, cells: Sequence[Cell], *, at_most: bool = False, seconds: float | None = None
    ) -> None:
        """What is to be done, or the most of it. `seconds`: how long it takes, by earlier runs; None: not known."""
