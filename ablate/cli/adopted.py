"""Commands for results that are there already: adopt, judge. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ablate.cli.options import Json, Reports, Store, Uri

if TYPE_CHECKING:
    from ablate.study import Direction, Hypothesis

app = typer.Typer(rich_markup_mode=None)

ArmColumn = Annotated[str, typer.Option("--arm-column", metavar="NAME", help="The column that names the arm.")]
SeedColumn = Annotated[str, typer.Option("--seed-column", metavar="NAME", help="The column of seeds.")]
Dataset = Annotated[str, typer.Option("--dataset", metavar="NAME", help="Only rows with this value in `dataset`.")]


@app.command(epilog="Example:  ablate judge results.csv --arm B --against A --metric accuracy --direction higher")
def judge(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="CSV or Parquet: arm, seed, scores.", show_default=False)
    ],
    arm: Annotated[
        str, typer.Option("--arm", metavar="ARM", help="The arm that is claimed to be better.", show_default=False)
    ],
    against: Annotated[
        str, typer.Option("--against", metavar="ARM", help="The arm it is compared with.", show_default=False)
    ],
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="A column of scores.", show_default=False)],
    direction: Annotated[
        str, typer.Option("--direction", metavar="lower|higher", help="What is better.", show_default=False)
    ],
    margin: Annotated[float, typer.Option("--margin", min=0, help="Better by more than this.")] = 0.0,
    arm_column: ArmColumn = "arm",
    seed_column: SeedColumn = "seed",
    dataset: Dataset = "",
    as_json: Json = False,
) -> None:
    """Judge one claim about a table of scores: supported, refuted or inconclusive. Records nothing.

    Exit code 0: supported; 3: refuted; 4: inconclusive, or no verdict (fewer than 5 seeds that both arms have);
    2: wrong usage. A column `subject` makes a row a person or an example: a seed's score is then the mean over them.
    Claims that are judged one by one are not corrected for their number: `ablate adopt` judges several together.
    """
    from ablate.commands import judge as judging

    if not margin < float("inf"):
        _refuse("--margin", "must be a number")
    if direction not in ("lower", "higher"):
        _refuse("--direction", "must be lower or higher", direction)
    answer = judging.judge_file(
        results,
        arm=arm,
        against=against,
        metric=metric,
        direction="lower" if direction == "lower" else "higher",
        margin=margin,
        arm_column=arm_column,
        seed_column=seed_column,
        dataset=dataset,
    )
    for note in answer.notes:
        _note(note)
    if as_json:
        typer.echo(json.dumps(answer.document(), allow_nan=False))
    else:
        for line in answer.lines():
            typer.echo(line)
    raise typer.Exit(answer.exit_code)


@app.command(
    epilog="Example:  ablate adopt results.csv --baseline A --metric accuracy:higher --hypothesis B:A:accuracy"
)
def adopt(
    results: Annotated[
        Path | None, typer.Argument(metavar="[RESULTS]", help="CSV or Parquet: arm, seed, scores.", show_default=False)
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="An MLflow experiment in place of a file.", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="URI", help="The experiment's MLflow. Default: the store.")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="ARM", help="The arm that others are compared with.")
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:higher|lower", help="A column of scores, and what is better; repeatable."),
    ] = None,
    hypothesis: Annotated[
        list[str] | None, typer.Option(metavar="ARM:AGAINST:METRIC[:MARGIN]", help="A claim to judge; repeatable.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the study. Default: the file's.")] = "",
    question: Annotated[str, typer.Option("--question", help="What the report answers.")] = "",
    arm_column: ArmColumn = "arm",
    seed_column: SeedColumn = "seed",
    dataset: Dataset = "",
    replace: Annotated[bool, typer.Option("--replace", help="Put these results in the place of the study's.")] = False,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    reports: Reports = Path("reports"),
    as_json: Json = False,
) -> None:
    """Make a study of scores that were computed elsewhere: runs in the store, a report, verdicts.

    What the tool did not see, such as equal tuning, unseen test data and claims made before the results, is the
    owner's word, and the report says so first. The same table again does nothing; another one needs --replace. A
    column `subject` makes a row a person or an example, a column `dataset` gives each data set metrics of its own. Of
    an experiment, params or tags of a run are its arm and seed.
    """
    import sys

    from ablate.cli import output
    from ablate.commands import adopt as adopting
    from ablate.scheduler.workspace import Workspace
    from ablate.untrusted.addresses import command_line

    claims = tuple(map(_hypothesis, hypothesis or ()))
    asked = adopting.Question(
        baseline, _directions(metric or []), claims, name, question, arm_column, seed_column, dataset
    )
    workspace = Workspace(mlruns, reports, tracking_uri)
    source = adopting.source(results, experiment, from_, asked, workspace)
    command = command_line(["ablate", *sys.argv[1:]])
    outcome = adopting.adopt(source, asked, workspace, note=_note, replace=replace, command=command)
    output.print_outcome(outcome, asked.name or source.study, workspace, as_json=as_json)


def _hypothesis(text: str) -> Hypothesis:
    """ARM:AGAINST:METRIC or ARM:AGAINST:METRIC:MARGIN. Raises InputError."""
    from ablate.study import Hypothesis

    arm, against, metric, margin = [*text.split(":"), *[""] * 4][:4]
    try:
        if not (arm and against and metric and text.count(":") <= 3):
            raise ValueError
        value = float(margin or 0)
        if not 0 <= value < float("inf"):
            raise ValueError
    except ValueError:
        rule = "must be ARM:AGAINST:METRIC or ARM:AGAINST:METRIC:MARGIN, with a margin of 0 or more"
        _refuse("--hypothesis", rule, text)
    return Hypothesis(arm=arm, against=against, metric=metric, margin=value)


def _directions(texts: Sequence[str]) -> dict[str, Direction]:
    """Metric → what is better, from NAME:higher or NAME:lower. Raises InputError."""
    if not texts:
        rule = "is missing: it names a column of scores and what is better"
        _refuse("--metric", rule, hint="such as --metric accuracy:higher")
    directions: dict[str, Direction] = {}
    for text in texts:
        name, _, direction = text.rpartition(":")
        if not name or direction not in ("lower", "higher"):
            rule = "must be NAME:higher or NAME:lower"
            _refuse("--metric", rule, text, "" if name else f"such as {text}:higher")
        directions[name] = "lower" if direction == "lower" else "higher"
    return directions


def _refuse(option: str, rule: str, value: str = "", hint: str = "") -> NoReturn:
    from ablate.study import InputError, Problem
    from ablate.untrusted.wording import shown

    raise InputError(Problem(option, "", rule, shown(value) if value else "", hint)) from None


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)
