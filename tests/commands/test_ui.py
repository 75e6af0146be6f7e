"""`ablate ui` as a person has it: the printed link, in a browser that has never run before."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import Page
from mlflow import MlflowClient
from servers import TrackingServer
from test_function_study import copied
from toy_project import GONE_S, PATIENCE_S, Project, wait_until

from ablate.analysis import results as tables
from ablate.analysis.effects import score
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]
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

# Of every line in the line charts of the page: the run's name, its metric, colour, steps and values. The UI draws every
# line twice, the second time faintly.
LINES = """JSON.stringify(Array.from(document.querySelectorAll(".js-plotly-plot"), (plot) => plot.data).flat()
  .filter((line) => line.type.startsWith("scatter") && line.hoverinfo !== "skip")
  .map((line) => [line.name, line.metricKey, line.marker.color, Array.from(line.x), Array.from(line.y)]))"""


@pytest.fixture(scope="session")
def three_arms(once: Callable[..., Path], initialised_store: Path) -> Path:
    """The folder of a study of three arms, run by the real command."""

    def run(folder: Path) -> None:
        project = copied(folder)
        project.store(initialised_store)
        project.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1, 2, 3]"), file="dropout.toml")
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
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """In the working folder."""
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return project


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


def lines(page: Page) -> dict[tuple[str, str], Line]:
    """(run's name, metric) → its line in the page's charts."""
    return {(name, metric): Line(*line) for name, metric, *line in json.loads(page.value(LINES))}


class Line(NamedTuple):
    colour: str
    steps: list[float]
    values: list[float]


def test_the_link_lands_on_the_arms_with_their_metrics_and_bands(project: Project, page: Page, tmp_path: Path) -> None:
    server, link = serving(project, "--no-browser")
    page.open(link)
    curves = ("val/loss", "val/loss lower", "val/loss upper")
    wanted = {(arm, metric) for arm in ARMS.values() for metric in ("interval/loss", *curves)}
    page.wait(lambda page: wanted <= lines(page).keys(), seconds=PATIENCE_S, picture=picture(tmp_path, "not-seen"))
    drawn, text = lines(page), page.text()
    page.screenshot(picture(tmp_path, "comparison"))
    # in the mode for training, which a new browser is not in, with neither agents nor traces
    assert page.value("location.hash").startswith(f"#/experiments/1/runs?{link.partition('?')[2]}")
    assert "agent" not in text.lower().partition("mlflow assistant")[0]
    assert "3 matching runs" in text
    assert "Does dropout lower the loss?" in text
    results = tables.load(LocalStore(project.folder / "mlruns" / "mlflow.db"), "dropout")
    for position, (arm, label) in enumerate(ARMS.items(), 1):
        expected = score(results, results.by_seed(arm, "test/loss"))
        interval = drawn[label, "interval/loss"]
        assert interval.steps == [position] * 3
        assert interval.values == [expected.low, expected.high, expected.mean]
        mean, low, high = (drawn[label, metric].values for metric in curves)
        epochs = 2 if arm == "short" else 4
        assert len(mean) == len(low) == len(high) == epochs
        assert all(lower < middle < upper for lower, middle, upper in zip(low, mean, high, strict=True))
    for metric in ("interval/loss", *curves):
        assert len({drawn[label, metric].colour for label in ARMS.values()}) == 3
    # the same arms as a table, with the ends of the intervals as columns
    page.open(link.replace("=CHART", "=TABLE"))
    columns = ("test/loss", "test/loss lower", "test/loss upper")
    page.wait(lambda page: all(name in page.text() for name in (*ARMS.values(), *columns)), seconds=PATIENCE_S)
    page.screenshot(picture(tmp_path, "table"))
    ended(server)


def test_a_store_of_before_gets_its_comparison_and_the_page_is_opened_where_there_is_a_browser(
    project: Project, tmp_path: Path
) -> None:
    """The store is as one that an earlier version has written, or to which scores were added."""
    database = project.folder / "mlruns" / "mlflow.db"
    with closing(sqlite3.connect(database)) as store, store:
        store.execute("DELETE FROM tags WHERE key LIKE 'ablate.summary%'")
        store.execute("DELETE FROM experiment_tags")
    note = tmp_path / "opened"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{note}.part" && mv "{note}.part" "{note}"\n')
    browser.chmod(0o755)
    server, link = serving(project, "dropout.toml", BROWSER=str(browser))
    assert link.endswith("&viewStateShareKey=ablate-comparison")
    with closing(sqlite3.connect(database)) as store:
        tags = {key for (key,) in store.execute("SELECT key FROM experiment_tags")}
    assert {"mlflow.note.content", "mlflow.sharedViewState.ablate-comparison"} <= tags
    wait_until(note.is_file)
    assert note.read_text() == f"{link}\n"
    ended(server)


def test_a_study_that_the_store_lacks(here: Project, cli: Cli) -> None:
    answer = cli("ui", "droput", "--no-browser")
    assert answer.code == 2
    assert answer.err == "error: mlruns: study: not in the store (got \"droput\"); did you mean 'dropout'?\n"


def test_of_a_server_the_address_of_its_page_is_told(
    here: Project, cli: Cli, tracking_server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("export", "dropout", "dropout.zip").code == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.address)
    assert cli("import", "dropout.zip").code == 0
    told = cli("ui", "dropout", "--no-browser")
    experiment = MlflowClient(tracking_server.address).get_experiment_by_name("dropout")
    query = "workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey=ablate-comparison"
    page = f"{tracking_server.address}/#/experiments/{experiment.experiment_id}/runs?{query}"
    assert (told.code, told.err) == (0, f"preparing the comparison of dropout\nMLflow UI: {page}\n")
    arms = MlflowClient(tracking_server.address).search_runs([experiment.experiment_id], "tags.`ablate.role` = 'arm'")
    assert sorted(run.info.run_name for run in arms) == sorted(ARMS.values())
    assert cli("ui", "dropout", "--no-browser").err == f"MLflow UI: {page}\n"
