from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from rich.console import Console
from toy_results import Toy

from ablate.claims import results as tables
from ablate.pages import terminal


def console() -> Console:
    return Console(file=io.StringIO(), width=120, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_says_question_answer_matrix_and_gaps(tmp_path: Path) -> None:
    found = tables.load(Toy(tmp_path, fail=[("hybrid", 2)], tuned=False).store(), "toy")
    out = console()
    terminal.print_results(found, out)
    text = printed(out)
    assert "Does fusing ElePose features" in text
    assert "ElePose only is worse than Existing only" in text
    assert "7.0M" in text
    assert "[" in text  # brackets of intervals are not taken for rich's markup
    assert "no number: 1" in text
    assert "Untuned" in text
    assert "information" not in text


def test_scores_of_other_data(tmp_path: Path) -> None:
    rows = [("hybrid", 1, "azimuth_mae_deg", 6.0), ("hybrid", 2, "azimuth_mae_deg", 7.0)]
    rows += [("hybrid", 1, "direction", 3.0), ("existing", 1, "direction", 8.0)]
    out = console()
    terminal.print_scores(pd.DataFrame(rows, columns=["arm", "seed", "metric", "score"]), title="other", console=out)
    text = printed(out)
    assert "6.5 ± 6.4" in text
    assert "–" in text
