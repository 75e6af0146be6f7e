from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.study_analysis import analyse
from ablate.report import build, figures, markdown
from ablate.report.blocks import Bullets, Code, Heading, Paragraph, Table, paragraph, unique
from ablate.report.outline import outline
from ablate.report.tables import Cell, TextTable
from ablate.study import trust


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"), skip=[("elepose", 3)], fail=[("hybrid", 2)])


@pytest.fixture(scope="module")
def folder(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "toy"
    build.write(tables.load(toy.store(), "toy"), out, formats=tuple(build.FORMATS))
    return out


def built_page(toy: Toy, out: Path) -> str:
    return build.write(tables.load(toy.store(), "toy"), out).file.read_text()


def page(results: tables.Results, pictures: figures.Pictures | None = None) -> str:
    """The text alone, as if no figure could be drawn."""
    blocks = outline(analyse(results), results, pictures or figures.Pictures(), study_file="studies/toy.toml")
    return markdown.render(blocks)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_store_gives_the_same_bytes_in_every_format(toy: Toy, folder: Path, tmp_path: Path) -> None:
    store = replace(toy, folder=tmp_path / "runs").store()
    build.write(tables.load(store, "toy"), tmp_path / "again", formats=tuple(build.FORMATS))
    assert files(tmp_path / "again") == files(folder)
    assert set(files(folder)) >= {"report.md", "results.csv", "timings.csv", "figures/matrix.png"}
    assert set(files(folder)) >= {"report.html", "report.tex", "report.json", "tables/matrix.csv"}


def test_the_first_screen_has_question_answer_and_matrix(folder: Path) -> None:
    screen = (folder / "report.md").read_text().split("<img")[0]
    parts = [
        "# toy",
        "Does fusing ElePose",
        "**Exploratory, no hypothesis was declared: “ElePose only” is worse",
        "**Does it earn its parameters?**",
        "**Next:** The study is not finished",
        "**Beware:** 3 seeds; failed runs; 2 runs of 9 without a result. [In full](#warnings)",
        "| **Existing only**",
    ]
    assert sorted(parts, key=screen.index) == parts
    assert "| Arm | Azimuth error (°) | Elevation error (°) | Δ Azimuth error (°) | Δ Elevation error (°) |" in screen
    assert "| 7.0M | 2 of 3 | both signals combined | both signals combined |" in screen
    assert "**Incomplete:** 2 of 9 runs" in (folder / "report.md").read_text().split("## Warnings")[1]


def test_gaps_are_listed_with_their_reason_and_pipes_are_escaped(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert r"| Hybrid | 2 | failed | loss is not finite \| epoch 3 |" in text
    assert "| ElePose only | 3 | missing | – |" in text


def test_figures_are_vectors_too_and_a_card_is_a_picture_for_talks(folder: Path) -> None:
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == names
    assert {path.stem for path in (folder / "figures").glob("*.pdf")} == names
    slides = folder / "figures" / "slides"
    assert {path.suffix for path in slides.iterdir()} == {".svg", ".pdf"}
    assert {path.stem for path in slides.iterdir()} == names - {"gallery"}
    widths = [
        ElementTree.parse(part / "differences.svg").getroot().get("width") for part in (folder / "figures", slides)
    ]
    assert widths == ["244.8pt", "504pt"]  # 3.4 in of a column, 7 in of a slide
    header = (folder / "card.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (1920, 1080)


def test_parameters_and_budget_are_tables(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert "| Hybrid | 7.0M | 4.2M | +4.8M | 6,983,431 |" in text
    assert "| training.learning_rate | 0.002 | 0.002 | 0.002 |" in text
    assert "Untuned" not in text


def test_every_table_is_well_formed_and_every_picture_exists(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    pictures = re.findall(r'src="(.*?)"', text)
    assert {"matrix", "differences", "cost", "learning_curves", "gallery"} < {Path(name).stem for name in pictures}
    assert len(pictures) == len(set(pictures)) == len(list((folder / "figures").glob("*.png")))
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert "\n\n\n" not in text
    assert not re.search(r"\bnan\b|None", text)


def test_the_command_is_the_stores_and_else_names_the_study_file(toy: Toy, folder: Path, tmp_path: Path) -> None:
    assert "    ablate run studies/toy.toml\n    ablate report toy\n" in (folder / "report.md").read_text()
    assert "    ablate run studies/toy.toml\n" in page(
        tables.load(Toy(tmp_path, seeds=(1,), command="").store(), "toy")
    )


def test_an_untuned_study_says_so_on_its_first_page(tmp_path: Path) -> None:
    text = page(tables.load(Toy(tmp_path, seeds=(1,), tuned=False).store(), "toy"))
    assert "**Beware:** untuned" in text.split("| **Existing only** |")[0]
    assert "**Untuned:** no arm's" in text.split("## Warnings")[1]


def test_one_seed_makes_a_report_without_intervals(tmp_path: Path) -> None:
    text = built_page(Toy(tmp_path / "runs", seeds=(1,)), tmp_path / "out")
    assert "nothing can be shown about “ElePose only” and “Existing only”" in text
    assert "**Beware:** 1 seed. [In full](#warnings)" in text.split("| **Existing only** |")[0]
    assert "**1 seed:** there is no interval, no verdict" in text.split("## Warnings")[1]


def test_a_study_without_a_finished_run_makes_a_report_of_gaps(tmp_path: Path) -> None:
    everything = [(arm, seed) for arm in ("existing", "elepose", "hybrid") for seed in (1, 2, 3)]
    text = built_page(Toy(tmp_path / "runs", skip=everything, tuned=False), tmp_path / "out")
    assert "there is no answer yet, for “ElePose only” and “Existing only” have no finished seed in common." in text
    assert "9 of 9 runs" in text
    assert "<img" not in text


@pytest.mark.parametrize(
    ("gallery", "reason"),
    [
        ("nosuch.module:draw", "could not be loaded: No module named"),
        ("ablate.depth_refinement.gallery:nosuch", "could not be loaded"),
        ("json:loads", "could not be drawn: TypeError"),
    ],
)
def test_a_broken_gallery_is_a_note(gallery: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_trusted_packages", {"nosuch", "json"})
    results = tables.load(Toy(tmp_path, seeds=(1,), gallery=gallery).store(), "toy")
    picture, note = figures.draw_gallery(analyse(results), results)
    assert picture is None
    assert reason in note
    assert reason in page(results, figures.Pictures(note=note)).replace("\\", "")


def test_a_report_replaces_its_own_pictures_and_tables_of_a_kind_and_no_other_files(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "draw", lambda *_: figures.Pictures())  # drawing takes seconds
    out = tmp_path / "toy"
    for name in ("figures/old.png", "tables/old.csv", "tables/old.tex", "tables/mine.txt", "notes.md"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"old")
    build.write(tables.load(toy.store(), "toy"), out, formats=("csv",))
    remaining = {name for name, content in files(out).items() if content == b"old"}
    assert remaining == {"tables/old.tex", "tables/mine.txt", "notes.md"}
    assert not (out / "report.md").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy"]


def test_a_report_that_fails_leaves_the_old_one(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "toy"
    out.mkdir()
    (out / "report.md").write_text("old")

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("disk")

    monkeypatch.setattr(figures, "draw", broken)
    with pytest.raises(RuntimeError):
        build.write(tables.load(toy.store(), "toy"), out)
    assert files(out) == {"report.md": b"old"}


def test_text_from_a_study_cannot_be_markup() -> None:
    assert markdown.text("a|b\n*c* <img> `d` $x$") == r"a\|b \*c\* \<img> \`d\` \$x\$"
    assert markdown.text("[link](http://x)") == r"[link\](http://x)"
    assert markdown.text("training.learning_rate _x_ [1, 2]") == r"training.learning_rate \_x\_ [1, 2]"
    assert markdown.spans((Code("a`b"), " <i>")) == r"`` a`b `` \<i>"


@pytest.mark.parametrize(
    ("words", "line"), [("# no", r"\# no"), ("- no", r"\- no"), ("1. no", r"1\. no"), ("−1", "−1")]
)
def test_a_line_that_begins_like_markup_is_text(words: str, line: str) -> None:
    assert markdown.render([paragraph(words)]) == f"{line}\n"
    assert markdown.render([Bullets(((words,),))]) == f"- {line}\n"


def test_markdown_table() -> None:
    table = TextTable(("Arm", "x"), ((Cell("a", strong=True), Cell("1")), (Cell("b", faint=True), Cell("2"))))
    assert markdown.table(table) == "| Arm | x |\n| --- | ---: |\n| **a** | 1 |\n| *b* | 2 |"


def test_tables_of_one_name_get_files_of_their_own() -> None:
    table = TextTable(("x",), ())
    blocks = unique([Table("By Lean (°)", table), Heading("x"), Table("by-lean", table), Paragraph(())])
    assert [b.name for b in blocks if isinstance(b, Table)] == ["by-lean", "by-lean-2"]


def test_runs_of_one_arm_that_were_made_differently_are_told(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path / "runs", gallery=None).store(), "toy")
    results.provenance["hybrid", 2]["commit"] = "fedcba"  # type: ignore[index]
    text = page(results)
    assert "Runs of one arm were not made alike. “Hybrid”: commit." in text
    assert "| commit | 0123abc (8 runs); fedcba (1 run) |" in text


def test_a_report_needs_neither_torch_nor_mlflow_nor_optuna() -> None:
    heavy = {"torch", "mlflow", "optuna", "matplotlib.pyplot"}
    code = "import sys, ablate.report.build, ablate.report.terminal, ablate.report.terminal_compare; "
    code += f"sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
