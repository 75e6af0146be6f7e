"""The page as a person has it: opened from a file in a browser that reaches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import markupsafe
import pytest
from toy_results import ARMS, Toy

from ablate.analysis import results as tables
from ablate.report import build, html
from ablate.report.blocks import Heading, Table, paragraph
from ablate.report.tables import Cell, TextTable

PATIENCE_S = 600  # a busy machine takes ten times as long as an idle one
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAIN = '<main id="report">'
HOSTILE = '<script>document.title="owned"</script><img src="http://example.invalid/x.png">'

# Runs in the page: sorts by a click, reports what it sees as JSON.
PROBE = """
const table = document.querySelector("#table-matrix");
const names = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent);
const headers = Array.from(table.tHead.rows[0].cells);
const header = headers.find((cell) => cell.textContent.startsWith("Azimuth error"));
const button = header.querySelector("button");
const seen = { written: names(), title: document.title, states: [] };
button.focus();
seen.focused = document.activeElement === button;
for (const key of ["ascending", "descending", "again"]) {
  button.click();
  seen[key] = names();
  seen.states.push(header.getAttribute("aria-sort"));
}
seen.scripts = document.scripts.length;
const charts = Array.from(document.querySelectorAll("svg.chart"));
seen.images = charts.map((one) => [one.getAttribute("aria-label"), one.clientWidth]);
seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
seen.folded = document.querySelectorAll("details").length;
document.body.dataset.seen = JSON.stringify(seen);
"""


CHECK = """
document.querySelectorAll("details").forEach((one) => { one.open = true; });
axe.run({ exclude: [["svg"]] }, { runOnly: ["wcag2a", "wcag2aa"], resultTypes: ["violations"] }).then((found) => {
  const serious = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
  const told = serious.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
  document.body.dataset.seen = JSON.stringify(told);
});
"""
CLICK = """
const of = (name) => Array.from(document.querySelectorAll(".chart .mark")).filter((one) => one.dataset.arm === name);
const visible = (name) => of(name).filter((one) => getComputedStyle(one).display !== "none").length;
const paper = () => getComputedStyle(document.body).backgroundColor;
const tips = Array.from(document.querySelectorAll(".chart [data-tip]"), (one) => one.dataset.tip);
const state = { marks: of("elepose").length, before: visible("elepose"), tips, themes: [paper()] };
const press = document.querySelector('.arms [data-of="elepose"]');
press.click();
state.after = visible("elepose");
state.others = visible("hybrid");
state.pressed = press.getAttribute("aria-pressed");
document.querySelector(".theme").click();
state.themes.push(paper());
document.body.dataset.seen = JSON.stringify(state);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    arms = {**ARMS, "hybrid": {**ARMS["hybrid"], "label": f"Hybrid {HOSTILE}"}}
    folder = tmp_path_factory.mktemp("page")
    results = tables.load(Toy(folder / "runs", arms=arms, fail=[("elepose", 2)]).store(), "toy")
    return build.write(results, folder / "toy", formats=("html",)).file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here (one of {', '.join(BROWSERS)})")
    return path


def dom(browser: str, page: Path, *, width: int = 1280, options: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The page's DOM after its scripts have run, and the addresses that it asked for."""
    log = page.with_suffix(".netlog")
    options = [*options, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},900", f"--log-net-log={log}"]
    command = [browser, *options, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout, sorted(set(asked(log)))


def asked(log: Path) -> Iterator[str]:
    """The addresses that pages from files asked for; the browser's own requests (updates, time) are none of theirs."""
    for event in json.loads(log.read_text(encoding="utf-8"))["events"]:
        parameters = event.get("params", {})
        of_a_file = parameters.get("network_isolation_key", "").startswith("file:")
        if of_a_file and not parameters["url"].startswith("file:"):
            yield parameters["url"]


def allowed(page: str, script: str) -> str:
    """The page with one more script, which its policy is told of."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.count("script-src ") == 1
    policy = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    return policy.replace("</body>", f"<script>{script}</script></body>")


def seen(browser: str, text: str, folder: Path, *, width: int = 1280) -> tuple[Mapping[str, Any], list[str]]:
    path = folder / "report.html"
    path.write_text(allowed(text, PROBE), encoding="utf-8")
    shown, fetched = dom(browser, path, width=width)
    [observed] = re.findall(r'<body data-seen="([^"]*)"', shown)
    return json.loads(unescape(observed)), fetched


class TestInABrowser:
    def test_tables_sort_by_a_click_text_is_text_and_nothing_is_fetched(
        self, browser: str, page: str, tmp_path: Path
    ) -> None:
        observed, fetched = seen(browser, page, tmp_path)
        assert fetched == []
        hybrid = f"Hybrid {HOSTILE}"
        assert observed["written"] == ["Existing only", "ElePose only", hybrid]
        assert observed["ascending"] == [hybrid, "Existing only", "ElePose only"]  # 6.6°, 7.1°, 15.2°
        assert observed["descending"] == ["ElePose only", "Existing only", hybrid]
        assert observed["again"] == observed["written"]
        assert observed["states"] == ["ascending", "descending", None]
        assert observed["focused"]
        assert observed["folded"] > 0
        # what the study says is text
        assert observed["title"] == "toy"
        assert observed["scripts"] == 2  # the page's and the probe
        assert len(observed["images"]) > 5
        assert all(label and width > 0 for label, width in observed["images"])

    def test_the_page_fits_a_narrow_screen(self, browser: str, page: str, tmp_path: Path) -> None:
        assert seen(browser, page, tmp_path, width=500)[0]["wide"] == 0  # the narrowest window that Chromium opens

    def test_axe_finds_nothing_serious_in_light_and_dark(self, browser: str, page: str, tmp_path: Path) -> None:
        """Contrast, landmarks, names and roles, by axe-core (WCAG 2 A and AA), with everything unfolded."""
        axe = pytest.importorskip("axe_core_python")
        library = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8").replace("</script>", "")
        for theme in ("light", "dark"):
            themed = page.replace('<html lang="en">', f'<html lang="en" data-theme="{theme}">')
            path = tmp_path / f"{theme}.html"
            path.write_text(allowed(themed, library + CHECK), encoding="utf-8")
            [found] = re.findall(
                r'<body data-seen="([^"]*)"', dom(browser, path, options=["--virtual-time-budget=30000"])[0]
            )
            assert json.loads(unescape(found)) == []

    def test_an_arm_is_hidden_by_its_button_and_values_are_said(self, browser: str, page: str, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        path.write_text(allowed(page, CLICK), encoding="utf-8")
        [found] = re.findall(r'<body data-seen="([^"]*)"', dom(browser, path)[0])
        seen = json.loads(unescape(found))
        assert seen["before"] == seen["marks"] > 0
        assert seen["after"] == 0
        assert seen["others"] > 0
        assert seen["pressed"] == "false"
        assert any(tip.startswith("ElePose only, seed 1: +") for tip in seen["tips"])
        assert seen["themes"] == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]

    def test_the_policy_stops_what_escaping_might_miss_and_the_log_would_tell(
        self, browser: str, page: str, tmp_path: Path
    ) -> None:
        observed, fetched = seen(browser, page.replace(MAIN, f"{MAIN}{HOSTILE}", 1), tmp_path)
        assert observed["title"] == "toy"
        assert fetched == []
        open_ = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace(MAIN, HOSTILE, 1)
        (tmp_path / "open.html").write_text(open_, encoding="utf-8")
        shown, fetched = dom(browser, tmp_path / "open.html")
        assert "<title>owned</title>" in shown
        assert "http://example.invalid/x.png" in fetched


def test_the_page_names_no_address_and_has_every_table(page: str) -> None:
    words = r"<text.*?</text>|<title>.*?</title>"  # of figures, which break the label into lines
    assert "http" not in re.sub(rf"http-equiv|http://example\.invalid|{words}", "", page, flags=re.DOTALL)
    assert page.count("<table") == page.count("</table>") > 5
    assert "loss is not finite | epoch 3" in page
    assert markupsafe.escape(HOSTILE) in page
    assert HOSTILE not in page


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7.10 ± 0.21", 7.1),
        ("−0.41 [−0.72, −0.10]", -0.41),
        ("+0.41", 0.41),
        ("2,214,663", 2214663),
        ("1.2M", 1.2e6),
        ("900.0k", 9e5),
        ("< 0.001", 0.001),
        ("90 s", 90),
        ("3.2 min", 192),
        ("1.5 h", 5400),
        ("7 of 7", 7),
        ("−40 to −20", -40),
        ("1e-05", 1e-5),
    ],
)
def test_a_cell_sorts_by_its_number(text: str, number: float) -> None:
    assert float(html.sortable(Cell(text))) == pytest.approx(number)


def test_gaps_sort_last_and_words_as_words() -> None:
    assert html.sortable(Cell("–")) == html.sortable(Cell("")) == ""
    assert html.sortable(Cell("Hybrid")) == "Hybrid"


def test_headings_are_targets_and_folded_tables_have_their_caption(tmp_path: Path) -> None:
    table = TextTable(("Arm", "Score"), ((Cell("a & b"), Cell("1 ± 2 [0, 1]")),))
    blocks = [Heading("Runs <i>", 2), Table("t", table, "A > b", folded=True), paragraph("x", serious=True)]
    text = html.render(blocks, "t", tmp_path)
    assert '<a href="#runs-i">Runs &lt;i&gt;</a>' in text
    assert '<h2 id="runs-i">Runs &lt;i&gt;</h2>' in text
    assert "<details><summary>A &gt; b</summary>" in text
    assert '<th scope="row" class="word" data-sort="a &amp; b">a &amp; b</th>' in text
    assert ">1\u00a0±\u00a02 [0,\u00a01]</td>" in text  # a number keeps together; its interval may stand below
    assert '<p class="serious">x' in text
