"""Read and write bundles: one ended run as plain files. They may come from strangers, so reading checks everything.

The folder of a study holds its document, `study.json`, and one folder per run, `runs/<id>/`, with

    run.json         identity, status, settings, scores, provenance and times: a `StoredRun`
    curves.parquet   one row per epoch, one column per metric; null where an epoch has no value
    artifacts/       the run's files
    model/           weights.safetensors and model.json, where the run has a model

A snapshot made with `--reports-only` has `reports_only.json` beside the document: the ids of its reduced runs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ablate.study import InputError, Problem, StoredRun
from ablate.study.rules import NAME
from ablate.tracking.record_format import read_document
from ablate.trainers.atomic_write import write_whole

DOCUMENT, RUNS, REDUCED = "study.json", "runs", "reports_only.json"
RUN, CURVES, ARTIFACTS, MODEL = "run.json", "curves.parquet", "artifacts", "model"
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
BUNDLE_FILE = re.compile(  # what the folder of a study may hold
    r"study\.json|reports_only\.json|"
    r"runs/[0-9a-f]{32}/(run\.json|curves\.parquet|artifacts/.+|model/(weights\.safetensors|model\.json))",
    re.DOTALL,
)
ENDED = ("FINISHED", "FAILED")  # the statuses of runs that become bundles
MOST_JSON_BYTES = 20_000_000
MOST_VALUES = 2_000_000  # in one run's curves
LATEST_MS = 2**53  # a later time would not be exact as a float
TABLES = ("scores.parquet", "conditions.parquet")  # one row per example

History = Sequence[Mapping[str, float]]
Added = dict[str, bool]  # ids of the runs that were added, and whether a model was added with them


def summary(added: Added) -> str:
    """`3 runs and 2 models`."""
    return f"{len(added)} runs and {sum(added.values())} models"


def run_folders(folder: Path) -> dict[str, Path]:
    """The complete bundles in the folder of a study, by run id. `run.json` is written last, so it marks them."""
    return {path.name: path for path in sorted((folder / RUNS).glob("*")) if (path / RUN).is_file()}


def write(folder: Path, run: StoredRun, history: History, files: Callable[[Path], None], model: Path | None) -> None:
    """Add a bundle to the folder of a study. `files` copies the run's files into a folder."""
    run_folder = folder / RUNS / run.origin
    shutil.rmtree(run_folder, ignore_errors=True)  # an incomplete bundle of an earlier call
    (run_folder / ARTIFACTS).mkdir(parents=True)
    files(run_folder / ARTIFACTS)
    if model is not None:
        (run_folder / MODEL).mkdir()
        for name in (WEIGHTS, DESCRIPTION):
            shutil.copyfile(model / name, run_folder / MODEL / name)
    if history:
        write_table(run_folder / CURVES, _columns(history))
    write_run(run_folder, replace(run, model=model is not None, record=replace(run.record, run_id=run.origin)))


def write_run(run_folder: Path, run: StoredRun) -> None:
    """Write `run.json` into the folder of a bundle."""
    write_whole(run_folder / RUN, [(json.dumps(asdict(run), indent=1, sort_keys=True) + "\n").encode()])


def write_document(folder: Path, document: Mapping[str, Any]) -> None:
    """Write a study's document into its folder."""
    write_whole(folder / DOCUMENT, [(json.dumps(document, indent=1) + "\n").encode()])


def document(folder: Path) -> dict[str, Any]:
    """The document of a study. Raises InputError unless it is a JSON table that this version can read."""
    return read_document(folder / DOCUMENT)


def reduced_runs(folder: Path) -> set[str]:
    """The ids of the runs from which a reports-only snapshot has left files or columns out."""
    file = folder / REDUCED
    try:
        return set(map(str, json.loads(file.read_bytes()))) if file.is_file() else set()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(Problem(REDUCED, "", "is damaged", str(error)[:200])) from None


def write_reduced_runs(folder: Path, origins: Collection[str]) -> None:
    """Replace the recorded ids by these."""
    if origins:
        write_whole(folder / REDUCED, [(json.dumps(sorted(origins), indent=1) + "\n").encode()])
    else:
        (folder / REDUCED).unlink(missing_ok=True)


def read(run_folder: Path, study: str) -> StoredRun:
    """The run of a bundle. Raises InputError unless it is an ended run of this study with the folder's id."""
    try:
        if (run_folder / RUN).stat().st_size > MOST_JSON_BYTES:
            raise ValueError("too large")
        run = _adapter().validate_json((run_folder / RUN).read_bytes(), strict=True)
        wrong = run.study != study or run.origin != run_folder.name or run.record.status not in ENDED or run.discarded
        if wrong or not all(0 <= time_ms < LATEST_MS for time_ms in (run.started, run.ended, *run.later.values())):
            raise ValueError("no ended run of this study")
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(run_folder, RUN, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(run_folder, RUN, error) from None
    return run


@cache
def _adapter() -> TypeAdapter[StoredRun]:
    return TypeAdapter(StoredRun)


def model(run_folder: Path) -> Path | None:
    """The folder of a bundle's model; None where a file of it is missing."""
    return complete_model(run_folder / MODEL)


def complete_model(folder: Path) -> Path | None:
    """`folder`, if it holds both files of a model."""
    return folder if all((folder / name).is_file() for name in (WEIGHTS, DESCRIPTION)) else None


def curves(run_folder: Path) -> list[dict[str, float]]:
    """A run's history, as `Tracker.history` gives it. Raises InputError for a damaged table."""
    file = run_folder / CURVES
    if not file.is_file():
        return []
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            _check_curves(table.metadata.num_rows, table.schema_arrow)
            rows = table.read(use_threads=False).to_pylist()
        if any(row["epoch"] is None or row["epoch"] < 1 for row in rows):
            raise ValueError("must count epochs from 1")
        return [{name: float(value) for name, value in row.items() if value is not None} for row in rows]
    except Exception as error:  # Arrow's readers raise OSError, Arrow's own types and others
        raise _damaged(run_folder, CURVES, error) from None


def _check_curves(rows: int, schema: Any) -> None:
    """Raises ValueError for a header that announces too many values, or other columns than epochs and numbers."""
    import pyarrow

    if not 0 <= rows * len(schema) <= MOST_VALUES:
        raise ValueError(f"announces {rows:,} rows of {len(schema):,} columns")
    types = {field.name: field.type for field in schema}
    if types.pop("epoch", None) != pyarrow.int32() or set(types.values()) - {pyarrow.float64()}:
        raise ValueError("must hold epochs and numbers")
    if len(types) + 1 != len(schema):
        raise ValueError("names a column twice")


def _columns(history: History) -> dict[str, Any]:
    import pyarrow

    names = sorted({name for entry in history for name in entry if name != "epoch"})
    values = {name: pyarrow.array([entry.get(name) for entry in history], pyarrow.float64()) for name in names}
    return {"epoch": pyarrow.array([int(entry["epoch"]) for entry in history], pyarrow.int32()), **values}


def write_table(file: Path, columns: Mapping[str, Any]) -> None:
    """Write an uncompressed Parquet file: an archive compresses all runs together, which makes it smaller."""
    import pyarrow.parquet

    encoding = {name: "BYTE_STREAM_SPLIT" for name, array in columns.items() if pyarrow.types.is_floating(array.type)}
    pyarrow.parquet.write_table(
        pyarrow.table(dict(columns)),
        file,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        column_encoding=encoding or None,
    )


def rewrite_tables(run_folder: Path, columns: Collection[str] | None = None) -> None:
    """Rewrite a run's per-example tables by `write_table`, with these columns only; None keeps all.

    Raises InputError for a damaged table.
    """
    import pyarrow

    from ablate.analysis.example_tables import read_columns  # imports pandas

    for file in (run_folder / ARTIFACTS / name for name in TABLES):
        if file.is_file():
            stored = read_columns(file)
            kept = {name: values for name, values in stored.items() if columns is None or name in columns}
            write_table(file, {name: pyarrow.array(values) for name, values in kept.items()})


def check(folder: Path, study: str) -> None:
    """Raises InputError unless the folder holds bundles of this study and no other files.

    Every run is read once, so a damaged one is reported before any is delivered.
    """
    settings = document(folder).get("study")
    if not NAME.fullmatch(study) or not isinstance(settings, dict) or settings.get("name") != study:
        raise InputError(Problem(DOCUMENT, "study.name", "is not that of the study", study[:200]))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not BUNDLE_FILE.fullmatch(name):
            raise InputError(Problem(name[:200], "", "is no file of a study's bundles"))
    reduced_runs(folder)
    for run_folder in (folder / RUNS).glob("*"):
        read(run_folder, study)
        curves(run_folder)


def _damaged(run_folder: Path, name: str, reason: object) -> InputError:
    return InputError(
        Problem(f"{RUNS}/{run_folder.name}/{name}", "", "is damaged", " ".join(str(reason).split())[:200])
    )
