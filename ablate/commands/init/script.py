"""What the source of a training script says of itself: the flags it takes, the scores it names. Nothing is executed.

Flags of argparse, click and typer are read from the syntax tree; what is computed at run time is not found.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.study import Scalar

MOST_CHARACTERS = 1_000_000  # of a script that is read
_SCORE = re.compile(
    r"\b(val|test)_((?:\w*_)?(?:acc|accuracy|loss|error|err|f1|auc|mae|mse|rmse|r2|ppl|perplexity|score|bleu|bpc|iou))\b"
)
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*( ?/ ?--?[A-Za-z][\w.-]*)?", re.ASCII)
_LOGGING = {"log_metric", "log_metrics", "autolog"}  # calls of MLflow
_ELSEWHERE = ("set_tracking_uri", "set_experiment")
_NO_FLAGS = ("help", "version")  # actions of argparse that only print


@dataclass(frozen=True)
class Flag:
    """One option of a script."""

    names: tuple[str, ...]  # such as ("-e", "--epochs")
    switch: bool = False  # takes no value
    kind: str = ""  # "int", "float" or "str"; "" where unknown
    default: Scalar | None = None
    choices: tuple[Scalar, ...] = ()
    many: bool = False  # takes several values
    required: bool = False
    opposite: str = ""  # of a switch that says what holds without it: the switch that changes that

    @property
    def name(self) -> str:
        """The longest of its names, as typed."""
        return max(self.names, key=len)


@dataclass(frozen=True)
class Script:
    """What is known of a script. Empty where it cannot be read."""

    file: str = ""  # as the command names it
    flags: tuple[Flag, ...] = ()
    scores: tuple[str, ...] = ()  # as `score_names` gives them
    logs_to_mlflow: bool = False
    leads_elsewhere: tuple[str, ...] = ()  # its calls by which MLflow would not log to the run of the cell


def read_script(file: str, folder: Path) -> Script:
    """The script `file`, a path from `folder`."""
    tree = syntax_tree(folder / file)
    if tree is None:
        return Script(file)
    flags = {flag.names: flag for flag in [*_declared(tree), *_typer_options(tree)] if flag.names}
    called = {_last_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    logs = bool(called & _LOGGING) and any(module.partition(".")[0] == "mlflow" for module in _modules(tree))
    elsewhere = tuple(name for name in _ELSEWHERE if name in called) if logs else ()
    return Script(file, tuple(flags.values()), score_names(tree), logs, elsewhere)


def syntax_tree(file: Path) -> ast.Module | None:
    """The syntax tree of a Python file; None where there is none to read."""
    try:
        with file.open("rb") as stream:
            source = stream.read(MOST_CHARACTERS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in a stranger's texts
            return ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def score_names(tree: ast.AST) -> tuple[str, ...]:
    """The names of scores in the texts and keywords of a source: `val_acc`, `test_loss`.

    Those that are a whole text or keyword come first: keys of scores, where the others are parts of printed sentences.
    """
    texts = [
        str(node.arg if isinstance(node, ast.keyword) else node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    whole = [text for text in texts if _SCORE.fullmatch(text)]
    return tuple(dict.fromkeys(whole + [match[0] for text in texts for match in _SCORE.finditer(text)]))


def _declared(tree: ast.Module) -> Iterator[Flag]:
    """The flags of `add_argument` calls of argparse and of `option` decorators of click."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            read = {"add_argument": _argparse_flag, "option": _click_flag}.get(_last_name(node.func))
            texts = [value for value in map(_literal, node.args) if isinstance(value, str) and _FLAG.fullmatch(value)]
            if read is not None and texts:
                yield from read(texts, {keyword.arg or "": keyword.value for keyword in node.keywords})


def _argparse_flag(names: list[str], options: dict[str, ast.expr]) -> Iterator[Flag]:
    action = _literal(options.get("action")) or _last_name(options.get("action"))
    if action in _NO_FLAGS:
        return
    default = _literal(options.get("default"))
    if action == "BooleanOptionalAction":
        yield from _on_and_off(tuple(names), f"--no-{max(names, key=len).lstrip('-')}", default)
        return
    switch = isinstance(action, str) and action.startswith(("store_true", "store_false", "store_const", "count"))
    kind = _kind(options.get("type")) if "type" in options else "" if switch else "str"
    yield Flag(
        tuple(names), switch, kind, _scalar(default), _choices(options.get("choices")),
        many=_literal(options.get("nargs")) not in (None, "?"), required=_literal(options.get("required")) is True,
    )  # fmt: skip


def _click_flag(names: list[str], options: dict[str, ast.expr]) -> Iterator[Flag]:
    default = _literal(options.get("default"))
    both = next((name for name in names if "/" in name), "")
    if both:
        on, _, off = both.partition("/")
        yield from _on_and_off((on.strip(),), off.strip(), default)
        return
    given = options.get("type")
    choices = _choices(given.args[0]) if isinstance(given, ast.Call) and given.args else ()
    kind = _kind(given) or (type(default).__name__ if isinstance(default, int | float) else "" if given else "str")
    yield Flag(
        tuple(names), _literal(options.get("is_flag")) is True, kind, _scalar(default), choices,
        required=_literal(options.get("required")) is True,
    )  # fmt: skip


def _on_and_off(on_names: tuple[str, ...], off_name: str, default: Any) -> Iterator[Flag]:
    """The two switches of one truth value. The one that changes its default comes first."""
    on, off = Flag(on_names, switch=True), Flag((off_name,), switch=True)
    changes, keeps = (off, on) if default is True else (on, off)
    yield changes
    yield replace(keeps, opposite=changes.name if isinstance(default, bool) else "")


def _typer_options(tree: ast.Module) -> Iterator[Flag]:
    """The options of the functions that typer makes a command of."""
    if not any("typer" in (getattr(n, "module", None), *(a.name for a in n.names)) for n in _imports(tree)):
        return
    run = {_last_name(n.args[0]) for n in ast.walk(tree) if _calls(n, "run") and isinstance(n, ast.Call) and n.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (
            node.name in run or any(_calls(decorator, "command") for decorator in node.decorator_list)
        ):
            arguments = [*node.args.posonlyargs, *node.args.args]
            defaults: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults))
            pairs = [
                *zip(arguments, [*defaults, *node.args.defaults], strict=True),
                *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
            ]
            for argument, default in pairs:
                yield from _typer_flag(argument, default)


def _typer_flag(argument: ast.arg, default: ast.expr | None) -> Iterator[Flag]:
    annotation, declared = argument.annotation, default if _calls(default, "Option") else None
    if isinstance(annotation, ast.Subscript) and _last_name(annotation.value) == "Annotated":
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else []
        annotation = parts[0] if parts else None
        declared = next((part for part in parts[1:] if _calls(part, "Option")), declared)
        if any(_calls(part, "Argument") for part in parts[1:]):
            return
    if (default is None and declared is None) or _calls(default, "Argument"):
        return  # a positional argument
    texts = [_literal(part) for part in declared.args] if isinstance(declared, ast.Call) else []
    names = tuple(text for text in texts if isinstance(text, str) and _FLAG.fullmatch(text))
    names = names or (f"--{argument.arg.replace('_', '-')}",)
    value = _literal(declared.args[0] if isinstance(default, ast.Call) and default is declared and texts else default)
    if _last_name(annotation) == "bool":
        on, _, off = names[0].partition("/")
        yield from _on_and_off((on,), off or f"--no-{on.lstrip('-')}", value)
    else:
        yield Flag(names, False, _kind(annotation), _scalar(value), required=default is None)


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _modules(tree: ast.Module) -> Iterator[str]:
    for node in _imports(tree):
        yield from (name.name for name in node.names) if isinstance(node, ast.Import) else (node.module or "",)


def _calls(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Call) and _last_name(node.func) == name


def _last_name(node: ast.AST | None) -> str:
    """`run` of both `run` and `typer.run`; "" of anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _kind(node: ast.AST | None) -> str:
    name = _last_name(node.func if isinstance(node, ast.Call) else node)
    kinds = {"int": "int", "INT": "int", "IntRange": "int", "float": "float", "FLOAT": "float", "FloatRange": "float"}
    return kinds.get(name, "str" if name in ("str", "STRING", "Path") else "")


def _choices(node: ast.expr | None) -> tuple[Scalar, ...]:
    values = _literal(node)
    return tuple(value for value in values if _scalar(value) is not None) if isinstance(values, list | tuple) else ()


def _scalar(value: Any) -> Scalar | None:
    return value if isinstance(value, bool | int | float | str) else None


def _literal(node: ast.AST | None) -> Any:
    """The value of a literal, and the text in `Path("…")`; None for anything else."""
    if isinstance(node, ast.Call) and _last_name(node.func) == "Path" and len(node.args) == 1:
        node = node.args[0]
    evaluate: Callable[[Any], Any] = ast.literal_eval
    try:
        return None if node is None else evaluate(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
