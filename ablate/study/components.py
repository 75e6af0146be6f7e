"""Find the factories and data files that a study names, and check factory arguments. Knows no component."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate.study import InputError, Problem, data_digests, digest
from ablate.untrusted.wording import listing, nearest, nearest_file, shown

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
IMPORT_PATH_RULE = 'must be an import path "module:attribute"'


def importable(folders: Iterable[Path]) -> None:
    """Add `folders` to the end of sys.path, where their modules shadow nothing installed."""
    for folder in folders:
        entry = str(folder.resolve())
        if entry not in sys.path:
            sys.path.append(entry)


def load_component(path: str, *, file: str, place: str) -> Any:
    """The object at "module:attribute". Raises InputError, naming `file` and `place`, when it cannot be imported."""
    if not IMPORT_PATH.fullmatch(path):
        raise InputError(Problem(file, place, IMPORT_PATH_RULE, shown(path)))
    module, _, attributes = path.partition(":")
    component: Any = _import_module(module, file=file, place=place)
    for attribute in attributes.split("."):
        if not hasattr(component, attribute):
            public = [name for name in dir(component) if not name.startswith("_")]
            module_file = getattr(component, "__file__", None)
            rule = f"{module} has no {attribute!r}" + (f" (it is {module_file})" if module_file else "")
            raise InputError(Problem(file, place, rule, shown(path), nearest(attribute, public)))
        component = getattr(component, attribute)
    return component


def _import_module(name: str, *, file: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            hint = nearest(missing, _modules_beside(missing))
            raise InputError(Problem(file, place, f"no module named {missing!r}", shown(name), hint)) from None
        raise InputError(_import_problem(error, name, file=file, place=place)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the module may raise anything, or call sys.exit()
        raise InputError(_import_problem(error, name, file=file, place=place)) from error


def _import_problem(error: BaseException, name: str, *, file: str, place: str) -> Problem:
    """The problem for an error raised while the module was imported: its last line and its file and line number."""
    last = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    source = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, SyntaxError):
        source = f"{error.filename}:{error.lineno}"
    return Problem(file, place, f"importing {name} failed: {last}", "", f"raised at {source}" if source else "")


def _modules_beside(missing: str) -> list[str]:
    """The modules of the parent package, or all top-level ones."""
    parent, _, _ = missing.rpartition(".")
    if not parent:
        return [m.name for m in pkgutil.iter_modules()]
    folders = getattr(sys.modules.get(parent), "__path__", [])
    return [f"{parent}.{m.name}" for m in pkgutil.iter_modules(folders)]


def bind(section: Mapping[str, Any], *, place: str, file: str, also: Collection[str] = ()) -> Callable[..., Any]:
    """The section's factory with its settings bound as keyword arguments, checked against its signature.

    `also` names the arguments that the caller supplies at the call (`device`; `file` as a Path). Raises InputError
    with every unknown and every missing argument.
    """
    factory = load_component(section["factory"], file=file, place=f"{place}.factory")
    if not callable(factory):
        raise InputError(Problem(file, f"{place}.factory", "is not callable", shown(section["factory"])))
    settings = {name: value for name, value in section.items() if name != "factory"}
    problems = _argument_problems(factory, section["factory"], settings, place=place, file=file, also=also)
    if problems:
        raise InputError(*problems)
    return functools.partial(factory, **settings)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a callable by name; None for one without a signature, as some in C: a call reports errors."""
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return None


def takes(factory: str, argument: str) -> bool:
    """Whether the `module:attribute` factory can be called with this argument. Raises InputError."""
    parameters = parameters_of(load_component(factory, file=factory, place="factory"))
    return parameters is None or any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters.values())


def _argument_problems(
    factory: Callable[..., Any],
    path: str,
    settings: Mapping[str, Any],
    *,
    place: str,
    file: str,
    also: Collection[str],
) -> list[Problem]:
    parameters = parameters_of(factory)
    if parameters is None:
        return []
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    problems: list[Problem] = []
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        settable = [n for n in named if n not in also]
        unknown = [name for name in settings if name not in named]
        problems += [
            Problem(file, f"{place}.{name}", f"{path} takes no such argument", "", nearest(name, settable))
            for name in unknown
        ]
        # a data factory that reads no file need not take `file`; every other supplied argument is required
        not_taken = set(also) - named.keys() - settings.keys() - {"file"}
        problems += [Problem(file, f"{place}.factory", f"{path} must take the argument {name!r}") for name in not_taken]
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in settings and name not in also:
            problems.append(Problem(file, f"{place}.{name}", f"{path} needs this setting"))
    return sorted(problems)


def find_data_file(name: str, *, data_root: Path | None, study_dir: Path, working_folder: Path | None = None) -> Path:
    """The data file `name`: under data_root, $ABLATE_DATA, the study's folder or the working folder, in this order.

    `working_folder`: that of the start, in case a component has changed it since.
    Raises InputError with the folders searched and the nearest file names in them.
    """
    variable = os.environ.get("ABLATE_DATA")
    working_folder = working_folder or Path.cwd()
    candidates = [data_root, Path(variable) if variable else None, study_dir, working_folder]
    folders = list(dict.fromkeys((working_folder / folder).resolve() for folder in candidates if folder is not None))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    available = {f.name for folder in folders for f in _files((folder / name).parent)}
    rule = f"no such data file under {listing(str(folder) for folder in folders)}"
    hint = nearest(Path(name).name, available) if available else ""
    hint = hint if hint.startswith("did") else "name its folder with --data-root or ABLATE_DATA"
    raise InputError(Problem(str(study_dir), "settings.data.file", rule, shown(name), hint))


def _files(folder: Path) -> list[Path]:
    try:
        return [f for f in folder.iterdir() if f.is_file()]
    except OSError:
        return []


def data_digest(
    settings: Mapping[str, Mapping[str, Any]],
    data_root: Path | None,
    study_dir: Path,
    working_folder: Path | None = None,
    *,
    rehash: bool = False,
) -> str:
    """Digest of the data file that resolved `settings` name, or of the inputs of a command or a function; "" when
    they name none.

    `working_folder`: see `find_data_file`. `rehash`: see `data_digests.cached_digest`. Raises InputError.
    """
    if "run" in settings:
        return _inputs_digest(settings["run"], study_dir, rehash=rehash)
    name = settings["data"].get("file")
    if name is None:
        return ""
    path = find_data_file(name, data_root=data_root, study_dir=study_dir, working_folder=working_folder)
    return data_digests.cached_digest(path, rehash=rehash)


def working_folder(section: Mapping[str, Any], study_dir: Path) -> Path:
    """The working folder of a command or a function: the study's, or `cwd` from there. Raises InputError."""
    folder: Path = (study_dir / section.get("cwd", ".")).resolve()
    if not folder.is_dir():
        hint = nearest_file(folder, study_dir.resolve())
        raise InputError(Problem(str(study_dir), "settings.run.cwd", "no such folder", shown(section.get("cwd")), hint))
    return folder


def find_inputs(section: Mapping[str, Any], study_dir: Path) -> list[Path]:
    """The inputs of a command or a function, in order: files and folders below its working folder.

    Raises InputError with every one that is missing.
    """
    names = section.get("inputs", [])
    if not names:
        return []
    folder = working_folder(section, study_dir)
    rule = f"no such file or folder in {folder}"
    problems = [
        Problem(str(study_dir), f"settings.run.inputs[{i}]", rule, shown(name), nearest_file(folder / name, folder))
        for i, name in enumerate(names)
        if not (folder / name).exists()
    ]
    if problems:
        raise InputError(*problems)
    return [folder / name for name in names]


def _inputs_digest(section: Mapping[str, Any], study_dir: Path, *, rehash: bool) -> str:
    def of(path: Path) -> object:
        if not path.is_dir():
            return data_digests.cached_digest(path, rehash=rehash)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [[str(file.relative_to(path)), data_digests.cached_digest(file, rehash=rehash)] for file in files]

    paths = find_inputs(section, study_dir)
    try:
        return digest([of(path) for path in paths]) if paths else ""
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise InputError(Problem(str(study_dir), "settings.run.inputs", rule, str(error.filename))) from None
