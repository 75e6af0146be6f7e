"""Results that are there already: real tables, a real store, what is refused, and what the documentation shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from servers import Postgres, TrackingServer
from toy_project import clean_environment

from ablate.analysis.study_analysis import compare
from ablate.commands.report import results
from ablate.scheduler.workspace import Workspace
from ablate.study import amend, study_file
from ablate.study.catalogue import catalogue_of
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.tracker import MlflowTracker

Cli = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
CLAIM = ("--arm", "B", "--against", "A", "--metric", "score", "--direction", "higher")
QUESTION = ("--baseline", "A", "--metric", "score:higher")
GAPS = [0.01, 0.02, 0.03, 0.04, 0.05]


@pytest.fixture
def folder(tmp_path: Path, new_mlruns: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    new_mlruns(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(gaps: list[float] = GAPS, base: float = 0.5) -> list[dict[str, Any]]:
    """Two arms whose scores differ by `gaps`, a seed each."""
    return [
        {"arm": arm, "seed": seed, "score": base + seed / 10 + (gap if arm == "B" else 0)}
        for arm in ("A", "B")
        for seed, gap in enumerate(gaps, 1)
    ]


def write(path: Path, table: list[dict[str, Any]]) -> Path:
    frame = pd.DataFrame(table)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def stored(name: str = "t") -> dict[tuple[str, int], str]:
    """Run id by arm and seed of the study's runs in the store."""
    records = LocalStore(Path("mlruns/mlflow.db")).records(name)
    return {(record.arm, record.seed): record.run_id for record in records}


class TestJudge:
    @pytest.mark.parametrize(
        ("gaps", "margin", "direction", "verdict", "code"),
        [
            (GAPS, "0", "higher", "supported", 0),
            (GAPS, "0.1", "higher", "refuted", 3),
            (GAPS, "0", "lower", "refuted", 3),
            (GAPS, "0.03", "higher", "inconclusive", 4),
            (GAPS[:4], "0", "higher", "no verdict", 4),
            ([0.25] * 6, "0", "higher", "no verdict", 4),
        ],
    )
    def test_the_exit_code_is_the_verdict(
        self, folder: Path, cli: Cli, gaps: list[float], margin: str, direction: str, verdict: str, code: int
    ) -> None:
        write(folder / "t.csv", rows(gaps))
        answer = cli("judge", "t.csv", *CLAIM[:-1], direction, "--margin", margin, "--json")
        assert answer.code == code
        document = json.loads(answer.out)
        assert document["verdict"] == verdict
        assert document["declared"] == "owner's word"
        assert len(document["differences"]) == len(gaps)
        text = cli("judge", "t.csv", *CLAIM[:-1], direction, "--margin", margin)
        assert (text.code, text.out.partition(":")[0]) == (code, verdict)

    def test_numbers_are_those_of_scipy(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        document = json.loads(cli("judge", "t.csv", *CLAIM, "--margin", "0.005", "--json").out)
        one_sided = stats.ttest_1samp(GAPS, 0.005, alternative="greater")
        assert document["p_adjusted"] == pytest.approx(2 * one_sided.pvalue)  # Holm over both sides
        interval = stats.ttest_1samp(GAPS, 0.0).confidence_interval()
        improvement = document["improvement"]
        assert [improvement["mean"], improvement["n"]] == [pytest.approx(0.03), 5]
        assert [improvement["low"], improvement["high"]] == pytest.approx(list(interval))

    @pytest.mark.parametrize("draw", range(4))
    def test_the_rule_is_that_of_the_report(self, folder: Path, cli: Cli, draw: int) -> None:
        rng = np.random.default_rng(draw)
        write(folder / "t.csv", rows((0.02 * draw + rng.normal(0, 0.03, 6)).tolist()))
        margin = "0.01"
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", f"B:A:score:{margin}").code == 0
        (reported,) = compare(results("t", Workspace()))
        judged = json.loads(cli("judge", "t.csv", *CLAIM, "--margin", margin, "--json").out)
        assert (judged["verdict"], judged["p_adjusted"]) == (reported.verdict, reported.p_adjusted)
        assert f"{judged['reason']}; declared: owner's word" == reported.reason

    def test_a_mean_over_subjects(self, folder: Path, cli: Cli) -> None:
        table = [
            {**row, "subject": s, "score": row["score"] + gap} for row in rows() for s, gap in (("x", 0), ("y", 1))
        ]
        write(folder / "t.csv", table)
        document = json.loads(cli("judge", "t.csv", *CLAIM, "--json").out)
        assert list(document["differences"].values()) == pytest.approx(GAPS)

    @pytest.mark.parametrize(("seeds", "named"), [([1, 2, 3, 4, 5], "seeds 1, 2, 3, 4, 5"), ([4], "seed 4")])
    def test_no_verdict_on_scores_of_different_people(
        self, folder: Path, cli: Cli, seeds: list[int], named: str
    ) -> None:
        def person(row: dict[str, Any], number: int) -> str:
            return f"{row['arm'] if row['seed'] in seeds else 'both'}{number}"

        table = [{**row, "subject": person(row, number)} for row in rows() for number in range(3)]
        write(folder / "t.csv", table)
        answer = cli("judge", "t.csv", *CLAIM, "--json")
        document = json.loads(answer.out)
        assert (answer.code, document["verdict"], document["p_adjusted"]) == (4, "no verdict", None)
        assert document["improvement"]["mean"] == pytest.approx(0.03)
        reason = f"the arms have no subject in common with {named}: their scores are of different people"
        assert document["reason"] == reason
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score").code == 0
        (reported,) = compare(results("t", Workspace()))
        assert (reported.verdict, reported.reason) == ("no verdict", f"{reason}; declared: owner's word")
        page = (folder / "reports/t/report.md").read_text()
        assert "there is no verdict on whether “B” improves on “A” in score" in page
        assert "supported" not in page[: page.index("| Arm |")]

    def test_people_without_a_score_are_not_in_common(self, folder: Path, cli: Cli) -> None:
        table = [{**row, "subject": name} for row in rows() for name in ("x", "y")]
        for row in table:
            if (row["arm"], row["subject"]) in (("A", "x"), ("B", "y")):
                row["score"] = None
        write(folder / "t.csv", table)
        assert cli("judge", "t.csv", *CLAIM).code == 4
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score").code == 0
        (reported,) = compare(results("t", Workspace()))
        assert reported.verdict == "no verdict"

    def test_one_data_set_of_several(self, folder: Path, cli: Cli) -> None:
        table = [
            {**row, "dataset": data, "score": row["score"] * sign}
            for row in rows()
            for data, sign in (("p", 1), ("m", -1))
        ]
        write(folder / "t.csv", table)
        assert cli("judge", "t.csv", *CLAIM, "--dataset", "p").code == 0
        assert cli("judge", "t.csv", *CLAIM, "--dataset", "m").code == 3
        assert "has several data sets; --dataset p chooses one" in cli("judge", "t.csv", *CLAIM).err
        assert "no such data set in the table (got q)" in cli("judge", "t.csv", *CLAIM, "--dataset", "q").err

    def test_imports_no_pandas_mlflow_or_torch_and_records_nothing(self, tmp_path: Path) -> None:
        write(tmp_path / "t.csv", rows())
        command = [sys.executable, "-X", "importtime", "-m", "ablate", "judge", "t.csv", *CLAIM]
        done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "numpy" in imported
        assert not imported & {"pandas", "mlflow", "torch", "pyarrow", "matplotlib", "scipy.interpolate"}
        assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


class TestAdopt:
    def test_a_study_with_a_report_that_says_what_it_is(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        answer = cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score", "--json")
        expected = {"done": 10, "failed": 0, "missing": 0, "errors": {}, "report": "reports/t/report.md"}
        assert (answer.code, json.loads(answer.out)) == (0, expected)
        page = (folder / "reports/t/report.md").read_text()
        first = page[: page.index("| Arm |")]
        assert "- **Supported:** “B” is better than “A” in score: " in first
        assert "Verdicts are by these adopted results" in first
        assert "**Beware:** adopted. [In full](#warnings)" in page[: page.index("| **A** |")]
        assert "By these adopted results, it is supported that “B” improves on “A” in score" in page
        warning = page.partition("## Warnings")[2].partition("\n## ")[0]
        assert "**Adopted:** these scores were computed elsewhere and read from t.csv; no run was made here." in warning
        for word in ("the same tuning and training budget", "the same data in the same order"):
            assert word in warning
        for word in ("nothing was chosen by looking at the data", "the hypotheses were made before the results"):
            assert word in warning
        assert "declared: owner's word" in page
        for claims_more in (
            "tuned settings",
            "ntuned",
            "## Parameters",
            "source_digest",
            "Budget",
            "`ablate run`",
            "timings.csv",
        ):
            assert claims_more not in page, claims_more
        frame = results("t", Workspace()).frame()
        assert frame["test/score"].tolist() == [row["score"] for row in rows()]

    def test_without_a_claim_it_is_exploratory(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        page = (folder / "reports/t/report.md").read_text()
        assert "Exploratory, no hypothesis was declared" in page
        assert "hypotheses were made before" not in page

    def test_commands_for_a_stored_study(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score").code == 0
        comparison = json.loads(cli("compare", "t", "B", "A", "--json").out)["comparisons"][0]
        assert (comparison["verdict"], "owner's word" in comparison["reason"]) == ("supported", True)
        assert cli("report", "t", "--format", "md,html,tex,csv,json", "--reports", "again").code == 0
        assert (folder / "again/t/report.md").read_bytes() == (folder / "reports/t/report.md").read_bytes()
        assert cli("export", "t", "t.zip").code == 0
        assert cli("discard", "t:B", "--yes").code == 0
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score").code == 0  # those that are missing
        assert len(stored()) == 10
        assert cli("discard", "t", "--yes").code == 0
        assert cli("import", "t.zip").code == 0
        answer = cli("evaluate", "t", "--data", "t.csv")
        assert (answer.code, "Traceback" in answer.err) == (2, False)

    def test_a_study_file_of_its_name_is_another_study(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        before, database = stored(), Path("mlruns/mlflow.db").read_bytes()
        for file in ("dropout.toml", "numbers.txt", "train.py"):
            shutil.copy(ROOT / "tests" / "script" / file, file)
        text = Path("dropout.toml").read_text().replace('name = "dropout"', 'name = "t"')
        Path("dropout.toml").write_text(text)
        for command in ("plan", "status", "run"):
            answer = cli(command, "dropout.toml")
            assert (answer.code, answer.out) == (2, ""), answer.err
            assert "dropout.toml: name: is a study of adopted results in the store" in answer.err
            assert "give this study another name, or `ablate discard t` first" in answer.err
            by_name = cli(command, "t")
            assert (by_name.code, by_name.out) == (2, "")
            told = "t: is a study of adopted results, with nothing to run; "
            assert f"{told}`ablate report t` shows them" in by_name.err
            assert "no such file" in cli(command, "u").err
            assert "no such file" in cli(command, "t", "--mlruns", "elsewhere").err
        assert (stored(), Path("mlruns/mlflow.db").read_bytes()) == (before, database)
        assert not (folder / "mlruns" / "t").exists()
        assert cli("discard", "t", "--yes").code == 0
        assert cli("plan", "dropout.toml").code == 0

    def test_a_snapshot_is_restored(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score").code == 0
        page = (folder / "reports/t/report.md").read_bytes()
        subprocess.run(["git", "init", "-q"], check=True, capture_output=True)
        Path(".dvc").mkdir()  # what `dvc init` writes, without its seconds
        Path(".dvc/config").write_text("[core]\n    analytics = false\n")
        Path(".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
        made = cli("snapshot", "t")
        assert made.code == 0, made.err
        restored = cli("restore", "--mlruns", "new")
        assert restored.code == 0, restored.err
        assert len(LocalStore(Path("new/mlflow.db")).records("t")) == 10
        assert cli("report", "t", "--reports", "again", "--mlruns", "new").code == 0
        assert (folder / "again/t/report.md").read_bytes() == page
        database = Path("new/mlflow.db").read_bytes()
        assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score", "--mlruns", "new").code == 0
        assert Path("new/mlflow.db").read_bytes() == database

    def test_to_a_server(self, folder: Path, cli: Cli, tracking_server: TrackingServer, postgres: Postgres) -> None:
        postgres.hide_studies(tracking_server.database)
        write(folder / "t.csv", rows())
        server = ("--tracking-uri", tracking_server.address)
        for _ in range(2):
            assert cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score", *server).code == 0
        assert stored() == {}
        workspace = Workspace(tracking_uri=server[1])
        assert results("t", workspace).frame()["test/score"].tolist() == [row["score"] for row in rows()]
        assert cli("discard", "t:B", "--yes", *server).code == 0
        assert len(results("t", workspace).done()) == 5

    def test_the_same_table_again_does_nothing(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        write(folder / "t.parquet", rows()[::-1])  # the same scores
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        before, database = stored(), Path("mlruns/mlflow.db").read_bytes()
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        assert (stored(), Path("mlruns/mlflow.db").read_bytes()) == (before, database)
        same = ("--question", "How do the arms of t.csv compare with A?")
        assert cli("adopt", "t.parquet", *QUESTION, *same).code == 0
        assert stored() == before

    def test_other_scores_or_claims_need_replace(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        before = stored()
        refused = cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score")
        assert (refused.code, "hypothesis added after runs had finished" in refused.err) == (2, True)
        write(folder / "t.csv", rows(base=0.4))
        refused = cli("adopt", "t.csv", *QUESTION)
        assert (refused.code, stored()) == (2, before)
        assert "t: is in the store with other results or claims (got the adopted scores were replaced" in refused.err
        assert "--replace puts these in their place" in refused.err
        assert cli("adopt", "t.csv", *QUESTION, "--replace").code == 0
        assert stored().keys() == before.keys()
        assert not set(stored().values()) & set(before.values())
        page = (folder / "reports/t/report.md").read_text()
        assert "the adopted scores were replaced by those of t.csv" in page
        assert results("t", Workspace()).frame()["test/score"].tolist() == [row["score"] for row in rows(base=0.4)]
        assert "Outdated" not in page

    def test_an_interrupted_adoption_is_completed(self, folder: Path, cli: Cli) -> None:
        write(folder / "t.csv", rows())
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        tracker, before = MlflowTracker(None, folder / "mlruns"), stored()
        cells = {(cell.arm, cell.seed): cell.spec for cell in _cells(tracker)}
        tracker.discard([before["B", 5], before["B", 4]])
        tracker.start(cells["B", 4])  # as a process leaves it that was killed
        assert cli("adopt", "t.csv", *QUESTION).code == 0
        after = stored()
        assert after.keys() == before.keys()
        assert {cell for cell in before if before[cell] != after[cell]} == {("B", 4), ("B", 5)}
        assert {r.status for r in LocalStore(folder / "mlruns/mlflow.db").records("t")} == {"FINISHED"}

    def test_a_study_of_own_runs_is_left_alone(self, folder: Path, cli: Cli) -> None:
        shutil.copytree(ROOT / "tests" / "script", "script")
        study = study_file.load(Path("script/dropout.toml"))
        document = amend.document(study, catalogue_of(study, file=""), command="", today="")
        MlflowTracker(None, folder / "mlruns").open(study.name, document)
        write(folder / "dropout.csv", rows())
        for replace in ([], ["--replace"]):
            answer = cli("adopt", "dropout.csv", *QUESTION, *replace)
            assert (answer.code, "is a study in the store whose runs were not adopted" in answer.err) == (2, True)

    def test_unequal_seeds_are_allowed_and_told(self, folder: Path, cli: Cli) -> None:
        table = [*rows([*GAPS, 0.06]), {"arm": "A", "seed": 9, "score": np.nan}]
        del table[5]  # of A, seed 6
        write(folder / "t.csv", table)
        told = "the arms have unequal seeds: without a score are A seed 6, A seed 9, B seed 9"
        answer = cli("adopt", "t.csv", *QUESTION, "--hypothesis", "B:A:score")
        assert (answer.code, told in answer.err) == (0, True)
        page = (folder / "reports/t/report.md").read_text()
        assert told in page
        assert "3 of 14 runs failed or are missing" in page
        assert "; without seeds 6, 9; declared" in page
        judged = cli("judge", "t.csv", *CLAIM, "--json")
        assert (judged.code, told in judged.err, json.loads(judged.out)["unpaired"]) == (0, True, [6, 9])

    def test_missing_stays_missing_and_infinite_is_no_number(self, folder: Path, cli: Cli) -> None:
        table = [{**row, "other": 1.0 * row["seed"]} for row in rows([*GAPS, 0.06])]
        table[0]["score"], table[1]["other"], table[8]["score"] = None, None, float("inf")
        write(folder / "t.csv", table)
        answer = cli("adopt", "t.csv", *QUESTION, "--metric", "other:lower")
        assert answer.code == 0
        assert "2 scores are missing; they count as no number" in answer.err
        assert "1 scores are infinite; means and differences leave them out" in answer.err
        frame = results("t", Workspace()).frame().set_index(["arm", "seed"])
        assert np.isnan(frame.loc[("A", 1), "test/score"])
        assert np.isinf(frame.loc[("B", 3), "test/score"])
        assert list(json.loads(cli("judge", "t.csv", *CLAIM, "--json").out)["differences"]) == ["2", "4", "5", "6"]

    def test_subjects_give_scores_and_differences_across_people(self, folder: Path, cli: Cli) -> None:
        rng = np.random.default_rng(0)
        table = [
            {**row, "subject": f"p{s:02}", "score": row["score"] + s / 100 + rng.normal(0, 0.001)}
            for row in rows()
            for s in range(12)
        ]
        table[0]["score"] = None
        write(folder / "t.parquet", table)
        answer = cli("adopt", "t.parquet", *QUESTION, "--hypothesis", "B:A:score")
        assert (answer.code, "not the same subjects with seed 1" in answer.err) == (0, True)
        means = pd.DataFrame(table).groupby(["arm", "seed"]).score.mean()
        assert results("t", Workspace()).frame()["test/score"].tolist() == pytest.approx(means.tolist())
        page = (folder / "reports/t/report.md").read_text()
        frame = pd.DataFrame(table).pivot(index=["subject", "seed"], columns="arm", values="score")
        by_person = (frame.B - frame.A).groupby("subject").mean()
        assert "12 test subjects, better in 12 of 12" in page
        comparison = json.loads(cli("compare", "t", "B", "A", "--json").out)["comparisons"][0]
        assert comparison["population"]["difference"]["mean"] == pytest.approx(by_person.mean())

    def test_data_sets_are_metrics_and_columns_get_fit_names(self, folder: Path, cli: Cli) -> None:
        table = [
            {"arm": r["arm"], "seed": r["seed"], "dataset": d, "test/acc": r["score"]}
            for r in rows()
            for d in ("p", "q")
        ]
        write(folder / "t.csv", table)
        answer = cli(
            *("adopt", "t.csv", "--baseline", "A", "--metric", "test/acc:higher", "--hypothesis", "B:A:test-acc.q")
        )
        assert answer.code == 0
        assert results("t", Workspace()).study.metrics == ["test-acc.p", "test-acc.q"]
        assert (
            "it is supported that “B” improves on “A” in test/acc (q)" in (folder / "reports/t/report.md").read_text()
        )
        of_both = cli(
            "adopt", "t.csv", "--baseline", "A", "--metric", "test/acc:higher", "--hypothesis", "B:A:test/acc"
        )
        assert (of_both.code, "--hypothesis: names no metric of the table" in of_both.err) == (2, True)

    def test_an_experiment_of_mlflow(
        self, folder: Path, cli: Cli, new_mlruns: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = new_mlruns(folder / "theirs") / "mlflow.db"
        uri = f"sqlite:///{database}"
        _log_experiment(uri, (folder / "artifacts").as_uri())
        before = database.read_bytes()
        address = ("--experiment", "digits", "--from", "sqlite:///theirs/mlruns/mlflow.db")
        asked = (*address, "--arm-column", "model", "--metric", "test/acc:higher")
        answer = cli("adopt", *asked, "--baseline", "A", "--hypothesis", "B:A:test/acc")
        assert answer.code == 0
        assert "without a score are A seed 7, B seed 7" in answer.err  # a run that failed
        found = results("digits-adopted", Workspace())
        assert found.frame()["test/test-acc"].dropna().tolist() == [row["score"] for row in rows()]
        assert database.read_bytes() == before
        for wrong, message in (
            ((*address, "--metric", "acc:higher"), 'no run has such a metric (got "acc"); valid: test/acc'),
            ((*asked, "--arm-column", "modle"), "has no such column (got \"modle\"); did you mean 'model'?"),
            ((*asked, "--experiment", "digit"), "theirs/mlruns/mlflow.db (got \"digit\"); did you mean 'digits'?"),
            ((*asked, "--from", "sqlite:///none.db"), "--from: no such database"),
            ((*asked, "--name", "digits"), "--name: must be another than the experiment's"),
            ((*asked, "t.csv"), "cannot have both a file and --experiment"),
        ):
            refused = cli("adopt", "--baseline", "A", *wrong)
            assert (refused.code, message in refused.err) == (2, True), refused.err
        assert not (folder / "none.db").exists()


def _cells(tracker: MlflowTracker) -> Any:
    from ablate.planning.plan import plan_of_document
    from ablate.study.document import checked

    document, records = tracker.document("t"), tracker.records("t")
    assert document is not None
    return plan_of_document(document, *checked(document, "t"), records).cells


def _log_experiment(uri: str, location: str) -> None:
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("digits", artifact_location=location)

    def run(arm: str, seed: int, score: float | None, status: str) -> None:
        run_id = client.create_run(experiment).info.run_id
        client.log_param(run_id, "model", arm)
        client.set_tag(run_id, "seed", seed)
        if score is not None:
            client.log_metric(run_id, "test/acc", 0.0, step=0)
            client.log_metric(run_id, "test/acc", score, step=1)
        client.set_terminated(run_id, status)

    client.set_terminated(client.create_run(experiment).info.run_id)  # a parent: neither arm nor seed
    run("B", 1, None, "FAILED")  # done again below
    for row in rows():
        run(row["arm"], row["seed"], row["score"], "FINISHED")
    run("B", 7, 0.1, "FAILED")


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(2**30)


def _bomb(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 30_000_000
    pq.write_table(
        pa.table({"arm": pa.array(["A"]).take(pa.array(np.zeros(count, int)))})
        .select(["arm"])
        .append_column("seed", pa.array(np.zeros(count, np.int8)))
        .append_column("score", pa.array(np.zeros(count, np.int8))),
        path,
    )


HEADER = "arm,seed,score\n"
BAD_TABLES: list[tuple[str, Any, str]] = [
    ("t.csv", f"{HEADER}A,1,0.5\nA,1,0.6\n", "t.csv: line 3: must not repeat arm A and seed 1, which line 2 has"),
    ("t.csv", f"{HEADER}A,1,good\n", 'line 2, score: must be a number, or empty where there is none (got "good")'),
    ("t.csv", f"{HEADER}A,1,1_000\nB,1,1\n", '(got "1_000")'),
    ("t.csv", f"{HEADER}A,one,0.5\n", 'line 2, seed: must be a whole number from 0 to 4294967295 (got "one")'),
    ("t.csv", f"{HEADER}A,1.5,0.5\n", 'must be a whole number from 0 to 4294967295 (got "1.5")'),
    ("t.csv", f"{HEADER}A,,0.5\n", 'must be a whole number from 0 to 4294967295 (got "")'),
    ("t.csv", "arm,seed,scores\nA,1,0.5\n", "t.csv: has no such column (got \"score\"); did you mean 'scores'?"),
    ("t.csv", "arm,seed,score,score\nA,1,0.5,0.5\n", 't.csv: has two columns of this name (got "score")'),
    ("t.csv", f"{HEADER}A,1\n", "t.csv: line 2: must have 3 values, as the header has (got 2)"),
    ("t.csv", f"{HEADER}=cmd(),1,0.5\n", "line 2, arm: must be fit for file names"),
    ("t.csv", f"{HEADER}\x1b[31mA,1,0.5\n", 'a letter or digit first, no . last, at most 64 (got "\\u001b[31mA")'),
    ("t.csv", f"{HEADER}w/o x,1,0.5\n", '(got "w/o x"); call it w-o-x'),
    ("t.csv", f"{HEADER}A,1,0.5\na,1,0.5\n", "differs from arm 'A' only in case"),
    (
        "t.csv",
        f"{HEADER}A,1,0.5\nfailed,1,0.5\n",
        "t.csv: arms.failed: is no name for an arm: commands mean the failed runs by it, as in --rerun failed; call it "
        "failed-arm",
    ),
    ("t.csv", "arm,seed,subject,score\nA,1,,0.5\n", "line 2, subject: must not be empty"),
    ("t.csv", "", "t.csv: is empty"),
    ("t.csv", HEADER, "t.csv: has no row"),
    ("t.csv", "arm;seed;score\nA;1;0.5\n", "write it as CSV in UTF-8 with commas, or as Parquet"),
    ("t.csv", f'{HEADER}"A,1,0.5\n', "t.csv: is not CSV: unexpected end of data"),
    ("t.csv", f"{HEADER}{'A' * 200_000},1,0.5\n", "t.csv: is not CSV: field larger than field limit"),
    ("t.csv", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "t.csv: is no text: byte 0 is not UTF-8"),
    ("t.csv", b"PAR1 is no Parquet", "t.csv: is damaged or no table of results"),
    ("t.csv", _sparse, "t.csv: must have at most 67,108,864 bytes (got 1,073,741,824)"),
    ("t.csv", Path.mkdir, "t.csv: is a folder"),
    ("t.csv", os.mkfifo, "t.csv: is no plain file"),
    ("u.csv", HEADER, "t.csv: no such file; did you mean 'u.csv'?"),
    ("t.csv", _bomb, "t.csv: must hold at most 20,000,000 values (got 30,000,000 rows)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD_TABLES)
def test_a_bad_table(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, content: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if callable(content):
        content(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in (["adopt", "t.csv", *QUESTION], ["judge", "t.csv", *CLAIM]):
        if ("only in case" in message or "no name for an arm" in message) and command[0] == "judge":
            continue  # makes no files, and no runs
        answer = cli(*command)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err, answer.err
        assert "Traceback" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_in_many_rows_is_told_once(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(
        HEADER + "".join(f"{arm},{seed},1\n" for arm in ("a/b", "c%d") for seed in range(50))
    )
    answer = cli("adopt", "t.csv", *QUESTION)
    assert [line.rpartition("; call it ")[2] for line in answer.err.splitlines()] == ["a-b", "c-d"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "C"], '--baseline: is not an arm of the table (got "C"); valid: A, B'),
        (["--baseline", ""], "--baseline: is not an arm of the table"),
        (["--metric", "score"], '--metric: must be NAME:higher or NAME:lower (got "score"); such as score:higher'),
        (["--metric", "score:best"], '--metric: must be NAME:higher or NAME:lower (got "score:best")'),
        (["--metric", "scor:lower"], "t.csv: has no such column (got \"scor\"); did you mean 'score'?"),
        (["--hypothesis", "B:A"], "--hypothesis: must be ARM:AGAINST:METRIC or ARM:AGAINST:METRIC:MARGIN"),
        (["--hypothesis", "B:A:score:nan"], "with a margin of 0 or more"),
        (["--hypothesis", "C:A:score"], '--hypothesis: is not an arm of this study (got "C")'),
        (["--hypothesis", "A:A:score"], '--hypothesis: must compare two different arms (got "A")'),
        (["--hypothesis", "B:A:scor"], '--hypothesis: names no metric of the table (got "scor"); did you mean'),
        (["--name", "a/b"], "--name: must be fit for file names"),
        (["--from", "sqlite:///x.db"], "--from: is where --experiment is read from, which is missing"),
        (["--reports", "t.csv"], "--reports: cannot be written"),
    ],
)
def test_a_bad_question(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", rows())
    answer = cli("adopt", "t.csv", *QUESTION, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "b"], '--arm: no such arm in the table (got "b"); valid: A, B'),
        (["--against", "B"], '--against: must be another arm than --arm (got "B")'),
        (["--margin", "nan"], "--margin"),
        (["--direction", "up"], 'error: --direction: must be lower or higher (got "up")\n'),
        (["--direction", ""], "error: --direction: must be lower or higher"),
    ],
)
def test_a_bad_claim(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", rows())
    answer = cli("judge", "t.csv", *CLAIM, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_the_documentation_shows_what_happens(folder: Path, cli: Cli, new_mlruns: Callable[[Path], Path]) -> None:
    page = (ROOT / "docs" / "adopt.md").read_text(encoding="utf-8")
    tables = re.findall(r"`(\S+\.csv)`:\n\n```csv\n(.*?)```", page, re.DOTALL)
    assert tables
    for name, text in tables:
        Path(name).write_text(text)
    new_mlruns(folder / "theirs")
    shutil.move(folder / "theirs/mlruns/mlflow.db", folder / "theirs/mlflow.db")
    _log_experiment(f"sqlite:///{folder}/theirs/mlflow.db", (folder / "artifacts").as_uri())
    consoles = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    shown = [part for text in consoles for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part]
    assert len(shown) >= 9
    codes = []
    for text in shown:
        command, _, output = text.partition("\n")
        answer = cli(*shlex.split(command.replace("--baseline plain --metric test", "--baseline A --metric test"))[1:])
        codes.append(answer.code)
        if output:
            assert answer.out == output
    assert codes == [0, 3, 4, *[0] * (len(shown) - 3)]
