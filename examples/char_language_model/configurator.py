"""Overrides from the command line: `python train.py config/tiny.py --n_embd=64`. Executed by train.py."""

import sys
from ast import literal_eval

for argument in sys.argv[1:]:
    if "=" not in argument:
        exec(open(argument).read())
        continue
    key, value = argument.removeprefix("--").split("=", 1)
    if key not in globals():
        raise ValueError(f"unknown config key: {key}")
    try:
        value = literal_eval(value)
    except (SyntaxError, ValueError):
        pass  # a string
    assert type(value) is type(globals()[key]), f"{key}: {value!r}"
    globals()[key] = value
