"""The report of a study whose runs a command or a function does: what it says, and what it leaves out."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toy_results import Toy
from toy_script import STUDY, load, written

from ablate.analysis import results as tables
from ablate.analysis.compare import arm_comparisons, scored_metrics
from ablate.analysis.power_plan import power_plan
from ablate.analysis.promises import promises
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import analyse
from ablate.report import build, figures, figures_lines, markdown, style, terminal, terminal_compare
from ablate.report.outline import outline
from ablate.study import Study
from ablate.study.catalogue import catalogue_of

UNKNOWN = r"(?i)parameter|flops|latency|people|person|camera|recording|training length|epoch|examples|overlap"
ONE_SPLIT = {"test": "none"}
COUNTED = {"cost/parameters": 1200.0}


def page(results: Results) -> str:
    return markdown.render(outline(analyse(results), results, figures.Pictures()))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose header begins with this, as cells."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in (lines[0], *lines[2:])]


def printed(results: Results) -> str:
    out = io.StringIO()
    terminal.print_results(results, Console(file=out, width=100, color_system=None))
    return " ".join(out.getvalue().split())


class TestWhatIsNotKnown:
    def test_a_page_of_a_command_has_no_word_of_it(self) -> None:
        text = page(load(written()))
        assert re.findall(UNKNOWN, text) == []
        assert headings(text) == [
            "dropout",
            "Hypotheses",
            "Budget and tuned settings",
            "How tuning went",
            "What this does not say",
            "Where it comes from",
        ]
        assert table(text, "Arm | loss")[0] == ["Arm", "loss", "Δ loss"]

    def test_the_budget_is_that_of_the_setting(self) -> None:
        text = page(load(written()))
        header, *rows = table(text, "Arm | Trials | failed")
        assert header == [
            *["Arm", "Trials", "failed", "Budget of a tuning run", "Tuning time"],
            *["Runs", "Budget of a run", "Training time a run"],
        ]
        assert rows[0] == ["plain", "2 of 2", "0", "2", "4.0 s", "5 of 5", "4", "2.0 s"]
        assert "Every arm was allotted the same trials, budget and space." in text
        assert "hold for these tuned settings, this budget of a run and this data." in text

    def test_without_a_budget_there_is_none(self) -> None:
        tuning = {k: v for k, v in written()["tuning"].items() if k != "budget"}
        text = page(load(written(without=["budget"], tuning=tuning)))
        assert "udget of a" not in text
        assert "Every arm was allotted the same trials and space." in text
        assert "hold for these tuned settings and this data." in text

    def test_unequal_budgets_are_told(self) -> None:
        tuning = {k: v for k, v in written()["tuning"].items() if k != "budget"}
        arms = {"plain": {}, "dropout": {"set": {"run.dropout": True, "run.budget": 8}}}
        results = load(written(tuning=tuning, arms=arms))
        assert "Every arm was allotted the same trials and space." in page(results)
        assert analyse(results).warnings[0] == (
            "The tuning budgets were not alike (budget of a tuning run: “plain” 4, “dropout” 8)."
        )

    def test_counted_epochs_are_shown_without_a_number_that_was_allotted(self) -> None:
        header, plain, _ = table(page(load(written(), {"count/epochs": 6.0})), "Arm | Trials")
        assert dict(zip(header, plain, strict=True))["Epochs a run"] == "6"
        assert "Tuning epochs" not in header

    def test_a_curve_may_be_one_of_steps(self) -> None:
        curve = [{"epoch": step, "val/loss": 1.0 / step} for step in (100.0, 200.0)]
        results = load(written(), curve=curve)
        analysis = analyse(results)
        pictures = figures.Pictures(["learning_curves"])
        text = markdown.render(outline(analysis, results, pictures))
        assert 'alt="Scores over the epochs or steps of a run"' in text
        drawing = figures_lines.learning_curves(analysis, style.Marks(list(analysis.labels)))
        assert drawing is not None
        assert drawing.axes[-1].get_xlabel() == "epoch or step"

    def test_what_some_run_has_recorded_is_shown(self) -> None:
        text = page(load(written(function=True), COUNTED))
        assert table(text, "Model")[0] == ["Model", "Parameters", "Adds to plain", "Exactly"]
        assert "FLOPs" not in text
        assert [row[3] for row in table(text, "Arm | loss")] == ["Parameters", "1.2k", "1.2k"]
        assert ", at the same number of parameters as “plain”." in text
        text = page(load(written(function=True), {"cost/flops": 2400.0}))
        assert table(text, "Model")[0] == ["Model", "FLOPs of one example"]
        assert "FLOPs are theoretical" in text

    def test_no_format_has_a_table_of_it(self, tmp_path: Path) -> None:
        build.write(load(written()), tmp_path / "dropout", formats=tuple(build.FORMATS))
        written_tables = {file.stem for file in (tmp_path / "dropout" / "tables").iterdir()}
        assert written_tables & {"parameters", "population", "cost"} == set()
        figures = {file.stem for file in (tmp_path / "dropout" / "figures").iterdir() if file.is_file()}
        assert figures == {"matrix", "differences", "tuning"}
        for name in ("report.html", "report.tex"):
            text = (tmp_path / "dropout" / name).read_text(encoding="utf-8")
            assert "What rests on the owner" in text
            assert not re.search("Across people|FLOPs|cameras", text)
        document = json.loads((tmp_path / "dropout" / "report.json").read_text(encoding="utf-8"))
        assert [row["total"] for row in document["parameters"]] == [None, None]
        assert (document["trainer"], document["split"], document["people"]) == ("command", "test", False)

    def test_the_terminal_has_no_column_of_parameters(self) -> None:
        assert "Parameters" not in printed(load(written()))
        assert "Parameters" in printed(load(written(function=True), COUNTED))

    def test_two_arms_side_by_side_have_no_line_about_people(self) -> None:
        [comparison] = arm_comparisons(load(written()), "dropout", "plain", ["loss"])
        assert [name for name, _ in terminal_compare.summary(comparison)] == ["Difference", "d_z", "p", "Verdict"]
        document = json.loads(terminal_compare.document("dropout", [comparison]))
        assert document["comparisons"][0]["population"] is None


class TestOrigin:
    @pytest.mark.parametrize(
        ("study", "sentence"),
        [
            (
                written(),
                "source_digest is that of the files below the study's folder that match `**/*.py`; other code of the "
                "command is not in it.",
            ),
            (
                written({"code": ["*.py", "conf/*.yaml"]}),
                "source_digest is that of the files below the study's folder that match `*.py`, `conf/*.yaml`; other "
                "code of the command is not in it.",
            ),
            (
                written(function=True),
                "source_digest is that of the function `project:train` and of the code that it imports.",
            ),
        ],
    )
    def test_what_the_digest_covers(self, study: dict[str, Any], sentence: str) -> None:
        assert f"\n{sentence}\n" in page(load(study))

    def test_equal_inputs_are_named_and_no_test_data(self) -> None:
        assert "No other study in this store has named the same inputs." in page(load(written()))
        assert "inputs." not in page(load(written(without=["inputs"]), digest="")).split("What this does not say")[1]


class TestOneSplit:
    def test_its_scores_are_those_of_the_split_that_tuning_used(self, tmp_path: Path) -> None:
        both, one = load(written()), load(written(ONE_SPLIT))
        assert [row[1] for row in table(page(both), "Arm | loss")[1:]] == ["11.000 ± 0.026", "12.000 ± 0.013"]
        assert [row[1] for row in table(page(one), "Arm | loss")[1:]] == ["1.000 ± 0.026", "0.500 ± 0.013"]
        assert (analyse(both).comparisons[0].verdict, analyse(one).comparisons[0].verdict) == ("refuted", "supported")
        tables.write_csv(one, tmp_path)
        assert "test/" not in (tmp_path / "results.csv").read_text(encoding="utf-8")
        assert "plain,1,done,val/loss,1.0\n" in (tmp_path / "results.csv").read_text(encoding="utf-8")
        assert scored_metrics(one) == ["loss"]

    def test_power_is_computed_from_the_same_scores(self) -> None:
        one = load(written(ONE_SPLIT))
        compared = {
            (record.arm, record.seed): record
            for record in one.reader.records("dropout")  # type: ignore[attr-defined]
            if record.phase == "compare"
        }
        for record in compared.values():
            del record.scores["test/loss"]
        plan = power_plan(one.study, catalogue_of(one.study, file=""), compared)
        assert plan.prospects[0].pairs == 5

    def test_the_page_says_so_in_its_first_lines(self) -> None:
        text = page(load(written(ONE_SPLIT)))
        _, question, verdict, holds, _, beware, *_ = text.split("\n\n")
        assert question == "Does dropout lower the loss?"
        assert verdict.startswith("- **Supported:** “dropout” is better than “plain” in loss")
        assert "Verdicts are for these tuned settings and this data, on the split that tuning used, corrected" in holds
        assert beware == "**Beware:** one split. [In full](#warnings)"
        assert (
            "**One split:** every score is on the split that tuning used, for the study has no test split. The tuned "
            "settings were chosen by these scores, which therefore look better than scores on new data would."
        ) in text

    @pytest.mark.parametrize(
        ("run", "more", "sentence"),
        [
            ({"selection": "best-val"}, {}, "The tuned settings and weights were chosen by these scores, which"),
            ({"selection": "best-val"}, {"tuning": None}, "The weights were chosen by these scores, which"),
            ({}, {"tuning": None}, "What was chosen after seeing these scores makes them look too good."),
        ],
    )
    def test_what_was_chosen_by_them_is_told(self, run: dict[str, str], more: dict[str, None], sentence: str) -> None:
        assert sentence in analyse(load(written({**ONE_SPLIT, **run}, **more))).warnings[0]

    def test_an_exploratory_and_untuned_one_says_so_too(self) -> None:
        answer = analyse(load(written(ONE_SPLIT, tuning=None, hypotheses=[]))).answers[0]
        assert answer.startswith("Exploratory, on validation, no hypothesis was declared: “dropout” has a lower loss")
        declared = analyse(load(written(ONE_SPLIT, tuning=None))).answers[0]
        assert declared.startswith("For these untuned settings and this data, on validation, it is supported")

    def test_no_text_speaks_of_test_data(self) -> None:
        results = load(written(ONE_SPLIT))
        assert (
            re.findall(r"\w* ?test(?! split|-flip)\b", page(results).replace("t-test", "").replace("same test", ""))
            == []
        )
        assert "Validation data, mean ± 95 % interval" in printed(results)
        out = io.StringIO()
        comparisons = arm_comparisons(results, "dropout", "plain", ["loss"])
        terminal_compare.print_comparisons("dropout", comparisons, Console(file=out, width=100, color_system=None))
        assert "(dropout, validation data)" in out.getvalue()


class TestPromises:
    def clauses(self, run: dict[str, Any] | None = None, **more: Any) -> tuple[str, str]:
        text = page(load(written(run, **more)))
        first_page = text.split("\n## ")[0]
        enforced = re.search(r"\*\*What is enforced\.\*\* By ablate: (.*)\.", first_page)
        owners_word = re.search(r"\*\*What rests on the owner's word:\*\* (.*)\.", first_page)
        assert enforced
        assert owners_word
        return enforced[1], owners_word[1]

    def test_of_a_command(self) -> None:
        assert self.clauses() == (
            "every arm has the same seeds; every tuned arm has the same number of trials and the same space; a "
            "failed run is a gap and no number; test scores of a trial, which come in a file, are dropped before "
            "anything is stored",
            "that {seed} decides all that is random in a run, so that runs of one seed are pairs; that all arms see "
            "the same data in the same order; that a run uses the budget it is given, no more and no less; that the "
            'scores are those of the last weights (selection = "final"); that test data is used neither in training '
            "nor in scores on validation; that a run that was interrupted leaves nothing behind that changes the next "
            "attempt",
        )

    def test_of_a_function(self) -> None:
        enforced, owners_word = self.clauses(function=True)
        assert "test scores of a trial, which come as a return value, are dropped" in enforced
        assert enforced.endswith(
            "; the generators of random, NumPy and, where the function's module imports it, torch start from the seed"
        )
        assert owners_word.startswith("that nothing else in a run is random, so that runs of one seed are pairs; ")
        assert "that the data stays the same from run to run, for the study names no inputs; " in owners_word
        assert owners_word.endswith("; that a run that was interrupted and goes on ends like one that was not")

    @pytest.mark.parametrize(
        ("run", "enforced", "owners_word"),
        [
            ({"pattern": r"(?P<name>\w+)=(?P<value>\S+)"}, "which come by a pattern in the output, are dropped", ""),
            ({"command": ["python", "a.py"]}, "", "that runs of one seed are pairs at all, for the command does not"),
            ({"command": ["python", "a.py"]}, "", "that tuning does not see the test scores which a script logs"),
            ({"command": ["a", "{dir}"]}, "", "that a run that was interrupted and goes on ends like one that was not"),
            ({"resumes": True}, "", "that a run that was interrupted and goes on ends like one that was not"),
            ({"selection": "best-val"}, "", "that the scores are those of the weights that did best on validation"),
            ({"inputs": []}, "", "that the data stays the same from run to run, for the study names no inputs"),
            ({"command": ["python", "{"]}, "every arm has the same seeds", "that runs of one seed are pairs at all"),
        ],
    )
    def test_what_the_section_says_decides(self, run: dict[str, Any], enforced: str, owners_word: str) -> None:
        by_ablate, by_owner = self.clauses(run)
        assert enforced in by_ablate
        assert owners_word in by_owner

    def test_arms_may_differ_in_the_weights_that_are_scored(self) -> None:
        arms = {"plain": {}, "dropout": {"set": {"run.dropout": True, "run.selection": "best-val"}}}
        _, owners_word = self.clauses({"selection": "final"}, arms=arms)
        assert "that the scores of some arms are those of the last weights" in owners_word
        assert "that the scores of some arms are those of the weights that did best on validation" in owners_word

    @pytest.mark.parametrize(("function", "trainer"), [(False, "command"), (True, "function")])
    def test_controls_are_the_trainers(self, function: bool, trainer: str) -> None:
        controls = {"dropout": {"drop_input": ["x"], "freeze": ["a", "b"]}, "shuffled": {"drop_input": ["y"]}}
        arms = {"plain": {}, **{name: {"control": control} for name, control in controls.items()}}
        study = written({"honours": ["drop_input", "freeze"]}, function=function, arms=arms, tuning=None)
        (clause,) = [c for c in promises(Study.model_validate(study)).owners_word if "control" in c]
        told = f"that the {trainer} does what the controls ask, which ablate only passes on: "
        assert clause == told + "drop_input of dropout, shuffled, freeze of dropout"

    def test_one_split_and_no_tuning_promise_less(self) -> None:
        enforced, owners_word = self.clauses(ONE_SPLIT, tuning=None)
        assert enforced == "every arm has the same seeds; a failed run is a gap and no number"
        assert "test" not in owners_word

    def test_the_built_in_loop_leaves_its_data_alone_to_the_owners_word(self, tmp_path: Path) -> None:
        results = tables.load(Toy(tmp_path, seeds=(1,)).store(), "toy")
        found = analyse(results).promises
        assert found is not None
        assert "the scores are those of the last weights" in found.enforced
        assert [*found.owners_word] == ["that the study's data gives no test example in training or validation"]
        assert f"What rests on the owner's word:** {found.owners_word[0]}." in page(results)


@pytest.mark.usefixtures("threads")
def test_a_script_of_one_split_from_its_run_to_its_report(
    tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STUDY.parent, tmp_path, dirs_exist_ok=True)
    text = STUDY.read_text(encoding="utf-8").replace("budget = 4", 'budget = 4\ntest = "none"')
    text = text[: text.index("[tuning]")] + text[text.index("[[hypotheses]]") :]
    (tmp_path / "dropout.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def ablate(*words: str) -> str:
        answer = cli(*words)
        assert answer.code == 0, answer.err
        return " ".join(answer.out.split())

    told = ablate("run", "dropout.toml", "--workers", "1")
    assert "One split: every score is on validation" in told
    assert "Validation data, mean" in told
    assert "(dropout, validation data)" in ablate("compare", "dropout", "dropout", "plain")
    assert "differences of 5 pairs have sd" in ablate("plan", "dropout.toml")
    scores = (tmp_path / "reports" / "dropout" / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(scores) == 10
    assert all(",done,val/loss," in line for line in scores)
