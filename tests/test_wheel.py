"""The wheel is all that is needed: installed apart from the repository, it starts, writes, runs and reports studies."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_project import clean_environment

ROOT = Path(__file__).resolve().parents[1]


def call(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as from a shell that knows nothing of the repository."""
    environment = {key: value for key, value in clean_environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def wheel(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The wheel, built from a copy of what it is made of."""

    def build(folder: Path) -> None:
        source = folder / "source"
        for name in ("ablate", "studies"):
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=skipped)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps")
        built = call(*pip, "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
        assert built.returncode == 0, built.stderr

    [file] = once("wheel", build).glob("*.whl")
    return file


@pytest.fixture(scope="session")
def ablate(wheel: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The command `ablate` of a new environment that has the wheel, and beside it only what ablate depends on."""

    def install(folder: Path) -> None:
        made = call(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
        assert made.returncode == 0, made.stderr
        python = folder / "env" / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--quiet")
        installed = call(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
        assert installed.returncode == 0, installed.stderr
        where = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
        # The dependencies: a path added so does not have its own .pth files read, among them the one of the repository.
        Path(where, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")

    return once("installed", install) / "env" / "bin" / "ablate"


def test_it_has_every_study_and_template(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder, target in (("studies", "ablate/studies"), ("ablate/report/templates", "ablate/report/templates")):
        files = sorted(f"{target}/{file.name}" for file in (ROOT / folder).iterdir() if file.is_file())
        assert files
        assert sorted(name for name in names if name.startswith(f"{target}/")) == files
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "ablate").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    assert not [name for name in names if name.split("/")[0] not in ("ablate", "ablate_study-0.4.0.dist-info")]


def test_it_is_what_runs(ablate: Path, tmp_path: Path) -> None:
    code = "import ablate; from importlib.metadata import version; print(ablate.__file__, version('ablate-study'))"
    file, version = call(ablate.parent / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert Path(file).is_relative_to(ablate.parents[1])
    shown = call(ablate, "--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"ablate {version}\n")
    told = call(ablate, "--help", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    words = {line.split()[0] for line in told.stdout.splitlines() if line.strip()}
    assert {"run", "plan", "init", "train", "snapshot"} <= words


def test_a_script_is_a_study_in_an_empty_folder(ablate: Path, tmp_path: Path) -> None:
    for name in ("train.py", "numbers.txt"):
        shutil.copy(ROOT / "tests" / "script" / name, tmp_path)
    for command in (
        ["init", "--command", "python train.py --lr 0.01 --dropout"],
        ["plan", "study.toml", "--check"],
        ["run", "study.toml", "--only", "baseline:1", "--only", "without-dropout:1", "--workers", "1"],
        ["report", "train", "--format", "md,html"],
    ):
        done = call(ablate, *command, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "reports" / "train" / "report.html").is_file()


def test_the_quick_study_passes_in_an_empty_folder(ablate: Path, tmp_path: Path) -> None:
    done = call(ablate, "run", "quick", "--smoke", "--workers", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"done": 7, "failed": 0, "missing": 0' in done.stdout
    assert list(tmp_path.iterdir()) == []
