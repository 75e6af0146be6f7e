"""A study's document in the store, and which edits of a study its finished runs allow. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ablate.study import DATASET_CHARS, SCHEMA, Arm, Control, InputError, Metric, Problem, Study, digest
from ablate.study.columns import columns
from ablate.study.resolve import resolve
from ablate.untrusted.wording import listing, place, shown

ABSENT = "absent"
RENAME = "give the changed study another name"


def document(
    study: Study,
    catalogue: Mapping[str, Metric],
    digests: Mapping[str, str] | None = None,
    *,
    command: str,
    today: str | date,
) -> dict[str, Any]:
    """The document of a new study, as `Tracker` describes it. `digests`: of the data, by arm. Plain JSON."""
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
    """Digest of what the study claimed beforehand, the order of the claims aside."""
    return digest(sorted(digest(h.model_dump()) for h in study.hypotheses))


def amend(
    old: Mapping[str, Any], new: Study, *, has_runs: bool, file: str = "", rerun: Collection[str] = ()
) -> list[str]:
    """What changed since the document `old` was written, one sentence a change; [] while there are no runs.

    Raises InputError with a diff when finished runs would no longer be what the study asks for: changed settings or
    role of an arm, changed tuning, another catalogue. Arms in `rerun` are about to be run again and may change.
    """
    if not has_runs:
        return []
    before = Study.model_validate(old["study"])
    changed = _changed_arms(before, new)
    problems = [*_refused_arms(changed, rerun), *_refused_for_all(before, new)]
    if problems:
        raise InputError(*(p._replace(file=file) for p in problems))
    redone = [f"{path} was {was}, is {now}; run again: {listing(a)}" for (path, was, now), a in changed.items()]
    return [*redone, *_amendments(before, new)]


def edited(old: Study, new: Study) -> list[str]:
    """All that differs between two versions of a study, refused under finished runs or not, a sentence a change."""
    settings = [
        f"{path} of {listing(arms)}: {was} → {now}" for (path, was, now), arms in _changed_arms(old, new).items()
    ]
    for_all = [f"{p.place}: {p.value}" for p in _refused_for_all(old, new)]
    return [*settings, *for_all, *_amendments(old, new)]


def edited_settings(old: Study, new: Study) -> dict[str, list[str]]:
    """What differs in the settings of each arm that both versions of a study have; arms that are the same left out."""
    found: dict[str, list[str]] = {}
    for (path, was, now), arms in _changed_arms(old, new).items():
        for arm in arms:
            found.setdefault(arm, []).append(f"{path.removeprefix('settings.')} was {was}, is {now}")
    return found


def other_data(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """In words, the arms whose data has another content now; digests by arm, maybe cut (see `RunSpec.dataset`)."""
    arms = [arm for arm in new if old.get(arm) and old[arm][:DATASET_CHARS] != new[arm][:DATASET_CHARS]]
    return [f"data content changed for {listing(arms)}"] if arms else []


def supersedes(document: Mapping[str, Any], other: Mapping[str, Any], *, closed_later: bool) -> bool:
    """Whether a study's document takes the place of an earlier or later state of it.

    It does when it was amended since the other was written. What the clock says, `closed_later`, is for two of which
    that cannot be told: clocks of machines differ, and are set back.
    """
    mine, others = (list(d["amendments"]) if isinstance(d.get("amendments"), list) else [] for d in (document, other))
    if len(mine) != len(others) and all(a == b for a, b in zip(mine, others, strict=False)):
        return len(mine) > len(others)
    return closed_later


def _changed_arms(before: Study, new: Study) -> dict[tuple[str, str, str], list[str]]:
    """(path, old value, new value) → the arms that it changes."""
    changed: dict[tuple[str, str, str], list[str]] = {}
    for arm in [a for a in new.arms if a in before.arms]:
        for change in _arm_changes(before, new, arm):
            changed.setdefault(change, []).append(arm)
    return changed


def _refused_arms(changed: Mapping[tuple[str, str, str], Sequence[str]], rerun: Collection[str]) -> Iterator[Problem]:
    for (path, was, now), arms in changed.items():
        kept = [arm for arm in arms if arm not in rerun]
        if kept:
            rule = f"cannot change under finished runs of {listing(kept)}"
            hint = RENAME if len(kept) > 1 else f"{RENAME}, or run the arm again with --rerun {kept[0]}"
            yield Problem("", path, rule, f"{now}, was {was}", hint)


def _refused_for_all(before: Study, new: Study) -> Iterator[Problem]:
    """What every run depends on: the budget of all arms, the code that scores them, what a seed draws."""
    old, now = _tuning(before), _tuning(new)
    old |= {"catalogue": before.catalogue, "vary": sorted(before.vary)}
    now |= {"catalogue": new.catalogue, "vary": sorted(new.vary)}
    if "fold" in new.vary:  # a seed more makes every fold another one
        old["seeds"], now["seeds"] = before.seeds, new.seeds
    for path, was, is_ in differences(old, now):
        yield Problem("", path, "cannot change under finished runs", f"{is_}, was {was}", RENAME)


def _arm_changes(before: Study, new: Study, arm: str) -> Iterator[tuple[str, str, str]]:
    """Changes of an arm that make its runs other runs."""
    old, now = {"settings": resolve(before, arm)}, {"settings": resolve(new, arm)}
    yield from differences(old, now)
    for key in ("replicate", "reference"):
        was, is_ = getattr(before.arms[arm], key), getattr(new.arms[arm], key)
        if was != is_:
            yield place("arms", arm, key), shown(was), shown(is_)


def _tuning(study: Study) -> dict[str, Any]:
    """The tuning as a nested table; the space keeps its paths as keys, so that a diff names them."""
    return {"tuning": study.tuning.model_dump(mode="json")} if study.tuning else {"tuning": ABSENT}


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
    yield from _listed("arm", before.arms, new.arms)
    yield from _listed("seed", before.seeds, new.seeds)
    yield from _hypotheses(before, new)
    for what in ("question", "baseline", "retries"):
        was, now = getattr(before, what), getattr(new, what)
        if was != now:
            yield f"{what} changed from {shown(was)} to {shown(now)}"
    if before.metrics != new.metrics:
        yield f"metrics changed from {', '.join(before.metrics)} to {', '.join(new.metrics)}"
    for arm in [a for a in new.arms if a in before.arms]:
        for what in ("label", "information", "like", "same_information"):
            was, now = _told(before.arms[arm], what), _told(new.arms[arm], what)
            if was != now:
                yield f"{what} of arm {arm} changed from {shown(was)} to {shown(now)}"
    if before.factor and new.factor and before.factor.label != new.factor.label:
        yield f"factor.label changed from {shown(before.factor.label)} to {shown(new.factor.label)}"
    shown_otherwise = differences(before.report.model_dump(), new.report.model_dump())
    if shown_otherwise:  # no run depends on them: their names will do
        names = dict.fromkeys(place("report", *path.split(".")[:2]) for path, _, _ in shown_otherwise)
        yield f"what the report shows was changed in {', '.join(names)}"


def _told(arm: Arm, what: str) -> Any:
    """What an arm says of itself beside its settings."""
    return getattr(arm.control or Control(), what) if what in Control.model_fields else getattr(arm, what)


def _listed(
    noun: str, before: Sequence[Any] | Mapping[str, Any], new: Sequence[Any] | Mapping[str, Any]
) -> Iterator[str]:
    for verb, names in (
        ("added", [n for n in new if n not in before]),
        ("removed", [n for n in before if n not in new]),
    ):
        if names:
            yield f"{noun}{'s' * (len(names) > 1)} {', '.join(map(str, names))} {verb}"


def _hypotheses(before: Study, new: Study) -> Iterator[str]:
    """Claims added or withdrawn once results could be seen, in words."""

    def told(study: Study) -> list[str]:
        return [f"{h.arm} against {h.against} in {h.metric}, margin {h.margin:g}" for h in study.hypotheses]

    yield from (f"hypothesis added after runs had finished: {h}" for h in told(new) if h not in told(before))
    yield from (f"hypothesis withdrawn after runs had finished: {h}" for h in told(before) if h not in told(new))
