"""The problem of a rule that a study breaks, before its file is known. Pure."""

from __future__ import annotations

from ablate.study import Problem
from ablate.untrusted.wording import shown


def broken_rule(location: str, rule: str, value: object = None, hint: str = "") -> Problem:
    """`value` as a message shows it; None: the rule is not about a value."""
    return Problem("", location, rule, "" if value is None else shown(value), hint)
