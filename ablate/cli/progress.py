"""Progress of runs, on stderr: a live table with a line per run on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ablate.study import RunResult, RunSpec, printable
from ablate.study.runs import PRUNED

REPLAY_SECONDS = 1.0  # after its start, a resumed run reports all the epochs of its checkpoint
PLAIN_EVERY_SECONDS = 20.0  # between two lines of the same run where there is no terminal


@dataclass
class Line:
    """The last report of a running run."""

    spec: RunSpec
    epochs: int | None  # None: not known
    started: float = field(default_factory=time.monotonic)
    entry: Mapping[str, float] = field(default_factory=dict)
    first: tuple[float, float] | None = None  # (epoch, time) of the first epoch that was trained now and not replayed
    printed: float = 0.0

    def update(self, entry: Mapping[str, float]) -> None:
        self.entry = entry
        now = time.monotonic()
        first_report = now if self.first is None else self.first[1]
        if now - first_report < REPLAY_SECONDS:
            self.first = (entry["epoch"], first_report)

    @property
    def epoch(self) -> int:
        return int(self.entry.get("epoch", 0))

    @property
    def seconds_left(self) -> float | None:
        if self.epochs is None or self.first is None or self.epoch <= self.first[0]:
            return None
        epoch_seconds = (time.monotonic() - self.first[1]) / (self.epoch - self.first[0])
        return epoch_seconds * (self.epochs - self.epoch)

    def position(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}" if self.epochs else f"epoch {self.epoch}" if self.entry else ""

    def scores(self) -> str:
        values = [(k.removeprefix("val/"), v) for k, v in self.entry.items() if k.startswith("val/")]
        return "  ".join(["validation", *(f"{name} {value:.2f}" for name, value in values)]) if values else ""


class ProgressView:
    """Implements the scheduler's View. Use as a context manager around the runs."""

    def __init__(self, total: int, console: Console | None = None, *, at_most: bool = False) -> None:
        """`at_most`: the study may stop before so many runs are done."""
        self.at_most = "at most " if at_most else ""
        self.console = console or Console(stderr=True)
        self.total, self.done, self.failed = total, 0, 0
        self.lines: dict[str, Line] = {}
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self.render, transient=True)

    def __enter__(self) -> ProgressView:
        if self.console.is_terminal:
            self.live.start()
        elif self.total:  # printed now, because the first epoch may end minutes later
            self._print(f"{self.at_most}{self.total} {'run' if self.total == 1 else 'runs'} to do")
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, spec: RunSpec) -> None:
        self.lines[spec.name] = Line(spec, spec.settings.get("training", {}).get("epochs"))

    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None:
        line = self.lines[spec.name]
        line.update(entry)
        if not self.console.is_terminal and time.monotonic() - max(line.printed, line.started) > PLAIN_EVERY_SECONDS:
            line.printed = time.monotonic()
            time_left = f"  {clock(line.seconds_left)} left" if line.seconds_left is not None else ""
            self._print(f"{spec.name}  {line.position()}  {line.scores()}{time_left}")

    def ended(self, spec: RunSpec, result: RunResult) -> None:
        line = self.lines.pop(spec.name)
        self.done += 1
        duration = clock(time.monotonic() - line.started)
        if result.status == "FAILED":
            self.failed += 1
            self._print(f"{self._count()} {spec.name}  FAILED: {result.error}", style="red")
        else:
            pruned = f"  pruned {result.provenance[PRUNED]}" if PRUNED in result.provenance else ""
            self._print(f"{self._count()} {spec.name}  {line.scores()}{pruned}  {duration}")

    def note(self, text: str) -> None:
        self._print(text, style="yellow")

    def _count(self) -> str:
        return f"[{self.done}/{self.total}]"

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def render(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for line in list(self.lines.values()):
            time_left = f"{clock(line.seconds_left)} left" if line.seconds_left is not None else "starting"
            table.add_row(line.spec.name, line.position(), line.scores(), time_left)
        failed = f", {self.failed} failed" if self.failed else ""
        table.add_row(f"{self.done} of {self.at_most}{self.total} runs done{failed}")
        return table


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
