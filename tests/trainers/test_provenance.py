"""The recorded state of the repository and the machine."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ablate.trainers import provenance


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_git_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state(tmp_path) == ({"commit": "none (not under git)"}, "")
    (tmp_path / "a.txt").write_text("one\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    state, diff = provenance.git_state(tmp_path)
    assert (len(state["commit"]), state["dirty"], diff) == (40, "no", "")
    (tmp_path / "a.txt").write_text("two\n")
    state, diff = provenance.git_state(tmp_path)
    assert state["dirty"] == "yes"
    assert "-one\n+two\n" in diff
    monkeypatch.setattr(provenance, "DIFF_LIMIT", 10)
    assert provenance.git_state(tmp_path)[1].endswith("cut here\n")


def test_the_environment_names_what_bytes_depend_on() -> None:
    facts = provenance.environment("cpu", threads=3)
    assert facts["threads"] == "3"
    assert {"version/torch", "version/ablate", "device", "instruction_set", "python"} <= facts.keys()
    assert all(facts.values())


def test_the_folders_of_other_runs_may_go_while_code_is_searched(tmp_path: Path) -> None:
    """Runs of the same study begin and end meanwhile: a search that met a removed folder failed its run."""
    (tmp_path / "train.py").write_text("print(1)\n", encoding="utf-8")
    settings = {"run": {"command": ["python", "train.py"]}}
    before, ended = provenance.code_digest(settings, tmp_path), threading.Event()

    def runs(folder: Path) -> None:
        while not ended.is_set():
            for number in range(5):
                (folder / f"run{number}" / "out").mkdir(parents=True)
            shutil.rmtree(folder)

    others = [threading.Thread(target=runs, args=[tmp_path / "mlruns" / name]) for name in ("one", "two")]
    for thread in others:
        thread.start()
    try:
        assert {provenance.code_digest(settings, tmp_path) for _ in range(300)} == {before}
    finally:
        ended.set()
        for thread in others:
            thread.join()
