"""Write the text of a study file with its comments. Pure: no I/O."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ablate.commands.init.command import Command, Value
from ablate.commands.init.function import Function
from ablate.study import Scalar

WIDTH = 110  # of a line with the words of a command
PATTERN = r"(?P<name>\w+)\s*[=:]\s*(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_LOWER = re.compile(r"loss|err|mae|mse|ppl|perplexity|bpc")


class Arm(NamedTuple):
    """An arm that differs from the baseline in one setting."""

    name: str
    label: str
    question: str
    setting: str
    value: Scalar


class Metric(NamedTuple):
    """A declared metric and the names under which its scores come."""

    name: str
    direction: str
    val: str
    test: str
    known: bool  # whether the source names its validation score …
    tested: bool  # … and its test score


def command_study(command: Command, *, name: str, file: str, cwd: str, typed: str) -> str:
    """A study of a command. `cwd`: where the command runs, from the study's folder; `typed`: what the person gave."""
    script = command.script.file or "the command"
    metric, arm = _metric(command.script.scores), _command_arm(command)
    todo = [*_command_todo(command, metric, script), *_arm_todo(arm)]
    return "\n".join(
        [
            *_header(name, file, arm, todo, f"--command {json.dumps(typed, ensure_ascii=False)}"),
            "[settings.run]",
            *_assignment_of_words(command.words),
            *([f"cwd = {_toml(cwd)}  # where the command runs, from this file's folder"] if cwd != "." else []),
            *_command_scores(command, script),
            *(f"env.{key} = {_toml(value)}" for key, value in command.environment.items()),
            *_command_inputs(command),
            *(f"{key} = {_toml(value)}{_origin(command, key)}" for key, value in command.settings.items()),
            *_command_budget(command, script),
            *_further_flags(command),
            "",
            *_metric_lines(metric),
            *_arms(arm, command.settings),
            *_tuning(command.settings, metric, budget=command.budget),
            *_hypothesis(arm, metric),
        ]
    )


def function_study(function: Function, *, name: str, file: str) -> str:
    """A study of a function."""
    read = dict(function.settings) or {"use_part": True}
    settings = {key: 1.0 if value is None else value for key, value in read.items()}
    metric = _metric(function.scores)
    arm = _arm({k: v for k, v in settings.items() if function.settings == () or read[k] is not None}, {}, {})
    unknown = [key for key, value in read.items() if value is None]
    todo = []
    if not function.found:
        todo.append(f"{function.path}: its source was not found beside this file; write def NAME(settings, run)")
    if unknown:
        todo.append(f"[settings.run]: your values for {', '.join(unknown)}, which {function.path} reads")
    elif not function.settings:
        todo.append('[settings.run]: the settings that your function reads, as settings["use_part"]')
    todo += [f"[metric.{metric.name}]: scores that your function returns: {_example(metric)}", *_arm_todo(arm)]
    has_budget = function.budget or not function.found  # a function that is to be written is shown one
    budget = "# budget = 10  # where it reads run.budget"
    if has_budget:
        budget = "budget = 10  # of the comparison, as run.budget: epochs, steps; `ablate run --smoke` runs with 1"
    return "\n".join(
        [
            *_header(name, file, arm, todo, f"--function {function.path}"),
            "[settings.run]",
            f"function = {_toml(function.path)}  # def {function.path.partition(':')[2]}(settings, run)",
            *(f"{key} = {_toml(value)}" for key, value in settings.items()),
            budget,
            '# inputs = ["data/train.bin"]  # files whose contents enter a run\'s key',
            "",
            *_metric_lines(metric),
            *_arms(arm, settings),
            *_tuning(settings, metric, budget=10 if has_budget else None),
            *_hypothesis(arm, metric),
        ]
    )


def _header(name: str, file: str, arm: Arm | None, todo: Sequence[str], given: str) -> Iterator[str]:
    question = arm.question if arm else "Does the change help?"
    yield f"# Question:    {question}"
    yield f"# Command:     ablate run {file}"
    yield "# Cost:        2 arms × 5 seeds = 10 runs; write down how long one takes"
    yield "# Expectation: write down what you expect before the first run"
    yield "#"
    yield f"# Written by `ablate init {given}`. Still to do:"
    for number, each in enumerate(todo, 1):
        yield from _comment(each, f"#   {number}. ")
    yield f"# `ablate plan {file} --check` says what is wrong with this file."
    yield ""
    yield f"name = {_toml(name)}"
    yield f"question = {_toml(question)}"
    yield 'baseline = "baseline"'
    yield "seeds = [1, 2, 3, 4, 5]  # one run of every arm for each; arms are compared seed by seed"
    yield ""


def _command_todo(command: Command, metric: Metric, script: str) -> Iterator[str]:
    scores = _example(metric)
    if "out" in command.filled:
        yield f"The scores: {script} must write them to the path {{out}}, as one JSON object such as {scores}."
    elif _logged(command):
        yield f"The scores: {script} logs them with MLflow, under the names {metric.val} and {metric.test}."
        for call in command.script.leads_elsewhere:
            yield f"{script} calls mlflow.{call}: leave it out, or its scores go elsewhere (docs/mlflow_scores.md)."
    else:
        yield (
            f"The scores: {script} has no flag that is known to take the path of a file for them. As it stands, lines "
            f"such as {metric.val}=0.91 and {metric.test}=0.9 in its output are read, by `pattern`; the last of each "
            f'counts. Or let it write {scores} to the path in a flag of its own, add "--out={{out}}" to the command '
            "and remove `pattern`."
        )
    source = "as its source names them" if metric.known else "your metric, its direction and the names of its scores"
    yield f"[metric.{metric.name}]: {source}."
    if "seed" not in command.filled:
        yield (
            f'The seed: {script} has no flag for it that is known. Add one, and "--seed={{seed}}" to the command: '
            "without it the seeds are mere repetitions."
        )


def _logged(command: Command) -> bool:
    """Whether the scores are those that the script logs to MLflow."""
    return command.script.logs_to_mlflow and "out" not in command.filled


def _arm_todo(arm: Arm | None) -> Iterator[str]:
    if arm is None:
        yield "[arms.changed]: no setting was found; add one to [settings.run], with its placeholder, and set it there."
    else:
        yield f"[arms.{arm.name}]: it changes {arm.setting}; make it the change that you ask about."


def _assignment_of_words(groups: Sequence[Sequence[str]]) -> list[str]:
    """`command = [...]`, on several lines where it is long."""
    texts = [", ".join(_toml(word) for word in group) for group in groups if group]
    line = f"command = [{', '.join(texts)}]"
    if len(line) <= WIDTH:
        return [line]
    return ["command = [", *(f"    {text}," for text in texts), "]"]


def _command_scores(command: Command, script: str) -> Iterator[str]:
    if _logged(command):
        yield f'scores = "mlflow"  # {script} logs them itself, to the run that its environment names'
    elif "out" not in command.filled:
        yield f"pattern = '{PATTERN}'  # of a score in the output of {script}"
    if command.added:
        yield f"# {', '.join(command.added)}: not in the command as given; added because {script} takes them."


def _command_inputs(command: Command) -> Iterator[str]:
    if command.inputs:
        yield f"inputs = {_toml(command.inputs)}  # their contents enter a run's key: other data, other runs"
    else:
        yield '# inputs = ["data/train.bin"]  # files whose contents enter a run\'s key: other data, other runs'


def _origin(command: Command, key: str) -> str:
    typed = command.typed[key]
    flag = next((flag for flag in command.script.flags if typed in flag.names), None)
    choices = f"; one of {', '.join(map(_toml, flag.choices))}" if flag and flag.choices else ""
    return f"  # {typed}{choices}" if choices or key != typed.lstrip("-").replace("-", "_") else ""


def _command_budget(command: Command, script: str) -> Iterator[str]:
    if command.budget is not None:
        yield f"budget = {_toml(command.budget)}  # {command.budget_flag}; `ablate run --smoke` runs with 1"
    else:
        yield f'# budget = 10  # where {script} takes a number of epochs or steps: "--epochs={{budget}}" in the command'


def _further_flags(command: Command) -> Iterator[str]:
    """The flags of the script that the command does not use: what else an arm or tuning could change."""
    used = {re.split(r"[={}]", word.partition("?")[2] or word)[0] for word in command.flags}
    others = [flag for flag in command.script.flags if not used & set(flag.names)]
    required = [flag.name for flag in others if flag.required]
    if required:
        yield f"# {command.script.file} requires {', '.join(required)}: add it to the command."
    optional = [
        flag.name + (f" ({_toml(flag.default)})" if flag.default is not None and not flag.switch else "")
        for flag in others
        if not flag.required
    ]
    if optional:
        yield from _comment(f"{command.script.file} also takes {', '.join(optional)}", "# ")


def _comment(text: str, start: str) -> list[str]:
    """The text as comment lines, of which the first begins with `start`."""
    further = "#" + " " * (len(start) - 1)
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )


def _metric(scores: Sequence[str]) -> Metric:
    """The metric that a source names: one with a test score first, of these an accuracy, else the first."""
    names = [score.removeprefix("val_") for score in scores if score.startswith("val_")]
    names.sort(key=lambda name: (f"test_{name}" not in scores, "acc" not in name))
    if not names:
        return Metric("accuracy", "higher", "val_accuracy", "test_accuracy", known=False, tested=False)
    found, direction = names[0], "lower" if _LOWER.search(names[0]) else "higher"
    name = "accuracy" if found == "acc" else found
    test = f"test_{found}"
    return Metric(name, direction, f"val_{found}", test, known=True, tested=test in scores)


def _metric_lines(metric: Metric) -> Iterator[str]:
    yield f"[metric.{metric.name}]"
    yield f'direction = "{metric.direction}"  # which is better: "higher" or "lower"'
    yield f'val = "{metric.val}"  # the names of its scores'
    yield f'test = "{metric.test}"'
    if not metric.tested:
        yield '# Where there is one split and no test score, write test = "none" into [settings.run].'
    yield '# label = "Accuracy"'
    yield '# unit = "%"'
    yield ""


def _example(metric: Metric) -> str:
    return f'{{"{metric.val}": 0.91, "{metric.test}": 0.9}}'


def _command_arm(command: Command) -> Arm | None:
    choices = {
        name: flag.choices
        for name, typed in command.typed.items()
        for flag in command.script.flags
        if typed in flag.names
    }
    return _arm(command.settings, command.typed, choices)


def _arm(
    settings: Mapping[str, Value], typed: Mapping[str, str], choices: Mapping[str, Sequence[Scalar]]
) -> Arm | None:
    """An arm that switches one setting: a truth value, else another of the values that a flag allows, else a number."""
    for name, value in settings.items():
        if isinstance(value, bool):
            flag = typed.get(name, name)
            return Arm(
                _arm_name(f"{'without' if value else 'with'}-{name}"),
                f"{'Without' if value else 'With'} {flag}",
                f"Does {flag} help?",
                f"run.{name}",
                not value,
            )
    for name, value in settings.items():
        other = next((choice for choice in choices.get(name, ()) if choice != value), None)
        if other is None and isinstance(value, int | float):
            other = value * 2 or 1
        if other is not None:
            flag = typed.get(name, name)
            label, question = f"{flag} {other}", f"Is {flag} {other} better than {value}?"
            return Arm(_arm_name(f"other-{name}"), label, question, f"run.{name}", other)
    return None


def _arm_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:60].strip("-")


def _arms(arm: Arm | None, settings: Mapping[str, Any]) -> Iterator[str]:
    yield "[arms.baseline]"
    yield 'label = "Baseline"'
    yield ""
    if arm is None:
        yield "# [arms.changed]"
        yield '# label = "Changed"'
        yield f'# set."run.{next(iter(settings), "setting")}" = …'
    else:
        yield f"[arms.{arm.name}]"
        yield f"label = {_toml(arm.label)}"
        yield f'set."{arm.setting}" = {_toml(arm.value)}'
    yield ""


def _tuning(settings: Mapping[str, Value], metric: Metric, *, budget: int | float | None) -> Iterator[str]:
    """A commented section: every arm would get the same number of trials."""
    numbers = [(k, v) for k, v in settings.items() if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    name, value = min(numbers, key=lambda item: not _is_rate(item[0]), default=("lr", 0.01))
    whole = isinstance(value, int)
    low, high = (max(1, value // 4), value * 4) if whole else (_rounded(value / 10), _rounded(value * 10))
    kind = "int" if whole else "float"
    yield "# Nothing is tuned, and the report says so. To tune every arm, on the same budget for every seed:"
    yield "# [tuning]"
    yield "# trials = 8"
    yield f'# metric = "val/{metric.name}"'
    if budget is not None:
        yield f"# budget = {_toml(budget)}  # of a trial, in place of the comparison's"
    yield f'# space."run.{name}" = {{ type = "{kind}", low = {_toml(low)}, high = {_toml(high)}, log = true }}'
    yield ""


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")  # 0.003 / 10 is 0.00030000000000000003


def _is_rate(name: str) -> bool:
    return name in ("lr", "learning_rate") or name.endswith(("_lr", "_learning_rate"))


def _hypothesis(arm: Arm | None, metric: Metric) -> Iterator[str]:
    pair = (arm.name if arm else "changed", "baseline")
    better, other = reversed(pair) if arm is not None and arm.value is False else pair  # "Does --use-x help?"
    yield "# What you claim, declared before the first run, gets a verdict:"
    yield "# [[hypotheses]]"
    yield f'# arm = "{better}"  # the better one, as you claim'
    yield f'# against = "{other}"'
    yield f'# metric = "{metric.name}"'
    yield "# margin = 0.0  # better by more than this"
    yield ""


def _toml(value: object) -> str:
    """A value in TOML: JSON writes texts, numbers, truth values and lists of them in the same way."""
    return json.dumps(value, ensure_ascii=False)
