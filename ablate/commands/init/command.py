"""Read a command as it is typed: which of its words are settings, and which are what ablate fills in. Runs nothing."""

from __future__ import annotations

import math
import re
import shlex
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ablate.commands.init.script import Flag, Script, read_script
from ablate.study import InputError, Problem, Scalar, printable
from ablate.study.command_template import BUILT_IN
from ablate.study.run_rules import RESERVED
from ablate.untrusted.wording import shown

# The names under which scripts take what ablate fills in, without dashes and sections: `--random-seed`, `train.seed`.
SEED = {"seed", "random_seed", "random_state", "manual_seed", "rng_seed"}
OUT = {"out", "output", "scores", "scores_file", "scores_out", "metrics_file", "metrics_out", "out_file", "output_file"}
OUT |= {"output_json", "out_json", "results_file", "results", "json_out"}
DIR = {"dir", "out_dir", "outdir", "output_dir", "save_dir", "checkpoint_dir", "ckpt_dir", "log_dir", "logdir"}
DIR |= {"run_dir", "work_dir", "workdir", "results_dir", "model_dir", "default_root_dir"}
BUDGET = {"epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "epoch", "max_steps", "num_steps"}
BUDGET |= {"n_steps", "steps", "train_steps", "max_iters", "iterations", "iters", "total_timesteps", "budget"}
DEVICE, THREADS = {"device"}, {"threads", "num_threads", "n_threads"}
# Switches of a script that are no part of a model: not suggested as what an arm turns on.
NO_PARTS = re.compile(
    r"verbose|quiet|silent|debug|dry|resume|continue|cuda|gpu|cpu|mps|save|log|wandb|plot|show|test|eval|download|force|"
    r"overwrite|progress|profile|compile|deterministic|help|version|json"
)

_OPERATORS = re.compile(r"[|&;<>()]|`|\$|[*?]|(?:(?<=\s)|^)~")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
_EXPANDED = re.compile(r"`|\$")  # within double quotes
_VARIABLE = re.compile(r"[A-Za-z_]\w*=.*", re.ASCII)
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*", re.ASCII)
_FLAG_VALUE = re.compile(r"(--?[A-Za-z][\w.-]*)=(.*)", re.ASCII | re.DOTALL)
_HYDRA = re.compile(r"([+]{0,2}[A-Za-z_][\w.@/-]*)=(.*)", re.ASCII | re.DOTALL)
_INT = re.compile(r"-?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"-?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")

Value = Scalar | list[Scalar]


@dataclass
class Command:
    """A command as a study of it needs it."""

    script: Script
    words: list[list[str]] = field(default_factory=list)  # templates; those of one flag together
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Value] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)  # of a setting: the flag or name in the command
    added: list[str] = field(default_factory=list)  # flags that were not typed and that the script takes
    inputs: list[str] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)  # which of seed, out, dir, budget, device, threads it has
    budget: int | float | None = None
    budget_flag: str = ""

    @property
    def flags(self) -> list[str]:
        """The words as they stand in the file."""
        return [word for group in self.words for word in group]


def read_command(text: str, folder: Path) -> Command:
    """The command, with the placeholders for what it names. `folder`: where it would be typed.

    Raises InputError for one that only a shell could run.
    """
    words = _split(text)
    environment = {}
    while words and _VARIABLE.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = _escaped(value)
    if not words:
        raise InputError(
            Problem("--command", "", "names no program", shown(text), 'such as "python train.py --lr 0.1"')
        )
    first, file = _script_words(words)
    command = Command(read_script(file, folder) if file else Script(), environment=environment)
    command.words.append([_escaped(word) for word in words[:first]])
    reader = _Reader(command, folder)
    reader.read(words[first:])
    reader.add_what_the_script_takes()
    return command


def _split(text: str) -> list[str]:
    """The words as a shell would split them. Raises InputError where a shell would do more than that."""
    if printable(text) != text or "\n" in text:
        raise InputError(
            Problem("--command", "", "must be one line without control characters", shown(printable(text)))
        )
    bare = _QUOTED.sub(lambda quoted: "" if quoted[0][0] in "'\\" else "".join(_EXPANDED.findall(quoted[0])), text)
    found = _OPERATORS.search(bare)
    if found:
        rule = f"must be one program and its words: it is started without a shell, which {found[0]!r} is for"
        hint = "quote it where it is meant as it stands, or put the line into a script"
        raise InputError(Problem("--command", "", rule, shown(text), hint))
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(Problem("--command", "", f"cannot be split: {error}".lower(), shown(text))) from None


def _script_words(words: Sequence[str]) -> tuple[int, str]:
    """How many words start the script, and its file from the working folder; "" where it is no Python source.

    The words before are those of a launcher: `python -u`, `torchrun --nproc_per_node=1`, `uv run`.
    """
    for index, word in enumerate(words):
        if word.endswith(".py"):
            return index + 1, word
        if word == "-m" and index + 1 < len(words) and index > 0:
            return index + 2, f"{words[index + 1].replace('.', '/')}.py"
    return 1, ""


class _Reader:
    """Fills a Command with the words after its script."""

    def __init__(self, command: Command, folder: Path) -> None:
        self._command, self._folder = command, folder
        self._flags = {name: flag for flag in command.script.flags for name in flag.names}

    def read(self, words: Sequence[str]) -> None:
        rest = deque(words)
        while rest:
            word = rest.popleft()
            if word == "--":
                self._literal([word, *rest])
                return
            assigned = _FLAG_VALUE.fullmatch(word) or _HYDRA.fullmatch(word)
            if assigned and not word.startswith("hydra."):
                self._value(assigned[1], [assigned[2]], joined=True)
            elif _FLAG.fullmatch(word):
                values = self._values(self._flags.get(word), rest)
                if values:
                    self._value(word, values, joined=False)
                else:
                    self._switch(word, on=True)
            else:
                self._literal([word])

    def _values(self, flag: Flag | None, rest: deque[str]) -> list[str]:
        """Take the values of a flag from the words that follow it. None for a switch."""
        most = 0 if flag and flag.switch else len(rest) if flag and flag.many else 1
        values: list[str] = []
        while rest and len(values) < most and not _is_flag(rest[0]):
            if flag is None and _HYDRA.fullmatch(rest[0]):
                break
            values.append(rest.popleft())
        return values

    def _literal(self, words: Sequence[str]) -> None:
        self._command.words.append([_escaped(word) for word in words])
        for word in words:
            self._note_input(word)

    def _value(self, typed: str, values: list[str], *, joined: bool) -> None:
        """A flag or a name with its values: one that ablate fills in, or a setting."""
        template = self._filled_in(typed, values[0]) if len(values) == 1 else ""
        if not template:
            flag = self._flags.get(typed)
            kind = flag.kind if flag else ""
            parsed = [parse(value, kind) for value in values]
            many = flag is not None and flag.many
            name = self._new_setting(typed, parsed if many else parsed[0])
            template = f"{{{name}}}"
            if not re.search(r"out|save|log|ckpt|checkpoint|resume", name):
                for value in values:
                    self._note_input(value)
        self._command.words.append([f"{_escaped(typed)}={template}"] if joined else [_escaped(typed), template])

    def _filled_in(self, typed: str, value: str) -> str:
        """The template of a value that is ablate's to give; "" for a setting."""
        name, command = _last_part(self._long(typed)), self._command
        if name in OUT:
            suffix = PurePosixPath(value).suffix
            what = "out" if suffix == ".json" or (not suffix and name != "output") else "dir"
            command.filled.add(what)
            return "{out}" if what == "out" else f"{{dir}}/{_escaped(PurePosixPath(value).name)}"
        if name in BUDGET and command.budget is None:
            number = parse(value, "float")
            if isinstance(number, int | float) and not isinstance(number, bool) and number > 0:
                command.budget, command.budget_flag = number, typed
                return "{budget}"
            return ""
        for what, names in (("seed", SEED), ("dir", DIR), ("device", DEVICE), ("threads", THREADS)):
            if name in names:
                command.filled.add(what)
                return f"{{{what}}}"
        return ""

    def _switch(self, typed: str, *, on: bool) -> None:
        flag = self._flags.get(typed)
        if on and flag is not None and flag.opposite:  # without it the same holds: an arm adds the other switch
            typed, on = flag.opposite, False
        name = self._new_setting(typed, on)
        self._command.words.append([f"{{{name}?{typed}}}"])

    def _new_setting(self, typed: str, value: Value) -> str:
        name = re.sub(r"\W+", "_", self._long(typed).lstrip("-+"), flags=re.ASCII).strip("_") or "x"
        while name in (*RESERVED, *BUILT_IN, "budget", *self._command.settings):
            name += "_"
        self._command.settings[name], self._command.typed[name] = value, typed
        return name

    def _long(self, typed: str) -> str:
        return self._flags[typed].name if typed in self._flags else typed

    def _note_input(self, word: str) -> None:
        """A file that the command names and that is there belongs to its inputs: their contents enter the key."""
        path = PurePosixPath(word)
        inside = word and not path.is_absolute() and ".." not in path.parts
        if inside and word not in self._command.inputs and (self._folder / word).is_file():
            self._command.inputs.append(word)

    def add_what_the_script_takes(self) -> None:
        """Add the flags for seed, scores, folder and budget that the script has and that were not typed, the files that
        it reads by default, and one switch where none was typed."""
        command = self._command
        typed = {name for name in self._flags if any(name in _typed_flags(group) for group in command.words)}
        for flag in command.script.flags:
            name = _last_part(flag.name)
            if typed & set(flag.names) or flag.switch:
                continue
            ends = PurePosixPath(str(flag.default)).suffix if flag.default is not None else ""
            number = flag.default if isinstance(flag.default, int | float) and not isinstance(flag.default, bool) else 0
            if name in SEED and "seed" not in command.filled:
                self._add(flag, "seed")
            elif name in OUT and ends in ("", ".json") and "out" not in command.filled:
                self._add(flag, "out")
            elif name in DIR and "dir" not in command.filled:
                self._add(flag, "dir")
            elif name in BUDGET and command.budget is None and number > 0:
                command.budget, command.budget_flag = number, flag.name
                self._add(flag, "budget")
            elif isinstance(flag.default, str):
                self._note_input(flag.default)
        if not any(isinstance(value, bool) for value in command.settings.values()):
            parts = [f for f in command.script.flags if f.switch and not NO_PARTS.search(f.name) and len(f.name) > 2]
            if parts:
                self._switch(parts[0].name, on=False)
                command.added.append(parts[0].name)

    def _add(self, flag: Flag, what: str) -> None:
        long = flag.name.startswith("--")
        self._command.words.append([f"{flag.name}={{{what}}}"] if long else [flag.name, f"{{{what}}}"])
        self._command.filled.add(what)
        self._command.added.append(flag.name)


def parse(text: str, kind: str) -> Scalar:
    """A value as a setting: a number or a truth value where it reads as one, else the text."""
    if kind != "str":
        if kind == "" and text in ("true", "false"):
            return text == "true"
        if _INT.fullmatch(text) and text != "-0":
            return int(text)
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
    return text


def _is_flag(word: str) -> bool:
    return bool(_FLAG.fullmatch(word) or _FLAG_VALUE.fullmatch(word)) or word == "--"


def _typed_flags(group: Sequence[str]) -> set[str]:
    """The flags in the templates of one group of words."""
    return {re.sub(r"^\{[^?}]*\?|\}$", "", word).partition("=")[0] for word in group}


def _last_part(name: str) -> str:
    """`max_epochs` of both `--max-epochs` and `trainer.max_epochs`."""
    return re.split(r"[./@]", name.lstrip("-+").lower())[-1].replace("-", "_")


def _escaped(word: str) -> str:
    return word.replace("{", "{{").replace("}", "}}")
