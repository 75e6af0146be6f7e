from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.study_analysis import analyse
from ablate.report import terminal
from ablate.report.tables import Cell, TextTable


def narrow() -> Console:
    return Console(file=io.StringIO(), width=80, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_numbers_never_break_at_80_columns(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path).store(), "toy")
    out = narrow()
    terminal.print_results(results, out)
    text = printed(out)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for row in terminal.result_table(analyse(results)).rows:
        for cell in row[1:]:
            assert any(cell.text in line for line in lines), cell.text
    assert "Too wide" not in text  # two tables have it all


def test_columns_that_do_not_fit_are_named() -> None:
    names = ("Arm", *(f"Metric {i}" for i in range(9)))
    table = TextTable(names, ((Cell("a"), *(Cell("123.45 ± 6.78"),) * 9),))
    out = narrow()
    terminal.print_table(out, table, title="t")
    text = printed(out)
    assert text.count("123.45 ± 6.78") == 4  # 16 columns each, and an arm
    assert "Too wide for this terminal: Metric 4, Metric 5, Metric 6, Metric 7, Metric 8" in " ".join(text.split())


def test_a_label_wraps_before_a_number_goes() -> None:
    long = "an arm with a label of many words " * 4
    out = narrow()
    terminal.print_table(out, TextTable(("Arm", "x"), ((Cell(long), Cell("1.25 ± 0.25")),)), title="t")
    assert "1.25 ± 0.25" in printed(out)
    assert max(map(len, printed(out).splitlines())) <= 80
