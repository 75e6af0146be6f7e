"""Check the scores that a command or a function gives, and name them as the store does. Pure."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.study import Phase, Split
from ablate.trainers.errors import RunFailed
from ablate.untrusted.wording import listing, nearest, shown

MAX_BYTES = 1_000_000  # of a file of scores
LONGEST_NAME = 250  # of a metric in MLflow
LARGEST_STEP = 2**53

MetricNames = Mapping[str, tuple[str, str]]  # metric → the names of its validation and its test score


def read_scores(file: Path) -> dict[str, Any]:
    """The flat JSON object in a file. Raises RunFailed when there is none."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # to read a named pipe could take for ever
            raise RunFailed("what the command wrote to {out} is no plain file")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RunFailed("the command wrote no file of scores to {out}") from None
    except OSError as error:
        raise RunFailed(f"the file of scores at {{out}} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise RunFailed(f"the file of scores at {{out}} has more than {MAX_BYTES:,} bytes")
    try:
        scores = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunFailed(f"the file of scores at {{out}} is no JSON: {error}") from None
    if not isinstance(scores, dict):
        raise RunFailed('the file of scores at {out} must hold one JSON object, such as {"val_acc": 0.9}')
    return scores


def numbers_in(texts: Mapping[str, str]) -> dict[str, float | str]:
    """What a pattern has found, as numbers; a text that is none stays."""
    return {name: _parsed(text) for name, text in texts.items()}


def _parsed(text: str) -> float | str:
    with suppress(ValueError, TypeError):  # TypeError: the group `value` was no part of the match
        if "_" not in text:  # float() reads 1_000
            return float(text)
    return text


def named_scores(given: Mapping[str, Any], metrics: MetricNames, phase: Phase, split: Split) -> dict[str, float]:
    """The scores `val/<metric>` and `test/<metric>` of a run, from those that it gave under names of its own.

    `split`: the one that is compared. While tuning, test scores are dropped. A comparison needs the score of every
    metric on `split`. Raises RunFailed for a score that is missing or no finite number.
    """
    needs_test = phase == "compare" and split == "test"
    scores: dict[str, float] = {}
    missing = []
    for metric, (val, test) in metrics.items():
        if val in given:
            scores[f"val/{metric}"] = _number(given[val], val)
        elif not needs_test:
            missing.append(val)
        if test in given and needs_test:
            scores[f"test/{metric}"] = _number(given[test], test)
        elif needs_test:
            missing.append(test)
    if missing:
        names = "the score" if len(missing) == 1 else "the scores"
        came = f"it gave {listing(map(shown, given))}" if given else "it gave none"
        raise RunFailed(f"{names} {listing(map(shown, missing))} did not come; {came}{_hint(missing, given)}")
    return scores


def pruned_scores(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The scores of a trial that was ended early: those on validation of the last epoch of its curve."""
    return {name: value for name, value in history[-1].items() if name.startswith("val/")}


def by_split(given: Any, metrics: MetricNames) -> tuple[Mapping[str, Any], MetricNames]:
    """What a function returned as one flat mapping, and the names of the metrics' scores in it.

    It may be flat already, under the names of a command's scores, or hold a mapping by metric for each split:
    `{"val": {"loss": 0.4}, "test": {"loss": 0.5}}`. Raises RunFailed for anything else.
    """
    if not isinstance(given, Mapping):
        rule = 'the function must return its scores, such as {"val": {"loss": 0.4}, "test": {"loss": 0.5}}'
        raise RunFailed(f"{rule}, not {shown(given)}")
    if not any(isinstance(value, Mapping) for value in given.values()):
        return given, metrics
    return flat(given), {metric: (f"val/{metric}", f"test/{metric}") for metric in metrics}


def flat(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Scores by name, those in a mapping of their own under `<its name>/<their name>`."""
    names: dict[str, Any] = {}
    for name, value in given.items():
        inner = {f"{name}/{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {f"{name}": value}
        names |= inner
    return names


def curve_entry(given: Mapping[str, Any], metrics: MetricNames) -> dict[str, Any]:
    """An epoch's scores under the names of the store: `val/<metric>`, all others `train/<name>`; no test scores."""
    names = {val: f"val/{metric}" for metric, (val, _) in metrics.items()}
    names |= {f"val/{metric}": f"val/{metric}" for metric in metrics}
    test = {test for _, test in metrics.values()} | {f"test/{metric}" for metric in metrics}
    scores = {name: value for name, value in given.items() if name.removeprefix("train/") not in test}
    return {names[name] if name in names else _curve_name(name): value for name, value in scores.items()}


def is_position(number: float) -> bool:
    """Whether a curve can have a point there: MLflow keeps steps as whole numbers of 64 bits."""
    return abs(number) <= LARGEST_STEP


def _curve_name(name: str) -> str:
    """`train/<name>`, with "_" for what no name of a metric may hold in MLflow."""
    parts = re.sub(r"[^\w.\- :/]", "_", name.removeprefix("train/")).split("/")
    return "/".join(["train", *[part for part in parts if part.strip(".")]])[:LONGEST_NAME]


def _hint(missing: list[str], given: Mapping[str, Any]) -> str:
    hint = nearest(missing[0], given) if given else ""
    return f" ({hint})" if hint.startswith("did") else ""


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RunFailed(f"the score {name} must be a number, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf if value > 0 else -math.inf
    if not math.isfinite(number):
        raise RunFailed(f"the score {name} is {number}")
    return number
