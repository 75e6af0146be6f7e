"""Finding what a study names: import paths, arguments, data files, and the messages when they are missing."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import design_toy
import pytest

from ablate.study import InputError, components, data_digests


def load(path: str) -> object:
    return components.load_component(path, file="study.toml", place="settings.model.factory")


def refusal(path: str) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    return str(caught.value).removeprefix("study.toml: settings.model.factory: ")


def bind_refusal(section: dict[str, object], also: Sequence[str] = ()) -> list[str]:
    with pytest.raises(InputError) as caught:
        components.bind(section, place="settings.model", file="study.toml", also=also)
    return str(caught.value).replace("study.toml: settings.", "").splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    components.importable([tmp_path])
    return tmp_path


def test_an_attribute_may_lie_deeper() -> None:
    assert load("pathlib:Path.cwd") == Path.cwd


def test_folders_become_importable_once_and_last(tmp_path: Path) -> None:
    components.importable([tmp_path])
    components.importable([tmp_path / "." / ""])
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize("path", ["pathlib", "pathlib.Path", "pathlib:", ":Path", "a b:c", "pathlib:Path()", ""])
def test_what_is_not_an_import_path(path: str) -> None:
    assert refusal(path) == f'must be an import path "module:attribute" (got "{path}")'


def test_unknown_modules_name_the_nearest() -> None:
    assert refusal("pathlob:Path") == "no module named 'pathlob' (got \"pathlob\"); did you mean 'pathlib'?"
    wrong = "ablate.study.resolv:resolve"
    assert refusal(wrong).startswith("no module named 'ablate.study.resolv' ")
    assert refusal(wrong).endswith("did you mean 'ablate.study.resolve'?")
    assert refusal("ablate.dezign.resolve:resolve").startswith("no module named 'ablate.dezign' ")


def test_unknown_attributes_name_the_nearest() -> None:
    assert refusal("design_toy:modle") == (
        f"design_toy has no 'modle' (it is {design_toy.__file__}) (got \"design_toy:modle\"); did you mean 'model'?"
    )


@pytest.mark.parametrize(
    ("source", "last_line", "line"),
    [
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero", 2),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'", 1),
        ("def f(:\n", "SyntaxError: invalid syntax", 1),
        ("import sys\n\nsys.exit(3)\n", "SystemExit: 3", 3),
    ],
)
def test_an_error_inside_the_module_is_reported_by_its_last_line(
    source: str, last_line: str, line: int, folder: Path
) -> None:
    name = f"own_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    module_file = folder / f"{name}.py"
    assert refusal(f"{name}:thing") == f"importing {name} failed: {last_line}; raised at {module_file}:{line}"


def test_bind_gives_the_factory_with_its_settings() -> None:
    section = {"factory": "design_toy:strict_model", "width": 3, "dropout": 0.5}
    assert components.bind(section, place="settings.model", file="study.toml")() == (3, 0.5)
    assert section["factory"] == "design_toy:strict_model"


def test_bind_leaves_out_what_the_caller_supplies() -> None:
    section = {"factory": "design_toy:data", "examples": 5, "file": "a.npz"}
    build = components.bind(section, place="settings.data", file="study.toml", also=("device", "file"))
    assert build(device="cpu", file=Path("b.npz")) == ("cpu", 5, Path("b.npz"))


def test_unknown_and_missing_arguments_are_reported_together() -> None:
    assert bind_refusal({"factory": "design_toy:strict_model", "dropuot": 0.5, "zz": 2}) == [
        "model.dropuot: design_toy:strict_model takes no such argument; did you mean 'dropout'?",
        "model.width: design_toy:strict_model needs this setting",
        "model.zz: design_toy:strict_model takes no such argument; valid: dropout, width",
    ]


def test_a_factory_must_take_what_the_caller_supplies() -> None:
    problems = bind_refusal({"factory": "design_toy:strict_model", "width": 1}, also=("device", "file"))
    assert problems == ["model.factory: design_toy:strict_model must take the argument 'device'"]


def test_a_factory_must_be_callable() -> None:
    assert bind_refusal({"factory": "design_toy:METRICS"}) == [
        'model.factory: is not callable (got "design_toy:METRICS")'
    ]


def test_a_class_is_a_factory_and_open_keywords_take_anything() -> None:
    components.bind({"factory": "design_toy:model", "width": 1, "anything": 2}, place="settings.model", file="f")
    problems = bind_refusal({"factory": "pathlib:PurePath", "width": 1})
    assert problems == ["model.width: pathlib:PurePath takes no such argument"]


def test_data_files_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("root", "variable", "study", "here")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.npz").write_text(folder.name, encoding="utf-8")
    monkeypatch.setenv("ABLATE_DATA", str(folders[1]))
    monkeypatch.chdir(folders[3])
    for folder in folders:
        file = components.find_data_file("a.npz", data_root=folders[0], study_dir=folders[2])
        assert file == folder / "a.npz"
        file.unlink()


def test_a_missing_data_file_names_the_folders_and_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(InputError) as caught:
        components.find_data_file("cmu_dev.npz", data_root=root, study_dir=tmp_path)
    rule = f'settings.data.file: no such data file under {root}, {tmp_path} (got "cmu_dev.npz")'
    assert str(caught.value) == f"{tmp_path}: {rule}; name its folder with --data-root or ABLATE_DATA"
    (root / "cmu_dev2.npz").touch()
    with pytest.raises(InputError, match=r"did you mean 'cmu_dev2\.npz'"):
        components.find_data_file("cmu_dev.npz", data_root=root, study_dir=tmp_path)


def test_a_folder_is_not_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(InputError):
        components.find_data_file("a.npz", data_root=None, study_dir=tmp_path)


def test_digests_are_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1: SHA-256 of "abc".
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert data_digests.file_digest(tmp_path / "a.npz") == abc
    assert components.data_digest({"data": {"file": "a.npz"}}, data_root=tmp_path, study_dir=tmp_path) == abc
    assert components.data_digest({"data": {}}, data_root=None, study_dir=tmp_path) == ""
