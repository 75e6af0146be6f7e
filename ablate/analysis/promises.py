"""Which promises of a study ablate enforces, and which rest on its owner's word, as clauses. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.study import Study
from ablate.study.command_template import TemplateError, placeholders, templates
from ablate.study.resolve import NAME_LISTS, resolve
from ablate.untrusted.wording import listing


@dataclass(frozen=True)
class Promises:
    """Clauses such as `every arm has the same seeds`. Those on the owner's word begin with `that`."""

    enforced: tuple[str, ...]
    owners_word: tuple[str, ...]


@dataclass(frozen=True)
class _Trainer:
    """What the sentences about a command and about a function differ in."""

    sections: Sequence[Mapping[str, Any]]  # the `run` section of every arm
    is_command: bool
    names: Collection[str]  # of the placeholders in any arm's command and environment


def promises(study: Study) -> Promises | None:
    """The promises of a study. None for adopted results: nothing of them is enforced, and a warning says so."""
    if study.trainer == "adopted":
        return None
    if study.trainer == "built-in":
        data = "that the study's data gives no test example in training or validation"
        return Promises(tuple(_by_the_loop(study)), (data,) if study.split == "test" else ())
    sections = [resolve(study, arm)["run"] for arm in study.arms]
    names = {name for section in sections for name in _placeholders(section)}
    trainer = _Trainer(sections, study.trainer == "command", names)
    return Promises(tuple(_enforced(study, trainer)), tuple(_owners_word(study, trainer)))


def _by_the_loop(study: Study) -> Iterator[str]:
    yield from _of_every_trainer(study)
    twins = ", but for twins" if any(arm.replicate for arm in study.arms.values()) else ""
    yield f"arms with the same data settings{twins} see the same training examples in the same order"
    yield "the scores are those of the last weights"
    if study.split == "test":
        yield "test examples are scored once, after training, and never in a trial"


def _of_every_trainer(study: Study) -> Iterator[str]:
    yield "every arm has the same seeds"
    if study.tuning is not None:
        yield "every tuned arm has the same number of trials and the same space"
    yield "a failed run is a gap and no number"


def _enforced(study: Study, trainer: _Trainer) -> Iterator[str]:
    yield from _of_every_trainer(study)
    if study.tuning is not None and study.split == "test" and (way := _way_of_scores(trainer)):
        yield f"test scores of a trial, which come {way}, are dropped before anything is stored"
    if not trainer.is_command:
        yield "the generators of random, NumPy and, where the function's module imports it, torch start from the seed"


def _owners_word(study: Study, trainer: _Trainer) -> Iterator[str]:
    sections = trainer.sections
    if not trainer.is_command:
        yield "that nothing else in a run is random, so that runs of one seed are pairs"
    elif "seed" in trainer.names:
        yield "that {seed} decides all that is random in a run, so that runs of one seed are pairs"
    else:
        yield "that runs of one seed are pairs at all, for the command does not take {seed}"
    yield "that all arms see the same data in the same order"
    yield from _controls(study)
    yield from _counts(study)
    if not all(section.get("inputs") for section in sections):
        yield "that the data stays the same from run to run, for the study names no inputs"
    if any("budget" in section for section in sections):
        yield "that a run uses the budget it is given, no more and no less"
    yield from _weights(sections)
    if study.split == "test":
        yield "that test data is used neither in training nor in scores on validation"
        if study.tuning is not None and not _way_of_scores(trainer):
            yield "that tuning does not see the test scores which a script logs itself"
    if _goes_on(trainer):
        yield "that a run that was interrupted and goes on ends like one that was not"
    else:
        yield "that a run that was interrupted leaves nothing behind that changes the next attempt"


def _controls(study: Study) -> Iterator[str]:
    """The controls that the command or function carries out itself, with the arms that have them."""
    by_name = {key: [arm for arm, a in study.arms.items() if getattr(a.control, key, [])] for key in NAME_LISTS}
    done = [f"{key} of {listing(arms)}" for key, arms in by_name.items() if arms]
    if done:
        yield f"that the {study.trainer} does what the controls ask, which ablate only passes on: {', '.join(done)}"


def _counts(study: Study) -> Iterator[str]:
    if any(arm.control is not None and arm.control.match_parameters for arm in study.arms.values()):
        yield "that what counts the parameters, which ablate matches, counts those that a run trains"


def _weights(sections: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    which = {section.get("selection", "final") for section in sections}
    if "final" in which:
        some = " of some arms" if len(which) > 1 else ""
        yield f'that the scores{some} are those of the last weights (selection = "final")'
    if "best-val" in which:
        some = " of some arms" if len(which) > 1 else ""
        yield f'that the scores{some} are those of the weights that did best on validation (selection = "best-val")'


def _way_of_scores(trainer: _Trainer) -> str:
    """How ablate itself receives the scores; "" where a script logs them to MLflow, past ablate."""
    if not trainer.is_command:
        return "as a return value"
    if any(section.get("pattern") for section in trainer.sections):
        return "by a pattern in the output"
    return "in a file" if "out" in trainer.names else ""


def _goes_on(trainer: _Trainer) -> bool:
    """Whether an interrupted run is meant to go on from files that it has kept."""
    resumes = any(section.get("resumes") for section in trainer.sections)
    return resumes or "dir" in trainer.names or not trainer.is_command


def _placeholders(section: Mapping[str, Any]) -> set[str]:
    """The placeholders of a command; none of a damaged one, which a store from elsewhere may hold."""
    try:
        return {found.name for word in templates(section).values() for found in placeholders(word)}
    except TemplateError:
        return set()
