"""Which finished runs were made by other code than is on disk now. Reads source files and executes none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ablate.analysis.phrasing import counted
from ablate.planning.counting import Code, same_code
from ablate.scheduler.loaded_study import LoadedStudy
from ablate.study import Record
from ablate.study.resolve import resolve
from ablate.study.runs import same_components
from ablate.trainers.provenance import code_digest


def stale(loaded: LoadedStudy, records: Sequence[Record]) -> dict[str, Code]:
    """The finished runs that count and whose code is not the code on disk, by run id.

    "changed": made by other code; "unknown": made by code whose digest cannot be compared.
    """
    counting = loaded.plan(records).counted.values()
    finished = [r for r in counting if r.status == "FINISHED" and "source_digest" in r.provenance]
    digests: dict[str, str] = {}
    of_arm: dict[str, str] = {}
    for arm in {r.arm for r in finished}:
        settings = resolve(loaded.study, arm)
        code = same_components(settings)
        if code not in digests:
            source = loaded.function.source if loaded.function else ""
            digests[code] = code_digest(settings, loaded.folder, source=source)
        of_arm[arm] = digests[code]
    codes = {r.run_id: same_code(r.provenance["source_digest"], of_arm[r.arm]) for r in finished}
    return {run_id: code for run_id, code in codes.items() if code != "same"}


def notes(stale_runs: Mapping[str, Code], again: str) -> Iterator[str]:
    """How many runs are stale, and of how many it cannot be told. `again`: the command that does them again."""
    codes = list(stale_runs.values())
    if changed := codes.count("changed"):
        were, them = ("was", "it") if changed == 1 else ("were", "them")
        yield f"{counted(changed, 'finished run')} {were} made by other source code; {again} does {them} again"
    if unknown := codes.count("unknown"):
        yield (
            f"of {counted(unknown, 'finished run')} it cannot be told whether the source code has changed since: "
            "an earlier version of ablate took its digest in another way"
        )
