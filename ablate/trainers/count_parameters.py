"""`python -m ablate.trainers.count_parameters JSON`: call a function of the user's that counts parameters.

The last line of its output is the answer as JSON: a number, or {"problems": …}. Imports no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, components
from ablate.study.resolve import lookup
from ablate.trainers.matching import matching_value, with_setting

PLACE = "settings.run.parameters"
SIGNATURE = "def count(settings) -> int"


def main(request: Mapping[str, Any]) -> None:
    """Answer a request {"parameters", "settings", "path", "study_dir"}: the number of parameters for the settings.

    With "by" and "other" the answer is the value of the setting `by` at which it is that for the settings `other`.
    """
    sys.path[:] = request["path"]
    components.importable([Path(request["study_dir"])])
    try:
        answer: object = _answer(request)
    except InputError as error:
        answer = {"problems": error.problems}
    print(f"\n{json.dumps(answer)}", flush=True)


def _answer(request: Mapping[str, Any]) -> int:
    path, settings = request["parameters"], request["settings"]
    function = components.load_component(path, file="", place=PLACE)
    if not callable(function):
        raise InputError(Problem("", PLACE, f"must be a function: {SIGNATURE}", path))
    if "by" not in request:
        return _count(function, settings, path)
    by, other = request["by"], request["other"]
    target = _count(function, other, path)

    def count(value: int) -> int:
        return _count(function, with_setting(settings, f"run.{by}", value), path)

    return matching_value(count, target, lookup(settings, by), f"run.{by}")


def _count(function: Callable[..., Any], settings: Mapping[str, Any], path: str) -> int:
    answer = function(json.loads(json.dumps(settings)))
    if hasattr(answer, "item"):  # a tensor or array of one
        answer = answer.item()
    if type(answer) is not int or answer < 1:
        raise InputError(Problem("", PLACE, "must give a whole number of at least 1", repr(answer)[:100], path))
    return answer


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
