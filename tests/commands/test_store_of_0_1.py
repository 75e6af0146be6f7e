"""A store that ablate 0.1.0 wrote on another machine: it opens, its report is the same bytes, and nothing runs again.

`stores/written-by-0.1.0.tar.gz` holds `mlruns` and `results.csv` of the toy study, run with one worker.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

Cli = Callable[..., Any]
WRITTEN = Path(__file__).parents[1] / "stores" / "written-by-0.1.0.tar.gz"


@pytest.fixture
def older(project: Project) -> bytes:
    """The toy study's folder with that store in it; gives the results that 0.1.0 reported."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(project.folder, filter="data")
    written = project.results
    (project.folder / "reports" / "linear" / "results.csv").unlink()
    return written


@pytest.mark.usefixtures("threads")
def test_it_opens_and_counts_and_nothing_is_done_again(project: Project, older: bytes, cli: Cli) -> None:
    """0.1.0 took the digest of the code in another way, so it cannot be told whether the code has changed."""
    assert cli("status", "linear.toml").err == (
        "linear: 6 done\n"
        "of 10 finished runs it cannot be told whether the source code has changed since: "
        "an earlier version of ablate took its digest in another way\n"
        "next: `ablate report linear` writes the report\n"
    )
    assert cli("report", "linear").code == 0
    assert project.results == older
    answer = cli("run", "linear.toml", "--workers", "1")
    assert answer.code == 0, answer.err
    assert "it cannot be told whether the source code has changed" in answer.err
    assert "--rerun stale" not in answer.err
    assert len(project.records()) == 10
    assert project.results == older


def test_its_models_are_loaded_by_mlflow(project: Project, older: bytes) -> None:
    """Their MLmodel names a module of that version."""
    model = next((project.folder / "mlruns" / "artifacts").rglob("MLmodel"))
    assert '"loader_module": "ablate.runs.serving"' in model.read_text(encoding="utf-8")
    code = "import sys, mlflow.pyfunc as p; print(type(p.load_model(sys.argv[1])._model_impl).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(model.parent)], cwd=project.folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "ServedModel", done.stderr
