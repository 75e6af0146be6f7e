"""Which code the digest covers: what a component imports, by source or by version, and of ablate the loop."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import ClassVar

import pytest

from ablate.study import trust
from ablate.trainers import imported_code, provenance

FLAT = {
    "train.py": "import model\nfrom tools import deep as d, plain\nclass Net: pass\n",
    "model.py": "import os, json, numpy\nACTIVATION = 'gelu'\n",
    "tools/plain.py": "from . import beside\nfrom .starred import *\n",
    "tools/beside.py": "def late():\n    import tools.late as late\n    from lazily import loaded\n",
    "tools/late.py": "LATE = 1\n",
    "tools/deep/__init__.py": "from ..deep.inner import value\n",
    "tools/deep/inner.py": "import train\nvalue = 1\n",
    "tools/starred/__init__.py": "__all__ = ['one']\n__all__ += ['two']\n",
    "tools/starred/one.py": "ONE = 1\n",
    "tools/starred/two.py": "TWO = 2\n",
    "tools/starred/three.py": "THREE = 3\n",
    "tools/unread.py": "X = 1\n",
    "lazily/__init__.py": "from lazily import executed\n",
    "lazily/loaded.py": "import a.b\n",
    "lazily/executed.py": "X = 1\n",
    "a/__init__.py": "from a.tool import tool\n",
    "a/b.py": "X = 1\n",
    "a/tool.py": "tool = 1\n",
    "unread.py": "raise RuntimeError('must not be executed')\n",
}
UNREAD = {"tools/unread.py", "tools/starred/three.py", "unread.py"}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study, not on sys.path and not the working folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return write(tmp_path / "study", FLAT)


@pytest.mark.parametrize("file", FLAT)
def test_what_a_component_imports_counts(flat: Path, file: str) -> None:
    def digest() -> str:
        return provenance.source_digest(["train:Net"], flat)

    before = digest()
    assert digest() == before
    path = flat / file
    text = path.read_text()
    path.write_text(f'"""A docstring"""  # and a comment change no result\n\n{text}')
    assert digest() == before
    path.write_text(text + "touched = True\n")
    assert (digest() != before) is (file not in UNREAD)


def test_nothing_is_executed_and_only_what_is_imported_is_read(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(flat, {f"unread_{number}.py": "X = 1\n" for number in range(1000)})
    opened: list[str] = []
    read = Path.read_bytes

    def recording(self: Path) -> bytes:
        opened.append(self.name)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", recording)
    provenance.source_digest(["train:Net"], flat)
    assert {"train.py", "inner.py"} < set(opened)
    assert not [name for name in opened if name.startswith(("unread", "three"))]
    assert not {"train", "model", "tools", "lazily", "a"} & set(sys.modules)


def test_the_working_folder_counts(flat: Path) -> None:
    (flat / "model.py").unlink()
    model = Path("model.py").absolute()
    model.write_text("ACTIVATION = 'gelu'\n")
    before = provenance.source_digest(["train:Net"], flat)
    model.write_text("ACTIVATION = 'relu'\n")
    assert provenance.source_digest(["train:Net"], flat) != before


def test_the_path_of_the_folder_does_not_matter(flat: Path) -> None:
    before = provenance.source_digest(["train:Net"], flat)
    assert provenance.source_digest(["train:Net"], flat.rename(flat.with_name("moved"))) == before


def test_the_order_of_components_does_not_matter(flat: Path) -> None:
    names = ["train:Net", "model:x", "no_such_module:x", "math:sqrt", "os.path:join"]
    assert provenance.source_digest(names, flat) == provenance.source_digest(names[::-1], flat)
    assert provenance.source_digest(names, flat) != provenance.source_digest(names[1:], flat)


@pytest.mark.parametrize(
    "damaged", [b"def broken(:\n", b"\0\0", b"x = '\xff'\n", b"from .... import x\n", b"x = " + b"(" * 5000]
)
def test_a_file_that_is_not_python_counts_by_its_bytes(flat: Path, damaged: bytes) -> None:
    (flat / "model.py").write_bytes(damaged)
    before = provenance.source_digest(["train:Net"], flat)
    (flat / "model.py").write_bytes(damaged + b"1")
    assert provenance.source_digest(["train:Net"], flat) != before


def test_a_file_that_cannot_be_read_raises_nothing(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    readable = provenance.source_digest(["train:Net"], flat)
    write(flat, FLAT)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert provenance.source_digest(["train:Net"], flat) != readable


def test_a_compiled_module_beside_a_component_counts(flat: Path) -> None:
    (flat / "model.py").unlink()
    suffix = EXTENSION_SUFFIXES[0]
    (flat / f"model{suffix}").write_bytes(b"one")
    before = provenance.source_digest(["train:Net"], flat)
    (flat / f"model{suffix}").write_bytes(b"two")
    assert provenance.source_digest(["train:Net"], flat) != before


def test_parsing_components_gives_no_warnings(flat: Path) -> None:
    (flat / "model.py").write_text("PATTERN = '\\d'\nfrom tools import late\n")  # an invalid escape: Python warns
    before = provenance.source_digest(["train:Net"], flat)
    (flat / "tools" / "late.py").write_text("LATE = 2\n")
    assert provenance.source_digest(["train:Net"], flat) != before


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution of some modules into the only site-packages folder on sys.path."""
    site = tmp_path / "lib" / "site-packages"
    monkeypatch.setattr(sys, "path", [str(site), *(path for path in sys.path if "site-packages" not in path)])

    def install(name: str, version: str, **modules: str) -> Path:
        stem = name.replace("-", "_")
        shutil.rmtree(next(site.glob(f"{stem}-*"), site / "none"), ignore_errors=True)
        files = {f"{module}/__init__.py": text for module, text in modules.items()}
        info = f"{stem}-{version}.dist-info"
        write(site, files)
        write(site / info, {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"})
        write(site / info, {"top_level.txt": "\n".join(modules), "RECORD": "\n".join(f"{file},," for file in files)})
        monkeypatch.setattr(sys, "path", list(dict.fromkeys([str(site), *sys.path])))
        provenance._distributions_on.cache_clear()
        return site

    return install


class TestInstalledPackages:
    def test_other_packages_count_by_their_version(self, flat: Path, install: Install) -> None:
        (flat / "model.py").write_text("import other.part\n")
        missing = provenance.source_digest(["train:Net"], flat)
        install("other-dist", "1.0", other="X = 1\n")
        first = provenance.source_digest(["train:Net"], flat)
        assert first != missing
        install("other-dist", "1.0+cu126", other="X = 2\n")
        assert provenance.source_digest(["train:Net"], flat) == first
        install("other-dist", "1.1", other="X = 2\n")
        assert provenance.source_digest(["train:Net"], flat) != first

    def test_the_package_of_a_component_counts_by_its_source(
        self, flat: Path, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modules = {"mine": "import beside\nfrom other import x\n", "beside": "X = 1\n"}
        install("my-dist", "1.0", **modules)
        install("other-dist", "1.0", other="X = 1\n")
        first = provenance.source_digest(["mine:Net"], flat)
        install("other-dist", "1.0", other="X = 2\n")
        assert provenance.source_digest(["mine:Net"], flat) == first
        install("my-dist", "1.0", **modules | {"beside": "X = 2\n"})
        changed = provenance.source_digest(["mine:Net"], flat)
        assert changed != first
        # but not a package that is too large to be read for every run
        monkeypatch.setattr(provenance, "MAX_READ_MODULES", 1)
        assert provenance.source_digest(["mine:Net"], flat) != changed
        by_version = provenance.source_digest(["mine:Net"], flat)
        install("my-dist", "1.0", **modules)
        assert provenance.source_digest(["mine:Net"], flat) == by_version

    def test_editable_ones_count_by_their_source(self, flat: Path, install: Install, tmp_path: Path) -> None:
        site = install("my-dist", "1.0", mine="")
        (site / "mine" / "__init__.py").unlink()
        (site / "mine").rmdir()
        sources = write(tmp_path / "src", {"mine/__init__.py": "", "mine/net.py": "X = 1\n"})
        sys.path.append(str(sources))  # what the .pth file of an editable install does
        for component in ("mine.net:Net", "train:Net"):  # of the component, or imported by it
            (flat / "model.py").write_text("import mine.net\n")
            (sources / "mine" / "net.py").write_text("X = 1\n")
            first = provenance.source_digest([component], flat)
            (sources / "mine" / "net.py").write_text("X = 2\n")
            assert provenance.source_digest([component], flat) != first

    def test_an_environment_within_the_study_folder_is_no_source_of_it(self, flat: Path, install: Install) -> None:
        site = write(flat / ".venv" / "lib" / "site-packages", {"other/__init__.py": "X = 1\n"})
        info = {"METADATA": "Metadata-Version: 2.1\nName: o\nVersion: 1\n", "top_level.txt": "other"}
        write(site / "o-1.dist-info", info)
        sys.path.append(str(site))
        provenance._distributions_on.cache_clear()
        (flat / "model.py").write_text("import other\n")
        first = provenance.source_digest(["train:Net"], flat)
        write(site, {"other/__init__.py": "X = 2\n"})
        assert provenance.source_digest(["train:Net"], flat) == first


class TestOwnPackage:
    """A package in place of ablate: the loop, a subject, and modules that cannot change a score."""

    FILES: ClassVar = {
        "tool/__init__.py": "X = 1\n",
        "tool/runs/__init__.py": "",
        "tool/runs/loop.py": "import pandas\nfrom tool.runs.step import step\nfrom tool import study, runs\n\nstep()\n",
        "tool/runs/step.py": "from tool.journal import say\ndef step(): say()\n",
        "tool/journal.py": "def say(): pass\n",
        "tool/study.py": "X = 1\n",
        "tool/subject/__init__.py": "",
        "tool/subject/model.py": "from tool.study import X\nfrom . import layers\n",
        "tool/subject/layers.py": "X = 1\n",
        "tool/subject/unread.py": "X = 1\n",
        "mine.py": "from tool.subject.layers import X\n",
    }

    @pytest.fixture
    def digest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
        monkeypatch.setattr(provenance, "OWN_PACKAGE", "tool")
        monkeypatch.setattr(provenance, "LOOP_MODULE", "tool.runs.loop")
        monkeypatch.setattr(trust, "offered_modules", lambda: {"tool.subject.model"})
        write(tmp_path, self.FILES)
        return lambda component="tool.subject.model:Net": provenance.source_digest([component], tmp_path)

    @pytest.mark.parametrize("file", FILES)
    def test_modules_that_affect_scores_count(self, digest: Callable[..., str], tmp_path: Path, file: str) -> None:
        counts = {"tool/runs/loop.py", "tool/runs/step.py", "tool/runs/__init__.py"}
        subject = {"tool/subject/__init__.py", "tool/subject/layers.py"}
        expected = {
            "tool.subject.model:Net": counts | subject | {"tool/subject/model.py"},
            "mine:Net": counts | subject | {"mine.py"},
        }
        before = {component: digest(component) for component in expected}
        path = tmp_path / file
        path.write_text(path.read_text() + "touched = True\n")
        for component, files in expected.items():
            assert (digest(component) != before[component]) is (file in files)

    def test_moving_a_module_does_not_change_the_digest(
        self, digest: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = digest()
        (tmp_path / "tool" / "trainers").mkdir()
        write(tmp_path, {"tool/trainers/__init__.py": '"""A package."""\n'})
        (tmp_path / "tool" / "runs").rename(tmp_path / "tool" / "trainers" / "builtin")
        (tmp_path / "tool/trainers/builtin/step.py").rename(tmp_path / "tool/trainers/builtin/stepping.py")
        for path in (tmp_path / "tool" / "trainers").rglob("*.py"):
            moved = path.read_text().replace("tool.runs", "tool.trainers.builtin").replace("study, runs", "study")
            path.write_text(moved.replace("builtin.step ", "builtin.stepping "))
        monkeypatch.setattr(provenance, "LOOP_MODULE", "tool.trainers.builtin.loop")
        assert digest() == before


def test_the_loop_module_exists() -> None:
    location = imported_code.Finder(sys.path).find(provenance.LOOP_MODULE)
    assert location is not None
    assert location.file is not None


def test_the_digest_begins_with_its_version(flat: Path) -> None:
    version, _, digest = provenance.source_digest(["train:Net"], flat).partition(":")
    assert version == provenance.VERSION == "4"
    assert len(bytes.fromhex(digest)) == 8
