from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import toy_script
from rich.console import Console
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.short_answer import short_verdicts
from ablate.analysis.study_analysis import analyse
from ablate.report import terminal
from ablate.report.tables import Cell, TextTable

WIDTH = 80


def console() -> Console:
    return Console(file=io.StringIO(), width=WIDTH, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed_table(table: TextTable) -> str:
    out = console()
    terminal.print_table(out, table, title="narrow")
    return printed(out)


def test_the_terminal_says_question_answer_matrix_and_gaps_and_breaks_no_number(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path, fail=[("hybrid", 2)], tuned=False).store(), "toy")
    out = console()
    terminal.print_results(results, out)
    text = printed(out)
    words = " ".join(text.split())
    assert "Does fusing ElePose features" in words
    assert "“ElePose only” is worse than “Existing only”" in words
    assert "no number: 1" in words
    assert "Untuned" in words
    assert "information" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    table = terminal.result_table(analyse(results))
    assert (table.header[0], table.words) == ("Arm", 1)
    assert sum(name.startswith("Δ ") for name in table.header) * 2 == len(table.header) - 2  # parameters have no Δ
    assert {"Hybrid", "7.0M"} < {cell.text for row in table.rows for cell in row}
    for row in table.rows:
        for cell in row[1:]:
            assert any(cell.text in line for line in lines), cell.text  # brackets are not taken for rich's markup
    assert "Too wide" not in text  # two tables have it all


def test_a_badge_for_each_hypothesis_stands_before_the_matrix() -> None:
    out = console()
    terminal.print_results(toy_script.load(toy_script.written()), out)
    lines = [line.rstrip() for line in printed(out).splitlines()]
    assert lines[0] == "Does dropout lower the loss?"
    assert lines[1].startswith(" REFUTED  “dropout” is better than “plain” in loss: +1.000 [+0.9")
    told = " ".join(" ".join(lines[1 : lines.index("dropout")]).split())  # to the title of the matrix
    assert told.endswith("], p < 0.001, 5 seeds For these tuned settings")


def test_why_there_is_no_verdict() -> None:
    analysis = analyse(toy_script.load(toy_script.written()))
    hypothesis = analysis.comparisons[0]
    assert hypothesis.judgement is not None
    none = replace(hypothesis, judgement=replace(hypothesis.judgement, outcome="no verdict", reason="too few of them"))
    out = console()
    of_two = replace(analysis, comparisons=(none, replace(none, judgement=None)))
    out.print(terminal.badges(short_verdicts(of_two)))
    first, *rest = printed(out).splitlines()
    assert first.startswith(" NO VERDICT  “dropout” is better than “plain” in loss")
    assert rest[-1].strip() == "too few of them"


def test_scores_and_differences_that_do_not_fit_side_by_side_become_two_tables() -> None:
    header = ("Arm", "Azimuth error (°)", "Elevation error (°)", "Δ Azimuth error (°)", "Δ Elevation error (°)")
    cells = ("12.34 ± 0.56", "6.54 ± 0.32", "−0.41 [−0.72, −0.10]", "+0.21 [−0.02, +0.40]")
    text = printed_table(TextTable(header, ((Cell("Existing with 2D tokens"), *map(Cell, cells)),)))
    assert all(cell in text for cell in cells)  # no number breaks
    assert text.count("Existing") == 2
    assert "Too wide" not in text


def test_what_does_not_fit_at_all_is_named() -> None:
    header = ("Arm", *(f"Metric {i}" for i in range(9)))
    text = printed_table(TextTable(header, ((Cell("Hybrid"), *[Cell("123.45 ± 6.78")] * 9),)))
    assert text.count("123.45 ± 6.78") == 4  # 16 columns each, and an arm
    assert "Too wide for this terminal: Metric 4, Metric 5, Metric 6, Metric 7, Metric 8" in " ".join(text.split())


def test_a_label_wraps_before_a_number_goes() -> None:
    label = Cell("an arm with a label of many words " * 4)
    text = printed_table(TextTable(("Arm", "x"), ((label, Cell("1.25 ± 0.25")),)))
    assert "1.25 ± 0.25" in text
    assert max(map(len, text.splitlines())) <= WIDTH
