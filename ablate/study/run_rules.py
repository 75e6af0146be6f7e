"""Check `[settings.run]`, the section of a command or a function, and what a study of one cannot ask for. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablate.study import Problem, Study
from ablate.study.command_template import BUILT_IN, Placeholder, TemplateError, placeholders, templates
from ablate.study.components import IMPORT_PATH, IMPORT_PATH_RULE
from ablate.study.error_messages import located_problems
from ablate.study.resolve import lookup, paths
from ablate.untrusted.wording import listing, nearest, place, shown

Honoured = Literal["shuffle_input", "drop_input", "drop_joints", "freeze"]


class RunSection(BaseModel):
    """The reserved keys of `[settings.run]`. All other keys are the run's settings."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    command: list[str] | None = Field(default=None, min_length=1)
    function: str | None = None
    inputs: list[str] = []  # files and folders, below the working folder, whose contents enter the key
    code: list[str] = []  # globs of files, below the study's folder, that make runs stale; default: Python files
    env: dict[str, str] = {}  # environment variables of the command
    cwd: str = "."  # the command's working folder, from the study's folder
    timeout_s: float | None = Field(default=None, gt=0)
    resumes: bool = False  # an interrupted command goes on from what it has kept in {dir}
    pattern: str = ""  # regular expression for the scores on stdout, with the groups `name` and `value`
    scores: Literal["mlflow"] | None = None  # the script logs them itself, to the run that its environment names
    honours: list[Honoured] = []  # controls that the script or function carries out itself
    parameters: Any = None  # a command or, for a function, an import path, that counts the parameters of a run
    test: Literal["", "none"] = ""  # "none": there is one split, the one that tuning uses
    selection: Literal["final", "best-val"] = "final"  # which weights were scored; for the report's words alone


RESERVED = tuple(RunSection.model_fields)
FOR_COMMANDS = {  # reserved keys that would do nothing for a function, and what does it there
    "code": "the modules that the function imports count; name other files as inputs",
    "env": "the function can set os.environ itself",
    "timeout_s": "",
    "resumes": "what the function keeps in run.folder is there when it is called again",
    "pattern": "the function returns its scores",
    "scores": "the function returns its scores",
}


def run_settings(section: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a `run` section: all but its reserved keys."""
    return {name: value for name, value in section.items() if name not in RESERVED}


def setting_values(section: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a `run` section by dotted path, without its tables: what placeholders may name."""
    settings = run_settings(section)
    values = {path: lookup({"": settings}, path) for path in paths({"": settings})}
    return {path[1:]: value for path, value in values.items() if not isinstance(value, Mapping)}


def honoured_controls(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names in each control that the command or function honours; [] in one that the arm does not have.

    `settings`: those of a run.
    """
    control = settings.get("control", {})
    return {name: list(control.get(name, [])) for name in settings["run"].get("honours", [])}


def section_rules(section: Mapping[str, Any], location: str) -> Iterator[Problem]:
    """The rules for the reserved keys of a `run` section."""
    command = section.get("command")
    if isinstance(command, str):
        yield Problem(
            "", f"{location}.command", "must be a list of words, not a shell command", shown(command), _as_list(command)
        )
        section = {**section, "command": None}
    try:
        parsed = RunSection.model_validate(dict(section))
    except ValidationError as error:
        for item in located_problems(error):
            yield Problem("", place(*location.split("."), *item.path), item.rule, item.value, item.nearest)
        return
    if ("command" in section) == ("function" in section):
        both = "must not have both a command and a function" if command else "needs a command or a function"
        yield Problem(
            "", location, both, "", 'such as command = ["python", "train.py", "--seed={seed}", "--out={out}"]'
        )
    if parsed.function is not None and not IMPORT_PATH.fullmatch(parsed.function):
        yield Problem("", f"{location}.function", IMPORT_PATH_RULE, shown(parsed.function))
    for name in sorted(FOR_COMMANDS.keys() & section.keys()) if parsed.function is not None else ():
        yield Problem("", f"{location}.{name}", "is for a command", shown(section[name]), FOR_COMMANDS[name])
    for name in BUILT_IN:
        if name in section:
            yield Problem("", f"{location}.{name}", "is a placeholder of ablate's own and cannot be a setting", name)
    if parsed.parameters is not None:
        yield from _parameters_rules(parsed, f"{location}.parameters")
    for name in parsed.honours:
        if name in section:
            rule = "is a control that this section honours and cannot be a setting"
            yield Problem("", f"{location}.{name}", rule, shown(section[name]))
    if len(set(parsed.honours)) < len(parsed.honours):
        yield Problem("", f"{location}.honours", "must not repeat a control", listing(parsed.honours))
    if parsed.pattern:
        yield from _pattern_rules(parsed.pattern, f"{location}.pattern")
    for key, folder in (("inputs", "working"), ("code", "study's")):
        for index, name in enumerate(getattr(parsed, key)):
            if not name or name.startswith(("/", "~")) or ".." in name.split("/"):
                rule = f"must be a relative path below the {folder} folder"
                yield Problem("", place(*location.split("."), key, index), rule, name)


def _parameters_rules(section: RunSection, location: str) -> Iterator[Problem]:
    """What counts the parameters is named as what trains is: by a list of words, or by an import path."""
    counts = section.parameters
    if section.function is not None:
        if not isinstance(counts, str) or not IMPORT_PATH.fullmatch(counts):
            hint = "for a function it is one: def count(settings) -> int"
            yield Problem("", location, IMPORT_PATH_RULE, shown(counts), hint)
    elif isinstance(counts, str):
        rule = "must be a list of words, not a shell command"
        yield Problem("", location, rule, shown(counts), _as_list(counts, "parameters"))
    elif not isinstance(counts, list) or not counts or not all(isinstance(word, str) for word in counts):
        yield Problem("", location, "must be a list of words, of which there is one", shown(counts))


def _as_list(command: str, key: str = "command") -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return f"write {key} = [{', '.join(shown(word) for word in words)}]"


def _pattern_rules(pattern: str, location: str) -> Iterator[Problem]:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        yield Problem("", location, f"is no regular expression: {error}", shown(pattern))
        return
    if not {"name", "value"} <= set(groups):
        rule = "must have the groups `name` and `value`"
        yield Problem("", location, rule, shown(pattern), r"such as (?P<name>\w+)=(?P<value>\S+)")


def placeholder_rules(section: Mapping[str, Any], location: str) -> Iterator[Problem]:
    """The rules for the placeholders of a command whose section has the right types: each names a value, every setting
    has one, and the scores come back."""
    values = setting_values(section)
    honoured = section.get("honours", [])
    used: set[str] = set()
    counting = {f"parameters[{index}]": word for index, word in enumerate(section.get("parameters") or ())}
    for at, word in (counting | templates(section)).items():
        try:
            found = list(placeholders(word))
        except TemplateError as error:
            yield Problem("", f"{location}.{at}", str(error), shown(word))
            return
        for placeholder in found:
            if at not in counting:
                used.add(placeholder.name)
            if placeholder.name in honoured:
                continue
            is_word = placeholder.alone and not at.startswith("env")
            yield from _placeholder_rules(placeholder, values, word, f"{location}.{at}", location, is_word=is_word)
    for name in sorted(values.keys() - used):
        rule = "has no placeholder in the command or in env, so it would change nothing"
        yield Problem(
            "", f"{location}.{name}", rule, shown(values[name]), f"write {{{name}}} where the script takes it"
        )
    for name in honoured:
        if name not in used:
            rule = "names a control without a placeholder in the command or in env, so the script would not be told"
            hint = f"write {{{name}}} where the script takes the names"
            yield Problem("", f"{location}.honours", rule, name, hint)
    yield from _ways_of_scores(section, used, location)


def _placeholder_rules(
    placeholder: Placeholder, values: Mapping[str, Any], word: str, at: str, location: str, *, is_word: bool
) -> Iterator[Problem]:
    """What is wrong with one placeholder of the text `word` at the place `at`. `is_word`: a whole word of the command.

    `values`: the settings by dotted path; `location`: the place of the `run` section.
    """
    name, value = placeholder.name, values.get(placeholder.name)
    if name not in values and name not in BUILT_IN:
        is_budget = name == "budget"
        rule = "needs the setting budget, a number" if is_budget else "names no setting and nothing built in"
        hint = f"add budget = … to [{location}]" if is_budget else nearest(name, [*values, *BUILT_IN])
        yield Problem("", at, f"the placeholder {{{name}}} {rule}", shown(word), hint)
    elif placeholder.text is not None and not isinstance(value, bool):
        rule = f"{{{name}?…}} needs a setting that is true or false"
        yield Problem("", at, rule, shown(values.get(name, name)))
    elif isinstance(value, list) and not is_word:
        yield Problem("", at, f"the list {name} must be a whole word of the command: {{{name}}}", shown(word))


def _ways_of_scores(section: Mapping[str, Any], used: Collection[str], location: str) -> Iterator[Problem]:
    """Scores come back by {out} or `pattern`, or from MLflow. `used`: the placeholders of the command and of `env`."""
    ways = [*(["{out}"] if "out" in used else []), *(["pattern"] if section.get("pattern") else [])]
    if section.get("scores") == "mlflow":
        if ways:
            rule = f"scores come from MLflow or by {listing(ways)}, not both"
            yield Problem("", f"{location}.scores", rule, shown("mlflow"), "leave one out")
    elif not ways:
        rule = "no scores would come back: the command has no {out} and there is no pattern for its output"
        hint = '{out} is the path of a JSON file that the script writes; scores = "mlflow": it logs them to MLflow'
        yield Problem("", f"{location}.command", rule, "", hint)


def names_seed(section: Mapping[str, Any]) -> bool:
    """Whether a command, or its environment, is given the run's seed; True where a word cannot be read."""
    words = [*(section.get("command") or ()), *(section.get("env") or {}).values()]
    try:
        return any(found.name == "seed" for word in words for found in placeholders(word))
    except (TemplateError, TypeError):  # another rule reports it
        return True


def study_rules(study: Study) -> Iterator[Problem]:
    """What the study asks for and its trainer cannot do."""
    if study.trainer == "built-in":
        if study.tuning is not None and study.tuning.budget is not None:
            yield Problem("", "tuning.budget", "is for a command or a function; the built-in loop has tuning.epochs")
        if study.metric:
            yield Problem("", "metric", "is for a command or a function; the built-in loop needs a catalogue")
        return
    kind = study.trainer
    if study.catalogue:
        yield Problem("", "catalogue", f"a {kind} computes its own scores: declare each with [metric.<name>]")
    yield from _name_rules(study)
    if study.tuning is not None:
        if study.tuning.epochs is not None:
            yield Problem("", "tuning.epochs", f"is for the built-in loop; a {kind} has tuning.budget")
        if study.tuning.budget is not None and "budget" not in study.settings["run"]:
            yield Problem("", "tuning.budget", "replaces the setting budget of [settings.run], which is missing")
    for purpose in study.vary:
        if purpose not in ("init", "order"):
            rule = f"a {kind} draws its own split: give it the seed, and leave {purpose!r} out"
            yield Problem("", "vary", rule, shown(study.vary))
    for name, arm in study.arms.items():
        if "run.test" in arm.set:
            rule = "is the study's, not an arm's: all arms are compared on the same split"
            yield Problem("", place("arms", name, "set", "run.test"), rule, shown(arm.set["run.test"]))


def _name_rules(study: Study) -> Iterator[Problem]:
    """A score under one name cannot be of both splits: tuning would see test scores."""
    if study.split != "test":
        return
    test_names = {names[1]: metric for metric, names in score_names(study).items()}
    for metric, (val, _) in score_names(study).items():
        if val in test_names:
            rule = f"is the name of the test score of {test_names[val]} too: tuning would see test scores"
            hint = 'where the script has one split, write test = "none" in [settings.run]'
            yield Problem("", place("metric", metric, "val"), rule, shown(val), hint)


def score_names(study: Study) -> dict[str, tuple[str, str]]:
    """Metric → the names under which its validation and its test score come."""
    return {name: (m.val or f"val_{name}", m.test or f"test_{name}") for name, m in study.metric.items()}


def declaration_rules(study: Study) -> Iterator[Problem]:
    """The metrics come from a catalogue or are declared; without settings it is not known which the study needs."""
    declare = '[metric.accuracy] with direction = "higher"'
    if study.trainer != "built-in":
        if not study.metric:
            yield Problem("", "metric", "is missing", "", f"{declare} declares one")
    elif not study.catalogue and not study.metric:
        hint = "" if study.settings else f"the metrics of a command or a function are declared: {declare}"
        yield Problem("", "catalogue", "is missing", "", hint)
