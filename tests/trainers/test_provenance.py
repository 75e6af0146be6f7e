"""The recorded state of the repository and the machine."""

from __future__ import annotations

import subprocess
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
