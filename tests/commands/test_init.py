"""`ablate init` writes a study that plans and runs as it stands, from words and sources that it never executes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ablate.commands.init import for_command
from ablate.commands.init.command import read_command
from ablate.commands.init.script import Flag, read_script
from ablate.planning import plan
from ablate.study import InputError, Study, study_file
from ablate.study.command_template import fill
from ablate.study.run_rules import setting_values

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "script" / "train.py"
Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def script() -> None:
    """A training script of a stranger, with its data."""
    for name in ("train.py", "numbers.txt"):
        shutil.copy(SCRIPT.parent / name, name)


def study_of(command: str) -> Study:
    for_command(command, Path("study.toml"))
    return study_file.load(Path("study.toml"))


def run_section(command: str) -> dict[str, Any]:
    Path("study.toml").unlink(missing_ok=True)
    return study_of(command).settings["run"]


class TestRoundTrip:
    @pytest.mark.usefixtures("script", "threads")
    def test_a_script_is_planned_and_run_as_the_file_stands(self, cli: Cli) -> None:
        made = cli("init", "--command", "python train.py --lr 0.01 --dropout")
        assert (made.code, made.out) == (0, "study.toml\n")
        planned = cli("plan", "study.toml", "--check")
        assert planned.code == 0, planned.err
        done = cli("run", "study.toml", "--workers", "1", "--json")
        assert done.code == 0, done.err
        assert '"done": 10, "failed": 0, "missing": 0' in done.out
        report = Path("reports/train/report.md").read_text(encoding="utf-8")
        assert "Does --dropout help?" in report
        assert "Without --dropout" in report

    @pytest.mark.usefixtures("threads")
    def test_a_script_that_logs_to_mlflow(self, cli: Cli) -> None:
        shutil.copy(ROOT / "tests" / "mlflow_script" / "train.py", "train.py")
        made = cli("init", "--command", "python train.py --lr 0.05 --dropout")
        assert made.code == 0, made.err
        section = study_file.load(Path("study.toml")).settings["run"]
        assert (section["scores"], "pattern" in section) == ("mlflow", False)
        text = Path("study.toml").read_text(encoding="utf-8")
        assert "logs them with MLflow, under the names val_loss and test_loss" in text
        Path("study.toml").write_text(text.replace("seeds = [1, 2, 3, 4, 5]", "seeds = [1]"), encoding="utf-8")
        planned = cli("plan", "study.toml", "--check")
        assert planned.code == 0, planned.err
        done = cli("run", "study.toml", "--workers", "1", "--json")
        assert done.code == 0, done.err
        assert '"done": 2, "failed": 0, "missing": 0' in done.out

    def test_a_script_that_only_mentions_mlflow_or_logs_elsewhere(self) -> None:
        Path("train.py").write_text("import mlflow\nmlflow.start_run()")
        assert "scores" not in run_section("python train.py --lr 1")
        Path("train.py").write_text("from mlflow import log_metric, set_experiment\nset_experiment('x')\nlog_metric()")
        assert run_section("python train.py --lr 1")["scores"] == "mlflow"
        text = Path("study.toml").read_text(encoding="utf-8")
        assert "calls mlflow.set_experiment: leave it out" in text
        assert "scores" not in run_section("python train.py --lr 1 --out scores.json")

    @pytest.mark.usefixtures("threads")
    @pytest.mark.parametrize(
        "returned",
        [
            "{'val_acc': 0.5, 'test_acc': 0.25 + norm}",
            "{'val': {'accuracy': 0.5}, 'test': {'accuracy': 0.25 + norm}}",
        ],
    )
    def test_a_function_is_planned_and_run_as_the_file_stands(self, cli: Cli, returned: str) -> None:
        source = "def train(settings, run):\n    for i in range(run.budget): run.epoch(i + 1, {'val_acc': i})\n"
        Path("mine.py").write_text(source + f"    norm = settings.get('norm', True)\n    return {returned}\n")
        made = cli("init", "--function", "mine:train")
        assert made.code == 0, made.err
        planned = cli("plan", "study.toml", "--check")
        assert planned.code == 0, planned.err
        done = cli("run", "study.toml", "--workers", "1", "--json")
        assert done.code == 0, done.err
        assert '"done": 10, "failed": 0, "missing": 0' in done.out

    @pytest.mark.usefixtures("script")
    def test_what_is_commented_out_is_right_as_well(self) -> None:
        study_of("python train.py --lr 0.01 --dropout")
        text = Path("study.toml").read_text(encoding="utf-8")
        start = text.index("# [tuning]")
        lines = [line.removeprefix("# ") for line in text[start:].splitlines() if not line.endswith("verdict:")]
        Path("study.toml").write_text(text[:start] + "\n".join(lines), encoding="utf-8")
        study = study_file.load(Path("study.toml"))
        assert study.tuning is not None
        assert set(study.tuning.space) == {"run.lr"}
        assert [(each.arm, each.against) for each in study.hypotheses] == [("baseline", "without-dropout")]

    def test_a_function(self, cli: Cli) -> None:
        source = "def train(settings, run):\n    x = settings['depth']\n    y = settings.get('norm', True)\n"
        source += "    run.budget\n    return {'val_acc': 1, 'test_acc': 1}\nraise SystemExit('executed')\n"
        Path("mine.py").write_text(source)
        made = cli("init", "--function", "mine:train")
        assert made.code == 0, made.err
        study = study_file.load(Path("study.toml"), imports=False)
        assert study.settings == {"run": {"function": "mine:train", "depth": 1.0, "norm": True, "budget": 10}}
        assert study.arms["without-norm"].set == {"run.norm": False}
        assert (study.metric["accuracy"].val, study.metric["accuracy"].test) == ("val_acc", "test_acc")
        assert "your values for depth" in Path("study.toml").read_text(encoding="utf-8")

    def test_a_function_that_is_written_later(self, cli: Cli) -> None:
        assert cli("init", "--function", "later:train").code == 0
        study = study_file.load(Path("study.toml"), imports=False)
        assert study.settings["run"] == {"function": "later:train", "use_part": True, "budget": 10}
        assert "its source was not found" in Path("study.toml").read_text(encoding="utf-8")

    def test_the_built_in_subject(self, cli: Cli) -> None:
        assert cli("init", "--pose", "--out", "mine.toml").code == 0
        study, quick = study_file.load(Path("mine.toml")), study_file.load(ROOT / "studies" / "quick.toml")
        training = {**quick.settings["training"], "precision": "float32", "last_batch": "keep"}
        assert study == quick.model_copy(update={"name": "mine", "settings": {**quick.settings, "training": training}})
        text = Path("mine.toml").read_text(encoding="utf-8")
        assert "ablate run mine.toml" in text
        assert text.count("\n# ") > 10  # the notes of every section were placed
        assert cli("plan", "mine.toml").code == 0

    def test_a_study_elsewhere_runs_the_command_where_it_was_typed(self, script: None, cli: Cli) -> None:
        Path("studies").mkdir()
        assert cli("init", "--command", "python train.py", "--out", "studies/first.toml").code == 0
        study = study_file.load(Path("studies/first.toml"))
        assert (study.name, study.settings["run"]["cwd"]) == ("first", "..")
        assert study.settings["run"]["inputs"] == ["numbers.txt"]
        assert cli("plan", "studies/first.toml", "--check").code == 0


class TestWords:
    @pytest.mark.parametrize(
        ("typed", "words", "values"),
        [
            ("--lr 0.01 --use-x", ["--lr", "{lr}", "{use_x?--use-x}"], {"lr": 0.01, "use_x": True}),
            ("--lr=1e-4 --n=-3", ["--lr={lr}", "--n={n}"], {"lr": 1e-4, "n": -3}),
            ("-w -0.5 in.txt", ["-w", "{w}", "in.txt"], {"w": -0.5}),
            ("model.width=64 +x=true y@z=007", ["model.width={model_width}", "+x={x}", "y@z={y_z}"],
             {"model_width": 64, "x": True, "y_z": "007"}),
            ("--seed 3 --random-seed=4 x.seed=5", ["--seed", "{seed}", "--random-seed={seed}", "x.seed={seed}"], {}),
            ("--epochs 10 --device cuda", ["--epochs", "{budget}", "--device", "{device}"], {"budget": 10}),
            ("--out scores.json --ckpt-dir runs/1", ["--out", "{out}", "--ckpt-dir", "{dir}"], {}),
            ("--out=model.pt", ["--out={dir}/model.pt"], {}),
            ("--env Cart-v1 --test 2", ["--env", "{env_}", "--test", "{test_}"], {"env_": "Cart-v1", "test_": 2}),
            ("--lr 1 other.lr=2 --other-lr 3", ["--lr", "{lr}", "other.lr={other_lr}", "--other-lr", "{other_lr_}"],
             {"lr": 1, "other_lr": 2, "other_lr_": 3}),
            ("--name '{a}' '{b}'", ["--name", "{name}", "{{b}}"], {"name": "{a}"}),
            ("hydra.run.dir=x -- --lr 1", ["hydra.run.dir=x", "--", "--lr", "1"], {}),
            ("--big 123456789012345678901 --inf inf", ["--big", "{big}", "--inf", "{inf}"],
             {"big": "123456789012345678901", "inf": "inf"}),
        ],
    )  # fmt: skip
    def test_of_a_program_whose_source_is_not_known(self, typed: str, words: list[str], values: dict[str, Any]) -> None:
        section = run_section(f"./train {typed}")
        assert section["command"] == ["./train", *words]
        assert setting_values(section) == values

    def test_a_launcher_keeps_its_own_words(self) -> None:
        section = run_section("X=1 torchrun --nproc_per_node=2 train.py --lr 2")
        assert section["command"] == ["torchrun", "--nproc_per_node=2", "train.py", "--lr", "{lr}"]
        assert section["env"] == {"X": "1"}
        assert run_section("python -u -m pkg.train --lr 2")["command"][:5] == [
            "python",
            "-u",
            "-m",
            "pkg.train",
            "--lr",
        ]

    def test_files_that_are_there_are_inputs(self) -> None:
        for name in ("a.bin", "b.bin", "saved.pt"):
            Path(name).touch()
        section = run_section("./train a.bin --data b.bin --other c.bin --save-to saved.pt")
        assert section["inputs"] == ["a.bin", "b.bin"]
        assert section["data"] == "b.bin"

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @example(words=["--a", "{", "--b=}", "é=ü", '"', "\\", "#", "'", "--x?y"])
    @given(
        st.lists(
            st.text("ab-=.{}'\"\\ #é0+@/:,[]%!", max_size=6)
            | st.sampled_from(["--lr", "--flag", "0.1", "1", "true", "-x", "a.b=1", "--", "--k=[1,2]"]),
            max_size=8,
        )
    )
    def test_whatever_the_words_the_baseline_runs_them(self, words: list[str]) -> None:
        section = run_section(shlex.join(["./train", *words]))
        filled = fill(section["command"], setting_values(section))
        assert [_number(word) for word in filled] == [_number(word) for word in ["./train", *words]]

    @pytest.mark.parametrize(
        ("command", "told"),
        [
            ("python train.py | tee log", "it is started without a shell, which '|' is for"),
            ("cd x && python train.py", "which '&' is for"),
            ("python train.py > log", "which '>' is for"),
            ("python train.py; echo", "which ';' is for"),
            ('python train.py --lr "$LR"', "which '$' is for"),
            ("python train.py `date`", "which '`' is for"),
            ("python train.py data/*.bin", "which '*' is for"),
            ("python train.py ~/data", "which '~' is for"),
            ("python 'train.py", "cannot be split: no closing quotation"),
            ("", "names no program"),
            ("A=1", "names no program"),
            ("python\ntrain.py", "must be one line without control characters"),
            ("python 'a\nb'", "must be one line without control characters"),
            ("python \udcff", "must be one line without control characters"),
        ],
    )
    def test_what_only_a_shell_can_do_is_refused(self, cli: Cli, command: str, told: str) -> None:
        answer = cli("init", "--command", command)
        assert answer.code == 2
        assert answer.err.startswith("error: --command: ")
        assert told in answer.err
        assert list(Path().iterdir()) == []

    def test_what_is_quoted_is_a_word(self) -> None:
        section = run_section("python train.py --a 'x|y;$z' --b \"p>q*\" --c=\\$1 d~")
        assert setting_values(section) == {"a": "x|y;$z", "b": "p>q*", "c": "$1"}


def _number(word: str) -> str | float:
    """Words that say the same number are the same: `0.10` comes back as `0.1`."""
    head, equals, tail = word.partition("=")
    try:
        return f"{head}={float(tail)}" if equals else float(word)
    except ValueError:
        return word


ARGPARSE = """
import argparse, sys
from pathlib import Path
sys.exit("executed")
p = argparse.ArgumentParser()
p.add_argument("data", help="positional")
p.add_argument("-e", "--epochs", type=int, default=7)
p.add_argument("--random-seed", type=int, default=0)
p.add_argument("--tag", default="a")
p.add_argument("--layers", nargs="+", type=int, default=[64, 64])
p.add_argument("--act", choices=["relu", "gelu"], default="relu")
p.add_argument("--verbose", action="store_true")
p.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
p.add_argument("--log-dir", type=Path, default=Path("runs"))
p.add_argument("--lr", type=float, required=True)
p.add_argument("--version", action="version")
"""
CLICK = """
import click
@click.command()
@click.option("--epochs", "-e", default=7)
@click.option("--lr", type=float, required=True)
@click.option("--act", type=click.Choice(["relu", "gelu"]))
@click.option("--bias/--no-bias", default=True)
@click.option("--fast", is_flag=True)
def main(): raise SystemExit("executed")
main()
"""
TYPER = """
import typer
from typing import Annotated
def main(data: str, epochs: int = 7, lr: Annotated[float, typer.Option("--lr", "-l")] = 0.1, *, use_x: bool = False,
         bias: bool = True, out: str = typer.Option(..., "--scores"), name: Annotated[str, typer.Argument()] = "x"): ...
typer.run(main)
"""


class TestSource:
    def flags(self, source: str) -> dict[str, Flag]:
        Path("train.py").write_text(source)
        return {flag.name: flag for flag in read_script("train.py", Path()).flags}

    def test_argparse(self) -> None:
        flags = self.flags(ARGPARSE)
        assert flags.keys() == {
            "--epochs", "--random-seed", "--tag", "--layers", "--act", "--verbose", "--bias", "--no-bias", "--log-dir",
            "--lr",
        }  # fmt: skip
        assert flags["--epochs"] == Flag(("-e", "--epochs"), kind="int", default=7)
        assert flags["--layers"].many
        assert flags["--act"].choices == ("relu", "gelu")
        assert flags["--verbose"].switch
        assert flags["--log-dir"].default == "runs"
        assert flags["--lr"] == Flag(("--lr",), kind="float", required=True)

    def test_click(self) -> None:
        flags = self.flags(CLICK)
        assert flags.keys() == {"--epochs", "--lr", "--act", "--bias", "--no-bias", "--fast"}
        assert (flags["--epochs"].default, flags["--epochs"].kind) == (7, "int")
        assert flags["--act"].choices == ("relu", "gelu")
        assert (flags["--fast"].switch, flags["--no-bias"].switch) == (True, True)

    def test_typer(self) -> None:
        flags = self.flags(TYPER)
        assert flags.keys() == {"--epochs", "--lr", "--use-x", "--no-use-x", "--bias", "--no-bias", "--scores"}
        assert flags["--lr"] == Flag(("--lr", "-l"), kind="float", default=0.1)
        assert (flags["--epochs"].default, flags["--use-x"].switch) == (7, True)

    @pytest.mark.parametrize("source", ["def (", "x = '\0'", "\xff", "(" * 5000, ""])
    def test_what_cannot_be_read_has_no_flags(self, source: str) -> None:
        Path("train.py").write_bytes(source.encode("latin-1"))
        assert read_script("train.py", Path()).flags == ()
        assert run_section("python train.py --lr 1")["lr"] == 1

    def test_what_the_source_says_is_used(self) -> None:
        Path("train.py").write_text(ARGPARSE)
        section = run_section("python train.py --tag 3.10 --layers 8 16 -e 5 --verbose x.bin")
        assert section["command"] == [
            "python", "train.py", "--tag", "{tag}", "--layers", "{layers}", "-e", "{budget}", "{verbose?--verbose}",
            "x.bin", "--random-seed={seed}", "--log-dir={dir}",
        ]  # fmt: skip
        assert setting_values(section) == {"tag": "3.10", "layers": [8, 16], "verbose": True, "budget": 5}
        text = Path("study.toml").read_text(encoding="utf-8")
        assert "# train.py requires --lr: add it to the command." in text
        assert '# train.py also takes --act ("relu"), --no-bias, --bias' in text

    def test_the_arm_is_a_switch_of_the_source_where_none_was_typed(self) -> None:
        Path("train.py").write_text(CLICK)
        study = study_of("python train.py --lr 1")
        assert study.settings["run"]["no_bias"] is False
        assert study.arms["with-no-bias"].set == {"run.no_bias": True}

    @pytest.mark.parametrize(
        ("typed", "value", "arm"), [("--bias", False, "with-no-bias"), ("--no-bias", True, "without-no-bias")]
    )
    def test_of_two_switches_the_arm_has_the_one_that_changes_the_default(
        self, typed: str, value: bool, arm: str
    ) -> None:
        Path("train.py").write_text(CLICK)
        study = study_of(f"python train.py --lr 1 {typed}")
        assert "{no_bias?--no-bias}" in study.settings["run"]["command"]
        assert study.settings["run"]["no_bias"] is value
        assert study.arms[arm].set == {"run.no_bias": not value}

    @pytest.mark.parametrize(
        ("typed", "arm", "changes"),
        [
            ("--act relu --lr 1", "other-act", {"run.act": "gelu"}),
            ("--lr 0.5", "other-lr", {"run.lr": 1.0}),
        ],
    )
    def test_else_it_is_another_choice_or_number(self, typed: str, arm: str, changes: dict[str, Any]) -> None:
        source = 'p.add_argument("--act", choices=["relu", "gelu"])\np.add_argument("--lr", type=float)'
        Path("train.py").write_text(source)
        assert study_of(f"python train.py {typed}").arms[arm].set == changes

    def test_without_any_setting_the_file_says_where_the_arm_goes(self) -> None:
        study = study_of("./train")
        assert list(study.arms) == ["baseline"]
        assert "[arms.changed]: no setting was found" in Path("study.toml").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("source", "metric"),
        [
            ("print(f'val_acc={x} test_acc={y}')", ("accuracy", "higher", "val_acc", "test_acc")),
            ("json.dump(dict(val_loss=1, val_f1=2, test_loss=3), f)", ("loss", "lower", "val_loss", "test_loss")),
            (
                "print(f'{e} val_acc {a:.3f}'); dump({'val_accuracy': 1, 'test_accuracy': 2})",
                ("accuracy", "higher", "val_accuracy", "test_accuracy"),
            ),
            ("print('val_acc=1'); dump({'val_loss': 1, 'test_loss': 2})", ("loss", "lower", "val_loss", "test_loss")),
            ("val_data = 'val_data.npz'", ("accuracy", "higher", "val_accuracy", "test_accuracy")),
        ],
    )
    def test_the_metric_is_the_one_that_the_source_names(self, source: str, metric: tuple[str, ...]) -> None:
        Path("train.py").write_text(source)
        [(name, declared)] = study_of("python train.py --lr 1").metric.items()
        assert (name, declared.direction, declared.val, declared.test) == metric

    def test_scores_in_the_output_are_found_by_the_pattern_it_writes(self, cli: Cli) -> None:
        source = "import sys\nfor e in range(2): print(f'epoch {e}: val_acc = 0.{e}, test_acc: 1e-1.')\nsys.argv"
        Path("train.py").write_text(source)
        study = study_of("python train.py --lr 1")
        done = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, check=True)
        found = dict(re.findall(study.settings["run"]["pattern"], done.stdout))  # the last of each
        assert (float(found["val_acc"]), float(found["test_acc"])) == (0.1, 0.1)


class TestTheFile:
    def test_it_is_never_overwritten(self, cli: Cli) -> None:
        Path("study.toml").write_text("mine")
        os.symlink("nowhere", "link.toml")
        for out in ("study.toml", "link.toml"):
            answer = cli("init", "--command", "./train --lr 1", "--out", out)
            assert (answer.code, answer.out) == (2, "")
            assert (
                answer.err == f"error: --out: is there already, and is not overwritten (got {out}); give another name\n"
            )
        assert Path("study.toml").read_text() == "mine"
        assert not Path("nowhere").exists()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "error: init: needs one of --command, --function and --pose\n"),
            (["--pose", "--command", "x"], "error: init: needs one of --command, --function and --pose\n"),
            (["--pose", "--out", "no/study.toml"], "error: --out: cannot be written: its folder does not exist"),
            (["--pose", "--out", "study"], "error: --out: must be a file NAME.toml (got \"study\")\n"),
            (["--function", "train"], "error: --function: "),
        ],
    )  # fmt: skip
    def test_what_cannot_be_written_is_told(self, cli: Cli, arguments: list[str], told: str) -> None:
        answer = cli("init", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(told)
        assert list(Path().iterdir()) == []

    def test_a_function_that_its_module_lacks(self, cli: Cli) -> None:
        Path("mine.py").write_text("def train(settings, run): ...")
        answer = cli("init", "--function", "mine:trian")
        assert answer.code == 2
        assert "its module has no function trian" in answer.err
        assert "did you mean 'train'?" in answer.err

    @pytest.mark.parametrize(
        ("command", "out", "name"),
        [
            ("python 'src/my model.py'", "study.toml", "my-model"),
            ("./Ünfug", "study.toml", "nfug"),
            ("./x", "b c.toml", "b-c"),
        ],
    )
    def test_its_name_is_fit_for_a_study(self, command: str, out: str, name: str) -> None:
        assert for_command(command, Path(out)) == study_file.load(Path(out)).name == name

    def test_both_arms_have_keys_of_their_own(self, script: None) -> None:
        study = study_of("python train.py")
        assert len({plan.compare_spec(study, arm, 1).key for arm in study.arms}) == 2

    def test_the_reading_alone_is_pure(self) -> None:
        with pytest.raises(InputError):
            read_command("a | b", Path())
        assert read_command("a b", Path()).flags == ["a", "b"]
