"""ProgressCount: a bar on a terminal, a line now and then elsewhere, nothing when the work is quick."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablate.cli import progress_count
from ablate.cli.progress_count import ProgressCount


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    with ProgressCount("runs read", Console(file=text, width=80)) as tell:
        tell(1, 3)
        assert text.getvalue() == ""
        monkeypatch.setattr(progress_count, "PLAIN_EVERY_SECONDS", 0.0)
        tell(2, 3)
    assert text.getvalue() == "runs read: 2 of 3\n"


def test_on_a_terminal_a_bar() -> None:
    text = io.StringIO()
    with ProgressCount("runs read", Console(file=text, width=80, force_terminal=True)) as tell:
        tell(2, 3)
    assert "runs read" in text.getvalue()
    assert "67%" in text.getvalue()


def test_the_last_count_and_the_part_that_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    with ProgressCount("runs scored", Console(file=text, width=80), print_last=True) as tell:
        tell(0, 2, "hybrid seed 1")
        monkeypatch.setattr(progress_count, "PLAIN_EVERY_SECONDS", 0.0)
        tell(1, 2, "hybrid seed 2")
        monkeypatch.undo()
        tell(2, 2)
    assert text.getvalue() == "runs scored: 1 of 2, now hybrid seed 2\nruns scored: 2 of 2\n"
