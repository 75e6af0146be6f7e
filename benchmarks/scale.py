"""What recording costs as a study grows: submit and record a cell, then `plan`, `status` and `report` of them all.

    python benchmarks/scale.py                             # SQLite, 10 to 10 000 cells
    python benchmarks/scale.py --store postgresql          # behind an `mlflow server`, both started here

The store is filled by the scheduler itself, whose cells answer at once; a fifth of the cells (at most 50 an arm) tune.
What a cell takes to leave its files is not counted. The commands are real processes, imports included; of a machine
that is busy with other things the processor's seconds say more than the clock's, and the table has both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import scale_toy

from ablate.scheduler.loaded_study import context_of, load
from ablate.scheduler.scheduler import Scheduler
from ablate.scheduler.workspace import Workspace
from ablate.study import RunResult, RunSpec, amend

COMMANDS = {"plan": ["plan", "{file}"], "status": ["status", "{file}"], "report": ["report", "scale"]}


@dataclass
class Row:
    """One size of study; seconds, but milliseconds a cell for submit and record."""

    store: str
    cells: int
    cell_ms: float
    last_ms: float  # the mean of the last tenth: it grows where the cost does not stay linear
    cell_cpu_ms: float  # of this process
    close_s: float
    seconds: Mapping[str, tuple[float, float]]  # by command: wall, processor


@dataclass
class Clock(Executor):
    """Runs every cell where it is submitted, and keeps the time that the cells themselves took."""

    inside: float = 0.0
    inside_cpu: float = 0.0
    ends: list[float] = field(default_factory=list)  # seconds spent outside the cells, up to the end of each cell

    def __post_init__(self) -> None:
        self.began = time.perf_counter()

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        began, began_cpu = time.perf_counter(), time.process_time()
        future: Future[Any] = Future()
        future.set_result(work(*arguments, **named))
        self.inside += time.perf_counter() - began
        self.inside_cpu += time.process_time() - began_cpu
        self.ends.append(time.perf_counter() - self.began - self.inside)
        return future


class Silent:
    """A view that shows nothing."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: object) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Filled:
    """A store with a finished study: its file, the clock, processor seconds of scheduling, wall seconds of closing."""

    file: Path
    clock: Clock
    cpu: float
    close: float


def fill(folder: Path, cells: int, uri: str | None) -> Filled:
    """A store with a finished study of `cells` cells."""
    file = scale_toy.begin(folder, cells)
    workspace = Workspace(folder / "mlruns", folder / "reports", uri, device="cpu")
    loaded = load(file, workspace)
    tracker = workspace.tracker()
    tracker.open("scale", amend.document(loaded.study, loaded.catalogue, command="ablate run", today="2025-01-01"))
    context = context_of(loaded, workspace, folder / "work", folder / "logs")
    clock = Clock()

    @contextmanager
    def engine(workers: int) -> Iterator[Executor]:
        yield clock

    began_cpu = time.process_time()
    Scheduler(loaded.study, tracker, context, loaded.digests, 1, engine, Silent(), execute=scale_toy.execute).run()
    cpu, began = time.process_time() - began_cpu - clock.inside_cpu, time.perf_counter()
    tracker.close("scale", finished=True)
    return Filled(file, clock, cpu, time.perf_counter() - began)


def timed(name: str, file: Path, uri: str | None) -> tuple[float, float]:
    """Wall and processor seconds of one command, which must succeed."""
    command = [part.format(file=file) for part in COMMANDS[name]]
    command += ["--mlruns", str(file.parent / "mlruns"), *(["--tracking-uri", uri] if uri else [])]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "ablate", *command], cwd=file.parent, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu


def measure(folder: Path, cells: int, store: str) -> Row:
    """Fill one store and time the commands on it."""
    with STORES[store]() as uri:
        filled = fill(folder, cells, uri)
        ends, tenth = filled.clock.ends, max(1, cells // 10)
        last = ends[-1] - (ends[-tenth - 1] if cells > tenth else 0.0)
        seconds = {name: timed(name, filled.file, uri) for name in COMMANDS}
    costs = (1000 * part for part in (ends[-1] / cells, last / tenth, filled.cpu / cells))
    return Row(store, cells, *costs, filled.close, seconds)


@contextmanager
def sqlite() -> Iterator[None]:
    yield None


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a tracking server over PostgreSQL, both on 127.0.0.1 and gone afterwards; as the tests do it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import servers

    with servers.running_postgres() as database, servers.running_tracking_server(database.create()) as server:
        yield server.address


STORES = {"sqlite": sqlite, "postgresql": postgresql}


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = ["Store", "Cells", "Submit + record", "Last tenth", "of processor", "Close"]
    head += [f"`{name}`" for name in COMMANDS]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        costs = [f"{cost:.0f} ms" for cost in (row.cell_ms, row.last_ms, row.cell_cpu_ms)]
        times = [f"{wall:.1f} ({cpu:.1f}) s" for wall, cpu in row.seconds.values()]
        cells = [row.store, f"{row.cells:,}".replace(",", " "), *costs, f"{row.close_s:.1f} s", *times]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--store", choices=STORES, nargs="+", default=["sqlite"])
    parser.add_argument("--folder", type=Path, help="keep the stores here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for store, cells in itertools.product(options.store, options.cells):
            folder = (options.folder or Path(temporary)).resolve() / f"{store}-{cells}"
            rows.append(measure(folder, cells, store))
            print(json.dumps(asdict(rows[-1])) if options.json else table(rows[-1:]).splitlines()[-1], flush=True)
    if not options.json:
        print(table(rows))


if __name__ == "__main__":
    main()
