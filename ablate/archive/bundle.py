"""What a bundle is: one ended run in plain files. What is read may come from a stranger.

The folder of a study holds its document, `study.json`, and a folder a run, `runs/<id>/`, with

    run.json         who it is, how it ended, its settings, scores, provenance and times: a `StoredRun`
    curves.parquet   a row an epoch, a column a metric; what an epoch did not measure is null
    artifacts/       the run's own files
    model/           weights.safetensors and model.json, where the network is kept

Beside the document of a snapshot for reports alone lies `reports_only.json`: the ids of the runs that are kept in part.
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

DOCUMENT, RUNS, SLIM = "study.json", "runs", "reports_only.json"
RUN, CURVES, ARTIFACTS, MODEL = "run.json", "curves.parquet", "artifacts", "model"
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
RUN_ID = re.compile(r"[0-9a-f]{32}")
ENDED = ("FINISHED", "FAILED")  # how a run stands that is whole
MOST_JSON_BYTES = 20_000_000
MOST_VALUES = 2_000_000  # of one run's curves
LATEST_MS = 2**53
TABLES = ("scores.parquet", "conditions.parquet")  # a run's examples

History = Sequence[Mapping[str, float]]
Came = dict[str, bool]  # the runs that came, by their ids, and whether with a model


def counted(came: Came) -> str:
    """How many came, in words."""
    return f"{len(came)} runs and {sum(came.values())} models"


def places(folder: Path) -> dict[str, Path]:
    """The folders of the whole bundles in the folder of a study, by the ids of their runs."""
    return {place.name: place for place in sorted((folder / RUNS).glob("*")) if (place / RUN).is_file()}


def write(folder: Path, run: StoredRun, history: History, files: Callable[[Path], None], model: Path | None) -> None:
    """Add a bundle to the folder of a study. `files` puts the run's files into a folder. `run.json` comes last."""
    place = folder / RUNS / run.origin
    shutil.rmtree(place, ignore_errors=True)  # of one that was not completed
    (place / ARTIFACTS).mkdir(parents=True)
    files(place / ARTIFACTS)
    if model is not None:
        (place / MODEL).mkdir()
        for name in (WEIGHTS, DESCRIPTION):
            shutil.copyfile(model / name, place / MODEL / name)
    if history:
        write_table(place / CURVES, _columns(history))
    write_run(place, replace(run, model=model is not None, record=replace(run.record, run_id=run.origin)))


def write_run(place: Path, run: StoredRun) -> None:
    """Write `run.json` into the folder of a bundle."""
    write_whole(place / RUN, [(json.dumps(asdict(run), indent=1, sort_keys=True) + "\n").encode()])


def write_document(folder: Path, document: Mapping[str, Any]) -> None:
    """Write a study's document into its folder."""
    write_whole(folder / DOCUMENT, [(json.dumps(document, indent=1) + "\n").encode()])


def document(folder: Path) -> dict[str, Any]:
    """The document of a study. Raises InputError where it is no JSON table, or a newer version's."""
    return read_document(folder / DOCUMENT)


def slim_ones(folder: Path) -> set[str]:
    """The ids of the runs of which a snapshot for reports alone has left parts out."""
    file = folder / SLIM
    try:
        return set(map(str, json.loads(file.read_bytes()))) if file.is_file() else set()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(Problem(SLIM, "", "is damaged", str(error)[:200])) from None


def write_slim_ones(folder: Path, origins: Collection[str]) -> None:
    """Note these ids, and no others."""
    if origins:
        write_whole(folder / SLIM, [(json.dumps(sorted(origins), indent=1) + "\n").encode()])
    else:
        (folder / SLIM).unlink(missing_ok=True)


def read(place: Path, study: str) -> StoredRun:
    """The run of a bundle. Raises InputError where it is no ended run of this study with this id."""
    try:
        if (place / RUN).stat().st_size > MOST_JSON_BYTES:
            raise ValueError("too large")
        run = _adapter().validate_json((place / RUN).read_bytes(), strict=True)
        wrong = run.study != study or run.origin != place.name or run.record.status not in ENDED or run.discarded
        if wrong or not all(0 <= when < LATEST_MS for when in (run.started, run.ended, *run.later.values())):
            raise ValueError("no ended run of this study")
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(place, RUN, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(place, RUN, error) from None
    return run


@cache
def _adapter() -> TypeAdapter[StoredRun]:
    return TypeAdapter(StoredRun)


def model(place: Path) -> Path | None:
    """The folder of a bundle's model, where all of it is there."""
    found = place / MODEL
    return found if all((found / name).is_file() for name in (WEIGHTS, DESCRIPTION)) else None


def curves(place: Path) -> list[dict[str, float]]:
    """A run's history, as `Tracker.history` gives it. Raises InputError for a table that is damaged or none."""
    if not (place / CURVES).is_file():
        return []
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(place / CURVES) as file:
            _check(file.metadata.num_rows, file.schema_arrow)
            rows = file.read(use_threads=False).to_pylist()
        if any(row["epoch"] is None or row["epoch"] < 1 for row in rows):
            raise ValueError("must count epochs from 1")
        return [{name: float(value) for name, value in row.items() if value is not None} for row in rows]
    except Exception as error:  # Arrow raises OSError, its own types and whatever its readers meet
        raise _damaged(place, CURVES, error) from None


def _check(rows: int, schema: Any) -> None:
    import pyarrow

    if not 0 <= rows * len(schema) <= MOST_VALUES:
        raise ValueError(f"announces {rows:,} rows of {len(schema):,} columns")
    kinds = {field.name: field.type for field in schema}
    if kinds.pop("epoch", None) != pyarrow.int32() or set(kinds.values()) - {pyarrow.float64()}:
        raise ValueError("must hold epochs and numbers")
    if len(kinds) + 1 != len(schema):
        raise ValueError("names a column twice")


def _columns(history: History) -> dict[str, Any]:
    import pyarrow

    names = sorted({name for entry in history for name in entry if name != "epoch"})
    values = {name: pyarrow.array([entry.get(name) for entry in history], pyarrow.float64()) for name in names}
    return {"epoch": pyarrow.array([int(entry["epoch"]) for entry in history], pyarrow.int32()), **values}


def write_table(file: Path, columns: Mapping[str, Any]) -> None:
    """Write a Parquet file for an archive, which compresses by itself and sees what the runs have in common."""
    import pyarrow.parquet

    split = {name: "BYTE_STREAM_SPLIT" for name, array in columns.items() if pyarrow.types.is_floating(array.type)}
    pyarrow.parquet.write_table(
        pyarrow.table(dict(columns)),
        file,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        column_encoding=split or None,
    )


def rewrite_tables(place: Path, columns: Collection[str] | None = None) -> None:
    """Put the tables of a run's examples into the form that an archive packs best, with these columns alone.

    Raises InputError where one is damaged.
    """
    import pyarrow

    from ablate.analysis.example_tables import read_columns  # imports pandas

    for file in (place / ARTIFACTS / name for name in TABLES):
        if file.is_file():
            found = {name: pyarrow.array(values) for name, values in read_columns(file).items()}
            write_table(file, {name: found[name] for name in found if columns is None or name in columns})


def check(folder: Path, study: str) -> None:
    """Raises InputError unless the folder is a study's, with nothing in it but what belongs there.

    Every run is read once: what is wrong with one shows before any is delivered.
    """
    told = document(folder).get("study")
    if not NAME.fullmatch(study) or not isinstance(told, dict) or told.get("name") != study:
        raise InputError(Problem(DOCUMENT, "study.name", "is not that of the study", study[:200]))
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not _belongs(parts):
            raise InputError(Problem("/".join(parts)[:200], "", "is no file of a study's bundles"))
    slim_ones(folder)
    for place in (folder / RUNS).glob("*"):
        read(place, study)
        curves(place)


def _belongs(parts: tuple[str, ...]) -> bool:
    if len(parts) == 1:
        return parts[0] in (DOCUMENT, SLIM)
    if parts[0] != RUNS or len(parts) < 3 or not RUN_ID.fullmatch(parts[1]):
        return False
    kept = parts[2:]
    return kept in ((RUN,), (CURVES,), (MODEL, WEIGHTS), (MODEL, DESCRIPTION)) or (
        kept[0] == ARTIFACTS and len(kept) > 1
    )


def _damaged(place: Path, name: str, reason: object) -> InputError:
    return InputError(Problem(f"{RUNS}/{place.name}/{name}", "", "is damaged", " ".join(str(reason).split())[:200]))
