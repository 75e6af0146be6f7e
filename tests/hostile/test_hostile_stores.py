"""Stores from elsewhere: databases that run by themselves, tables that hold code, documents that lead astray."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import traps
from toy_project import Project

from ablate.analysis import example_tables
from ablate.analysis.example_tables import read_columns
from ablate.study import InputError
from ablate.study.document import checked
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]


@pytest.fixture
def store(project: Project, finished: Project) -> Path:
    """The database of a finished study, to be spoilt; its artifacts stay where they are."""
    (project.folder / "mlruns").mkdir()
    shutil.copy(finished.folder / "mlruns" / "mlflow.db", project.folder / "mlruns" / "mlflow.db")
    return project.folder / "mlruns" / "mlflow.db"


def alter(store: Path, *statements: str) -> None:
    with closing(sqlite3.connect(store)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


class TestDatabases:
    @pytest.mark.parametrize(
        ("statements", "told"),
        [
            (
                ["CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM metrics; END"],
                'trigger "evil"',
            ),
            (
                [
                    "ALTER TABLE tags RENAME TO tags_",
                    "CREATE VIEW tags AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
                    "SELECT 'a' AS key, x AS value, '0' AS run_uuid FROM c",
                ],
                'view "tags"',
            ),
            (["CREATE VIRTUAL TABLE evil USING fts5(x)"], 'table "evil'),
        ],
        ids=["trigger", "view", "virtual"],
    )
    @pytest.mark.parametrize("command", [["status"], ["report"], ["run"]], ids=" ".join)
    def test_what_runs_by_itself_is_refused(
        self, store: Path, cli: Cli, statements: list[str], told: str, command: list[str]
    ) -> None:
        alter(store, *statements)
        before = store.read_bytes()
        answer = cli(*command, "linear.toml")
        assert answer.code == 2
        assert "has a trigger, view or virtual table that MLflow does not make" in answer.err
        assert told in answer.err
        assert store.read_bytes() == before

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE tags SET value = '" + "[" * 5000 + "' WHERE key = 'ablate.overrides'",
            "UPDATE tags SET value = '[1]' WHERE key = 'ablate.provenance'",
            "UPDATE tags SET value = X'ff00' WHERE key = 'ablate.seed'",
            "UPDATE tags SET value = '9' || printf('%05000d', 0) WHERE key = 'ablate.seed'",
            "UPDATE latest_metrics SET value = 'evil'",
            "UPDATE tags SET value = '{' WHERE key = 'ablate.overrides'",
            "UPDATE tags SET value = 'one' WHERE key = 'ablate.seed'",
            "DELETE FROM tags WHERE key = 'ablate.arm'",
            "UPDATE tags SET value = 'no' || char(27) || '[2J' WHERE key = 'ablate.status'",
        ],
        ids=["deep", "list", "bytes", "digits", "text", "cut", "word", "none", "status"],
    )
    def test_rows_of_another_kind(self, store: Path, cli: Cli, damage: str) -> None:
        alter(store, damage)
        for command in ("plan", "status", "run"):
            answer = cli(command, "linear.toml")
            assert answer.code == 2
            assert "Traceback" not in answer.err
            assert "latest_metrics" in damage or "its tags are damaged" in answer.err

    def test_an_error_does_not_write_to_the_terminal(self, store: Path, cli: Cli) -> None:
        alter(
            store,
            "UPDATE tags SET value = 'FAILED' WHERE key = 'ablate.status'",
            "INSERT OR REPLACE INTO tags (key, value, run_uuid) "
            "SELECT 'ablate.error', 'no' || char(27) || '[2J' || char(8238) || 'x', run_uuid FROM runs",
        )
        answer = cli("status", "linear.toml")
        assert answer.code == 1
        assert "\x1b" not in answer.out + answer.err
        assert "no\\x1b[2J\\u202ex" in answer.out

    def test_artifacts_that_would_come_from_the_network(self, store: Path, cli: Cli) -> None:
        """A local store has its artifacts at hand: no address in it is asked for."""
        alter(store, "UPDATE runs SET artifact_uri = 'http://127.0.0.1:9/' || run_uuid")
        answer = cli("report", "linear")
        assert answer.code == 2
        assert "not in the store" in answer.err

    def test_an_export_takes_no_files_from_elsewhere(self, store: Path, cli: Cli, tmp_path: Path) -> None:
        secret = tmp_path / "secret" / "artifacts"
        secret.mkdir(parents=True)
        (secret / "key").write_text("-----BEGIN")
        runs = "SELECT run_uuid FROM tags WHERE key = 'ablate.role' AND value = 'run'"
        alter(store, f"UPDATE runs SET artifact_uri = '{secret.as_uri()}' WHERE run_uuid IN ({runs})")
        assert cli("export", "linear", "out.zip").code == 0
        with zipfile.ZipFile("out.zip") as archive:
            assert "run.json" in {name.rpartition("/")[2] for name in archive.namelist()}
            assert "key" not in {name.rpartition("/")[2] for name in archive.namelist()}


def document(finished: Project) -> dict[str, Any]:
    found = LocalStore(finished.folder / "mlruns" / "mlflow.db").document("linear")
    assert found is not None
    return found


def place(store: Path, change: Callable[[dict[str, Any]], object] | str, where: Path) -> None:
    """Give the study in `store` a document of its own: the old one, changed, or another text."""
    with closing(sqlite3.connect(store)) as connection:
        query = """SELECT run_uuid, artifact_uri FROM runs JOIN tags USING (run_uuid)
            WHERE key = 'ablate.role' AND value = 'study'"""
        run, address = connection.execute(query).fetchone()
        where.mkdir()
        if isinstance(change, str):
            (where / "study.json").write_text(change)
        else:
            found = json.loads(Path(unquote(urlsplit(address).path), "study.json").read_text())
            change(found)
            (where / "study.json").write_text(json.dumps(found))
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (where.as_uri(), run))
        connection.commit()


def outside(folder: Path) -> list[Path]:
    """Everything but the store."""
    return sorted(p for p in folder.rglob("*") if not {"mlruns", "__pycache__"} & set(p.parts))


def refused(cli: Cli, folder: Path, *command: str) -> None:
    """The command says what is wrong, and writes nothing outside of the store."""
    before = outside(folder)
    answer = cli(*command)
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    assert outside(folder) == before


class TestDocuments:
    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d["study"].update(name="../../evil"),
            lambda d: d["study"].update(name="/tmp/evil"),
            lambda d: d["study"].update(seeds=list(range(10**6))),
            lambda d: d["study"]["arms"].update({"../x": d["study"]["arms"]["plain"]}),
            lambda d: d["study"].update(baseline="nobody"),
            lambda d: d["study"].update(metrics=["nothing"]),
            lambda d: d.pop("metrics"),
            lambda d: d["metrics"]["close"].update(direction="sideways"),
            lambda d: d.update(amendments=[{"date": 1}]),
            lambda d: d.update(schema="new"),
            lambda d: d["study"].update(metrics=["close"] * 1000),
            lambda d: d["study"].update(seeds=[1, 1, 2]),
            lambda d: d["study"].update(settings={}),
            lambda d: d["study"]["settings"].pop("model"),
            lambda d: d["study"]["settings"].update(training={"epochs": "five"}),
            lambda d: d["study"]["arms"]["garden"].update(set={"training.epochs": "five"}),
            lambda d: d["study"]["arms"]["garden"].update(set={"model.none": 3}),
            lambda d: d["study"]["arms"]["garden"].update(like="nobody"),
            lambda d: d["study"]["arms"]["garden"].update(set={"data": 5}),
            lambda d: d["study"]["settings"]["data"].update(noise=float("nan")),
            lambda d: d["study"]["tuning"].update(trials=10**9),
            lambda d: d.update(data_digests={"plain": 1}),
            "[" * 100_000,
            "[]",
            "",
            '{"study": ' + "9" * 5000 + "}",
        ],
        ids=[
            *("above", "absolute", "runs", "arm", "baseline", "metric", "none", "way", "dates", "schema"),
            *("metrics", "seeds", "settings", "model", "epochs", "set", "path", "like"),
            *("section", "nan", "trials", "digests"),
            *("deep", "list", "empty", "digits"),
        ],
    )
    def test_are_checked_before_they_are_used(self, store: Path, cli: Cli, tmp_path: Path, change: Any) -> None:
        place(store, change, tmp_path / "elsewhere")
        refused(cli, tmp_path, "report", "linear")

    @pytest.mark.parametrize("change", [lambda d: d["study"].update(name="../../evil"), "[]"], ids=["above", "list"])
    def test_are_checked_before_a_run_amends_them(self, store: Path, cli: Cli, tmp_path: Path, change: Any) -> None:
        place(store, change, tmp_path / "elsewhere")
        refused(cli, tmp_path, "run", "linear.toml")

    def test_a_run_writes_none_to_a_folder_that_is_not_the_stores(self, store: Path, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        address = (tmp_path / "elsewhere").as_uri()
        alter(store, f"UPDATE runs SET artifact_uri = '{address}' WHERE name = 'linear'")
        refused(cli, tmp_path, "run", "linear.toml")

    def test_a_whole_one_passes(self, finished: Project) -> None:
        study, facts = checked(document(finished), "linear")
        assert study.name == "linear"
        assert facts["absolute_error"]["direction"] == "lower"

    def test_a_gallery_is_not_run_because_a_store_says_so(
        self, store: Path, project: Project, cli: Cli, tmp_path: Path, marker: Path
    ) -> None:
        (project.folder / "evil.py").write_text(traps.module(marker), encoding="utf-8")
        place(store, lambda d: d["study"]["report"].update(gallery="evil:factory"), tmp_path / "elsewhere")
        answer = cli("report", "linear")
        assert answer.code == 0, answer.err
        assert "names code of no installed subject" in Path(answer.out.strip()).read_text(encoding="utf-8")


class TestTables:
    def damaged(self, path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_columns(path)
        return str(caught.value)

    def test_types_that_bring_a_pickle_are_refused(self, tmp_path: Path, marker: Path) -> None:
        """pyarrow before 14.0.1 unpickled what a file calls `arrow.py_extension_type` (CVE-2023-47248)."""
        metadata = {
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": traps.pickled(marker),
        }
        field = pa.field("error", pa.binary(), metadata=metadata)
        table = pa.Table.from_arrays([pa.array([b"x"])], schema=pa.schema([field]))
        pq.write_table(table, tmp_path / "scores.parquet")
        assert "must hold numbers" in self.damaged(tmp_path / "scores.parquet")
        numbers = pa.field("error", pa.float64(), metadata=metadata)
        pq.write_table(
            pa.Table.from_arrays([pa.array([1.0])], schema=pa.schema([numbers])), tmp_path / "scores.parquet"
        )
        with suppress(InputError):  # which of the two is right depends on the version of pyarrow
            assert list(read_columns(tmp_path / "scores.parquet")["error"]) == [1.0]

    def test_texts_and_lists_are_refused(self, tmp_path: Path) -> None:
        for values in (["a" * 1000] * 10, [[1.0, 2.0]] * 10, [b"x"] * 10):
            pd.DataFrame({"error": values}).to_parquet(tmp_path / "scores.parquet")
            assert "must hold numbers" in self.damaged(tmp_path / "scores.parquet")

    def test_more_rows_than_a_run_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Repeats are counted, not written: a million numbers in a kilobyte or two."""
        monkeypatch.setattr(example_tables, "MAX_VALUES", 500_000)
        pq.write_table(pa.table({"a": np.zeros(1_000_000)}), tmp_path / "scores.parquet")
        assert (tmp_path / "scores.parquet").stat().st_size < 10_000
        assert "announces 1,000,000 rows" in self.damaged(tmp_path / "scores.parquet")

    def test_what_pandas_is_told_is_not_listened_to(self, tmp_path: Path) -> None:
        table = pa.table({"error": [1.0, 2.0]}).replace_schema_metadata({b"pandas": b'{"index_columns": "evil"'})
        pq.write_table(table, tmp_path / "scores.parquet")
        assert list(read_columns(tmp_path / "scores.parquet")["error"]) == [1.0, 2.0]

    def test_a_table_that_is_a_pickle(self, tmp_path: Path, marker: Path) -> None:
        (tmp_path / "scores.parquet").write_bytes(traps.pickled(marker))
        assert "is damaged" in self.damaged(tmp_path / "scores.parquet")
