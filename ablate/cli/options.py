"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[
    Path,
    typer.Argument(metavar="STUDY.toml", help="The study file, or the name of a shipped study.", show_default=False),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Study file or study name.", show_default=False)]
Store = Annotated[Path, typer.Option("--mlruns", envvar="ABLATE_MLRUNS", help="Folder of the store.")]
Uri = Annotated[
    str | None,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="An MLflow server instead of the local store."),
]
Storage = Annotated[
    str | None,
    typer.Option(envvar="ABLATE_STORAGE", help="A database for Optuna's copy. With a password: by the variable."),
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", envvar="ABLATE_DATA", help="Where data files are looked up by name.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Reports = Annotated[Path, typer.Option("--reports", help="Folder of the reports.")]
Trust = Annotated[
    list[str] | None,
    typer.Option(metavar="PACKAGE", envvar="ABLATE_TRUST", help="A package whose code the store may name; repeatable."),
]
Rehash = Annotated[bool, typer.Option("--rehash", help="Read data files again, also those whose digest is cached.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")]
Patience = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for a server that does not answer.")
]
