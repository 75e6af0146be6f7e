"""Digest of the code behind a result, and the state of the repository it stood in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.runs import provenance

FILES = {
    "pkg/__init__.py": "from .model import Net\n",
    "pkg/model.py": "from pkg import layers\nfrom .deep.inner import helper\nclass Net: pass\n",
    "pkg/layers.py": "import torch\n",
    "pkg/deep/__init__.py": "VERSION = 1\n",
    "pkg/deep/inner.py": "from ..leaf import LEAF\ndef helper(): pass\n",
    "pkg/leaf.py": "LEAF = 1\n",
    "pkg/unrelated.py": "X = 1\n",
    "other/__init__.py": "raise RuntimeError('must not be executed')\n",
    "other/part.py": "raise RuntimeError('must not be executed')\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.parametrize("component", ["pkg.model:Net", "pkg:Net"])
@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("pkg/__init__.py", True),
        ("pkg/model.py", True),
        ("pkg/layers.py", True),
        ("pkg/deep/__init__.py", True),
        ("pkg/deep/inner.py", True),
        ("pkg/leaf.py", True),
        ("pkg/unrelated.py", False),
        ("other/part.py", False),
    ],
)
def test_the_source_digest_follows_imports(package: Path, component: str, file: str, counts: bool) -> None:
    before = provenance.source_digest([component])
    assert provenance.source_digest([component]) == before
    path = package / file
    path.write_text(path.read_text() + "# a comment changes no result\n")
    assert provenance.source_digest([component]) == before
    path.write_text(path.read_text() + "touched = True\n")
    assert (provenance.source_digest([component]) != before) is counts


def test_the_source_digest_executes_nothing(package: Path) -> None:
    assert provenance.source_digest(["other.part:thing"]) != provenance.source_digest(["pkg.model:Net"])
    assert not {name for name in sys.modules if name.partition(".")[0] in ("other", "pkg")}


def test_the_order_of_components_does_not_matter(package: Path) -> None:
    names = ["pkg.model:Net", "other.part:thing", "no_such_module:x", "math:sqrt"]
    assert provenance.source_digest(names) == provenance.source_digest(names[::-1])


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
    found = provenance.environment("cpu", threads=3)
    assert found["threads"] == "3"
    assert {"version/torch", "version/ablate", "device", "instruction_set", "python"} <= found.keys()
    assert all(found.values())
