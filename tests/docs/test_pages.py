"""The pages of the documentation: every block of code is run, here or by a test that is named, or says why it is not.

A comment before a block says what becomes of it, and is not shown to readers:

    <!-- file: train.py -->            the block is written into the page's folder, under this name
    <!-- run: long -->                 it is run by `make test-long` alone
    <!-- run elsewhere: tests/… -->    another test runs it
    <!-- not run: why -->

Other blocks of console and of Python are run in order, in one folder a page. `<!-- all blocks run elsewhere: … -->` and
`<!-- goes on from: PAGE -->`, in whose folder the blocks are run then, stand below a page's title.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

from ablate.analysis.power_plan import detectable
from ablate.study import study_file

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
ANYWHERE = re.compile(r"^<!-- all blocks run elsewhere: (\S+) -->$", re.MULTILINE)
GOES_ON = re.compile(r"^<!-- goes on from: (\S+) -->$", re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SHORTEST_REASON = 12


@dataclass(frozen=True)
class Block:
    """A block of code and the comment before it."""

    mark: str
    language: str
    text: str

    @property
    def here(self) -> bool:
        """Whether it is run or written here."""
        return not self.mark.startswith(("not run:", "run elsewhere:"))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [Block(m["mark"] or "", m["language"], m["text"]) for m in BLOCK.finditer(text)]
    assert len(found) == len(re.findall(r"^```\w+$", text, re.MULTILINE)), page
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    elsewhere = ANYWHERE.findall(page.read_text(encoding="utf-8"))
    for block in blocks(page):
        key, _, value = block.mark.partition(": ")
        if key == "run elsewhere":
            elsewhere.append(value)
        elif key == "not run":
            assert len(value) >= SHORTEST_REASON, block.mark
        elif not elsewhere:
            assert key in ("", "file", "run"), block.mark
            assert page in STORIES, f"{name_of(page)} has a block that no test runs: {block.text[:60]!r}"
            assert key == "file" or block.language in ("console", "python"), block.text[:60]
    for test in elsewhere:
        assert page.name in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not read {page.name}"


STORIES = {page for page in PAGES if any(b.here and not ANYWHERE.search(page.read_text()) for b in blocks(page))}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def follow(page: Path, project: Project, *, long: bool = False) -> dict[str, Any]:
    """Write the page's files and run its other blocks, those that are `long` only if asked; returns Python's names."""
    names: dict[str, Any] = {}
    for block in filter(lambda block: block.here, blocks(page)):
        key, _, value = block.mark.partition(": ")
        if key == "file":
            (project.folder / value).write_text(block.text, encoding="utf-8")
        elif (value == "long") > long:
            continue
        elif block.language == "python":
            with inside(project.folder):
                exec(compile(block.text, name_of(page), "exec"), names)
        else:
            for line in block.text.splitlines():
                program, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
                assert program == "ablate", line
                done = project.call(*arguments)
                assert done.returncode == 0, (line, done.stderr)
    return names


@pytest.fixture(scope="session")
def started(once: Callable[..., Path], initialised_store: Path) -> Project:
    """The folder of a reader who has followed the first page."""

    def begin(folder: Path) -> None:
        project = Project(folder)
        project.store(initialised_store)
        follow(DOCS / "get-started.md", project)

    return Project(once("get-started", begin))


def test_the_script_and_the_study_of_the_first_page_are_whole(tmp_path: Path) -> None:
    for block in blocks(DOCS / "get-started.md"):
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
    study = study_file.load(tmp_path / "momentum.toml")
    assert (study.trainer, list(study.arms)) == ("command", ["plain", "momentum"])
    for options in ((), ("--momentum=0.9", "--lr=0.01", "--seed=3")):
        subprocess.run([sys.executable, "train.py", *options], cwd=tmp_path, check=True)
        assert json.loads((tmp_path / "scores.json").read_text()).keys() == {"val_error", "test_error"}


@pytest.mark.long
def test_get_started_ends_with_a_report_and_a_figure(started: Project) -> None:
    report = (started.folder / "reports" / "momentum" / "report.md").read_text(encoding="utf-8")
    assert "Does momentum lower the error?" in report
    assert (started.folder / "differences.png").read_bytes().startswith(b"\x89PNG")
    page = (DOCS / "get-started.md").read_text(encoding="utf-8")
    study = study_file.load(started.folder / "momentum.toml")
    assert study.tuning is not None
    runs = len(study.arms) * len(study.seeds)
    assert f"{runs * study.tuning.trials} for tuning, {runs} for the comparison" in page


@pytest.mark.long
def test_how_to_goes_on_from_there(started: Project) -> None:
    names = follow(DOCS / "how-to.md", started)
    assert len(names["effects"]) == 1
    assert (started.folder / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert (started.folder / "differences.pdf").read_bytes().startswith(b"%PDF")


def test_the_pose_network_has_the_shapes_that_the_page_tells(tmp_path: Path) -> None:
    import torch

    project = Project(tmp_path)
    follow(DOCS / "built-in.md", project)
    with inside(tmp_path):
        sys.path.insert(0, str(tmp_path))
        import facing  # type: ignore[import-not-found]

        study = study_file.load(tmp_path / "facing.toml")
    assert list(study.arms) == ["plain", "attention", "plain-wide"]
    data = facing.poses(device="cpu")
    batch = data.sample(torch.arange(8), generator=torch.Generator().manual_seed(0))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((8, 17, 3), torch.float32)
    assert {name: tuple(target.shape) for name, target in batch.targets.items()} == {
        "facing_deg": (8,),
        "subject": (8,),
    }
    splits = {split: data.examples(split) for split in ("val", "test", "all")}
    assert [len(splits[s].inputs) for s in splits] == [200, 200, 800]
    assert not set(splits["val"].targets["subject"].tolist()) & set(splits["test"].targets["subject"].tolist())
    for attention in (False, True):
        output = facing.network(attention=attention)(batch.inputs)
        assert output.shape == (8, 2)
        assert facing.loss()(output, batch.targets).shape == ()
        assert facing.error(output, batch.targets).shape == (8,)


@pytest.mark.long
def test_every_arm_of_the_pose_study_is_built_and_trained(tmp_path: Path, initialised_store: Path) -> None:
    project = Project(tmp_path)
    project.store(initialised_store)
    follow(DOCS / "built-in.md", project, long=True)


def test_the_shapes_of_the_built_in_subject_are_those_of_the_page() -> None:
    import torch

    from ablate.depth_refinement.data import synthetic
    from ablate.depth_refinement.model import create_model

    data = synthetic(device="cpu", subjects=8, poses_per_subject=2)
    batch = data.sample(torch.arange(2), generator=torch.Generator().manual_seed(0))
    output = create_model(d_model=16, num_layers=1, num_heads=2)(batch.inputs)
    named = {
        "`batch.inputs`": batch.inputs,
        'targets["pose_3d"]`': batch.targets["pose_3d"],
        '`output["angles"]`': output["angles"],
        '`output["pose_3d"]`': output["pose_3d"],
    }
    section = (DOCS / "built-in.md").read_text(encoding="utf-8").partition("## The subject that comes with it")[2]
    for name, value in named.items():
        line = next(line for line in section.splitlines() if name in line)
        assert f"(batch, {', '.join(map(str, value.shape[1:]))})" in line
    assert {batch.targets[name].ndim for name in ("azimuth_deg", "elevation_deg")} == {1}


def numbers(text: str) -> list[str]:
    return re.findall(r"[−+]?\d+\.\d+(?: ± [\d.]+|k| \[[^\]]+\])?", text)


def test_the_annotated_report_has_the_numbers_of_the_report() -> None:
    page = (DOCS / "read-a-report.md").read_text(encoding="utf-8")
    report = (ROOT / "reports" / "elepose_fusion" / "report.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) == 4
    for row in rows:
        arm = row.split("|")[1].strip()
        reported = [line for line in report.splitlines() if line.startswith(f"| {arm} |")]
        assert any(set(numbers(row)) <= set(numbers(line)) for line in reported), arm
    for interval in ("[−0.328, −0.225]", "[−1.902, +1.349]"):
        assert interval in page
        assert interval in report


def test_the_table_of_seeds_is_computed() -> None:
    page = (DOCS / "statistics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for seeds, one, six in rows:
        assert (f"{detectable(1.0, int(seeds)):.1f}", f"{detectable(1.0, int(seeds), 6):.1f}") == (one, six)


def test_the_messages_of_the_faq_are_in_the_source() -> None:
    page = (DOCS / "faq.md").read_text(encoding="utf-8").partition("## Messages")[2].partition("\n## ")[0]
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "ablate").rglob("*.py"))
    quoted = [
        text for row in re.findall(r"^\| ([^|]*`[^|]*) \|", page, re.MULTILINE) for text in re.findall("`([^`]+)`", row)
    ]
    assert len(quoted) >= 8
    assert [text for text in quoted if text not in source] == []


def test_the_drawing_has_the_layers_that_the_linter_holds() -> None:
    drawing = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    boxes = re.findall(r'<g class="b"><rect x="[\d.]+" y="([\d.]+)".*?<text class="n"[^>]*>(\w+)</text>', drawing)
    rows: dict[float, list[str]] = {}
    for top, name in boxes:
        rows.setdefault(float(top), []).append(name)
    layers = (ROOT / ".importlinter").read_text(encoding="utf-8").partition("layers =\n")[2].partition("exhaustive")[0]
    held = [sorted(line.replace("|", " ").split()) for line in layers.splitlines() if line.strip()]
    assert [sorted(rows[top]) for top in sorted(rows)] == held


def test_every_heading_of_python_has_names_and_every_public_name_a_heading(reference: Mapping[str, Any]) -> None:
    import ablate

    listed = [name for names in reference["PYTHON"].values() for name in names]
    assert sorted(listed) == sorted(set(ablate.__all__) - {"__version__"})


def test_every_model_of_a_study_file_is_in_the_reference(reference: Mapping[str, Any]) -> None:
    assert set(reference["SECTIONS"]) == set(reference["_models"]())
    page = reference["study_file"]()
    text = (DOCS / "study-files.md").read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w]+", "-", line.strip("# ").lower()) for line in text.splitlines() if line.startswith("#")}
    for name, (title, anchor) in reference["SECTIONS"].items():
        assert f"## {title}" in page
        assert anchor in anchors, (name, anchor)
    assert "| `epochs` | whole number | required | at least 1 |" in page
    assert '| `kind` | `"better"`, `"not_worse"`, `"equivalent"` | `"better"` |  |' in page
    assert "| `name` | text | required |  |" in page


def test_every_command_is_in_the_reference(reference: Mapping[str, Any]) -> None:
    page = reference["command_line"]()
    for command in ("run", "plan", "status", "report", "judge", "snapshot", "data inspect", "predict"):
        assert f"`ablate {command}`" in page


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The module that writes the reference pages."""
    import runpy

    return runpy.run_path(str(DOCS / "site" / "reference.py"))


def test_every_page_is_in_the_navigation() -> None:
    settings = tomllib.loads((DOCS / "site" / "zensical.toml").read_text(encoding="utf-8"))

    def pages(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            for target in entry.values():
                yield from [target] if isinstance(target, str) else pages(target)

    listed = list(pages(settings["project"]["nav"]))
    assert len(listed) == len(set(listed))
    assert {name_of(page) for page in PAGES} <= set(listed)
    assert all((ROOT / name).is_file() or name.startswith("docs/reference/") for name in listed)


class TestStaging:
    @pytest.fixture
    def build(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.syspath_prepend(str(DOCS / "site"))
        monkeypatch.delitem(sys.modules, "build", raising=False)
        import build  # type: ignore[import-not-found]

        return build

    def test_every_link_of_every_page_leads_to_a_file(self, build: Any) -> None:
        pages = [name for name in build.FIRST if name.endswith(".md")]
        pages += [name_of(page) for page in PAGES]
        assert [lost for name in pages for lost in build.page(name)[2]] == []

    def test_a_link_that_leads_nowhere_is_told(
        self, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(build, "ROOT", tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "page.md").write_text('[a](missing.md) [b](folder) `[c](code.md)` <img src="no.png">\n')
        text, found, lost = build.page("page.md")
        assert lost == ["page.md: no.png: leads nowhere", "page.md: missing.md: leads nowhere"]
        assert found == []
        assert " b " in text

    @pytest.mark.long
    def test_the_site_builds_and_fails_at_a_broken_anchor(self, build: Any, tmp_path: Path) -> None:
        pytest.importorskip("zensical", reason="needs the extra docs")
        assert build.main(tmp_path / "site") == 0
        html = (tmp_path / "site" / "html" / "docs" / "reference" / "python.html").read_text(encoding="utf-8")
        assert "Open a study of the store" in html
        for file in (tmp_path / "site" / "html").rglob("*.html"):
            assert not re.search(
                r'<(?:script|link|img)[^>]+(?:src|href)="https?://', file.read_text(encoding="utf-8")
            ), file
        page = tmp_path / "site" / "pages" / "docs" / "faq.md"
        page.write_text(page.read_text(encoding="utf-8") + "\n[broken](how-to.md#no-such-heading)\n", encoding="utf-8")
        assert build.render(tmp_path / "site") != 0
