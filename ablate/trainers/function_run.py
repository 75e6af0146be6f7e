"""`run`, the second argument of a user's training function: what it may know, and what it may report.

Imports pyarrow and torch only where a method needs them.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.study import Phase, Split
from ablate.trainers.atomic_write import write_whole
from ablate.trainers.errors import Pruned, RunFailed, Stopped
from ablate.trainers.given_scores import MetricNames, curve_entry, flat, is_position
from ablate.trainers.progress_log import ProgressLog
from ablate.untrusted.wording import listing, nearest, shown

EPOCHS = "epochs.jsonl"  # in the function's own folder: the curve of a run that was interrupted
LIFE_S = 1.0  # between two signs of life of a function that reports no epochs


@dataclass
class Run:
    """What a training function is given beside its settings. Nothing but `seed` and `phase` has to be used."""

    seed: int  # random, NumPy and torch are seeded with it
    folder: Path  # kept until the run is finished, also when it is killed: for checkpoints
    device: str  # "cpu", "cuda" or "cuda:N"
    threads: int
    budget: int | float | None  # the setting `budget`: while tuning and with --smoke another than in the comparison
    phase: Phase  # "tune": no test scores are wanted, and any are dropped
    inputs: tuple[Path, ...]  # of `inputs`, in order
    _reports: Reports = field(repr=False)

    def epoch(self, epoch: float, scores: Mapping[str, Any]) -> None:
        """Report an epoch (or step) and its scores: numbers by name, or by split and name. They are the run's curve.

        The names of the study's metrics give `val/<metric>`, others `train/<name>`; test scores are dropped. An epoch
        that is reported again replaces those from there on. Raises Stopped when the run is to stop: what is saved in
        `folder` by then is there when it is done again. Raises Pruned when the tuning ends the trial here: nothing is
        to be returned then. Raises RunFailed for a score that is no number.
        """
        self._reports.epoch(epoch, scores)

    def examples(self, split: str, frame: Any) -> None:
        """Give the scores of single examples, for the report: a DataFrame or arrays by name, a row per example.

        Columns with the names of metrics are scores; any other is a condition of the example. "subject" numbers the
        person (or whatever is drawn at random) that it is of. Raises RunFailed for a column that holds no numbers.
        """
        self._reports.examples(split, frame)

    def model(self, network: Any, example_input: Any, *, made_by: Mapping[str, Any] | None = None) -> None:
        """Count the parameters of a torch network, and the FLOPs of one example of a batch of inputs.

        `made_by`: a table of the settings with the network's `factory` ("module:attribute") and its arguments. With it
        the network is saved, and its latency is measured after the runs. Leaves random generators as they are.
        """
        self._reports.model(network, example_input, made_by)


class Reports:
    """What a function has reported by its Run, for the result of the run."""

    def __init__(
        self, curve: Path, out: Path, log: ProgressLog, metrics: MetricNames, phase: Phase, scored_split: Split
    ) -> None:
        self.stopped = False  # `epoch` has raised Stopped
        self.measured: dict[str, float] = {}  # costs and counts
        self.facts: dict[str, str] = {}
        self._out, self._log, self._metrics = out, log, metrics
        self._tuning, self._scored_split = phase == "tune", scored_split
        self._curve = _Curve(curve, log)
        self._reports_epochs = threading.Event()

    def epoch(self, epoch: float, scores: Mapping[str, Any]) -> None:
        number = plain_number(epoch)
        if type(number) not in (int, float) or not is_position(number):
            raise RunFailed(f"run.epoch: the epoch must be a number, not {shown(epoch)}")
        values = {name: plain_number(value) for name, value in flat(scores).items()}
        for name, value in values.items():
            if type(value) not in (int, float):
                raise RunFailed(f"run.epoch: {name} must be a number, not {shown(value)}")
        entry = {name: float(value) for name, value in curve_entry(values, self._metrics).items()}
        self._reports_epochs.set()
        self._curve.add({"epoch": float(number), **entry})
        if self._log.pruned:
            raise Pruned
        if self._log.stop_requested():
            self.stopped = True
            raise Stopped

    def examples(self, split: str, frame: Any) -> None:
        if split != self._scored_split:
            raise RunFailed(f'run.examples: the comparison is on the split "{self._scored_split}", not {shown(split)}')
        if not self._tuning:
            self.measured[f"count/{split}_examples"] = float(_write_examples(frame, self._metrics, self._out))

    def model(self, network: Any, example_input: Any, made_by: Mapping[str, Any] | None) -> None:
        from ablate.trainers.builtin.given_network import measure

        folder = None if self._tuning or made_by is None else self._out / "model"
        counts, notes = measure(network, example_input, made_by, folder)
        self.measured.update(counts)
        self.facts.update(notes)
        for note in notes.values():
            self._log.log(note)

    @property
    def history(self) -> list[dict[str, float]]:
        """The curve: every epoch that counts, also those before an interruption."""
        return self._curve.entries()

    @contextmanager
    def signs_of_life(self) -> Iterator[None]:
        """Show signs of life until the function's first epoch: one that reports none is not expected to show any."""
        ended = self._reports_epochs

        def show() -> None:
            while not ended.wait(LIFE_S):
                with suppress(OSError):
                    self._log.heartbeat()

        thread = threading.Thread(target=show, daemon=True, name="signs of life")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Curve:
    """The epochs of a run, kept in a file: a run that goes on from its checkpoint reports only the rest of them."""

    def __init__(self, file: Path, log: ProgressLog) -> None:
        self._file, self._log = file, log
        self._epochs: dict[float, dict[str, float]] = {}
        self._earlier = _read_epochs(file)  # of the attempt before, until this one reports an epoch

    def add(self, entry: Mapping[str, float]) -> None:
        if self._earlier is not None:
            self._resume_at(entry["epoch"])
        if self._log.pruned:
            return
        _replace_from(self._epochs, dict(entry))
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        self._log.log_epoch(entry)

    def entries(self) -> list[dict[str, float]]:
        """Without an epoch in this attempt: the function had only to finish."""
        if self._earlier is not None:
            self._resume_at(math.inf)
        return list(self._epochs.values())

    def _resume_at(self, epoch: float) -> None:
        earlier, self._earlier = self._earlier or {}, None
        self._epochs = {number: entry for number, entry in earlier.items() if number < epoch}
        write_whole(self._file, [json.dumps(entry).encode() + b"\n" for entry in self._epochs.values()])
        for number, entry in list(self._epochs.items()):
            if self._log.pruned:
                del self._epochs[number]
            else:
                self._log.log_epoch(entry)


def _read_epochs(file: Path) -> dict[float, dict[str, float]] | None:
    epochs: dict[float, dict[str, float]] = {}
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a kill cut the line off
                entry = json.loads(line)
                _replace_from(epochs, {name: float(value) for name, value in entry.items()})
    return epochs


def _replace_from(epochs: dict[float, dict[str, float]], entry: dict[str, float]) -> None:
    """Add an epoch; it takes the place of those from its number on."""
    for number in [number for number in epochs if number >= entry["epoch"]]:
        del epochs[number]
    epochs[entry["epoch"]] = entry


def plain_number(value: Any) -> Any:
    """The number in a tensor or array of one; anything else as it is."""
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError, TypeError):  # none or several
            return value.item()
    return value


def _write_examples(frame: Any, metrics: MetricNames, folder: Path) -> int:
    """Write `scores.parquet` and `conditions.parquet` as the built-in loop does; returns the number of examples."""
    import numpy as np

    columns: dict[str, Any] = {str(name): np.asarray(frame[name]) for name in frame}
    wrong = [name for name, values in columns.items() if values.ndim != 1 or values.dtype.kind not in "biuf"]
    if wrong:
        raise RunFailed(f"run.examples: {listing(map(shown, wrong))} must hold one number for each example")
    sizes = {len(values) for values in columns.values()}
    if len(sizes) > 1 or sizes <= {0}:
        raise RunFailed("run.examples: needs examples, and as many in every column")
    scored = [name for name in columns if name in metrics]
    if not scored:
        hint = nearest(next(iter(columns)), metrics)
        raise RunFailed(f"run.examples: no column is a metric of the study; it has {listing(columns)}; {hint}")
    # floats as float32: no table of the report shows more digits
    short = {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in columns.items()}
    for file, names in (("scores", scored), ("conditions", [name for name in short if name not in scored])):
        if names:
            _write_parquet({name: short[name] for name in names}, folder / f"{file}.parquet")
    return sizes.pop()


def _write_parquet(columns: Mapping[str, Any], path: Path) -> None:
    """Write arrays (n,) of numbers or truth values without pandas, whose import takes half a second (measured).

    `pyarrow.array` would import it.
    """
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    arrays = []
    for values in columns.values():
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        content = np.packbits(native, bitorder="little") if native.dtype.kind == "b" else native
        kind = pyarrow.from_numpy_dtype(native.dtype)
        arrays.append(pyarrow.Array.from_buffers(kind, len(native), [None, pyarrow.py_buffer(content)]))
    table = pyarrow.Table.from_arrays(arrays, names=list(columns))
    pyarrow.parquet.write_table(table, path, compression="zstd")
