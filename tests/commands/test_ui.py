"""`ablate ui` as a person has it: the printed link, in a browser that has never run before."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from browser import Page
from test_function_study import copied
from toy_project import GONE_S, PATIENCE_S, Project

from ablate.analysis import results as tables
from ablate.tracking.mlflow.sqlite_reader import LocalStore

ARMS = {"plain": "plain", "dropout": "With dropout", "short": "Half the budget"}
EDIT = """\
[arms.dropout]
label = "With dropout"
set."run.dropout" = true

[arms.short]
label = "Half the budget"
set."run.budget" = 2
"""
PICTURES = os.environ.get("ABLATE_SCREENSHOTS")  # a folder that keeps the screenshots

# Of every line chart of the page: title, and of every line its name, colour and heights.
LINES = """
Array.from(document.querySelectorAll(".js-plotly-plot"), (plot) => plot.data.map((line) => ({
  name: line.name, type: line.type, colour: (line.line || line.marker || {}).color, x: line.x, y: line.y,
  metric: line.metricKey,
})))
"""


@pytest.fixture(scope="session")
def three_arms(once: Callable[..., Path]) -> Path:
    """The folder of a study of three arms, run by the real command."""

    def run(folder: Path) -> None:
        project = copied(folder)
        project.edit(('[arms.dropout]\nset."run.dropout" = true\n', EDIT), file="dropout.toml")
        done = project.call("run", "dropout.toml", "--workers", "2")
        assert done.returncode == 0, done.stderr
        assert "could not be updated" not in done.stderr

    return once("three-arms", run)


@pytest.fixture
def project(three_arms: Path, tmp_path: Path) -> Iterator[Project]:
    shutil.copytree(three_arms, tmp_path / "study")
    project = Project(tmp_path / "study")
    yield project
    project.stop()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path / "profile", height=1500)
    yield page
    page.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(project: Project, *arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """An `ablate ui` whose server answers, and the link that it printed."""
    port = free_port()
    server = project.start("ui", *arguments, "--port", str(port), **environment)
    assert server.stderr is not None
    link = ""
    while not link:
        line = server.stderr.readline()
        assert line, "ended without a link"
        link = "".join(re.findall(r"^MLflow UI: (http\S+)$", line))
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            assert time.monotonic() < ends
            time.sleep(0.2)
        else:
            return server, link


def ended(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.communicate(timeout=GONE_S)


def picture(tmp_path: Path, name: str) -> Path:
    return Path(PICTURES or tmp_path, f"{name}.png")


def lines(page: Page) -> list[Mapping[str, Any]]:
    charts = page.value(f"JSON.stringify({LINES})")
    return [line for chart in json.loads(charts) for line in chart]


def test_the_link_lands_on_the_arms_with_their_metrics_and_bands(project: Project, page: Page, tmp_path: Path) -> None:
    server, link = serving(project, "--no-browser")
    page.open(link)
    seen: list[Mapping[str, Any]] = []

    def complete(page: Page) -> bool:
        seen[:] = lines(page)
        return {"interval", "val"} <= {str(line["metric"]).partition("/")[0] for line in seen if line["metric"]}

    page.wait(complete, seconds=PATIENCE_S, picture=picture(tmp_path, "not-seen"))
    page.screenshot(picture(tmp_path, "comparison"))
    text = page.text()
    print(seen)
    for label in ARMS.values():
        assert label in text
    results = tables.load(LocalStore(project.folder / "mlruns" / "mlflow.db"), "dropout")
    assert results
    ended(server)
