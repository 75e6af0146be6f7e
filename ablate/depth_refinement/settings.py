"""Check the network's settings and report everything that is wrong at once. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ablate import InputError, Problem

FILE = "settings.model"


def check_settings(
    *,
    widths: Mapping[str, int],
    flags: Mapping[str, bool],
    dropout: float,
    angle_noise_std: float,
    angle_noise_warmup: int,
) -> None:
    """Raise InputError with one Problem for each setting out of range.

    `widths` must include d_model and num_heads, `flags` use_elepose and use_existing.
    """
    problems = [*width_problems(widths)]
    if not problems:
        problems += head_problems(widths["d_model"], widths["num_heads"])
    problems += flag_problems(flags)
    if not (flags["use_elepose"] or flags["use_existing"]):
        rule = "the angles need a source: use_existing, use_elepose or both must be true"
        problems.append(Problem(FILE, "use_existing", rule, "both false", "use_existing = true is the default"))
    if not 0 <= dropout < 1:
        problems.append(Problem(FILE, "dropout", "must be at least 0 and below 1", str(dropout), "0.1 is the default"))
    if not 0 <= angle_noise_std < float("inf"):
        rule = "must be a number of degrees, 0 or more"
        problems.append(Problem(FILE, "angle_noise_std", rule, str(angle_noise_std), "0 turns the noise off"))
    if not is_count(angle_noise_warmup, least=0):
        rule = "must be a whole number of epochs, 0 or more"
        problems.append(Problem(FILE, "angle_noise_warmup", rule, str(angle_noise_warmup), "0 starts at once"))
    if problems:
        raise InputError(*problems)


def width_problems(widths: Mapping[str, int]) -> Iterator[Problem]:
    """One Problem for each width that is not a whole number from 1."""
    for name, value in widths.items():
        if not is_count(value, least=1):
            yield Problem(FILE, name, "must be a whole number, 1 or more", repr(value), "1 is the smallest")


def flag_problems(flags: Mapping[str, bool]) -> Iterator[Problem]:
    """One Problem for each flag that is not a truth value: the string "false" would count as true."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            yield Problem(FILE, name, "must be true or false", repr(value), "without quotes")


def head_problems(d_model: int, num_heads: int) -> list[Problem]:
    """A Problem if the heads cannot share d_model evenly; names the head counts and widths that can."""
    if d_model % num_heads == 0:
        return []
    valid = ", ".join(str(n) for n in range(1, d_model + 1) if d_model % n == 0)
    below = d_model - d_model % num_heads
    widths = " or ".join(str(w) for w in (below, below + num_heads) if w > 0)
    nearest = f"num_heads can be {valid}; or with {num_heads} heads d_model can be {widths}"
    return [Problem(FILE, "d_model", f"must be divisible by num_heads = {num_heads}", str(d_model), nearest)]


def is_count(value: object, *, least: int) -> bool:
    """A whole number of at least `least`; true and false are not numbers."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
