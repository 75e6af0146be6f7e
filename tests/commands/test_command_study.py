"""A study of a script as it stands, by the real commands: the script's own numbers, and what interrupts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from toy_project import Project, clean_environment, finish, wait_until

from ablate.study import Record, amend, study_file
from ablate.study.catalogue import catalogue_of
from ablate.tracking.mlflow.sqlite_reader import LocalStore

SCRIPT = Path(__file__).parents[1] / "script"
COUNTS = 'width = 3\nparameters = ["python", "train.py", "--count", "--width={width}", "{dropout?--dropout}"]'
WIDE = '[arms.wide]\ncontrol.match_parameters = { of = "dropout", by = "run.width" }'
Cli = Callable[..., Any]


class ScriptProject(Project):
    """A copy of the folder of a script and its study."""

    @property
    def results(self) -> bytes:
        return (self.folder / "reports" / "dropout" / "results.csv").read_bytes()

    def records(self) -> list[Record]:
        return LocalStore(self.folder / "mlruns" / "mlflow.db").records("dropout")

    def edit(self, *edits: tuple[str, str], file: str = "dropout.toml") -> None:
        super().edit(*edits, file=file)

    def without_tuning(self) -> None:
        text = (self.folder / "dropout.toml").read_text()
        start, end = text.index("[tuning]"), text.index("[[hypotheses]]")
        (self.folder / "dropout.toml").write_text(text[:start] + text[end:])

    def with_two_seeds(self) -> None:
        """And without tuning: four runs."""
        self.without_tuning()
        self.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1, 2]"))

    def scores(self) -> dict[tuple[str, int, str], float]:
        frame = pd.read_csv(self.folder / "reports" / "dropout" / "results.csv")
        rows = zip(frame.arm, frame.seed, frame.metric, frame.score, strict=True)
        return {(str(arm), int(seed), str(metric)): float(score) for arm, seed, metric, score in rows}

    def slow(self) -> None:
        """Let every run last until the file `go` is there, and say that it has begun."""
        waits = "open(f'begun-{args.seed}', 'w').close()\nimport os, time\n"
        waits += "while not os.path.exists('go'):\n    time.sleep(0.02)\n"
        self.edit(("for epoch in range", waits + "for epoch in range"), file="train.py")

    def begun(self) -> int:
        return len(list(self.folder.glob("begun-*")))

    def scripts(self) -> list[psutil.Process]:
        """The processes of the script that run in this folder."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if "train.py" in line and f"--out={self.folder}" in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initialised_store: Path) -> Iterator[ScriptProject]:
    shutil.copytree(SCRIPT, tmp_path / "script", ignore=shutil.ignore_patterns("__pycache__"))
    project = ScriptProject(tmp_path / "script")
    project.store(initialised_store)
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield project
    project.stop()


def test_the_numbers_are_those_of_the_bare_script(script: ScriptProject, cli: Cli) -> None:
    checked = cli("plan", "dropout.toml", "--check")
    assert checked.code == 0, checked.err
    assert "every program and placeholder was found; no command was run" in checked.err
    assert script.records() == []
    done = cli("run", "dropout.toml", "--json")
    assert done.code == 0, done.err
    scores = script.scores()
    tuned = {r.arm: r.overrides["run.lr"] for r in script.records() if r.phase == "compare"}
    for arm, flags in (("plain", []), ("dropout", ["--dropout"])):
        own = [f"--lr={tuned[arm]!r}", *flags, "--epochs=4", "--seed=3", "--out=bare.json"]
        subprocess.run([sys.executable, "train.py", *own], check=True, env=clean_environment())
        bare = json.loads(Path("bare.json").read_text())
        assert scores[arm, 3, "test/loss"] == bare["test_loss"]
        recorded = next(r for r in script.records() if (r.phase, r.arm, r.seed) == ("compare", arm, 3))
        assert recorded.scores["val/loss"] == bare["val_loss"]
    tuning = [record for record in script.records() if record.phase == "tune"]
    assert [set(record.scores) & {"val/loss", "test/loss"} for record in tuning] == [{"val/loss"}] * 4
    document = json.loads(done.out)
    assert document["done"] == 10


def test_a_tuning_run_whose_worker_dies_leaves_no_log_in_the_store(script: ScriptProject, cli: Cli) -> None:
    """Its output may name test scores. That of a comparison run is kept."""
    dies = "print('test_loss=1', flush=True)\nimport os, signal\n"
    dies += "if 'tune' in str(args.out) or args.seed == 1: os.kill(os.getppid(), signal.SIGKILL)\n"
    script.edit(("rng = random", dies + "rng = random"), file="train.py")
    script.edit(("trials = 2", "trials = 1"))
    assert cli("run", "dropout.toml", "--only", "plain", "--workers", "1").code == 1
    (tuned,) = script.records()
    assert (tuned.phase, tuned.status) == ("tune", "FAILED")
    assert "the worker process died" in tuned.error
    store = LocalStore(script.folder / "mlruns" / "mlflow.db")
    assert store.artifact(tuned.run_id, "run.log") is None
    script.without_tuning()
    assert cli("run", "dropout.toml", "--only", "plain:1", "--workers", "1").code == 1
    (compared,) = [record for record in script.records() if record.phase == "compare"]
    log = store.artifact(compared.run_id, "run.log")
    assert log is not None
    assert "test_loss=1" in log.read_text()


@pytest.mark.usefixtures("threads")
def test_what_has_changed_since_is_told(script: ScriptProject, cli: Cli) -> None:
    script.with_two_seeds()
    run = ("run", "dropout.toml", "--workers", "1")
    assert cli(*run).code == 0
    before, runs = script.results, len(script.records())
    assert cli(*run).code == 0  # nothing to do
    assert (script.results, len(script.records())) == (before, runs)

    with (script.folder / "train.py").open("a") as file:
        file.write("# another line\n")
    status = cli("status", "dropout.toml")
    assert status.code == 0
    assert (
        "4 finished runs were made by other source code; `ablate run dropout.toml --rerun stale` does them again"
        in status.err
    )

    (script.folder / "numbers.txt").write_text("0.5\n")
    plan = json.loads(cli("plan", "dropout.toml", "--json").out)
    assert Counter(cell["state"] for cell in plan["cells"]) == {"missing": 4}
    assert cli(*run).code == 0
    assert script.results != before


@pytest.mark.usefixtures("threads")
def test_a_control_that_the_script_honours(script: ScriptProject, cli: Cli) -> None:
    script.with_two_seeds()
    run = ("run", "dropout.toml", "--workers", "1")
    assert cli(*run, "--only", "plain").code == 0
    script.edit(
        ("lr = 0.05", 'lr = 0.05\nhonours = ["freeze"]'),
        ('"--seed={seed}"', '"--seed={seed}", "{freeze?--dropout}"'),
        ("[arms.plain]", "[arms.frozen]\ncontrol.freeze = ['head']\n[arms.plain]"),
    )
    assert cli(*run).code == 0
    scores = script.scores()
    assert [scores["frozen", seed, "test/loss"] for seed in (1, 2)] == [
        scores["dropout", seed, "test/loss"] for seed in (1, 2)
    ]
    assert len(script.records()) == 6  # those of `plain` were not done again
    report = (script.folder / "reports" / "dropout" / "report.md").read_text()
    told = "that the command does what the controls ask, which ablate only passes on: freeze of frozen"
    assert told in report.split("\n## ")[0]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("words", ['"python", "../train.py"', '"python", "train.py"'])
def test_a_script_outside_the_studys_folder_counts(script: ScriptProject, cli: Cli, words: str) -> None:
    script.without_tuning()
    above = "../" not in words
    script.edit(('"python", "train.py"', words), ("lr = 0.05", f'lr = 0.05\ncwd = "{".." if above else "."}"'))
    script.edit(
        ('inputs = ["numbers.txt"]\n', ""), ('"--out={out}"', f'"--out={{out}}", "--data={script.folder}/numbers.txt"')
    )
    (script.folder / "studies").mkdir()
    (script.folder / "dropout.toml").rename(script.folder / "studies" / "dropout.toml")
    done = cli("run", "studies/dropout.toml", "--only", "plain:1", "--workers", "1")
    assert done.code == 0, done.err
    assert "other source code" not in cli("plan", "studies/dropout.toml").err
    script.edit(("- 1.01", "- 1.02"), file="train.py")
    planned = cli("plan", "studies/dropout.toml")
    assert "1 finished run was made by other source code" in planned.out + planned.err


@pytest.mark.usefixtures("threads")
def test_a_failed_run_is_a_gap_with_its_reason(script: ScriptProject, cli: Cli) -> None:
    script.with_two_seeds()
    script.edit(
        (
            "for epoch in range",
            "if args.dropout and args.seed == 2:\n    raise SystemExit('no luck')\nfor epoch in range",
        ),
        file="train.py",
    )
    done = cli("run", "dropout.toml", "--workers", "1")
    assert done.code == 1
    assert "dropout-seed2  FAILED: the command ended with exit code 1; its last lines:" in done.err
    assert "no luck" in done.err
    assert set(script.scores()) >= {("dropout", 1, "test/loss"), ("plain", 2, "test/loss")}
    assert script.scores().get(("dropout", 2, "test/loss")) in (None, pytest.approx(float("nan"), nan_ok=True))
    report = (script.folder / "reports" / "dropout" / "report.md").read_text()
    assert "no luck" in report


def test_scores_count_as_they_are_when_the_script_ends(script: ScriptProject, cli: Cli) -> None:
    """A process of a session of its own would write others a moment later."""
    script.without_tuning()
    late = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    late += "        open(f'daemon-{os.getpid()}', 'w').close()\n        time.sleep(1)\n"
    late += '        args.out.write_text(\'{"val_loss": -99, "test_loss": -99}\')\n'
    late += "        time.sleep(600)\n    os._exit(0)\n"
    late += "import glob\nwhile not glob.glob('daemon-*'):\n    time.sleep(0.02)\n"
    with (script.folder / "train.py").open("a") as file:
        file.write(late)
    done = cli("run", "dropout.toml", "--only", "plain:1")
    assert done.code == 0, done.err
    assert [r.scores["test/loss"] for r in script.records()] == [pytest.approx(0, abs=1)]
    daemons = [int(file.name.partition("-")[2]) for file in script.folder.glob("daemon-*")]
    assert daemons
    assert not any(map(psutil.pid_exists, daemons))


def test_ctrl_c_and_a_killed_driver_leave_no_script_and_the_same_bytes(script: ScriptProject, cli: Cli) -> None:
    script.with_two_seeds()
    assert cli("run", "dropout.toml").code == 0
    uninterrupted = script.results
    for name in ("mlruns", "reports"):
        shutil.rmtree(script.folder / name)
    script.slow()

    process = script.start("run", "dropout.toml", "--workers", "2")
    wait_until(lambda: process.poll() is not None or script.begun() == 2)
    os.kill(process.pid, signal.SIGINT)
    stopped = finish(process)
    assert stopped.returncode == 1, stopped.stderr
    assert script.scripts() == []
    assert Counter(script.statuses()) == {"KILLED": 2}

    for file in script.folder.glob("begun-*"):
        file.unlink()
    process = script.start("run", "dropout.toml", "--workers", "2")
    wait_until(lambda: process.poll() is not None or script.begun() == 2)
    assert len(script.scripts()) == 2
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    wait_until(lambda: not script.scripts())

    (script.folder / "go").touch()
    done = cli("run", "dropout.toml", "--workers", "2")
    assert done.code == 0, done.err
    assert script.results == uninterrupted


@pytest.mark.usefixtures("threads")
def test_it_travels_and_other_data_cannot_be_scored(script: ScriptProject, cli: Cli) -> None:
    script.with_two_seeds()
    assert cli("run", "dropout.toml", "--workers", "1").code == 0
    assert cli("export", "dropout", "dropout.zip").code == 0
    assert cli("import", "dropout.zip", "--mlruns", "other").code == 0
    assert cli("report", "dropout", "--mlruns", "other", "--reports", "elsewhere").code == 0
    assert (script.folder / "elsewhere" / "dropout" / "results.csv").read_bytes() == script.results
    refused = cli("evaluate", "dropout", "--data", "numbers.txt")
    assert refused.code == 2
    assert "dropout: a command computes its scores itself: no metric of the study can score other data" in refused.err


@pytest.mark.parametrize(
    ("key", "value"), [("code", "5"), ("command", '{"a": 1}'), ("inputs", "[1]"), ("command", '"python train.py"')]
)
def test_a_stored_document_with_a_damaged_section_is_refused(
    script: ScriptProject, cli: Cli, key: str, value: str
) -> None:
    from ablate.tracking.mlflow.tracker import MlflowTracker

    tracker = MlflowTracker(None, script.folder / "mlruns")
    study = study_file.load(Path("dropout.toml"))
    document = amend.document(study, catalogue_of(study, file=""), {}, command="", today="")
    document["study"]["settings"]["run"][key] = json.loads(value)
    tracker.open("dropout", document)
    refused = cli("report", "dropout")
    assert refused.code == 2
    assert 'document of "dropout": arms.plain.run' in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.usefixtures("threads")
def test_smoke_needs_a_budget_and_records_nothing(script: ScriptProject, cli: Cli) -> None:
    script.edit(("[arms.plain]", '[arms.long]\nset."run.budget" = 9\n[arms.plain]'))
    script.edit(("\nrng =", "\nopen('epochs', 'a').write(f'{args.epochs} ')\nrng ="), file="train.py")
    done = cli("run", "dropout.toml", "--smoke", "--workers", "1")
    assert done.code == 0, done.err
    assert script.records() == []
    assert (script.folder / "epochs").read_text() == "1 1 1 "
    script.edit(('[arms.long]\nset."run.budget" = 9\n', ""))
    script.edit(('"--epochs={budget}", ', ""), ("budget = 4\n", ""), ("budget = 2\n", ""))
    refused = cli("run", "dropout.toml", "--smoke")
    assert refused.code == 2
    assert "--smoke: needs a budget to make short: the setting budget of [settings.run]" in refused.err


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ([('"python", "train.py"', '"/no/such/program"')], "settings.run.command: no such program"),
        ([('"python", "train.py"', '"pyton", "train.py"')], "no such program (got \"pyton\"); did you mean 'python'"),
        (
            [('"python", "train.py"', '"no-such-program-at-all"')],
            "name one on PATH, a path such as ./train.sh, or python",
        ),
        ([('"python", "train.py"', '"train.py"')], "; ./train.py is the file in "),
        ([('"python", "train.py"', '"./train.py"')], "it is not executable; `chmod +x ./train.py`"),
        ([('"python", "train.py"', '"./tain.py"')], "train.py'?"),
        ([('"train.py"', '"tain.py"')], "did you mean 'train.py'?"),
        ([('"train.py"', '"zzzz_zzzz_zzzz.py"')], "the Python files there are train.py"),
        ([("lr = 0.05", 'lr = 0.05\ncwd = "nowhere"')], 'settings.run.cwd: no such folder (got "nowhere")'),
    ],
)
def test_what_is_missing_on_this_machine_is_told_before_anything_is_made(
    script: ScriptProject, cli: Cli, edits: list[tuple[str, str]], told: str
) -> None:
    shutil.rmtree(script.folder / "mlruns")
    script.edit(*edits)
    for arguments in (("plan", "dropout.toml", "--check"), ("run", "dropout.toml")):
        refused = cli(*arguments)
        assert refused.code == 2
        assert told in refused.err
        assert "Traceback" not in refused.err
    assert not (script.folder / "mlruns").exists()


@pytest.mark.usefixtures("threads")
def test_an_arm_as_large_as_another(script: ScriptProject, cli: Cli) -> None:
    script.without_tuning()
    script.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1]"), ("lr = 0.05", f"lr = 0.05\n{COUNTS}"))
    script.edit(("[arms.plain]", f"{WIDE}\n[arms.plain]"), ('"--seed={seed}"', '"--seed={seed}", "--width={width}"'))
    counts = 'args = parser.parse_args()\nif args.count:\n    open("counts", "a").write("x")\n    '
    counts += "print(10 * args.width + 1 + 100 * args.dropout)\n    raise SystemExit\n"
    flags = 'parser.add_argument("--count", action="store_true")\nparser.add_argument("--width", type=int, default=1)\n'
    script.edit(
        ("args = parser.parse_args()\n", flags + counts), ("type=Path, required=True", "type=Path"), file="train.py"
    )

    assert cli("plan", "dropout.toml", "--check").code == 0
    assert not (script.folder / "counts").exists()
    done = cli("run", "dropout.toml", "--workers", "1")
    assert done.code == 0, done.err
    by_arm = {record.arm: record for record in script.records()}
    assert {arm: record.scores["cost/parameters"] for arm, record in by_arm.items()} == {
        "plain": 31, "dropout": 131, "wide": 131,
    }  # fmt: skip
    assert by_arm["wide"].provenance["matched/run.width"] == "13"
    assert len((script.folder / "counts").read_text()) < 12  # those before the runs: none was asked again
    report = (script.folder / "reports" / "dropout" / "report.md").read_text()
    assert "that what counts the parameters, which ablate matches, counts those that a run trains" in report

    script.edit(("print(10 * args.width + 1", "print(-10 * args.width + 1"), file="train.py")
    refused = cli("run", "dropout.toml", "--smoke")
    assert refused.code == 2
    told = "settings.run.parameters: must print the number of parameters, a whole number of at least 1, as its last "
    assert f'{told}line (got "-29")' in refused.err
    assert "Traceback" not in refused.err
    script.edit(('parameters = ["python", "train.py"', 'parameters = ["python", "tran.py"'))
    refused = cli("plan", "dropout.toml", "--check")
    assert refused.code == 2
    assert "settings.run.parameters: no such script in" in refused.err
