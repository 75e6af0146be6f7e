"""The commands on the toy study: answers, exit codes, interruptions. Real processes where processes matter."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project, as_json, finish, group_members, wait_until

import ablate
from ablate.study import trust

Cli = Callable[..., Any]


class TestFinishedStudy:
    def test_answers_in_json_and_talks_on_stderr(self, finished: Project) -> None:
        answer = as_json((finished.folder / "stdout").read_text())
        report = "reports/linear/report.md"
        assert answer == {"done": 6, "failed": 0, "missing": 0, "errors": {}, "report": report}
        assert (finished.folder / report).is_file()
        talk = (finished.folder / "stderr").read_text()
        assert "[10/10]" in talk
        assert "Warning" not in talk

    def test_the_report_is_a_function_of_the_store(
        self, finished: Project, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendered: None
    ) -> None:
        monkeypatch.chdir(finished.folder)
        assert cli("report", "linear", "--reports", str(tmp_path)).code == 0
        written = files(finished.folder / "reports" / "linear")
        again = files(tmp_path / "linear")
        assert {"results.csv", "timings.csv", "report.md"} < written.keys() == again.keys()
        # the page says how the study was run, which `report` by name alone does not know
        assert [name for name in written if written[name] != again[name]] in ([], ["report.md"])

    def test_characters_that_a_terminal_lacks_are_replaced(self, finished: Project) -> None:
        answer = finished.call("compare", "linear", "garden", "plain", PYTHONIOENCODING="latin-1")
        assert answer.returncode == 0, answer.stderr
        assert "Garden too" in answer.stdout

    def test_looking_needs_no_catalogue_within_reach(
        self, finished: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(finished.folder)
        monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "project" not in entry])
        monkeypatch.setattr(trust, "_trusted_packages", {"linear_toy"})
        assert cli("status", "linear.toml").code == 0
        assert cli("plan", "linear.toml").code == 0

    def test_plan_and_status(self, finished: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(finished.folder)
        status = cli("status", "linear.toml", "--json")
        assert status.code == 0, status
        cells = as_json(status.out)["cells"]
        assert (len(cells), {cell["state"] for cell in cells}) == (6, {"done"})
        plan = cli("plan", "linear.toml", "--check")
        assert plan.code == 0
        assert plan.out.splitlines()[:6] == [
            "seed    tuned   1 2",
            "plain     2/2   ■ ■",
            "garden    2/2   ■ ■",
            "mean            ■ ■",
            "",
            "■ done",
        ]
        assert [line.split()[0] for line in plan.out.splitlines()[6:]] == ["power"] * 3
        assert "10 done" in plan.err
        assert "next: `ablate report linear` writes the report" in plan.err
        assert "every component was imported and built" in plan.err

    def test_the_studies_of_a_store(self, finished: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(finished.folder)
        listed = as_json(cli("list", "--json").out)
        assert isinstance(listed, list)
        (study,) = listed
        assert (study["name"], study["done"], study["failed"], study["runs"]) == ("linear", 6, 0, 6)
        assert study["question"] == "Does seeing the garden help?"
        assert study["changed"].startswith("20")
        head, line = cli("list").out.splitlines()
        assert head.split() == ["study", "runs", "done", "last", "change", "question"]
        assert line.startswith("linear  6 of 6     20")
        assert line.endswith("Does seeing the garden help?")
        missing = cli("list", "--mlruns", "none")
        assert (missing.code, missing.out) == (2, "")


class TestHelp:
    def test_no_summary_is_cut_and_groups_have_examples(self, cli: Cli) -> None:
        for group in ([], ["data"], ["data", "import"]):
            answer = cli(*group, "--help")
            assert answer.code == 0
            assert "..." not in answer.out.partition("Commands:")[2]
            assert "Examples:\n    ablate " in answer.out
            assert max(map(len, answer.out.splitlines())) <= 80

    def test_version(self, cli: Cli) -> None:
        answer = cli("--version")
        assert (answer.code, answer.out) == (0, f"ablate {ablate.__version__}\n")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestBeforeAnythingRan:
    def test_plan_shows_what_would_run(self, project: Project, cli: Cli) -> None:
        answer = cli("plan", "linear.toml")
        assert answer.code == 0
        assert answer.out.splitlines()[:7] == [
            "seed    tuned   1 2",
            "plain     0/2   ○ ○",
            "garden    0/2   ○ ○",
            "mean            · ·",
            "",
            "· missing   ○ waiting",
            "left        10 runs; how long they take is known once one is finished",
        ]
        assert "next: `ablate plan linear.toml --check` builds every component" in answer.err
        checked = cli("plan", "linear.toml", "--check")
        assert re.search(r"left +10 runs, about \d+ seconds? with \d+ workers? of training alone,", checked.out)
        assert "of each arm" in checked.out
        assert "next: `ablate run linear.toml` starts the study" in answer.err
        status = cli("status", "linear.toml")
        assert status.code == 1
        assert not (project.folder / "mlruns").exists()

    def test_plan_tells_what_the_seeds_can_show(self, project: Project, cli: Cli) -> None:
        told = [line for line in cli("plan", "linear.toml").out.splitlines() if line.startswith("power")]
        assert told[0] == "power       2 seeds, 1 hypothesis; a verdict needs at least 5"
        power = as_json(cli("plan", "linear.toml", "--difference", "0.3", "--json").out)["power"]
        assert (power["seeds"], power["smallest_sign_flip_p"], len(power["prospects"])) == (2, 0.5, 1)
        refused = cli("plan", "linear.toml", "--difference", "nan")
        assert (refused.code, refused.err) == (2, "error: --difference: must be a number\n")


class TestInterruptions:
    def test_a_second_ctrl_c_ends_it_at_once(self, project: Project, initialised_store: Path) -> None:
        project.store(initialised_store)
        hang = "\n\ndef hang(scale):\n    def loss(output, targets):\n        open('hangs', 'w').close()\n"
        hang += "        import time\n        time.sleep(1000)\n    return loss\n"
        components = project.folder / "linear_toy" / "components.py"
        components.write_text(components.read_text(encoding="utf-8") + hang, encoding="utf-8")
        project.edit(("components:squared", "components:hang"))
        driver = project.start("run", "linear.toml", "--workers", "1")
        wait_until((project.folder / "hangs").exists)
        os.kill(driver.pid, signal.SIGINT)
        assert driver.stderr is not None
        said = ""
        while "stopping the runs" not in said:
            said = driver.stderr.readline()
            assert said
        os.kill(driver.pid, signal.SIGINT)
        stopped = finish(driver)
        assert stopped.returncode == 130
        assert "the same command goes on from them" in stopped.stderr
        assert group_members(driver.pid) == []

    def test_stopped_by_ctrl_c_it_goes_on_to_the_same_bytes(
        self, project: Project, finished: Project, initialised_store: Path, cli: Cli, threads: None
    ) -> None:
        project.store(initialised_store)

        driver = project.start("run", "linear.toml", "--workers", "1", LINEAR_TOY_DELAY_S="0.3")
        wait_until(project.checkpoints)
        second = cli("run", "linear.toml")
        assert second.code == 2
        assert "another `ablate run` of this study is at work: process" in second.err
        assert f"process {driver.pid} on {socket.gethostname()}, since 20" in second.err
        assert "it runs: ablate run linear.toml --workers 1" in second.err
        looked = cli("status", "linear.toml")
        assert f"at work: process {driver.pid} on" in looked.err
        assert re.search(r"tuning: \d of 4 runs", looked.err)
        earlier = {path.parent for path in project.checkpoints()}
        wait_until(lambda: {path.parent for path in project.checkpoints()} - earlier)  # a run that has just begun
        os.killpg(driver.pid, signal.SIGINT)  # as Ctrl-C in a terminal, to every process of the group
        stopped = finish(driver)
        assert stopped.returncode == 1, stopped.stderr
        assert "Ctrl-C: stopping the runs; what they have saved is kept" in stopped.stderr
        assert "finished runs and checkpoints are kept: the same command goes on" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert "KILLED" in project.statuses()
        assert "RUNNING" not in project.statuses()
        assert group_members(driver.pid) == []

        (unfinished, *_) = project.checkpoints()
        assert not (project.folder / "reports").exists()

        done = cli("run", "linear.toml", "--workers", "1", "--json")
        assert done.code == 0, done.err
        assert as_json(done.out)["done"] == 6
        assert project.results == finished.results
        assert set(project.statuses()) == {"FINISHED"}
        run_name = unfinished.parent.name.removeprefix("tune-").rpartition("-")[0]
        log = (project.folder / "mlruns" / "logs" / "linear" / f"{run_name}.log").read_text()
        assert "continued from a checkpoint after epoch" in log
        assert project.checkpoints() == []

        before = project.records()
        again = cli("run", "linear.toml")
        assert (again.code, again.err) == (0, "preparing linear.toml: reading the study, its data and what is done\n")
        assert project.records() == before
        assert project.results == finished.results
        for text in ("Does seeing the garden help?", "Garden too", "reports/linear/report.md"):
            assert text in again.out


class TestFailures:
    def test_a_failed_run_is_a_gap_with_a_reason_and_can_be_done_again(
        self, project: Project, cli: Cli, initialised_store: Path, threads: None
    ) -> None:
        project.store(initialised_store)
        project.without_tuning()
        project.edit(('set."model.columns" = 3', 'set."model.columns" = 3\nset."training.learning_rate" = 1e30'))
        project.edit(("seeds = [1, 2]\nmetrics", "seeds = [1, 2]\nretries = 1\nmetrics"))
        answer = cli("run", "linear.toml", "--json", "--workers", "1")
        assert answer.code == 1
        told = as_json(answer.out)
        reason = "the training loss is not finite in epoch 1; a lower learning_rate may help"
        assert (told["done"], told["failed"]) == (4, 2)
        assert told["errors"] == {"garden-seed1": reason, "garden-seed2": reason}
        assert f"failed: garden-seed1, garden-seed2: {reason}" in answer.err
        assert f"garden-seed2 failed: {reason}; try 2 of 2" in answer.err
        logs = [path.read_text() for path in project.folder.glob("mlruns/artifacts/linear/*/artifacts/run.log")]
        assert sum(f"NonFiniteLoss: {reason}" in log for log in logs) == 4  # with the two that were tried again
        status = cli("status", "linear.toml")
        assert status.code == 1
        assert f"failed garden, seeds 1, 2: {reason}" in " ".join(status.out.split())
        assert "next: `ablate run linear.toml --rerun failed` does the failed runs again" in status.err
        assert "garden,1,failed,," in project.results.decode()

        before = {r.run_id: r.arm for r in project.records()}
        assert cli("run", "linear.toml", "--rerun", "failed").code == 1
        again = {r.run_id: r.arm for r in project.records()}
        assert [arm for run_id, arm in again.items() if run_id not in before] == ["garden", "garden"]
        assert len(again) == 6
