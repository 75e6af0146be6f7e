"""A study that comes with ablate is named without a file, in any folder; a file of one's own goes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.scheduler.loaded_study import load
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, shipped, study_file

ROOT = Path(__file__).parents[2]
QUICK = (ROOT / "studies" / "quick.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_study_of_the_repository_is_shipped() -> None:
    assert shipped.names() == sorted(file.stem for file in (ROOT / "studies").glob("*.toml"))
    assert "quick" in shipped.names()


def test_by_its_name() -> None:
    loaded = load(Path("quick"), Workspace())
    assert loaded.study == study_file.load(ROOT / "studies" / "quick.toml")
    assert str(loaded.path) == "quick"  # as it was given: no path of this machine in a message
    assert loaded.folder == ROOT / "studies"


@pytest.mark.parametrize("own", ["quick", "quick.toml"])
def test_a_file_of_the_working_folder_goes_first(own: str) -> None:
    Path(own).write_text(QUICK.replace('question = "Does', 'question = "Mine: does', 1), encoding="utf-8")
    loaded = load(Path("quick"), Workspace())
    assert loaded.study.question.startswith("Mine")
    assert loaded.folder == Path.cwd()


def test_a_folder_of_that_name_is_no_study() -> None:
    Path("quick").mkdir()
    assert load(Path("quick"), Workspace()).study.name == "quick"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "quik",
            "quik: no such file, and no study of this name comes with ablate; "
            "did you mean 'quick', which comes with ablate?",
        ),
        ("mine", "mine: no such file, and no study of this name comes with ablate; did you mean 'mine.toml'?"),
        ("../quick", "../quick: no such file"),
        ("quick.toml", "quick.toml: no such file"),
    ],
)
def test_another_name(given: str, told: str) -> None:
    Path("mine.toml").touch()
    with pytest.raises(InputError) as refused:
        load(Path(given), Workspace())
    assert str(refused.value).startswith(told)
