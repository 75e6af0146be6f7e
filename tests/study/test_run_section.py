"""What is wrong with a study of a command is told by place, rule and the nearest valid choice, all at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ablate.planning import plan
from ablate.scheduler.loaded_study import LoadedStudy, load
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, amend, study_file
from ablate.study.resolve import resolve

SCRIPT = Path(__file__).parents[1] / "script"
COMMAND = 'command = ["python", "train.py", "--lr={lr}", "{dropout?--dropout}", "--epochs={budget}", "--seed={seed}", '
COMMAND += '"--out={out}"]'
MATCH = 'control.match_parameters = { of = "dropout", by = "run.budget" }'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(SCRIPT, tmp_path / "script")
    monkeypatch.chdir(tmp_path / "script")
    return tmp_path / "script"


def edited(folder: Path, *edits: tuple[str, str]) -> Path:
    text = (folder / "dropout.toml").read_text()
    for old, new in edits:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    (folder / "dropout.toml").write_text(text)
    return folder / "dropout.toml"


def loaded(folder: Path, *edits: tuple[str, str]) -> LoadedStudy:
    return load(edited(folder, *edits), Workspace())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            COMMAND,
            'command = "python train.py --lr={lr} --out={out}"',
            'settings.run.command: must be a list of words, not a shell command (got "python train.py --lr={lr} '
            '--out={out}"); write command = ["python", "train.py", "--lr={lr}", "--out={out}"]',
        ),
        (COMMAND, "command = []", "settings.run.command: must not be empty"),
        (COMMAND, "command = [1]", "settings.run.command[0]: must be text"),
        (COMMAND, "", "settings.run: needs a command or a function"),
        (COMMAND, COMMAND + '\nfunction = "train:main"', "settings.run: must not have both a command and a function"),
        (
            "--lr={lr}",
            "--lr={lrr}",
            "settings.run.command[2]: the placeholder {lrr} names no setting and nothing built in",
        ),
        ("--lr={lr}", "--lr={lrr}", "did you mean 'lr'?"),
        ("--lr={lr}", "--lr={lr", "settings.run.command[2]: has a '{' without its other half; write {{ for a brace"),
        (
            '"--lr={lr}", ',
            "",
            "settings.run.lr: has no placeholder in the command or in env, so it would change nothing",
        ),
        ("budget = 4\n", "", "the placeholder {budget} needs the setting budget, a number"),
        ("{dropout?--dropout}", "{lr?--lr}{dropout}", "{lr?…} needs a setting that is true or false"),
        ("lr = 0.05", "lr = [0.05]", "the list lr must be a whole word of the command: {lr}"),
        ("--out={out}", "--output=x", "no scores would come back: the command has no {out} and there is no pattern"),
        ("lr = 0.05", 'lr = 0.05\nscores = "csv"', "settings.run.scores: must be one of 'mlflow' (got \"csv\")"),
        (
            "lr = 0.05",
            'lr = 0.05\nscores = "mlflow"\npattern = "(?P<name>x)=(?P<value>y)"',
            'settings.run.scores: scores come from MLflow or by {out}, pattern, not both (got "mlflow"); leave one out',
        ),
        (
            COMMAND,
            'function = "train:main"\nscores = "mlflow"',
            'settings.run.scores: is for a command (got "mlflow"); the function returns its scores',
        ),
        ("lr = 0.05", 'lr = 0.05\npattern = "("', "settings.run.pattern: is no regular expression"),
        ("lr = 0.05", 'lr = 0.05\npattern = "x=(.*)"', "settings.run.pattern: must have the groups `name` and `value`"),
        (
            "lr = 0.05",
            "lr = 0.05\nseed = 1",
            "settings.run.seed: is a placeholder of ablate's own and cannot be a setting",
        ),
        ("lr = 0.05", "lr = 0.05\ntimeout_s = 0", "settings.run.timeout_s: must be greater than 0"),
        (
            '["numbers.txt"]',
            '["/etc/passwd"]',
            "settings.run.inputs[0]: must be a relative path below the working folder",
        ),
        ('["numbers.txt"]', '["../numbers.txt"]', "settings.run.inputs[0]: must be a relative path"),
        ('["numbers.txt"]', '["number.txt"]', "settings.run.inputs[0]: no such file or folder in "),
        ('["numbers.txt"]', '["number.txt"]', "(got \"number.txt\"); did you mean 'numbers.txt'?"),
        ("lr = 0.05", 'lr = 0.05\ncwd = "nowhere"', 'settings.run.cwd: no such folder (got "nowhere")'),
        ("[metric.loss]", "[metric.los]", "tuning.metric: is not a metric of the catalogue"),
        ('direction = "lower"', "", "metric.loss.direction: is missing"),
        ('direction = "lower"', 'direction = "lower"\nunits = "%"', "metric.loss.units: unknown key"),
        ("[settings.run]", '[settings.model]\nfactory = "a:b"\n[settings.run]', "settings.model: cannot stand beside"),
        ("budget = 2\n", "epochs = 2\n", "tuning.epochs: is for the built-in loop; a command has tuning.budget"),
        ("budget = 2\n", "budget = 0\n", "tuning.budget: must be a number above 0"),
        ('space."run.lr"', 'space."run.command"', 'space."run.command": is a key of ablate\'s own and no setting'),
        (
            'space."run.lr"',
            'space."run.budget"',
            'space."run.budget": cannot be tuned while tuning.budget fixes it',
        ),
        (
            "seeds = [1, 2, 3, 4, 5]",
            'seeds = [1]\nvary = ["init", "order", "split"]',
            "vary: a command draws its own split",
        ),
        ('name = "dropout"', 'name = "dropout"\ncatalogue = "a:B"', "catalogue: a command computes its own scores"),
        (
            "[arms.dropout]",
            "[arms.dropout.control]\nfreeze = ['a']\n[arms.dropout]",
            'arms.dropout.control.freeze: is done by a command only where it declares so; honours = ["freeze"] in '
            "[settings.run] and {freeze} in the command, or a setting of the script that does it, and an arm that "
            "sets it",
        ),
        (
            "[arms.dropout]",
            f"[arms.wide]\n{MATCH}\n[arms.dropout]",
            "arms.wide.control.match_parameters: needs the number of parameters, which ablate cannot count for a "
            'command; parameters = ["python", "train.py", "--count-parameters", "--width={width}"] in [settings.run], '
            "a command that prints it",
        ),
        (
            "lr = 0.05",
            'lr = 0.05\nparameters = "python train.py"',
            'settings.run.parameters: must be a list of words, not a shell command (got "python train.py"); write '
            'parameters = ["python", "train.py"]',
        ),
        ("lr = 0.05", "lr = 0.05\nparameters = []", "settings.run.parameters: must be a list of words"),
        ("lr = 0.05", "lr = 0.05\nparameters = [1]", "settings.run.parameters: must be a list of words"),
        (
            "lr = 0.05",
            'lr = 0.05\nparameters = ["python", "{widht}"]',
            "settings.run.parameters[1]: the placeholder {widht} names no setting",
        ),
        (
            COMMAND,
            'function = "train:main"\nparameters = ["train"]',
            'settings.run.parameters: must be an import path "module:attribute" (got ["train"]); for a function it is '
            "one: def count(settings) -> int",
        ),
        (
            "lr = 0.05",
            'lr = 0.05\nhonours = ["drop_inputs"]',
            "settings.run.honours[0]: must be one of 'shuffle_input', 'drop_input', 'drop_joints' or 'freeze'",
        ),
        (
            "lr = 0.05",
            'lr = 0.05\nhonours = ["freeze"]',
            "settings.run.honours: names a control without a placeholder in the command or in env, so the script would "
            "not be told (got freeze); write {freeze} where the script takes the names",
        ),
        (
            "lr = 0.05",
            'lr = 0.05\nhonours = ["freeze"]\nfreeze = true',
            "settings.run.freeze: is a control that this section honours and cannot be a setting",
        ),
        (
            "lr = 0.05",
            'lr = 0.05\nhonours = ["freeze", "freeze"]',
            "settings.run.honours: must not repeat a control",
        ),
        (
            "[arms.dropout]",
            "[arms.dropout.control]\nmatch_compute = { of = 'plain', by = 'run.budget' }\n[arms.dropout]",
            "arms.dropout.control.match_compute: is for the built-in loop: what a step of a command costs",
        ),
        (
            'direction = "lower"',
            'direction = "lower"\nval = "loss"\ntest = "loss"',
            "metric.loss.val: is the name of the test score of loss too: tuning would see test scores",
        ),
        (
            "[metric.loss]",
            '[metric.other]\ndirection = "lower"\nval = "test_loss"\n[metric.loss]',
            "metric.other.val: is the name of the test score of loss too: tuning would see test scores",
        ),
        ('set."run.dropout" = true', 'set."run.drop" = true', 'arms.dropout.set."run.drop": no such setting'),
        (
            'set."run.dropout" = true',
            "set.run = { dropout = true }",
            "arms.dropout.set.run: cannot replace the whole section",
        ),
        (
            'set."run.dropout" = true',
            'set."run.command" = ["python", "{x}", "{out}"]',
            "arms.dropout.set.run.command[1]: the placeholder {x} names no setting",
        ),
    ],
)
def test_what_is_wrong_is_told(folder: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        loaded(folder, (old, new))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("run.budgets", "is not a setting of this arm (got run.budgets); did you mean 'run.budget'?"),
        ("run.lr", "must be a whole number among the run's settings, with a placeholder in `parameters` (got run.lr)"),
        ("run.layers", "must be a whole number among the run's settings, with a placeholder in `parameters` (got"),
        ("run.parameters", "must be a whole number among the run's settings, with a placeholder in `parameters` (got"),
    ],
)
def test_what_cannot_be_widened_is_told(folder: Path, by: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        loaded(
            folder,
            ("lr = 0.05", 'lr = 0.05\nlayers = 3\nparameters = ["python", "train.py", "--n={budget}", "--lr={lr}"]'),
            ("{dropout?--dropout}", "{dropout?--dropout}{layers}"),
            ("[arms.dropout]", f"[arms.wide]\n{MATCH.replace('run.budget', by)}\n[arms.dropout]"),
        )
    assert f"arms.wide.control.match_parameters.by: {told}" in str(refused.value)


def test_a_function_that_counts_is_not_given_the_budget(folder: Path) -> None:
    with pytest.raises(InputError) as refused:
        loaded(
            folder,
            (COMMAND, 'function = "train:main"\nparameters = "train:count"\nwidth = 3'),
            ("[arms.dropout]", f"[arms.wide]\n{MATCH}\n[arms.dropout]"),
        )
    told = "must be a whole number among the run's settings (got run.budget); did you mean 'run.width'?"
    assert f"arms.wide.control.match_parameters.by: {told}" in str(refused.value)


def test_a_setting_that_only_the_count_takes_would_change_nothing(folder: Path) -> None:
    edits = ("lr = 0.05", 'lr = 0.05\nwidth = 3\nparameters = ["python", "train.py", "--n={width}"]')
    with pytest.raises(InputError, match=r"settings\.run\.width: has no placeholder in the command or in env"):
        loaded(folder, edits)


def test_a_twin_needs_a_seed(folder: Path) -> None:
    twin = ("[arms.dropout]", "[arms.again]\nreplicate = 1\n[arms.dropout]")
    loaded(folder, twin)
    with pytest.raises(InputError) as refused:
        loaded(folder, ('"--seed={seed}", ', ""))
    told = "arms.again.replicate: makes a twin that repeats the numbers of its original: the command has no {seed}"
    assert told in str(refused.value)
    loaded(folder, ("lr = 0.05", "lr = 0.05\nenv = { SEED = '{seed}' }"))


def test_one_split_has_one_name(folder: Path) -> None:
    loaded(
        folder,
        ('direction = "lower"', 'direction = "lower"\nval = "loss"\ntest = "loss"'),
        ("lr =", 'test = "none"\nlr ='),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'set."run.dropout" = true',
            'set."run.test" = ""',
            "arms.dropout.set.\"run.test\": is the study's, not an arm's: all arms are compared on the same split",
        ),
        ("[tuning]", "[report.conditions.angle]\n[tuning]", "report.conditions: needs scores of single examples"),
        ("[tuning]", '[report.densities]\nangle = { error = "loss" }\n[tuning]', "report.densities: needs scores of"),
        ("[tuning]", '[report]\ngallery = "train:draw"\n[tuning]', "report.gallery: needs scores of single examples"),
    ],
)
def test_what_its_report_cannot_show_is_told(folder: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        loaded(folder, (old, new), ("lr = 0.05", 'lr = 0.05\ntest = "none"'))
    assert told in str(refused.value)


def test_a_study_of_the_loop_has_no_budget_and_no_declared_metric(folder: Path) -> None:
    text = (SCRIPT.parent / "toy" / "linear.toml").read_text()
    text = text.replace("[tuning]\n", "[metric.loss]\ndirection = 'lower'\n[tuning]\nbudget = 2\n", 1)
    (folder / "loop.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        study_file.load(folder / "loop.toml", imports=False)
    assert "tuning.budget: is for a command or a function; the built-in loop has tuning.epochs" in str(refused.value)
    assert "metric: is for a command or a function; the built-in loop needs a catalogue" in str(refused.value)


class TestKey:
    def key(self, study: LoadedStudy, arm: str = "plain") -> str:
        return plan.compare_spec(study.study, arm, 1, {}, study.digests[arm]).key

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("lr = 0.05", "lr = 0.06"),
            ("budget = 4", "budget = 5"),
            ("--lr={lr}", "--lr={lr}0"),
            ("lr = 0.05", "lr = 0.05\nenv.X = '1'"),
        ],
    )
    def test_what_changes_a_run_is_in_it(self, folder: Path, old: str, new: str) -> None:
        before = self.key(loaded(folder))
        assert self.key(loaded(folder, (old, new))) != before

    def test_the_content_of_the_inputs_is_in_it_and_no_path(self, folder: Path) -> None:
        before = self.key(loaded(folder))
        (folder / "moved").mkdir()
        (folder / "numbers.txt").rename(folder / "moved" / "numbers.txt")
        assert self.key(loaded(folder, ('["numbers.txt"]', '["moved/numbers.txt"]'))) == before
        (folder / "moved" / "numbers.txt").write_text("2\n")
        assert self.key(loaded(folder)) != before

    def test_a_control_may_be_added_after_the_other_arms_have_run(self, folder: Path) -> None:
        before = loaded(folder)
        after = loaded(
            folder,
            ("lr = 0.05", 'lr = 0.05\nhonours = ["drop_input", "freeze"]'),
            ('"--seed={seed}", ', '"--seed={seed}", "{drop_input?--drop}", "{drop_input}", "{freeze?--frozen}", '),
            (
                "[tuning]",
                "[arms.bare]\ncontrol.drop_input = ['x']\n[arms.bare-y]\ncontrol.drop_input = ['y']\n[tuning]",
            ),
        )
        assert [self.key(after, arm) for arm in ("plain", "dropout")] == [
            self.key(before, arm) for arm in ("plain", "dropout")
        ]
        assert len({self.key(after, arm) for arm in after.study.arms}) == 4
        old = amend.document(before.study, before.catalogue, before.digests, command="", today="")
        assert amend.amend(old, after.study, has_runs=True) == ["arms bare, bare-y added"]

    def test_a_word_that_holds_more_than_a_control_is_in_it(self, folder: Path) -> None:
        before = self.key(loaded(folder))
        edits = ("lr = 0.05", 'lr = 0.05\nhonours = ["freeze"]'), ('"--seed={seed}"', '"--seed={seed}", "-f={freeze}"')
        assert self.key(loaded(folder, *edits)) != before

    @pytest.mark.parametrize(
        "line", ['code = ["*.py"]', "timeout_s = 5", 'parameters = ["a"]', 'selection = "best-val"', "resumes = true"]
    )
    def test_what_changes_no_run_is_not_in_it(self, folder: Path, line: str) -> None:
        before = loaded(folder)
        after = loaded(folder, ("lr = 0.05", f"lr = 0.05\n{line}"))
        assert self.key(after) == self.key(before)
        old = amend.document(before.study, before.catalogue, before.digests, command="", today="")
        assert amend.amend(old, after.study, has_runs=True) == []

    def test_a_folder_among_the_inputs_counts_by_the_names_and_contents_of_its_files(self, folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "data" / "a").write_text("1")
        before = self.key(loaded(folder, ('["numbers.txt"]', '["data"]')))
        (folder / "data" / "a").rename(folder / "data" / "b")
        renamed = self.key(loaded(folder))
        (folder / "data" / "b").write_text("2")
        assert len({before, renamed, self.key(loaded(folder))}) == 3


def test_metrics_default_to_every_declared_one_in_order(folder: Path) -> None:
    study = loaded(folder, ("[metric.loss]", '[metric.accuracy]\ndirection = "higher"\n[metric.loss]')).study
    assert study.metrics == ["accuracy", "loss"]
    assert "training" not in resolve(study, "plain")


@pytest.mark.parametrize("word", ["failed", "stale"])
def test_a_word_of_a_command_is_no_arm(folder: Path, word: str) -> None:
    with pytest.raises(InputError, match=f"arms.{word}: is no name for an arm: commands mean the {word} runs by it"):
        loaded(folder, ("[arms.plain]", f"[arms.{word}]\n[arms.plain]"))
