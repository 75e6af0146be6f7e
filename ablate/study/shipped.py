"""The studies that come with ablate, by name. `ablate/studies` is a link to `studies`; a wheel has files there."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "studies"


def names() -> list[str]:
    """The names of the shipped studies."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def locate(study: Path) -> Path:
    """The file of a study: `study` itself, or the shipped study of that name where the working folder has no file of
    that name, with or without `.toml`."""
    if study.is_file() or str(study) not in names():
        return study
    own = Path(f"{study}.toml")
    return own if own.is_file() else FOLDER / own
