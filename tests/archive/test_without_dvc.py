"""DVC is an extra: without it a snapshot says how to install it, and everything else works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOLD = "error: dvc: is not installed; pip install 'ablate-study[dvc]' adds it\n"


@pytest.fixture(autouse=True)
def _without_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "dvc"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dvc", None)  # Python then has no such module


def test_a_snapshot_says_how_to_install_it(cli: Callable[..., Any]) -> None:
    answer = cli("snapshot", "mine")
    assert (answer.code, answer.out, answer.err) == (2, "", TOLD)
    assert list(Path().iterdir()) == []


def test_so_does_restore_where_a_remote_of_the_users_holds_what_it_needs(cli: Callable[..., Any]) -> None:
    lines = ["outs:", f"- md5: {'0' * 32}.dir", "  size: 1", "  nfiles: 1", "  hash: md5", "  path: mlruns/snapshot"]
    Path("mlruns.dvc").write_text("\n".join([*lines, "  remote: mine", ""]), encoding="utf-8")
    answer = cli("restore")
    assert (answer.code, answer.out, answer.err) == (2, "", TOLD)


def test_restore_without_a_snapshot_needs_none(cli: Callable[..., Any]) -> None:
    answer = cli("restore")
    assert answer.code == 2
    assert "mlruns.dvc: no snapshot here" in answer.err
