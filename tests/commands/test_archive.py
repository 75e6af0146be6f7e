"""Keep a store small and share it, through the commands: export, import, discard, gc, records of other versions."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import small_disk
from filelock import FileLock
from toy_project import Project, as_json

Cli = Callable[..., Any]


@pytest.fixture
def mine(project: Project, finished: Project) -> Project:
    """A project with a copy of the store of the finished study: a test may change it."""
    shutil.copytree(finished.folder / "mlruns" / "artifacts", "mlruns/artifacts")
    shutil.copy(finished.folder / "mlruns" / "mlflow.db", "mlruns")
    return project


def states(cli: Cli) -> dict[tuple[str, int], str]:
    cells = as_json(cli("status", "linear.toml", "--json").out)["cells"]
    return {(cell["arm"], cell["seed"]): cell["state"] for cell in cells}


def trials(mlruns: Path) -> list[tuple[str, int, str, float]]:
    """Study, number, state and value of every trial that optuna-dashboard shows."""
    query = """SELECT study_name, number, state, value FROM trials JOIN studies USING (study_id)
        LEFT JOIN trial_values USING (trial_id) ORDER BY 1, 2"""
    with closing(sqlite3.connect(mlruns / "optuna.db")) as database:
        return database.execute(query).fetchall()


class TestExport:
    def test_the_report_of_an_imported_study_has_the_same_bytes(
        self, project: Project, zipped: Path, finished: Project, cli: Cli
    ) -> None:
        answer = cli("import", str(zipped))
        assert (answer.code, answer.out) == (0, "linear: 10 runs and 6 models imported\n"), answer.err
        assert set(states(cli).values()) == {"done"}
        assert cli("report", "linear").code == 0
        assert project.results == finished.results
        assert trials(Path("mlruns")) == trials(finished.folder / "mlruns") != []

    def test_it_says_what_it_wrote_and_refuses_what_it_cannot(self, mine: Project, cli: Cli) -> None:
        answer = cli("export", "linear.toml", "out.zip")
        assert (answer.code, answer.out.split(" in ")[0]) == (0, "linear: 10 runs and 6 models")
        for arguments, said in (
            (("linaer", "x.zip"), "not in the store"),
            (("linear", "no/where.zip"), "its folder does not exist"),
            (("linear", "x.zip", "--mlruns", "elsewhere"), "there is no store here"),
            (("linear", "x.zip", "--tracking-uri", "http://127.0.0.1:9"), "does not answer"),
        ):
            answer = cli("export", *arguments)
            assert (answer.code, said in answer.err) == (2, True), answer.err
        assert not Path("x.zip").exists()
        assert not Path("elsewhere").exists()

    def test_never_while_a_driver_is_at_work(self, project: Project, zipped: Path, cli: Cli) -> None:
        Path("mlruns").mkdir()
        with FileLock("mlruns/linear.lock"):
            answer = cli("import", str(zipped))
        assert (answer.code, "at work" in answer.err) == (2, True)
        assert not Path("mlruns/mlflow.db").exists()

    def test_importing_nonsense_makes_nothing(self, project: Project, cli: Cli) -> None:
        Path("a.zip").write_text("no archive")
        for file, rule in (("a.zip", "cannot be read as an exported study"), ("absent.zip", "no such file")):
            answer = cli("import", file)
            assert answer.code == 2
            assert f"{file}: {rule}" in answer.err
        assert not Path("mlruns").exists()


@pytest.mark.parametrize("free", [0, 600_000, 1_250_000], ids=["no room", "for part of the database", "for some files"])
def test_a_full_disk_is_told_in_one_line_and_later_the_same_command_completes(
    project: Project, finished: Project, zipped: Path, cli: Cli, free: int
) -> None:
    with small_disk.mounted(project.folder / "disk", size="16m") as disk:
        disk.fill(free=free)
        again = ("import", str(zipped), "--mlruns", "disk/mlruns")
        answer = cli(*again)
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        assert re.search("disk is full|No space left on device", answer.err), answer.err
        disk.empty()
        came = re.fullmatch(r"linear: (\d+) runs and \d+ models imported\n", cli(*again).out)
        assert came, "what was whole before the disk was full has come already and stays"
        assert 0 < int(came[1]) <= 10
        assert cli(*again).out.startswith("linear: 0 runs and 0 models imported: what the file holds is here already")
        assert cli("report", "linear", "--mlruns", "disk/mlruns").code == 0
        assert project.results == finished.results


class TestDiscard:
    def test_it_asks_and_without_a_terminal_needs_to_be_told(self, mine: Project, cli: Cli) -> None:
        answer = cli("discard", "linear")
        assert answer.code == 2
        assert "--yes" in answer.err
        assert set(states(cli).values()) == {"done"}

    def test_an_arm_and_then_the_study(self, mine: Project, cli: Cli) -> None:
        answer = cli("discard", "linear:garden", "--yes")
        assert (answer.code, answer.out) == (0, "discarded 4 runs of linear: garden\n")
        left = states(cli)
        assert {arm for (arm, _), state in left.items() if state != "done"} == {"garden"}
        assert cli("discard", "linear:failed", "--yes").code == 2  # there is none
        assert "plain" in cli("discard", "linear:plian", "--yes").err
        assert cli("discard", "linear", "--yes").code == 0
        assert "done" not in states(cli).values()
        assert "not in the store" in cli("discard", "linear", "--yes").err
        assert cli("report", "linear").code == 2

    def test_the_failed_runs(self, mine: Project, cli: Cli) -> None:
        with closing(sqlite3.connect("mlruns/mlflow.db")) as store, store:
            store.execute(
                """UPDATE tags SET value = 'FAILED' WHERE key = 'ablate.status' AND run_uuid IN
                (SELECT run_uuid FROM tags WHERE key = 'ablate.arm' AND value = 'mean')"""
            )
        assert cli("discard", "linear:failed", "--yes").out == "discarded 2 runs of linear: failed\n"
        assert states(cli)["mean", 1] == "missing"
        assert states(cli)["plain", 1] == "done"

    def test_never_while_a_driver_is_at_work(self, mine: Project, cli: Cli) -> None:
        with FileLock("mlruns/linear.lock"):
            answer = cli("discard", "linear", "--yes")
        assert answer.code == 2
        assert "at work" in answer.err
        assert set(states(cli).values()) == {"done"}


class TestGc:
    @pytest.fixture
    def littered(self, mine: Project) -> Project:
        """States of a finished, a young and an old unfinished run; of a study that nobody knows; artifacts of none."""
        done = next(r for r in mine.records() if r.arm == "plain" and r.phase == "compare")
        old = time.time() - 20 * 86_400
        for name, when in (
            (f"linear/compare-plain-seed1-{done.key}", None),
            ("linear/compare-plain-seed9-0123456789abcdef", None),
            ("linear/compare-plain-seed8-fedcba9876543210", old),
            ("gone/compare-plain-seed1-0123456789abcdef", old),
            ("server/compare-plain-seed1-0123456789abcdef", None),
        ):
            folder = mine.folder / "mlruns" / "work" / name
            folder.mkdir(parents=True)
            (folder / "checkpoint.pt").write_bytes(bytes(1000))
            if when:
                os.utime(folder / "checkpoint.pt", (when, when))
                os.utime(folder, (when, when))
        other = mine.folder / "mlruns" / "artifacts" / "linear" / ("0" * 32) / "artifacts"
        other.mkdir(parents=True)
        (other / "of another store").touch()
        return mine

    def left(self) -> set[str]:
        return {folder.name.split("-")[2] + "-" + folder.parent.name for folder in Path("mlruns/work").glob("*/*")}

    def test_it_removes_what_nobody_needs_and_says_so(self, littered: Project, cli: Cli) -> None:
        everything = self.left()
        dry = cli("gc", "--dry-run")
        assert dry.code == 0
        assert "0.0 MB would be freed" in dry.err
        assert self.left() == everything
        answer = cli("gc")
        assert answer.out == dry.out
        assert [line.split("  ")[-1] for line in answer.out.splitlines()] == [
            "state of an unfinished run, untouched for 20 days",
            "state of a finished run",
            "state of an unfinished run, untouched for 20 days",
        ]
        assert self.left() == {"seed9-linear", "seed1-server"}
        assert Path("mlruns/artifacts/linear", "0" * 32).exists()  # no row tells of it: perhaps another store's
        assert cli("gc").out == ""
        assert cli("gc", "--days", "0").out.count("unfinished") == 2
        assert self.left() == set()
        assert set(states(cli).values()) == {"done"}

    def test_files_of_discarded_runs_go_and_the_rest_stays(self, mine: Project, finished: Project, cli: Cli) -> None:
        cli("discard", "linear:garden", "--yes")
        shutil.move("mlruns", "moved")
        answer = cli("gc", "--mlruns", "moved")
        shutil.move("moved", "mlruns")
        assert answer.out.count("files of a discarded run") == 2
        assert answer.out.count("files of a discarded model") == 2
        kept = {record.run_id for record in mine.records()}
        folders = {path.name for path in Path("mlruns/artifacts/linear").iterdir()} - {"models"}
        assert len(folders - kept) == 1 + 3  # the study's own document, and what the MLflow UI shows of its arms
        assert len(list(Path("mlruns/artifacts/linear/models").iterdir())) == 4
        assert cli("report", "linear").code == 0

    def test_a_study_at_work_is_left_alone(self, littered: Project, cli: Cli) -> None:
        before = self.left()
        with FileLock("mlruns/linear.lock"):
            answer = cli("gc")
        assert "linear: left alone: another `ablate run` of this study is at work" in answer.out
        assert before - self.left() == {"seed1-gone"}


class TestVersions:
    def test_a_store_from_before_records_said_so_opens(self, mine: Project, finished: Project, cli: Cli) -> None:
        with closing(sqlite3.connect("mlruns/mlflow.db")) as store, store:
            store.execute("DELETE FROM tags WHERE key = 'ablate.schema'")
        file = next(Path("mlruns/artifacts/linear").glob("*/artifacts/study.json"))
        file.write_text(file.read_text().replace('"schema": 1', '"older": 1'))
        assert set(states(cli).values()) == {"done"}
        assert cli("report", "linear").code == 0
        assert mine.results == finished.results

    @pytest.mark.parametrize("where", ["runs", "document"])
    def test_a_store_of_a_newer_version_is_refused(self, mine: Project, cli: Cli, where: str) -> None:
        if where == "runs":
            with closing(sqlite3.connect("mlruns/mlflow.db")) as store, store:
                store.execute("UPDATE tags SET value = '2' WHERE key = 'ablate.schema'")
        else:
            file = next(Path("mlruns/artifacts/linear").glob("*/artifacts/study.json"))
            file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
        commands: list[tuple[str, ...]] = [("report", "linear"), ("run", "linear.toml")]
        if where == "runs":
            commands += [("plan", "linear.toml"), ("status", "linear.toml")]
        shutil.rmtree("reports", ignore_errors=True)
        for command in commands:
            answer = cli(*command)
            assert answer.code == 2, command
            assert "written by a newer version of ablate" in answer.err
            assert "pip install --upgrade ablate" in answer.err
        assert not Path("reports").exists()
