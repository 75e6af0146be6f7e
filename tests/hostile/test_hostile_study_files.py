"""Study files that would act when they are only looked at, or that no parser gets to the end of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import traps
from toy_project import Project, clean_environment

from ablate.study import InputError, study_file, trust
from ablate.untrusted import toml

Cli = Callable[..., Any]
# Imported by pandas, numpy or torch where they find them: a stranger's folder must not be where they look.
WANTED_BY_OTHERS = ("bottleneck", "numexpr", "numba", "cupy")


@pytest.fixture
def trapped(project: Project, marker: Path) -> Project:
    """The toy study, whose package would make the marker; and modules that libraries like to import."""
    (project.folder / "linear_toy" / "__init__.py").write_text(traps.module(marker), encoding="utf-8")
    for name in WANTED_BY_OTHERS:
        (project.folder / f"{name}.py").write_text(traps.module(marker), encoding="utf-8")
    return project


# The commands, one after another, and what each has said.
LOOKING = """
import contextlib, io, json, sys
from ablate.cli.app import main

said = []
for sys.argv in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        said.append((ended.code, out.getvalue(), err.getvalue()))
print(json.dumps(said))
"""


def test_looking_at_a_study_imports_nothing_of_it(trapped: Project, marker: Path) -> None:
    """As the console script does it: the working folder is not on Python's path."""
    words = ["plan linear.toml --difference 0.1", "status linear.toml", "report linear.toml"]
    words += ["compare linear.toml plain garden", "snapshot linear.toml"]
    commands = [["ablate", *command.split()] for command in words]
    environment = {**clean_environment(), "PYTHONSAFEPATH": "1"}
    call, asked = [sys.executable, "-c", LOOKING], json.dumps(commands)
    done = subprocess.run(call, cwd=trapped.folder, env=environment, input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said) == len(commands)
    for (_, command, *_), (code, out, err) in zip(commands, said, strict=True):
        assert code in (0, 1, 2), (command, err)
        assert "Traceback" not in err
        if command in ("plan", "status"):
            assert "\nplain " in out, err  # its row of the grid


@pytest.mark.parametrize("command", [["run", "--only", "nobody"], ["plan", "--check"]], ids=" ".join)
def test_the_trap_is_armed(trapped: Project, marker: Path, cli: Cli, command: list[str]) -> None:
    """Running it, or having it checked, is to import it."""
    cli(command[0], "linear.toml", *command[1:])
    assert marker.is_dir()
    os.rmdir(marker)


def test_metrics_of_an_installed_subject_are_known_without_asking(tmp_path: Path) -> None:
    quick = Path(__file__).parents[2] / "studies" / "quick.toml"
    text = quick.read_text(encoding="utf-8").replace('metrics = ["azimuth_mae_deg"', 'metrics = ["azimuth_mae"')
    (tmp_path / "quick.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not a metric of the catalogue"):
        study_file.load(tmp_path / "quick.toml", imports=False)


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "subprocess:run",
        "ablate.depth_refinement.model:torch.load",
        "ablate.depth_refinement.data:hashlib.sha256",
        "ablate.depth_refinement.data:Path",
        "ablate.depth_refinement.data:hashlib",
        "ablate.depth_refinement.model:__builtins__",
        "ablate.depth_refinement.model:_nothing",
        "ablate.archive.zip_archive:unpack",
        "ablate.study.components:load_component",
        "ablate.depth_refinement.modelx:create_model",
        "ablate.depth_refinement.model",
        "",
        ":",
    ],
)
def test_what_no_subject_offers_is_not_trusted(path: str) -> None:
    assert not trust.trusted(path)


def test_every_component_of_the_shipped_studies_is_offered() -> None:
    files = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
    paths = {path for file in files for path in trust.import_paths(study_file.load(file, imports=False))}
    assert len(paths) > 5
    assert [path for path in sorted(paths) if not trust.trusted(path)] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a." * 90_000 + "b = 1", "is nested too deeply", id="dotted"),
        pytest.param('"a".' * 45_000 + "b = 1", "is nested too deeply", id="quoted"),
        pytest.param("'a' . " * 30_000 + "b = 1", "is nested too deeply", id="spaced"),
        pytest.param("[" + "a." * 90_000 + "b]", "is nested too deeply", id="header"),
        pytest.param("x = " + "[" * 90_000, "is nested too deeply", id="list"),
        pytest.param("x = " + "{a = " * 30_000, "is nested too deeply", id="inline"),
        pytest.param("x = [" + "[" * 60 + "]" * 60 + "]", "is nested too deeply", id="deep"),
        pytest.param("x = " + "9" * 100_000, "too many digits", id="digits"),
        pytest.param("x = [" + "1," * 90_000 + "]", "must have at most 10,000 keys and items", id="items"),
        pytest.param("x" * 300_000, "must have at most 200,000 bytes", id="bytes"),
        pytest.param('"""' * 60_000, "is not valid TOML", id="quotes"),
        pytest.param(
            "# " + "a." * 80 + "\nx = '" + "a." * 80 + "'\ny = nope", "line 3, column 5: is not valid TOML", id="text"
        ),
    ],
)
def test_files_without_end(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        study_file.load(path)


def test_thousands_of_mistakes_are_told_in_bounds(project: Project, cli: Cli) -> None:
    text = project.study.read_text(encoding="utf-8")
    start, end = text.split("[arms.plain]")
    project.study.write_text(f"{start}\n" + "\n".join(f"k{i} = 1" for i in range(2_000)) + f"\n[arms.plain]{end}")
    answer = cli("plan", "linear.toml")
    assert answer.code == 2
    assert len(answer.err) < 200_000
    assert "unknown key" in answer.err or "takes no such argument" in answer.err or "no such" in answer.err


def test_a_terminal_is_not_written_to_by_a_label(project: Project, cli: Cli) -> None:
    project.edit(('label = "Garden too"', 'label = "Garden\\u001b]0;owned\\u0007 too"'))
    answer = cli("plan", "linear.toml")
    assert answer.code == 2
    assert "must not hold control characters" in answer.err
    assert "\x1b" not in answer.err


@pytest.mark.parametrize("text", ["a = 1", "a.b.c = 1.5 # a.b.c", 'x = "' + "." * 200 + '"', "[a.b]\nc = [1.5, 2.5]"])
def test_what_people_write_is_parsed(text: str) -> None:
    assert toml.parse_toml(text, "f")
