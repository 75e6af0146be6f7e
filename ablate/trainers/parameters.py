"""Count the parameters of a run by a command or a function, and match them, by what `parameters` names.

Every count is a process of its own, so that it changes nothing in a run. Imports no torch.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, RunSpec, digest
from ablate.study.command_template import placeholders, templates
from ablate.study.resolve import lookup
from ablate.study.run_rules import honoured_controls, run_settings, setting_values
from ablate.study.runs import trainer_kind
from ablate.trainers import child_process
from ablate.trainers.child_process import POLL_S, Child
from ablate.trainers.command_line import SCORES, base_environment, command_line
from ablate.trainers.context import Context
from ablate.trainers.count_parameters import PLACE
from ablate.trainers.errors import RunFailed
from ablate.trainers.matching import matching_value, with_setting
from ablate.untrusted.wording import shown

TIMEOUT_S = 600.0  # of one count, where `timeout_s` is not set
LAST_LINE = r"(?P<name>)(?P<value>[^\r\n]*\S)"  # the last line of stdout that is not blank
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass
class Counter:
    """Counts parameters, each count once. Raises InputError where a count fails, and what `wait` raises."""

    context: Context
    folder: Path  # for the files that a command writes while it counts
    log: Path  # what the counts print is appended
    wait: Callable[[], None]  # called while a count runs; may raise to end it
    known: dict[str, int] = field(default_factory=dict)  # answers by what was asked

    def __post_init__(self) -> None:
        self.known.update(self.context.counted)
        self.context = replace(self.context, device="cpu", environment={})  # a count logs to no run of MLflow

    def matched(self, spec: RunSpec) -> RunSpec:
        """The run with the matching value set, where its control matches parameters. Its key is not that of `spec`."""
        match = spec.settings.get("control", {}).get("match_parameters")
        if not match:
            return spec
        name = match["by"].removeprefix("run.")
        if trainer_kind(spec.settings) == "command":
            start = lookup(spec.settings, match["by"])
            value = matching_value(
                lambda value: self.count(_with(spec, name, value)), self.count(_other(spec)), start, match["by"]
            )
        else:
            other = _function_settings(_other(spec).settings)
            value = self._asked_of_function(spec, {"by": name, "other": other})
        return _with(spec, name, value)

    def count(self, spec: RunSpec) -> int:
        """The number of parameters of a run."""
        if trainer_kind(spec.settings) == "function":
            return self._asked_of_function(spec, {})
        section = spec.settings["run"]
        identity = digest([section["parameters"], section.get("env"), section.get("cwd"), _used(spec.settings)])
        if identity not in self.known:
            counting = replace(spec, settings={**spec.settings, "run": {**section, "command": section["parameters"]}})
            self.folder.mkdir(parents=True, exist_ok=True)
            words, environment = command_line(counting, self.context, self.folder, self.folder / SCORES)
            self.known[identity] = _whole_number(self._last_line(spec, words, environment))
        return self.known[identity]

    def of_run(self, spec: RunSpec) -> tuple[RunSpec, dict[str, float]]:
        """`matched`, and the number of parameters as a score of a run of the comparison, where something counts them.

        Raises RunFailed where a count fails.
        """
        if not spec.settings["run"].get("parameters"):
            return spec, {}
        try:
            matched = self.matched(spec)
            return matched, {} if spec.phase == "tune" else {"cost/parameters": float(self.count(matched))}
        except InputError as error:
            raise RunFailed(str(error).removeprefix(": ")) from None
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _asked_of_function(self, spec: RunSpec, match: Mapping[str, Any]) -> int:
        section = spec.settings["run"]
        request = {"parameters": section["parameters"], "settings": _function_settings(spec.settings), **match}
        identity = digest([request, section.get("cwd")])
        if identity not in self.known:
            where = {"path": sys.path, "study_dir": str(self.context.study_dir)}
            module = "ablate.trainers.count_parameters"
            words = [sys.executable, "-P", "-m", module, json.dumps({**request, **where})]
            environment = base_environment(self.context)
            self.known[identity] = _function_answer(self._last_line(spec, words, environment))
        return self.known[identity]

    def _last_line(self, spec: RunSpec, words: list[str], environment: Mapping[str, str]) -> str:
        """Run the words in the run's working folder; returns the last line of their stdout, "" where there is none."""
        section = spec.settings["run"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        cwd = self.context.study_dir / section.get("cwd", ".")
        environment = {"CUDA_VISIBLE_DEVICES": "", **environment}
        try:
            with child_process.running(words, cwd, environment, self.log, LAST_LINE) as child:
                ending = self._ending(child, section.get("timeout_s") or TIMEOUT_S)
        except RunFailed as error:  # it cannot be started
            raise InputError(Problem("", PLACE, str(error))) from None
        if ending:
            raise InputError(Problem("", PLACE, f"the count {ending}{child.said()}"))
        return child.scores.get("", "")

    def _ending(self, child: Child, timeout_s: float) -> str:
        """How the count ended otherwise than well; "" where it has ended well."""
        started = time.monotonic()
        while (code := child.wait(POLL_S)) is None:
            self.wait()
            if time.monotonic() - started > timeout_s:
                child.stop()
                return f"did not end within {timeout_s:g} s"
        return child_process.ending(code) if code else ""


def matched_setting(spec: RunSpec, matched: RunSpec) -> dict[str, str]:
    """The value at which the parameter counts match, where a control asks for that: a fact of the run."""
    match = spec.settings.get("control", {}).get("match_parameters")
    return {f"matched/{match['by']}": str(lookup(matched.settings, match["by"]))} if match else {}


def _with(spec: RunSpec, name: str, value: int) -> RunSpec:
    return replace(spec, settings={**spec.settings, "run": with_setting(spec.settings["run"], f"run.{name}", value)})


def _other(spec: RunSpec) -> RunSpec:
    """The run whose number of parameters is to be matched."""
    match = spec.settings["control"]["match_parameters"]
    return replace(spec, settings={"run": match["of_run"], "control": match.get("of_control", {})})


def _function_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as the function gets them, without the budget, which changes no network."""
    own = {name: value for name, value in run_settings(settings["run"]).items() if name != "budget"}
    return own | honoured_controls(settings)


def _used(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings and controls that a count by a command depends on: those with a placeholder in its words."""
    section = settings["run"]
    words = [*section["parameters"], *templates({"env": section.get("env")}).values()]
    values = setting_values(section) | honoured_controls(settings)
    return {found.name: values.get(found.name) for word in words for found in placeholders(word)}


def _whole_number(line: str) -> int:
    if not WHOLE_NUMBER.fullmatch(line.strip()) or int(line) < 1:
        rule = "must print the number of parameters, a whole number of at least 1, as its last line"
        raise InputError(Problem("", PLACE, rule, shown(line.strip()[:100]) if line.strip() else "nothing"))
    return int(line)


def _function_answer(line: str) -> int:
    try:
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise InputError(*(Problem(*problem) for problem in answer["problems"]))
        return int(answer)
    except (ValueError, TypeError, KeyError):  # something printed after the answer, such as at the interpreter's exit
        rule = "printed something after its answer"
        raise InputError(Problem("", PLACE, rule, shown(line[:100]) if line else "nothing")) from None
