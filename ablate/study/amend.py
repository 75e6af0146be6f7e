"""The document of a study in the store, and which later edits of the study are allowed. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ablate.study import (
    DATASET_CHARS,
    SCHEMA,
    Arm,
    Control,
    Hypothesis,
    InputError,
    Metric,
    Problem,
    Record,
    Study,
    digest,
)
from ablate.study.columns import columns
from ablate.study.resolve import resolve
from ablate.study.runs import key_settings
from ablate.untrusted.wording import listing, place, shown

ABSENT = "absent"
RENAME = "give the changed study another name"
ADDED = "hypothesis added after runs had finished: "
WITHDRAWN = "hypothesis withdrawn after runs had finished: "
SEEN = "after all others had finished"
NOT_SEEN = "before all others had finished"
SEEDS = re.compile(rf"seeds? (?P<seeds>[0-9, ]+) (?P<verb>added|removed)(, ({SEEN}|{NOT_SEEN}))?")


def document(
    study: Study,
    catalogue: Mapping[str, Metric],
    digests: Mapping[str, str] | None = None,
    *,
    command: str,
    today: str | date,
) -> dict[str, Any]:
    """The document of a new study, plain JSON as `Tracker` describes it. `digests`: of the data, by arm."""
    column = columns(catalogue.values())
    metrics = {
        name: {key: getattr(metric, key) for key in ("label", "unit", "direction", "reduction", "pooled")}
        | {"column": column[metric.name]}
        for name, metric in catalogue.items()
    }
    return {
        "study": study.model_dump(mode="json"),
        "metrics": metrics,
        "data_digests": dict(digests or {}),
        "created": str(today),
        "amendments": [],
        "hypotheses_digest": hypotheses_digest(study),
        "command": command,
        "schema": SCHEMA,
    }


def hypotheses_digest(study: Study) -> str:
    """Digest of the study's hypotheses, in any order."""
    # without the kind of the claims that had no other when this digest was defined, so that theirs stays as it is
    dumps = (h.model_dump(exclude={"kind"} if h.kind == "better" else None) for h in study.hypotheses)
    return digest(sorted(digest(dump) for dump in dumps))


def amend(
    old: Mapping[str, Any],
    new: Study,
    *,
    has_runs: bool,
    file: str = "",
    rerun: Collection[str] = (),
    complete: bool = False,
) -> list[str]:
    """What changed since the document `old` was written, one sentence per change; [] while there are no runs.

    Raises InputError with the differences when finished runs would no longer be what the study asks for: other
    settings or another role of an arm, other tuning, another catalogue. Arms in `rerun`, which will be run again, may
    change. `complete`: every run of the old study has finished, so that its result could be looked at.
    """
    if not has_runs:
        return []
    before = Study.model_validate(old["study"])
    changed = _changed_arms(before, new)
    problems = [*_refused_arms(changed, rerun), *_refused_for_all(before, new)]
    if problems:
        raise InputError(*(p._replace(file=file) for p in problems))
    rerun_changes = [
        f"{path} was {was}, is {now}; run again: {listing(arms)}" for (path, was, now), arms in changed.items()
    ]
    return [*rerun_changes, *(_seen(change, complete) for change in _amendments(before, new))]


@dataclass(frozen=True)
class History:
    """What a study's amendments say of its hypotheses and seeds.

    `late` and `withdrawn`: hypotheses in the words of `claim_words`, added or taken away after runs had finished.
    `looks`: the numbers of seeds at which all runs had finished before more seeds were added.
    """

    looks: tuple[int, ...]
    late: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


def history_of(document: Mapping[str, Any], study: Study) -> History:
    """The history in a document's amendments. Seeds added by a version that did not write whether the others had all
    finished count as added after a look."""
    sentences = [str(each["what"]) for each in document.get("amendments") or ()]
    now = {claim_words(h) for h in study.hypotheses}
    late, withdrawn = (
        {s.removeprefix(start) for s in sentences if s.startswith(start)} for start in (ADDED, WITHDRAWN)
    )
    seeds, looks = len(study.seeds), []
    for sentence in reversed(sentences):
        if (found := SEEDS.fullmatch(sentence)) is not None:
            count = found["seeds"].count(",") + 1
            seeds += count if found["verb"] == "removed" else -count
            if found["verb"] == "added" and not sentence.endswith(NOT_SEEN):
                looks.append(seeds)
    return History(tuple(reversed(looks)), tuple(sorted(late & now)), tuple(sorted(withdrawn - now)))


def _seen(change: str, complete: bool) -> str:
    """An amendment that adds seeds, with whether the result of those before could be looked at."""
    found = SEEDS.fullmatch(change)
    if found is None or found["verb"] != "added":
        return change
    return f"{change}, {SEEN if complete else NOT_SEEN}"


def complete(study: Study, records: Collection[Record]) -> bool:
    """Whether every arm of the study has a finished run for every seed."""
    finished = {(r.arm, r.seed) for r in records if r.phase == "compare" and r.status == "FINISHED"}
    return all((arm, seed) in finished for arm in study.arms for seed in study.seeds)


def edited(old: Study, new: Study) -> list[str]:
    """Every difference between two versions of a study, allowed or not, one sentence per change."""
    settings = [
        f"{path} of {listing(arms)}: {was} → {now}" for (path, was, now), arms in _changed_arms(old, new).items()
    ]
    for_all = [f"{p.place}: {p.value}" for p in _refused_for_all(old, new)]
    return [*settings, *for_all, *_amendments(old, new)]


def edited_settings(old: Study, new: Study) -> dict[str, list[str]]:
    """The changed settings of each arm that both versions of a study have; unchanged arms are left out."""
    edits: dict[str, list[str]] = {}
    for (path, was, now), arms in _changed_arms(old, new).items():
        for arm in arms:
            edits.setdefault(arm, []).append(f"{path.removeprefix('settings.')} was {was}, is {now}")
    return edits


def other_data(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One sentence on the arms whose data has changed. Digests by arm, which may be cut (see `RunSpec.dataset`)."""
    arms = [arm for arm in new if old.get(arm) and old[arm][:DATASET_CHARS] != new[arm][:DATASET_CHARS]]
    return [f"data content changed for {listing(arms)}"] if arms else []


def supersedes(document: Mapping[str, Any], other: Mapping[str, Any], *, closed_later: bool) -> bool:
    """Whether `document` is newer than `other`, a document of the same study.

    It is when its amendments are those of `other` and more. Only where neither extends the other do the clocks
    decide (`closed_later`): clocks of machines differ, and may be set back.
    """
    own, others = (list(d["amendments"]) if isinstance(d.get("amendments"), list) else [] for d in (document, other))
    if len(own) != len(others) and all(a == b for a, b in zip(own, others, strict=False)):
        return len(own) > len(others)
    return closed_later


def _changed_arms(before: Study, new: Study) -> dict[tuple[str, str, str], list[str]]:
    """(path, old value, new value) → the arms with that change."""
    changed: dict[tuple[str, str, str], list[str]] = {}
    for arm in [a for a in new.arms if a in before.arms]:
        for change in _arm_changes(before, new, arm):
            changed.setdefault(change, []).append(arm)
    return changed


def _refused_arms(changed: Mapping[tuple[str, str, str], Sequence[str]], rerun: Collection[str]) -> Iterator[Problem]:
    for (path, was, now), arms in changed.items():
        not_rerun = [arm for arm in arms if arm not in rerun]
        if not_rerun:
            rule = f"cannot change under finished runs of {listing(not_rerun)}"
            hint = RENAME if len(not_rerun) > 1 else f"{RENAME}, or run the arm again with --rerun {not_rerun[0]}"
            yield Problem("", path, rule, f"{now}, was {was}", hint)


def _refused_for_all(before: Study, new: Study) -> Iterator[Problem]:
    """Changes of what every run or verdict depends on: the tuning budget, the metrics' code, what a seed draws, the
    planned looks."""
    one_sided = [key for key in ("tuning", "stopping") if (getattr(before, key) is None) != (getattr(new, key) is None)]
    for key in one_sided:
        value = "absent, was there" if getattr(new, key) is None else "there, was absent"
        yield Problem("", key, "cannot change under finished runs", value, RENAME)
    old_values, new_values = ({}, {}) if "tuning" in one_sided else (_tuning(before), _tuning(new))
    for values, study in ((old_values, before), (new_values, new)):
        values |= {"catalogue": study.catalogue, "vary": sorted(study.vary)}
        values |= {f"metric.{name}": [m.direction, m.val, m.test] for name, m in study.metric.items()}
    if "fold" in new.vary:  # the number of seeds is the number of folds: another seed changes every fold
        old_values["seeds"], new_values["seeds"] = before.seeds, new.seeds
    if before.stopping or new.stopping:  # the looks are planned before the first result, and the seeds come in order
        for values, study in ((old_values, before), (new_values, new)):
            looks = study.stopping.model_dump() if study.stopping and "stopping" not in one_sided else {}
            values |= {"stopping": looks, "seeds": study.seeds}
    for path, was, now in differences(old_values, new_values):
        yield Problem("", path, "cannot change under finished runs", f"{now}, was {was}", RENAME)


def _arm_changes(before: Study, new: Study, arm: str) -> Iterator[tuple[str, str, str]]:
    """Changes of an arm that its finished runs do not have."""
    yield from differences({"settings": _settings(before, arm)}, {"settings": _settings(new, arm)})
    for key in ("replicate", "reference"):
        was, now = getattr(before.arms[arm], key), getattr(new.arms[arm], key)
        if was != now:
            yield place("arms", arm, key), shown(was), shown(now)


def _settings(study: Study, arm: str) -> Mapping[str, Any]:
    return key_settings(resolve(study, arm))


def _tuning(study: Study) -> dict[str, Any]:
    """The tuning as a nested table. The keys of the space are paths, so that differences name them."""
    if study.tuning is None:
        return {}
    return {"tuning": study.tuning.model_dump(mode="json", exclude=None if study.tuning.pruner else {"pruner"})}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(dotted path, old value, new value) of every leaf that differs between two nested tables."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = dict.fromkeys([*flat_old, *flat_new])
    pairs = ((n, flat_old.get(n, ABSENT), flat_new.get(n, ABSENT)) for n in names)
    return [(name, was, now) for name, was, now in pairs if was != now]


def _flat(table: Mapping[str, Any], *parents: str) -> dict[str, str]:
    leaves: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            leaves |= _flat(value, *parents, key)
        else:
            leaves[place(*parents, key)] = shown(value)
    return leaves


def _amendments(before: Study, new: Study) -> Iterator[str]:
    """Changes that finished runs allow, one sentence each."""
    yield from _added_and_removed("arm", before.arms, new.arms)
    yield from _added_and_removed("seed", before.seeds, new.seeds)
    yield from _changed_hypotheses(before, new)
    for key in ("question", "baseline", "cluster", "retries"):
        was, now = getattr(before, key), getattr(new, key)
        if was != now:
            yield f"{key} changed from {shown(was)} to {shown(now)}"
    if before.metrics != new.metrics:
        yield f"metrics changed from {', '.join(before.metrics)} to {', '.join(new.metrics)}"
    for arm in [a for a in new.arms if a in before.arms]:
        for key in ("label", "information", "like", "same_information", "knows_truth"):
            was, now = _arm_value(before.arms[arm], key), _arm_value(new.arms[arm], key)
            if was != now:
                yield f"{key} of arm {arm} changed from {shown(was)} to {shown(now)}"
    if before.factor and new.factor and before.factor.label != new.factor.label:
        yield f"factor.label changed from {shown(before.factor.label)} to {shown(new.factor.label)}"
    report_changes = differences(before.report.model_dump(), new.report.model_dump())
    if report_changes:  # no run depends on them, so their values are left out
        names = dict.fromkeys(place("report", *path.split(".")[:2]) for path, _, _ in report_changes)
        yield f"what the report shows was changed in {', '.join(names)}"


def _arm_value(arm: Arm, key: str) -> Any:
    """A field of the arm, or of its control."""
    return getattr(arm.control or Control(), key) if key in Control.model_fields else getattr(arm, key)


def _added_and_removed(
    noun: str, before: Sequence[Any] | Mapping[str, Any], new: Sequence[Any] | Mapping[str, Any]
) -> Iterator[str]:
    for verb, names in (
        ("added", [n for n in new if n not in before]),
        ("removed", [n for n in before if n not in new]),
    ):
        if names:
            yield f"{noun}{'s' * (len(names) > 1)} {', '.join(map(str, names))} {verb}"


def _changed_hypotheses(before: Study, new: Study) -> Iterator[str]:
    old_claims, new_claims, moved = _claims(before), _claims(new), _of_other_data_sets(before, new)
    if moved:
        was, now = (listing(study.datasets) or "none" for study in (before, new))
        yield f"data sets changed from {was} to {now}, so that a hypothesis about all of them is another one"
    yield from (f"{ADDED}{h}" for h in new_claims if h not in old_claims or h in moved)
    yield from (f"{WITHDRAWN}{h}" for h in old_claims if h not in new_claims)


def _of_other_data_sets(before: Study, new: Study) -> list[str]:
    """The hypotheses of both versions that are about all data sets, where these are not the same."""
    if set(before.datasets) == set(new.datasets):
        return []
    over_all = [h for h in new.hypotheses if before.over_datasets(h.arm) or new.over_datasets(h.arm)]
    return [words for h in over_all if (words := claim_words(h)) in _claims(before)]


def _claims(study: Study) -> list[str]:
    return [claim_words(h) for h in study.hypotheses]


def claim_words(h: Hypothesis) -> str:
    """A hypothesis as the amendments name it."""
    kind = "" if h.kind == "better" else f", {h.kind}"
    return f"{h.arm} against {h.against} in {h.metric}, margin {h.margin:g}{kind}"
