"""The studies that come with ablate, by name. `ablate/studies` is a link to `studies`; a wheel has files there."""

from __future__ import annotations

from pathlib import Path

from ablate.untrusted.wording import close, nearest

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


def nearest_study(study: Path) -> str:
    """`did you mean 'quick.toml'?`: the study file beside it with the nearest name, else the shipped study.

    The valid names, where none is close and they are few. In another folder than the working folder only its files.
    """
    files = sorted(file.name for file in study.parent.glob("*.toml")) if study.parent.is_dir() else []
    own = close(study.stem, [Path(file).stem for file in files])
    if own:
        return f"did you mean {' or '.join(repr(str(study.with_name(f'{stem}.toml'))) for stem in own)}?"
    shipped = close(study.stem, names()) if study.name == str(study) else []
    if shipped:
        return f"did you mean {' or '.join(map(repr, shipped))}, which comes with ablate?"
    return nearest(study.name, [*files, *names()] if study.name == str(study) and not study.suffix else files)


def file_of(study: str) -> Path | None:
    """What `ablate run` is to be given for a study of this name: its file in the working folder, or the shipped name.

    None where neither is known by that name.
    """
    if study.endswith(".toml"):
        return Path(study)
    own = [file for file in (Path(f"{study}.toml"), Path("studies", f"{study}.toml")) if file.is_file()]
    return own[0] if own else Path(study) if study in names() else None
