"""Networks and checkpoints from elsewhere: code named in a file, pickles for weights, sizes that no memory holds."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traps
from toy_project import Project

from ablate.depth_refinement.model import create_model
from ablate.study import InputError
from ablate.trainers.builtin.checkpoints import MAGIC, ResumeCheckpoint, save_model
from ablate.trainers.builtin.model_size_check import check_size

Cli = Callable[..., Any]
SIZES = {"d_model": 16, "num_layers": 1, "num_heads": 2}
FACTORY = "ablate.depth_refinement.model:create_model"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with a sound network, poses, and a module that would make the marker."""
    monkeypatch.chdir(tmp_path)
    save_model(create_model(**SIZES), {"factory": FACTORY, **SIZES}, [17, 6], tmp_path / "net")
    rng = np.random.default_rng(0)
    poses = {"pose_2d": rng.normal(300, 80, (3, 17, 2)), "pose_3d": rng.normal(0, 0.4, (3, 17, 3))}
    np.savez(tmp_path / "poses.npz", visibility=rng.random((3, 17)), **poses)
    (tmp_path / "evil.py").write_text(traps.module(tmp_path / "sprung"), encoding="utf-8")
    return tmp_path


def describe(where: Path, by: str = FACTORY, /, **settings: Any) -> None:
    document = {"factory": by, "settings": settings or SIZES, "inputs_shape": [17, 6]}
    (where / "net" / "model.json").write_text(json.dumps(document), encoding="utf-8")


def predicted(cli: Cli) -> str:
    answer = cli("predict", "net", "poses.npz")
    assert (answer.code, answer.out) == (2, ""), answer
    assert "Traceback" not in answer.err
    return str(answer.err)


class TestPredict:
    @pytest.mark.parametrize(
        ("factory", "settings"),
        [
            ("os:mkdir", {"path": "sprung"}),
            ("evil:factory", {"x": 1}),
            ("subprocess:run", {"args": ["mkdir", "sprung"]}),
            ("ablate.archive.zip_archive:unpack", {"file": "evil.zip.xz", "folder": "sprung"}),
            ("ablate.depth_refinement.single:train", {"out": "sprung"}),
            ("builtins:exec", {"source": "import os; os.mkdir('sprung')"}),
            ("\x1b[2J", {"x": 1}),
        ],
    )
    def test_a_network_names_no_code(
        self, folder: Path, marker: Path, cli: Cli, factory: str, settings: dict[str, Any]
    ) -> None:
        describe(folder, factory, **settings)
        told = predicted(cli)
        assert "factory: unknown network" in told
        assert "\x1b" not in told

    def test_weights_that_are_a_pickle(self, folder: Path, marker: Path, cli: Cli) -> None:
        weights = folder / "net" / "weights.safetensors"
        weights.write_bytes(traps.pickled(marker))
        assert "must hold the weights of the network" in predicted(cli)
        torch.save({"joints": traps.Trap(str(marker))}, weights)
        assert "must hold the weights of the network" in predicted(cli)

    @pytest.mark.parametrize("length", [2**63 - 1, 2**40, 100_000_001, 7])
    def test_weights_whose_header_lies(self, folder: Path, cli: Cli, length: int) -> None:
        (folder / "net" / "weights.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a": 1}')
        assert "must hold the weights of the network" in predicted(cli)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"d_model": 90_000, "num_layers": 900, "num_heads": 2}, "numbers of"),
            ({**SIZES, "num_layers": 10**9}, "settings.num_layers: is out of reach"),
            ({**SIZES, "feedforward_dim": 10**12}, "settings.feedforward_dim: is out of reach"),
            ({**SIZES, "d_model": [16] * 10}, "must be a whole number"),
            ({**SIZES, "dropout": float("nan")}, "dropout"),
            ({**SIZES, "x" * 3000: 1}, "takes no such argument"),
        ],
    )
    def test_sizes_that_no_memory_holds(self, folder: Path, cli: Cli, settings: dict[str, Any], message: str) -> None:
        describe(folder, **settings)
        assert message in predicted(cli)

    @pytest.mark.parametrize(
        "text", ["[" * 100_000, "9" * 5000, '{"factory": ' * 10_000, "\ud800", "[]", "{}", " " * 10**6 + "{}"]
    )
    def test_settings_without_end(self, folder: Path, cli: Cli, text: str) -> None:
        (folder / "net" / "model.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        assert "model.json: " in predicted(cli)


def test_a_network_that_its_weights_cannot_fill_takes_no_memory(folder: Path) -> None:
    describe(folder, d_model=60_000, num_layers=4, num_heads=2)  # 600 GB
    with pytest.raises(InputError, match="must hold the weights of the network"):
        check_size(folder / "net")
    describe(folder)
    check_size(folder / "net")


class TestCheckpoints:
    def state(self, folder: Path, payload: bytes) -> dict[str, Any] | None:
        """What is resumed from, of a file whose checksum is right."""
        whole = MAGIC + hashlib.sha256(payload).digest() + payload
        (folder / "checkpoint.pt").write_bytes(whole)
        return ResumeCheckpoint(folder / "checkpoint.pt").load(torch.device("cpu"))

    def test_a_checkpoint_holds_data_only(self, tmp_path: Path, marker: Path) -> None:
        assert traps.is_armed(marker)
        stream = io.BytesIO()
        torch.save({"epoch": 1, "model": traps.Trap(str(marker))}, stream)
        assert self.state(tmp_path, stream.getvalue()) is None
        assert self.state(tmp_path, traps.pickled(marker)) is None
        assert self.state(tmp_path, pickle.dumps({"epoch": traps.Trap(str(marker))}, protocol=2)) is None

    def test_a_checkpoint_that_is_a_script(self, tmp_path: Path, marker: Path) -> None:
        """torch.load also reads archives of TorchScript, whose code it would compile."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("archive/data.pkl", traps.pickled(marker))
            archive.writestr("archive/constants.pkl", traps.pickled(marker))
            archive.writestr("archive/code/__torch__.py", "import os")
            archive.writestr("archive/version", "3\n")
        assert self.state(tmp_path, stream.getvalue()) is None

    def test_a_tensor_that_announces_terabytes(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        torch.save({"model": torch.zeros(4)}, stream)
        names = zipfile.ZipFile(io.BytesIO(stream.getvalue())).namelist()
        pickled = next(name for name in names if name.endswith("data.pkl"))
        changed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(stream.getvalue())) as old, zipfile.ZipFile(changed, "w") as new:
            for name in names:
                content = old.read(name)
                if name == pickled:  # the shape (4,) as 2**40
                    content = content.replace(b"K\x04\x85", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", 1)
                new.writestr(name, content)
        self.state(tmp_path, changed.getvalue())  # refused, or the four numbers that are there


class TestEvaluate:
    """A store from elsewhere names the code of a package that lies in the working folder."""

    @pytest.fixture
    def store(self, finished: Project, project: Project, marker: Path) -> Path:
        shutil.copytree(
            finished.folder / "mlruns", project.folder / "mlruns", ignore=shutil.ignore_patterns("artifacts")
        )
        np.savez(project.folder / "village.npz", houses=np.random.default_rng(0).normal(size=(20, 3)))
        package = project.folder / "linear_toy" / "__init__.py"
        package.write_text(traps.module(marker), encoding="utf-8")
        return project.folder / "mlruns"

    def test_by_name_it_is_not_imported(self, store: Path, cli: Cli) -> None:
        answer = cli("evaluate", "linear", "--data", "village.npz")
        assert (answer.code, answer.out) == (2, "")
        assert "names code of no installed subject" in answer.err
        assert "--trust linear_toy" in answer.err

    @pytest.mark.parametrize("how", [["linear.toml"], ["linear", "--trust", "linear_toy"]], ids=["file", "trust"])
    def test_named_by_the_person_it_is(self, store: Path, marker: Path, cli: Cli, how: list[str]) -> None:
        answer = cli("evaluate", *how, "--data", "village.npz", "--json")
        assert answer.code == 0, answer.err
        assert marker.is_dir()
        marker.rmdir()

    def test_a_stored_network_that_names_other_code(
        self, store: Path, finished: Project, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The study's own file is trusted, what the network beside its runs names is not."""
        (store.parent / "linear_toy" / "__init__.py").write_text("", encoding="utf-8")
        with closing(sqlite3.connect(store / "mlflow.db")) as connection:
            rows = connection.execute("SELECT model_id, artifact_location FROM logged_models").fetchall()
            for model, address in rows:
                copy = tmp_path / "models" / model
                shutil.copytree(address.removeprefix("file://"), copy)
                document = json.loads((copy / "data" / "model" / "model.json").read_text())
                document |= {"factory": "os:mkdir", "settings": {"path": str(tmp_path / "sprung")}}
                (copy / "data" / "model" / "model.json").write_text(json.dumps(document))
                query = "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?"
                connection.execute(query, (copy.as_uri(), model))
            connection.commit()
        assert rows
        answer = cli("evaluate", "linear.toml", "--data", "village.npz")
        assert answer.code == 2
        assert "names code of no installed subject, which is not run" in answer.err
