"""Progress in a notebook: one output that is updated in place, with all text escaped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import IPython.display
import pytest
from toy_results import Toy

from ablate.cli import notebook_progress
from ablate.cli.notebook_progress import NotebookView, in_notebook
from ablate.planning.plan import plan_of_document
from ablate.study import RunResult, RunSpec
from ablate.study.document import checked


@dataclass
class Output:
    """The output of a cell: what it showed first, and after every update."""

    shown: list[dict[str, str]] = field(default_factory=list)

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    cell = Output()

    def display(data: dict[str, str], **options: Any) -> Output:
        assert options == {"raw": True, "display_id": True}
        cell.shown.append(data)
        return cell

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(notebook_progress, "UPDATE_SECONDS", -1.0)
    return cell


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return Toy(tmp_path).spec("hybrid", 1)


def test_this_is_no_notebook() -> None:
    assert not in_notebook()


def test_it_counts_runs_and_names_those_that_failed(output: Output, spec: RunSpec) -> None:
    with NotebookView(2) as view:
        view.started(spec)
        assert output.shown[-1]["text/plain"] == f"0 of 2 runs done\n{spec.name}: starting"
        view.epoch(spec, {"epoch": 3, "train/loss": 1.0, "val/error": 0.25})
        assert output.shown[-1]["text/plain"] == f"0 of 2 runs done\n{spec.name}: epoch 3, val/error 0.25"
        view.ended(spec, RunResult(spec.key, "FAILED", error="loss is <b>not finite</b>"))
        view.note("a note")
    last = output.shown[-1]
    assert last["text/plain"] == f"1 of 2 runs done, 1 failed\n{spec.name} failed: loss is <b>not finite</b>\na note"
    assert '<progress value="1" max="2">' in last["text/html"]
    assert "&lt;b&gt;not finite" in last["text/html"]


def test_it_shows_what_is_to_be_done_and_what_goes_on(output: Output, tmp_path: Path) -> None:
    document = Toy(tmp_path).document()
    study, facts = checked(document, "toy")
    cells = plan_of_document(document, study, facts, []).cells
    with NotebookView() as view:
        view.step("building the components")
        assert output.shown[-1]["text/plain"] == "0 of 0 runs done; building the components"
        view.expect(study, cells, at_most=True, seconds=90)
        assert output.shown[-1]["text/plain"] == f"0 of at most {len(cells)} runs done; about 1:30"
    assert output.shown[-1]["text/plain"] == f"0 of at most {len(cells)} runs done"
