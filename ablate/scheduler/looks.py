"""The seeds that a study with `[stopping]` needs now, by the runs in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ablate.scheduler.loaded_study import LoadedStudy
from ablate.study import Record, RunReader, amend

if TYPE_CHECKING:
    from ablate.analysis.stopping import Progress


def at_look(loaded: LoadedStudy, reader: RunReader, records: Sequence[Record]) -> tuple[LoadedStudy, Progress | None]:
    """The study with the seeds up to the look that it is at, and its state; without `[stopping]` itself and None.

    It depends on the study, its data and these `records` alone, so that a study that was killed goes on where it was.
    """
    study = loaded.study
    if study.stopping is None:
        return loaded, None
    from ablate.analysis import results, stopping  # pandas, which other studies do not need here

    document = amend.document(study, loaded.catalogue, loaded.digests, command="", today="")
    document["amendments"] = (reader.document(study.name) or {}).get("amendments", [])
    state = stopping.progress(results.of_records(reader, document, study.name, records))
    return (loaded if state is None else replace(loaded, study=study.first(state.seeds))), state
