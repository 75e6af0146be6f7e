"""The notebook of the examples runs from top to bottom, without a warning, and shows what it was committed with."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "notebook" / "averaging.ipynb"


@dataclass
class ToyRun:
    """What the notebook's function is given, as far as it uses it."""

    seed: int
    budget: int
    shown: list[str] = field(default_factory=list)

    def epoch(self, number: int, scores: dict[str, float]) -> None:
        self.shown.append(f"epoch {number} {sorted(scores)}")

    def examples(self, split: str, columns: dict[str, Any]) -> None:
        self.shown.append(f"{split} {sorted(columns)} {len(columns['error'])}")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, initialised_store: Path) -> Any:
    """The notebook, executed by a kernel of its own in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "mlruns").mkdir()
    shutil.copy(initialised_store, folder / "mlruns" / "mlflow.db")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # the kernel works in another folder
        manager = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        options = {"resources": {"metadata": {"path": str(folder)}}, "config": Config(KernelManager=manager)}
        NotebookClient(notebook, timeout=600, startup_timeout=600, **options).execute()
    return notebook


def outputs(notebook: Any) -> list[dict[str, str]]:
    """What every cell of code shows: its data by MIME type, and what it has printed as `stdout` and `stderr`."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [{key: value for output in cell.outputs for key, value in _shown(output).items()} for cell in cells]


def _shown(output: Any) -> dict[str, str]:
    return {output.name: output.text} if output.output_type == "stream" else dict(output.data)


def test_the_committed_scores_are_those_of_the_function() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first, second, *_ = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    names: dict[str, Any] = {}
    exec(first + "\n" + second, names)
    (table,) = [text for cell in outputs(notebook) if (text := cell.get("text/plain", "")).startswith("arm     last")]
    committed = [[float(word) for word in line.split()] for line in table.splitlines()[2:]]
    for seed, *scores in committed:
        for average, score in zip((False, True), scores, strict=True):
            run = ToyRun(int(seed), 8)
            found = names["train"]({"lr": 0.02, "average": average}, run)
            assert found["test"]["error"] == pytest.approx(score, abs=5e-5)
            assert run.shown[-2:] == ["epoch 8 ['val_error']", "test ['error', 'size'] 500"]


def test_no_cell_was_committed_with_an_error_or_a_warning() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {output.output_type for cell in code for output in cell.outputs} == {"display_data", "execute_result"}


@pytest.mark.long
def test_it_shows_the_same_as_when_it_was_committed(executed: Any) -> None:
    now, committed = outputs(executed), outputs(nbformat.read(NOTEBOOK, as_version=4))
    assert [sorted(cell) for cell in now] == [sorted(cell) for cell in committed]
    assert not [cell for cell in now if "stderr" in cell or "stdout" in cell]
    for mine, theirs in zip(now, committed, strict=True):
        assert {k: v for k, v in mine.items() if k != "image/png"} == {
            k: v for k, v in theirs.items() if k != "image/png"
        }


@pytest.mark.long
def test_the_study_is_shown_with_its_question_verdict_and_matrix(executed: Any) -> None:
    (shown,) = [cell for cell in outputs(executed) if "text/markdown" in cell]
    for kind in ("text/html", "text/markdown"):
        for text in ("Does averaging the weights", "supported", "Last weights", "Mean of the epoch", "[−"):
            assert text in shown[kind], (kind, text)


@pytest.mark.long
def test_progress_is_one_output_that_ends_with_all_runs(executed: Any) -> None:
    (progress,) = [cell for cell in outputs(executed) if "runs done" in cell.get("text/html", "")]
    assert progress["text/plain"] == "10 of 10 runs done"
    assert re.search(r'<progress value="10" max="10">', progress["text/html"])


@pytest.mark.long
def test_figures_are_pictures(executed: Any) -> None:
    pictures = [cell["image/png"] for cell in outputs(executed) if "image/png" in cell]
    assert len(pictures) == 2
