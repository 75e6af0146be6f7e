"""Check what types cannot: names that exist, seeds that are separate, arms that differ. Pure: no I/O, no torch."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from ablate.study import InputError, Problem, Study, digest
from ablate.study.broken_rule import broken_rule
from ablate.study.catalogue import Catalogue
from ablate.study.components import IMPORT_PATH, IMPORT_PATH_RULE
from ablate.study.control_rules import control_rules, like_is_broken, likeness_rules
from ablate.study.design import is_generated
from ablate.study.factor import is_expanded
from ablate.study.hypothesis_rules import hypothesis_datasets, hypothesis_metrics, hypothesis_rules
from ablate.study.metric_rules import Names, metrics_exist, metrics_once, tuning_metric
from ablate.study.pruner_rules import pruner_rules
from ablate.study.report_rules import color_rules, gallery_rules, given_rules, report_metrics
from ablate.study.resolve import Settings, base_settings, control_section, lookup, paths, untuned_settings, with_changes
from ablate.study.run_rules import (
    declaration_rules,
    names_seed,
    placeholder_rules,
    section_rules,
    study_rules,
)
from ablate.study.space_rules import space_rules
from ablate.study.stopping_rules import stopping_rules
from ablate.study.training_rules import training_problems
from ablate.untrusted.wording import nearest, place

SECTIONS = ("model", "data", "loss", "training")  # of the built-in loop
RUN_SECTIONS = ("run",)  # of a command or a function
WHOLE_ONLY_IN_PARTS = ("training", "run")  # sections that an arm cannot replace as a whole
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
NAME_RULE = (
    "must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64"
)
LONGEST = 64
IGNORED_CASE = "which some file systems ignore"
LIKE = 0.7  # of difflib ratios: `widht` is like `width`, `dropout` is not like `depth`
RESERVED_ARMS = ("compare",)  # optuna-dashboard shows `<study>/compare` beside one `<study>/<arm>` per arm
COMMAND_WORDS = ("failed", "stale")  # `--rerun failed` and `ablate discard STUDY:failed` mean runs, not an arm
LARGEST_SEED = 2**32 - 1  # numpy's limit
TUNING_SEEDS_RULE = "is for one tuning of all seeds; where each seed has its own, trials have the seed of the run"
TUNING_SEEDS_HINT = 'leave it out, or write per = "arm" (verdicts then hold for the tuned settings alone)'


class Rule(NamedTuple):
    """A check and the top-level keys that it reads; it is skipped where one of them does not parse.

    `stored`: the rule is also checked for a study read from a store, whose names become file names.
    """

    check: Callable[[Study, Names], Iterable[Problem]]
    reads: tuple[str, ...]
    names_metrics: bool = False
    stored: bool = False


def broken_rules(
    study: Study, catalogue: Catalogue | None, *, file: str, broken: Collection[str] = ()
) -> list[Problem]:
    """Every rule that the study breaks. Metric names go unchecked without a catalogue (None)."""
    return [
        problem._replace(file=file)
        for rule in _RULES
        if not set(rule.reads) & set(broken) and not (rule.names_metrics and catalogue is None)
        for problem in rule.check(study, catalogue or {})
    ]


def broken_stored_rules(study: Study, metrics: Collection[str]) -> Iterator[Problem]:
    """Every `stored` rule that a study read from a store breaks. `metrics` are the names of its metrics."""
    return (problem for rule in _RULES if rule.stored for problem in rule.check(study, metrics))


def _name(study: Study, _: Names) -> Iterator[Problem]:
    if not NAME.fullmatch(study.name):
        yield broken_rule("name", NAME_RULE, study.name)


def _question(study: Study, _: Names) -> Iterator[Problem]:
    if not study.question.strip():
        yield broken_rule("question", "must not be empty")


def _arm_names(study: Study, _: Names) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for arm in study.arms:
        name = study.arms[arm].family if is_expanded(study, arm) else arm
        fit = bool(NAME.fullmatch(name))
        if is_generated(study, arm, name):
            fit = all(NAME.fullmatch(part) for part in study.arms[arm].parts or ()) and len(arm) <= LONGEST
        if not fit:
            yield broken_rule(place("arms", arm), NAME_RULE, arm)
        elif arm in RESERVED_ARMS:
            yield broken_rule(place("arms", arm), "is a reserved name; call the arm something else")
        elif arm.lower() in seen:
            rule = f"differs from arm {seen[arm.lower()]!r} only in case, {IGNORED_CASE}"
            yield broken_rule(place("arms", arm), rule)
        seen.setdefault(arm.lower(), arm)


def alike_but_for_case(names: Iterable[str], *table: str) -> Iterator[Problem]:
    """Names in a table from which arms are made: those of the arms would differ only in case."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            yield broken_rule(place(*table, name), f"differs from {other!r} only in case, {IGNORED_CASE}")


def command_words(study: Study, _: Names) -> Iterator[Problem]:
    """Not for stored studies: older versions allowed these names."""
    for arm in dict.fromkeys(value.family or name for name, value in study.arms.items()):
        if arm in COMMAND_WORDS:
            rule = f"is no name for an arm: commands mean the {arm} runs by it, as in --rerun {arm}"
            yield broken_rule(place("arms", arm), rule, None, f"call it {arm}-arm")


def _baseline(study: Study, _: Names) -> Iterator[Problem]:
    arms_in_file = {arm.family or name: arm for name, arm in study.arms.items()}
    candidates = [name for name, arm in arms_in_file.items() if not arm.reference]
    if study.baseline not in arms_in_file:
        yield broken_rule(
            "baseline", "is not an arm of this study", study.baseline, nearest(study.baseline, candidates)
        )
    elif arms_in_file[study.baseline].reference:
        hint = nearest(study.baseline, candidates)
        yield broken_rule("baseline", "must not be a reference arm", study.baseline, hint)


def _knows_truth(study: Study, _: Names) -> Iterator[Problem]:
    for name, arm in study.arms.items():
        if arm.knows_truth and not arm.reference:
            rule = "is for a reference: an arm that is given the truth is no fair comparison"
            yield broken_rule(place("arms", name, "knows_truth"), rule, True, "reference = true")


def _seeds(seeds: list[int], location: str) -> Iterator[Problem]:
    for seed, count in Counter(seeds).items():
        if count > 1:
            yield broken_rule(location, "must not repeat a seed", seed)
        if not 0 <= seed <= LARGEST_SEED:
            yield broken_rule(location, f"must be from 0 to {LARGEST_SEED}", seed)


def _seeds_apart(study: Study, _: Names) -> Iterator[Problem]:
    shared = sorted(set(study.seeds) & set(study.tuning.seeds)) if study.tuning else []
    if shared and study.tuning and study.tuning.per == "arm":
        yield broken_rule("tuning.seeds", "must not overlap the comparison seeds", shared)


def _tuning_seeds(study: Study, _: Names) -> Iterator[Problem]:
    if study.tuning is None:
        return
    yield from _seeds(study.tuning.seeds, "tuning.seeds")
    if study.tuning.per == "seed" and study.tuning.seeds:
        yield broken_rule("tuning.seeds", TUNING_SEEDS_RULE, study.tuning.seeds, TUNING_SEEDS_HINT)
    elif study.tuning.per == "arm" and not study.tuning.seeds:
        yield broken_rule("tuning.seeds", 'must list at least one seed with per = "arm"')


def sections_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The sections that the settings of a study must have."""
    return RUN_SECTIONS if "run" in settings else SECTIONS


def _sections(study: Study, _: Names) -> Iterator[Problem]:
    sections = sections_of(study.settings)
    for section in sections:
        if section not in study.settings:
            yield broken_rule(f"settings.{section}", "is missing")
    for section, values in study.settings.items():
        location = place("settings", section)
        if section not in sections:
            rule = "cannot stand beside [settings.run]" if "run" in sections else "unknown section"
            yield broken_rule(location, rule, None, "" if "run" in sections else nearest(section, [*SECTIONS, "run"]))
        else:
            yield from _section(section, values, location)


def _section(section: str, values: Mapping[str, Any], location: str) -> Iterator[Problem]:
    """The rules for one section, of the study or of an arm."""
    if section == "run":
        yield from _run_section(values, location)
        return
    if section == "training":
        for item in training_problems(values):
            yield Problem("", place(*location.split("."), *item.path), item.rule, item.value, item.nearest)
        return
    if "factory" not in values:
        yield broken_rule(f"{location}.factory", "is missing", None, IMPORT_PATH_RULE)
    elif not isinstance(values["factory"], str) or not IMPORT_PATH.fullmatch(values["factory"]):
        yield broken_rule(f"{location}.factory", IMPORT_PATH_RULE, values["factory"])
    if section == "data" and "file" in values:
        yield from _data_file(values["file"], f"{location}.file")


def _data_file(name: object, location: str) -> Iterator[Problem]:
    """The folder of the data belongs to the machine, so a study names files relative to the data root."""
    rule = "must be a relative path under the data root"
    if not isinstance(name, str) or not name:
        yield broken_rule(location, rule, name)
    elif PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in PurePosixPath(name).parts:
        yield broken_rule(location, rule, name, "name its folder with --data-root or ABLATE_DATA")


def arm_settings_rules(study: Study) -> Iterator[Problem]:
    """Every rule that the `set` of an arm breaks: settings that exist, values that a run can have."""
    for name, arm in study.arms.items():
        base = _base_settings(study, name)
        if base is None:
            continue
        problems = list(_changes(study, base, name, arm.set))
        yield from problems
        if problems or set(study.settings) != set(sections_of(study.settings)):
            continue
        if "run" in study.settings:
            yield from _run_of_arm(study, name)
            continue
        wrong_in_base = {item.path for item in training_problems(base.get("training", {}))}
        for item in training_problems(with_changes(base, arm.set)["training"]):
            if item.path not in wrong_in_base:
                location = place("arms", name, "set", f"training.{place(*item.path)}")
                yield broken_rule(location, item.rule)._replace(value=item.value)


def _run_of_arm(study: Study, name: str) -> Iterator[Problem]:
    """What is wrong with an arm's `run` section and not with the study's, where `_sections` reports it."""
    location = place("arms", name, "set", "run")
    known = set(_run_section(study.settings["run"], location))
    yield from (p for p in _run_section(untuned_settings(study, name)["run"], location) if p not in known)


def _run_section(section: Mapping[str, Any], location: str) -> list[Problem]:
    problems = list(section_rules(section, location))
    return problems or list(placeholder_rules(section, location) if "command" in section else ())


def _base_settings(study: Study, arm: str) -> Mapping[str, Any] | None:
    """The settings that the arm's `set` is applied to; None where another rule reports a problem with its `like`."""
    if like_is_broken(study, arm):
        return None
    try:
        return base_settings(study, arm)
    except InputError:
        return None


def _changes(study: Study, base: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of the paths and sections in an arm's `set`."""
    sections = {path: value for path, value in changes.items() if "." not in path}
    for path, value in sections.items():
        location = place("arms", name, "set", path)
        if path not in sections_of(base):
            yield broken_rule(location, "no such setting", None, nearest(path, [*sections_of(base), *paths(base)]))
        elif path in WHOLE_ONLY_IN_PARTS or not isinstance(value, dict):
            example = next(iter(value), "…") if isinstance(value, dict) else "…"
            rule = (
                "cannot replace the whole section"
                if path in WHOLE_ONLY_IN_PARTS
                else "must be a table to replace a section"
            )
            yield broken_rule(
                location, rule, None, f'to change one setting write set."{path}.{example}" with the quotes'
            )
        elif value and "factory" not in value:
            hint = f'to change one setting write set."{path}.{next(iter(value))}" with the quotes'
            yield broken_rule(
                f"{location}.factory", "is missing from the section that replaces the study's", None, hint
            )
        else:
            yield from _section(path, value, location)
    replacements = {path: value for path, value in sections.items() if path in SECTIONS and isinstance(value, dict)}
    settings = with_changes({k: v for k, v in base.items() if isinstance(v, dict)}, replacements)
    existing = set(paths(settings))
    for path in changes:
        if path not in sections and path not in existing:
            hint = _hint(path, existing, study.settings)
            yield broken_rule(place("arms", name, "set", path), "no such setting", None, hint)


def _hint(path: str, existing: Collection[str], written: Mapping[str, Any]) -> str:
    """The nearest setting; where its section has none of a like name, that it is to be written there first.

    `written`: the study's settings. A section that an arm replaces is another.
    """
    section, _, name = path.partition(".")
    own = [other.removeprefix(f"{section}.") for other in existing if other.startswith(f"{section}.")]
    is_written = set(paths({section: written.get(section, {})})) == {f"{section}.{other}" for other in own}
    if not own or not is_written or "." in name or difflib.get_close_matches(name, own, cutoff=LIKE):
        return nearest(path, existing)
    return f"write {place(name)} = … in [settings.{section}] first, with the baseline's value"


def resolved_arms(study: Study) -> dict[str, Settings]:
    """Settings of every arm whose `set` can be applied; other rules report the problems of the rest."""
    resolved = {}
    for name, arm in study.arms.items():
        try:
            base = _base_settings(study, name)
            if base is not None and not list(_changes(study, base, name, arm.set)):
                resolved[name] = untuned_settings(study, name)
        except InputError:
            continue
    return resolved


def _twins(study: Study, _: Names) -> Iterator[Problem]:
    tuned = set(study.tuning.space) if study.tuning else set()
    seen: dict[str, str] = {}
    for name, settings in resolved_arms(study).items():
        arm = study.arms[name]
        control = _control(study, name)
        exact = digest([settings, control, arm.replicate])
        if exact in seen:
            hint = "a deliberate twin has replicate = 1"
            yield broken_rule(place("arms", name), f"has the same settings as arm {seen[exact]!r}", None, hint)
            continue
        seen[exact] = name
        if arm.reference or not tuned:
            continue
        fixed = digest([{p: v for p, v in _leaves(settings) if p not in tuned}, control, arm.replicate, "tuned"])
        if fixed in seen:
            rule = f"differs from arm {seen[fixed]!r} only in settings that are tuned for both"
            yield broken_rule(place("arms", name), rule)
        seen.setdefault(fixed, name)


def _twins_of_commands(study: Study, _: Names) -> Iterator[Problem]:
    """Without `{seed}` a twin would be started with the same words as its original."""
    for name, settings in resolved_arms(study).items():
        if study.arms[name].replicate and study.trainer == "command" and not names_seed(settings["run"]):
            rule = "makes a twin that repeats the numbers of its original: the command has no {seed}"
            hint = "give the script a seed, and write {seed} where it takes it"
            yield broken_rule(place("arms", name, "replicate"), rule, study.arms[name].replicate, hint)


def _control(study: Study, arm: str) -> dict[str, Any]:
    """The control's changes, by which the runs of two arms with the same settings differ."""
    try:
        return control_section(study, arm)
    except (InputError, KeyError):  # it names a missing arm, which another rule reports
        return {"broken": arm}


def _vary(study: Study, _: Names) -> Iterator[Problem]:
    for purpose in ("init", "order"):
        if purpose not in study.vary:
            yield broken_rule("vary", f'must hold "{purpose}": it is always drawn anew', study.vary)
    if len(set(study.vary)) < len(study.vary):
        yield broken_rule("vary", "must not repeat a purpose", study.vary)
    if {"split", "fold"} <= set(study.vary):
        yield broken_rule("vary", 'must not hold both "split" and "fold"', study.vary)
    if "fold" in study.vary and len(study.seeds) < 2:
        yield broken_rule("vary", '"fold" needs at least two seeds, one a fold', len(study.seeds))


def _leaves(settings: Settings) -> Iterator[tuple[str, Any]]:
    for path in paths(settings):
        value = lookup(settings, path)
        if not isinstance(value, Mapping) or not value:
            yield path, value


def _space(study: Study, _: Names) -> Iterator[Problem]:
    if study.tuning is not None:
        trained = {n: s for n, s in resolved_arms(study).items() if not study.arms[n].reference}
        yield from space_rules(study.tuning, trained)


_RULES = (
    Rule(_name, ("name",), stored=True),
    Rule(_question, ("question",)),
    Rule(_arm_names, ("arms",), stored=True),
    Rule(command_words, ("arms",)),
    Rule(_baseline, ("baseline", "arms"), stored=True),
    Rule(_knows_truth, ("arms",), stored=True),
    Rule(lambda study, _: _seeds(study.seeds, "seeds"), ("seeds",), stored=True),
    Rule(_tuning_seeds, ("tuning",), stored=True),
    Rule(_seeds_apart, ("seeds", "tuning")),
    Rule(lambda study, _: metrics_once(study), ("metrics",), stored=True),
    Rule(metrics_exist, ("metrics", "catalogue"), names_metrics=True, stored=True),
    Rule(tuning_metric, ("tuning", "catalogue"), names_metrics=True),
    Rule(lambda study, _: hypothesis_rules(study), ("hypotheses", "arms", "factor"), stored=True),
    Rule(lambda study, _: hypothesis_datasets(study), ("hypotheses", "arms", "datasets")),
    Rule(hypothesis_metrics, ("hypotheses", "catalogue"), names_metrics=True, stored=True),
    Rule(report_metrics, ("report", "catalogue"), names_metrics=True, stored=True),
    Rule(lambda study, _: gallery_rules(study), ("report",)),
    Rule(lambda study, _: color_rules(study), ("report", "arms")),
    Rule(_sections, ("settings",)),
    Rule(lambda study, _: declaration_rules(study), ("metric", "catalogue")),
    Rule(lambda study, _: study_rules(study), ("settings", "arms", "tuning", "metric", "catalogue", "vary")),
    Rule(lambda study, _: given_rules(study), ("settings", "report", "cluster")),
    Rule(lambda study, _: likeness_rules(study), ("arms", "factor")),
    Rule(lambda study, _: arm_settings_rules(study), ("settings", "arms")),
    Rule(lambda study, _: control_rules(study, resolved_arms(study)), ("settings", "arms", "tuning", "factor")),
    Rule(_vary, ("vary", "seeds")),
    Rule(lambda study, _: pruner_rules(study), ("settings", "arms", "tuning")),
    Rule(lambda study, _: stopping_rules(study), ("stopping", "seeds", "hypotheses", "vary"), stored=True),
    Rule(_twins, ("settings", "arms", "tuning")),
    Rule(_twins_of_commands, ("settings", "arms")),
    Rule(_space, ("settings", "arms", "tuning")),
)
