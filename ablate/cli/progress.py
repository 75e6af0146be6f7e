"""Progress of runs, on stderr: a live table with a bar on a terminal, plain aligned lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.study import Phase, RunResult, RunSpec, Study, printable
from ablate.study.runs import PRUNED
from ablate.untrusted.wording import cut

if TYPE_CHECKING:
    from ablate.planning.plan import Cell

REPLAY_SECONDS = 1.0  # after its start, a resumed run reports all the epochs of its checkpoint
PLAIN_EVERY_SECONDS = 20.0  # between two lines of the same run where there is no terminal
REASON_CHARACTERS = 500  # of why a run failed: the store has all of it
SCORE_WIDTH, TIME_WIDTH, LEFT_WIDTH = 10, 7, 8  # of `-1.234e-05`, `9:59:59` and `99:59:59`
NAME_WIDTH = 16  # that a terminal of few columns leaves to the name of a run
HEADER_WIDTH = 16  # of the name of a metric
ROWS_WITHOUT_RUNS = 4  # of a terminal: the bar, what is above it and the cursor


@dataclass
class Line:
    """The last report of a running run."""

    spec: RunSpec
    epochs: int | None  # None: not known
    worker: int  # 1 is the first
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
    def trained(self) -> float:
        """The part of the run that was done now, from 0 to 1; 0 where it is not known."""
        return max(0.0, self.epoch - self.first[0]) / self.epochs if self.epochs and self.first else 0.0

    @property
    def seconds_left(self) -> float | None:
        if self.epochs is None or self.first is None or self.epoch <= self.first[0]:
            return None
        epoch_seconds = (time.monotonic() - self.first[1]) / (self.epoch - self.first[0])
        return epoch_seconds * (self.epochs - self.epoch)

    def position(self) -> str:
        """`epoch 3/10, 0:12 left`."""
        if not self.entry:
            return "starting"
        left = self.seconds_left
        of = f"/{self.epochs}" if self.epochs else ""
        return f"epoch {self.epoch}{of}" + ("" if left is None else f", {clock(left)} left")


class ProgressView:
    """Implements the scheduler's View. Use as a context manager around the runs."""

    def __init__(self, total: int = 0, console: Console | None = None, *, at_most: bool = False) -> None:
        """`at_most`: the study may stop before so many runs are done."""
        self.at_most = "at most " if at_most else ""
        self.console = console or Console(stderr=True)
        self.total, self.done, self.failed = total, 0, 0
        self.lines: dict[str, Line] = {}
        self.metric = ""  # the one score that is shown, such as val/loss; "": the first that a run reports
        self.width = 0  # of the longest name of a run
        self.shares: Mapping[str, float] = {}  # what a run of a phase trains, as a part of a comparison run
        self.work, self.work_done = float(total), 0.0  # in comparison runs
        self.first_started: float | None = None
        self.seconds: float | None = None  # for all the work, by earlier runs
        self.step_text = ""
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self.render, transient=True)

    def __enter__(self) -> ProgressView:
        if self.console.is_terminal:
            self.live.start()
        elif self.total:  # printed now, because the first epoch may end minutes later
            self._print(self._to_do())
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()
        if self.first_started is not None and self.total > 1:
            duration = clock(time.monotonic() - self.first_started)
            self._print(f"{self.done} of {self.at_most}{self.total} runs in {duration}{self._failed()}")

    def step(self, text: str) -> None:
        """Show what goes on outside of the runs, such as the building of components. In a log only the first."""
        if not (self.step_text or self.console.is_terminal):
            self._print(text)
        self.step_text = text

    def expect(
        self, study: Study, cells: Sequence[Cell], *, at_most: bool = False, seconds: float | None = None
    ) -> None:
        """What is to be done. `seconds`: how long it takes, by earlier runs of the study."""
        from ablate.planning.forecast import share

        self.at_most = "at most " if at_most else ""
        self.metric = study.tuning.metric if study.tuning else f"val/{study.metrics[0]}"
        self.width = max(map(len, map(_name, cells)), default=0)
        self.shares = {"tune": share(study, "tune"), "compare": 1.0}
        phases = Counter(cell.phase for cell in cells)
        self.total, self.seconds = len(cells), seconds
        self.work = sum(self.shares.get(phase, 1.0) * count for phase, count in phases.items())
        if cells:
            of = [f"{count} {name}" for phase, name in _PHASES.items() if (count := phases[phase])]
            split = f": {', '.join(of)}" if len(of) > 1 else ""
            self._print(f"{self._to_do()}{split} (shown: validation {self._metric})")

    def started(self, spec: RunSpec) -> None:
        if self.first_started is None:
            self.first_started = time.monotonic()
            self.width = max(self.width, len(spec.name))
            if self.total > 1:
                self._print(self._row("", "run", cut(self._metric, HEADER_WIDTH), "time", "left"), style="dim")
        taken = {line.worker for line in self.lines.values()}
        worker = next(number for number in range(1, len(taken) + 2) if number not in taken)
        self.lines[spec.name] = Line(spec, spec.settings.get("training", {}).get("epochs"), worker)

    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None:
        line = self.lines[spec.name]
        line.update(entry)
        if not self.console.is_terminal and time.monotonic() - max(line.printed, line.started) > PLAIN_EVERY_SECONDS:
            line.printed = time.monotonic()
            self._print(self._running(line))

    def ended(self, spec: RunSpec, result: RunResult) -> None:
        line = self.lines.pop(spec.name)
        self.done += 1
        self.work_done += self.shares.get(spec.phase, 1.0)
        duration = clock(time.monotonic() - line.started)
        if result.status == "FAILED":
            self.failed += 1
            self._print(f"{self._count()}  {spec.name}  FAILED: {cut(result.error, REASON_CHARACTERS)}", style="red")
            return
        score = self._score({**line.entry, **result.scores})
        end = f"pruned {result.provenance[PRUNED]}" if PRUNED in result.provenance else self._left()
        self._print(self._row(self._count(), spec.name, score, duration, end))

    def note(self, text: str) -> None:
        self._print(text, style="yellow")

    def render(self) -> RenderableType:
        """The live part of a terminal: a line for each worker, and a bar."""
        if self.first_started is None or not self.total:
            return Text(printable(self.step_text), style="dim", overflow="ellipsis", no_wrap=True)
        lines = sorted(self.lines.values(), key=lambda line: line.worker)
        room = max(1, self.console.height - ROWS_WITHOUT_RUNS)
        if len(lines) > room:
            rest = len(lines) - room + 1
            lines, more = lines[: room - 1], [Text(f"and {rest} more runs at work", style="dim")]
        else:
            more = []
        running = [Text(printable(self._running(line)), overflow="ellipsis", no_wrap=True) for line in lines]
        if not lines and self.step_text:
            running = [Text(printable(self.step_text), style="dim", overflow="ellipsis", no_wrap=True)]
        left = self._left()
        words = f"{self.done} of {self.at_most}{self.total} runs{self._failed()}" + (f"  {left} left" if left else "")
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(ProgressBar(max(self.work, 1e-9), min(self._work_done(), self.work)), words)
        return Group(*running, *more, bar)

    def _row(self, count: str, name: str, score: str, duration: str, end: str) -> str:
        counts, scores = 2 * len(str(self.total)) + 3, max(SCORE_WIDTH, min(len(self._metric), HEADER_WIDTH))
        names = self.width
        if self.console.is_terminal:
            others = counts + scores + TIME_WIDTH + LEFT_WIDTH + 8  # two blanks between columns
            names = min(names, max(NAME_WIDTH, self.console.width - others))
        columns = f"{count:>{counts}}  {cut(name, names):<{names}}  {score:>{scores}}  {duration:>{TIME_WIDTH}}"
        return f"{columns}  {end}".rstrip()

    def _running(self, line: Line) -> str:
        duration = clock(time.monotonic() - line.started)
        return self._row(str(line.worker), line.spec.name, self._score(line.entry), duration, line.position())

    @property
    def _metric(self) -> str:
        return self.metric.removeprefix("val/")

    def _score(self, scores: Mapping[str, float]) -> str:
        """The tuning metric alone, on validation data: test scores are not for looking at while a study runs."""
        names = [self.metric] if self.metric else [name for name in scores if name.startswith("val/")][:1]
        value = scores.get(names[0], math.nan) if names else math.nan
        return f"{value:#.4g}".removesuffix(".") if math.isfinite(value) else ""

    def _work_done(self) -> float:
        of_running = (line.trained * self.shares.get(line.spec.phase, 1.0) for line in list(self.lines.values()))
        return self.work_done + sum(of_running)

    def _left(self) -> str:
        """How long the study will still take; "" where nothing says so yet, and at the end."""
        done, left = self._work_done(), max(0.0, self.work - self._work_done())
        if self.first_started is None or not left:
            return ""
        elapsed = time.monotonic() - self.first_started
        if self.seconds is not None and not self.work_done:  # a first epoch says less than earlier runs
            return clock(max(0.0, self.seconds - elapsed))
        return clock(elapsed / done * left) if done else ""

    def _count(self) -> str:
        return f"[{self.done:>{len(str(self.total))}}/{self.total}]"

    def _failed(self) -> str:
        return f", {self.failed} failed" if self.failed else ""

    def _to_do(self) -> str:
        return f"{self.at_most}{self.total} {'run' if self.total == 1 else 'runs'} to do"

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


_PHASES: Mapping[Phase, str] = {"tune": "of tuning", "compare": "of comparison"}


def _name(cell: Cell) -> str:
    """The name that the cell's run has: see `study.runs.NamedRun`."""
    trial = "" if cell.trial is None else f"-trial{cell.trial}"
    return f"{cell.arm}{trial}-seed{cell.seed}"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
