"""A study that says markup, formulas, commands and control characters wherever it can say anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from toy_results import ARMS, METRICS, Toy

from ablate.analysis import results as tables
from ablate.report import build, markdown, terminal
from ablate.report.blocks import Bullets, Code, Heading, Listing, Table, paragraph
from ablate.report.tables import Cell, TextTable
from ablate.study import Problem, printable

SAYINGS = {
    "html": '=<script src="http://evil.invalid"></script><img src=x onerror=alert(1)></summary></td> &lt;b&gt; &#60;',
    "markdown": "a|b ![x](http://evil.invalid) [y](javascript:alert(1)) `` ``` ` **_~~$x$ <!-- --> # - 1. > |---|",
    "latex": r"\input{/etc/passwd}\write18{touch sprung}\end{document} ^^5cinput $\frac{ $$ \undefined & % # _ ~ \\ ^",
    "controls": "a\x1b]0;owned\x07\x00\x9b2J\u202egnp.exe\ud800\r\nb",
}


def toy(folder: Path, saying: str) -> Toy:
    """Everything that a store can quote says it."""
    arms = {
        name: {**arm, "label": f"{name} {saying}", "information": {saying: saying, "azimuth": saying}}
        for name, arm in ARMS.items()
    }
    made = Toy(folder, arms=arms, seeds=(1, 2), fail=[("hybrid", 2)], command=f"ablate run {saying}")
    conditions = {"azimuth_deg": {"label": saying, "bins": 4}, "elevation_deg": {"label": saying}}
    more = {"question": saying, "report": {"conditions": conditions, "gallery": made.gallery}}
    return replace(made, more=more)


def results(folder: Path, saying: str) -> tables.Results:
    made = toy(folder, saying)
    tracker = made.store()
    document = made.document()
    document["metrics"] = {n: {**m, "label": f"{n} {saying}"} for n, m in METRICS.items()}
    document["amendments"] = [{"date": saying, "what": saying}]
    document |= {"created": saying, "hypotheses_digest": f"`{saying}\n\n<script>"}
    tracker.open("toy", document)
    found = tables.load(tracker, "toy")
    for facts in found.provenance.values():
        facts[printable(saying)] = "x"  # type: ignore[index]
    return found


@pytest.fixture(scope="module", params=SAYINGS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A saying, and the folder of a report in every format."""
    folder = tmp_path_factory.mktemp(request.param)
    found = results(folder / "runs", SAYINGS[request.param])
    return request.param, build.write(found, folder / "toy", formats=tuple(build.FORMATS)).file.parent


class Elements(HTMLParser):
    """Names and attributes of a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def test_markdown_has_no_element_of_its_own(page: tuple[str, Path]) -> None:
    """Rendered as leniently as any site does: raw HTML passes."""
    text = (page[1] / "report.md").read_text(encoding="utf-8")
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    for tag, attributes in Elements(shown).found:
        assert tag not in {"script", "iframe", "s", "del"}
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["src"].startswith("figures/")
        if tag == "a":
            assert re.fullmatch(r"#[\w-]+|[\w./-]+", attributes["href"])
    tables_ = re.findall(r"<tr>.*?</tr>", shown, flags=re.DOTALL)
    assert len(tables_) > 20


def test_html_has_no_element_of_its_own(page: tuple[str, Path]) -> None:
    found = Elements((page[1] / "report.html").read_text(encoding="utf-8")).found
    assert [tag for tag, _ in found].count("script") == 1
    for tag, attributes in found:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/png")
        if tag == "a":
            assert re.fullmatch(r"#[\w-]+|[\w./-]+", attributes["href"])


def test_no_format_has_a_control_character(page: tuple[str, Path]) -> None:
    for file in (
        "report.md",
        "report.html",
        "report.tex",
        "report_long.tex",
        "report.json",
        *(f"tables/{n}.csv" for n in ("matrix", "gaps")),
    ):
        text = (page[1] / file).read_text(encoding="utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), file
    json.loads((page[1] / "report.json").read_text(encoding="utf-8"))


def test_latex_runs_no_command_of_the_study(page: tuple[str, Path], tmp_path: Path) -> None:
    text = (page[1] / "report.tex").read_text(encoding="utf-8")
    text += "".join(file.read_text(encoding="utf-8") for file in (page[1] / "tables").glob("*.tex"))
    for command in (r"\write18", r"\input{/etc", r"\undefined", r"\frac"):
        assert not re.search(r"(?<!\\)" + re.escape(command), text)  # two make a line break
    assert "^^5c" not in text
    assert text.count(r"\end{document}") == 1


def test_latex_compiles_with_the_shell_open(page: tuple[str, Path], tmp_path: Path) -> None:
    if page[0] != "latex":
        return
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    shutil.copytree(page[1], tmp_path / "toy")
    command = ["pdflatex", "-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path / "toy", capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert not (tmp_path / "toy" / "sprung").exists()


def test_a_terminal_shows_no_command_of_the_study(tmp_path: Path) -> None:
    stream = StringIO()
    console = Console(file=stream, force_terminal=False, width=200)
    terminal.print_results(
        results(tmp_path / "a", SAYINGS["controls"] + "[red]x[/red][link=http://evil.invalid]"), console
    )
    assert "\x1b" not in stream.getvalue()
    assert "[red]x[/red]" in stream.getvalue().replace("\n", "")


@pytest.mark.parametrize(
    ("blocks", "shown"),
    [
        ([paragraph(Code("a\n\n<script>"))], "<p><code>a &lt;script&gt;</code></p>"),
        ([paragraph(Code("``` ` ``"))], "<p><code>``` ` ``</code></p>"),
        ([paragraph("<b>", Code("`"), "</b>")], "<p>&lt;b&gt;<code>`</code>&lt;/b&gt;</p>"),
        ([Heading("x\n<script>")], "<h2>x &lt;script&gt;</h2>"),
        ([Bullets((("a\n\n# b",),))], "<ul>\n<li>a # b</li>\n</ul>"),
        ([Listing("a\n\n<b>\n- c")], "<pre><code>a\n\n&lt;b&gt;\n- c\n</code></pre>"),
        ([paragraph("====")], "<p>====</p>"),
        ([paragraph("![x](y)")], "<p>![x](y)</p>"),
    ],
)
def test_blocks_of_markdown(blocks: Any, shown: str) -> None:
    assert MarkdownIt("commonmark", {"html": True}).render(markdown.render(blocks)).strip() == shown


def test_the_caption_of_a_folded_table_stands_in_html() -> None:
    table = Table("t", TextTable(("a",), ((Cell("1"),),)), "<script>x</script> & _y_", folded=True)
    text = markdown.render([table])
    assert "<summary>&lt;script&gt;x&lt;/script&gt; &amp; _y_</summary>" in text


def test_a_problem_is_printable_and_of_bounded_length() -> None:
    text = str(Problem("a\x1b.toml", "x", "must\u202e not\x00", "\udcff" + "y" * 10_000, "z"))
    assert text.startswith("a\\x1b.toml: x: must\\u202e not\\x00 (got \\udcff")
    assert len(text) < 4_100
    text.encode("utf-8")
