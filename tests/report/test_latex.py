"""The LaTeX that a report writes, compiled by pdflatex where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from toy_results import ARMS, Toy

from ablate.analysis import results as tables
from ablate.report import build, latex
from ablate.report.blocks import Bullets, Code, Heading, Link, Listing, Strong, Table, paragraph
from ablate.report.latex_text import escape
from ablate.report.tables import Cell, TextTable

PATIENCE_S = 600
HOSTILE = r'50 % & $x_1^2$ #{a}\input{b}~c "q" <<t>> --x 北京 Ħ é ō ± −5° Δσ µ … ²½ ﬁ' + "\u200b"
SINGLE = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,longtable,graphicx}\begin{document}%s\end{document}"  # noqa: E501


def compiled(folder: Path, name: str) -> str:
    """pdflatex's log; fails where it fails."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex here")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE_S, check=False)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    return log


def too_wide(log: str) -> list[float]:
    return [float(points) for points in re.findall(r"Overfull \\hbox \((\d+\.?\d*)pt too wide\)", log)]


def test_the_report_compiles_and_its_tables_fit(tmp_path: Path) -> None:
    label, words = "Hybrid 50 % & #{a}_b", {"azimuth": HOSTILE, "elevation": "same"}
    hybrid = {**ARMS["hybrid"], "label": label, "information": words}
    arms = {**ARMS, "hybrid": hybrid, "torso-frame": {"reference": True}}
    results = tables.load(Toy(tmp_path / "runs", arms=arms, fail=[("elepose", 2)]).store(), "toy")
    out = tmp_path / "toy"
    build.write(results, out, formats=("tex",))
    for name in ("report", "report_long"):
        log = compiled(out, f"{name}.tex")
        assert (out / f"{name}.pdf").stat().st_size > 10_000
        assert "Missing character" not in log
        assert [points for points in too_wide(log) if points > 5] == []
    paper = (out / "report.log").read_text(encoding="utf-8", errors="replace")
    [pages] = re.findall(r"Output written on report.pdf \((\d+) pages?", paper)
    assert int(pages) <= 4
    assert "twocolumn" in (out / "report.tex").read_text(encoding="utf-8")
    assert "figures/differences.pdf" in (out / "report.tex").read_text(encoding="utf-8")


def test_a_single_table_needs_two_packages(tmp_path: Path) -> None:
    wide = TextTable(("Arm", *("A long header of words",) * 12), ((Cell("a"), *(Cell("−1.25 [−2.50, +0.10]"),) * 12),))
    long = TextTable(("Arm", "x"), tuple((Cell(f"[arm {i}]"), Cell(str(i))) for i in range(120)))
    latex.write_tables([Table("wide", wide), Table("long", long)], tmp_path)
    (tmp_path / "paper.tex").write_text(SINGLE % r"\begin{table}\input{wide}\end{table}\input{long}", encoding="utf-8")
    log = compiled(tmp_path, "paper.tex")
    assert too_wide(log) == []
    assert "(3 pages" in log or "(4 pages" in log  # a table of many rows breaks over pages


def test_every_sign_of_the_first_planes_can_be_set(tmp_path: Path) -> None:
    signs = [chr(code) for code in [*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x2300)]]
    lines = ["".join(signs[i : i + 16]) for i in range(0, len(signs), 16)]
    (tmp_path / "report.tex").write_text(latex.render([paragraph(line) for line in lines]), encoding="utf-8")
    compiled(tmp_path, "report.tex")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 50 % #1 {x} $", r"a\_b \& 50 \% \#1 \{x\} \$"),
        (r"\input{x} ~^", r"\textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{}"),
        ("−0.4 ± 2°", r"\ensuremath{-}0.4 \ensuremath{\pm} 2\textdegree{}"),
        ("--rerun <<a>>", r"-{}-rerun \ensuremath{<}\ensuremath{<}a\ensuremath{>}\ensuremath{>}"),
        (",, '' `` ?` !`", r",{}, '{}' `{}` ?{}` !{}`"),
        ('"a" \x7f \x00', r"\textquotedbl{}a\textquotedbl{} [U+007F] [U+0000]"),
        ("é 北 ﬁ и", r"\'e [U+5317] fi [U+0438]"),
        (
            "m² 10⁻³ x₂ 10⁺¹²",
            r"m\textsuperscript{2} 10\textsuperscript{\ensuremath{-}3} x\textsubscript{2} 10\textsuperscript{+12}",
        ),
        ("k€ £ ½ ⅓ ‰", r"k\texteuro{} \textsterling{} \textonehalf{} 1\textfractionsolidus{}3 \textperthousand{}"),
        ("  two\n lines ", " two lines "),
    ],
)
def test_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_a_table_has_the_rules_of_booktabs_and_a_row_cannot_be_an_argument() -> None:
    table = TextTable(("Arm", "Δ"), ((Cell("[a]", strong=True), Cell("1")), (Cell("b", faint=True), Cell("2"))))
    text = latex.tabular(table)
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\begin{tabular}{@{}lr@{}}" in text
    assert "\\textbf{[a]} & 1 \\\\" in text
    assert "\\textit{b} & 2 \\\\" in text
    assert "{}[x] \\\\" in latex.tabular(TextTable(("Arm",), ((Cell("[x]"),),)))


def test_numbers_never_break_and_words_do() -> None:
    interval = "−1.25 [−2.50, +0.10]"
    narrow = TextTable(("Arm", "Δ"), ((Cell("an arm of many words that go on and on"), Cell(interval)),))
    assert r"\ensuremath{-}1.25 [\ensuremath{-}2.50, +0.10]" in latex.tabular(narrow)
    wide = TextTable(("Arm", *("Δ",) * 8), ((Cell("an arm of many words that go on and on"), *(Cell(interval),) * 8),))
    stacked = latex.tabular(wide)
    assert r"\ensuremath{-}1.25\\{}[\ensuremath{-}2.50, +0.10]" in stacked  # the interval below its mean, both whole
    assert latex.width(wide) < 8 * len(interval)


def test_blocks() -> None:
    blocks = [
        Heading("A & b", 2),
        paragraph(Strong("x"), " y ", Code("a_b"), Link("there", "#a-b")),
        Listing("a  b\n# c"),
    ]
    text = latex.render([*blocks, Bullets((("[one]",),))])
    assert r"\hypertarget{a-b}{}\section*{A \& b}" in text
    assert r"\textbf{x} y \texttt{a\_b}\hyperlink{a-b}{there}" in text
    assert "a b\\\\\n\\# c" in text
    assert r"\item {}[one]" in text
