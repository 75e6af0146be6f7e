"""Check `[stopping]`: looks that the study's seeds allow, and hypotheses to stop for. Pure: no I/O, no torch."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.study import MIN_SEEDS, InputError, Problem, Study
from ablate.untrusted.wording import listing, shown

MOST_LOOKS = 10


def stopping_rules(study: Study) -> Iterator[Problem]:
    """Every rule that `[stopping]` breaks."""
    if study.stopping is None:
        return
    looks, seeds = study.stopping.looks, len(study.seeds)
    if not study.hypotheses:
        rule = "needs hypotheses: a study stops when they are decided"
        yield Problem("", "stopping", rule, "", "declare [[hypotheses]], or leave [stopping] out")
    if "fold" in study.vary:
        rule = 'cannot stand beside vary = "fold": the seeds are the folds, and every fold is needed'
        yield Problem("", "stopping", rule, shown(study.vary), 'such as "split", which any number of seeds can have')
    if seeds <= MIN_SEEDS:
        rule = f"needs more than {MIN_SEEDS} seeds: the first verdict is at {MIN_SEEDS}"
        yield Problem("", "stopping", rule, shown(seeds), f"such as {3 * MIN_SEEDS} seeds")
        return
    hint = f"such as {nearest_looks(looks, seeds)}"
    if looks != sorted(set(looks)):
        yield Problem("", "stopping.looks", "must be increasing numbers of seeds", shown(looks), hint)
    elif looks[0] < MIN_SEEDS:
        rule = f"must begin with at least {MIN_SEEDS} seeds: with fewer there is no verdict"
        yield Problem("", "stopping.looks", rule, shown(looks), hint)
    elif looks[-1] > seeds:
        beyond = listing(str(look) for look in looks if look > seeds)
        yield Problem("", "stopping.looks", f"must not lie beyond the {seeds} seeds of the study", beyond, hint)
    elif looks[-1] < seeds:
        rule = f"must end with all seeds of the study, which are {seeds}"
        yield Problem("", "stopping.looks", rule, shown(looks), hint)
    elif not 2 <= len(looks) <= MOST_LOOKS:
        rule = f"must be 2 to {MOST_LOOKS} looks"
        yield Problem("", "stopping.looks", rule, shown(looks), hint)


def nearest_looks(looks: list[int], seeds: int) -> list[int]:
    """Looks that the rules allow, near to these."""
    allowed = sorted({look for look in looks if MIN_SEEDS <= look < seeds} or {max(MIN_SEEDS, seeds // 2)})
    return [*allowed[: MOST_LOOKS - 1], seeds]


def check_only(study: Study, now: Study, only: list[str], *, file: str = "") -> None:
    """Raise InputError where `only` names a seed of the study that it does not need `now`."""
    later = {str(seed) for seed in study.seeds} - {str(seed) for seed in now.seeds}
    problems = [
        Problem(
            file,
            f"--only {text}",
            "is a seed that the study does not need now: it stops, or comes to it, by its planned looks",
            text.partition(":")[2],
            f"seeds needed now: {listing(str(seed) for seed in now.seeds)}",
        )
        for text in only
        if text.partition(":")[2] in later
    ]
    if problems:
        raise InputError(*problems)
