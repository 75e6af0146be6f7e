"""Build the site: stage the pages in the layout of the repository, write the reference pages, check and render.

In that layout every link of a page leads to the same file as in the repository, so nothing is rewritten but links to
folders, which lead to their README.md or become plain text.

    python docs/site/build.py build/site
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import reference

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<![!`])\[(?P<text>[^\]\[]*(?:`[^`]*`)?[^\]\[]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
IMAGE = re.compile(r'(?:!\[[^\]]*\]\(|<img src=")(?P<target>[^)"\s]+)')
FIRST = ["README.md", "CHANGELOG.md", "examples/README.md", "docs/site/extra.css"]
GENERATED = {
    "docs/reference/study-file.md": reference.study_file,
    "docs/reference/command-line.md": reference.command_line,
    "docs/reference/python.md": reference.python,
}


def stage(pages: Path) -> None:
    """Copy the pages and all files that they link to. Raises SystemExit for a link that leads nowhere."""
    for name, write in GENERATED.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(write(), encoding="utf-8")
    waiting = [*FIRST, *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
    problems: list[str] = []
    done: set[str] = set(GENERATED)
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".md"):
            shutil.copyfile(ROOT / name, pages / name)
            continue
        text, found, lost = page(name)
        (pages / name).write_text(text, encoding="utf-8")
        waiting += found
        problems += lost
    if problems:
        raise SystemExit("\n".join(problems))


def page(name: str) -> tuple[str, list[str], list[str]]:
    """A page as the site has it, the files that it links to, and its links that lead nowhere."""
    found: list[str] = []
    lost: list[str] = []

    def resolved(target: str) -> Path | None:
        path = ((ROOT / name).parent / target).resolve()
        inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if inside in GENERATED:
            return None
        if not inside or not path.exists():
            lost.append(f"{name}: {target}: leads nowhere")
            return None
        if path.is_dir():
            return path
        found.append(inside)
        return None

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            return match[0]
        folder = resolved(target)
        if folder is None:
            return match[0]
        if (folder / "README.md").exists():
            found.append((folder / "README.md").relative_to(ROOT).as_posix())
            return f"[{match['text']}]({target.rstrip('/')}/README.md{match['anchor'] or ''})"
        return match["text"]

    text = (ROOT / name).read_text(encoding="utf-8")
    for image in IMAGE.finditer(text):
        if not re.match(r"[a-z]+:", image["target"]):
            resolved(image["target"])
    fenced = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in fenced), found, lost


def main(out: Path) -> int:
    """Stage and build; returns the exit code of the build, which fails at the first warning."""
    shutil.rmtree(out, ignore_errors=True)
    stage(out / "pages")
    shutil.copyfile(Path(__file__).with_name("zensical.toml"), out / "zensical.toml")
    return render(out)


def render(out: Path) -> int:
    """Build the staged pages; returns the exit code."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", "zensical.toml"]
    return subprocess.run(command, cwd=out).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
