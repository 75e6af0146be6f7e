"""Progress of runs in a notebook: one cell output that is updated in place.

rich has a live display there too, but needs ipywidgets for it and warns without.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Mapping, Sequence
from html import escape

from rich.console import Console

from ablate.cli.progress import clock
from ablate.planning.plan import Cell
from ablate.study import RunResult, RunSpec, Study, printable

UPDATE_SECONDS = 0.25  # between two updates by epochs
LINES = 20  # notes and failed runs that are shown; the report and the logs have all


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return Console(stderr=True).is_jupyter


class NotebookView:
    """Implements the scheduler's View. Use as a context manager around the runs."""

    def __init__(self, total: int = 0, *, at_most: bool = False) -> None:
        """`at_most`: the study may stop before so many runs are done."""
        self.at_most = "at most " if at_most else ""
        self.total, self.done, self.failed = total, 0, 0
        self.text = ""  # what goes on outside of the runs, or how long it takes
        self.running: dict[str, str] = {}  # name → what it last reported
        self.lines: list[str] = []
        self._updated = 0.0

    def __enter__(self) -> NotebookView:
        from IPython.display import display

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")  # of tqdm, which Optuna and MLflow import
            importlib.import_module("tqdm.auto")
        self._handle = display(self._shown(), raw=True, display_id=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.running.clear()
        self.text = ""
        self._update()

    def step(self, text: str) -> None:
        """Show what goes on outside of the runs."""
        self.text = text
        self._update()

    def expect(
        self, study: Study, cells: Sequence[Cell], *, at_most: bool = False, seconds: float | None = None
    ) -> None:
        """What is to be done. `seconds`: how long it takes, by earlier runs of the study."""
        self.at_most = "at most " if at_most else ""
        self.total = len(cells)
        self.step(f"about {clock(seconds)}" if seconds else "")

    def started(self, spec: RunSpec) -> None:
        self.running[spec.name] = "starting"
        self._update()

    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None:
        scores = [f"{key} {value:.4g}" for key, value in entry.items() if key.startswith("val/")]
        self.running[spec.name] = ", ".join([f"epoch {entry['epoch']:g}", *scores])
        if time.monotonic() - self._updated > UPDATE_SECONDS:
            self._update()

    def ended(self, spec: RunSpec, result: RunResult) -> None:
        self.running.pop(spec.name, None)
        self.done += 1
        if result.status == "FAILED":
            self.failed += 1
            self.lines.append(f"{spec.name} failed: {result.error}")
        self._update()

    def note(self, text: str) -> None:
        self.lines.append(text)
        self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        if self._handle is not None:
            self._handle.update(self._shown(), raw=True)

    def _shown(self) -> dict[str, str]:
        """The output of the cell, for notebooks and for programs that show only text."""
        failed = f", {self.failed} failed" if self.failed else ""
        text = f"; {self.text}" if self.text else ""
        count = f"{self.done} of {self.at_most}{self.total} runs done{failed}{text}"
        running = [f"{name}: {last}" for name, last in self.running.items()]
        lines = [printable(line) for line in (*running, *self.lines[-LINES:])]
        bar = f'<progress value="{self.done}" max="{max(self.total, 1)}"></progress> {escape(count)}'
        return {"text/plain": "\n".join([count, *lines]), "text/html": "<br>\n".join([bar, *map(escape, lines)])}
