"""The summary of a study that its store shows to people: means of every arm, the report, figures, verdicts, a note."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ablate.study import Record, Tracker, digest
from ablate.study.summary import ArmSummary, StudySummary

if TYPE_CHECKING:
    from ablate.analysis.answer import Comparison
    from ablate.analysis.results import Results
    from ablate.analysis.study_analysis import Analysis
    from ablate.report.build import Report

ARM_FIGURES = ("differences.png", "matrix.png", "learning_curves.png")  # of a report; every arm run has a copy
READING = """\
Each row of the comparison is an arm: its score is the mean over the arm's seeds, `… lower` and `… upper` are the ends
of its 95 % interval. The charts `interval/…` draw both: one line an arm, from end to end, with a dot at the mean. An
arm's run has the runs of its seeds below it, and files of its own. Two intervals that overlap may still belong to a
clear difference, for arms share their seeds: the differences above are paired by seed. The run of the study has the
whole report, `report.html`."""


def publish(results: Results, report: Report, tracker: Tracker, records: list[Record]) -> bool:
    """Write the study's summary to its store, unless it has this one already. Whether anything was written."""
    with _summary(results, report) as summary:
        return tracker.publish(summary, state(records))


def state(records: list[Record]) -> str:
    """A digest of all that a summary is made of: whether it is that of these records can be told without a report."""
    return digest([[r.run_id, r.status, {key: repr(value) for key, value in r.scores.items()}] for r in records])


@contextmanager
def _summary(results: Results, report: Report) -> Iterator[StudySummary]:
    """The summary, whose files exist as long as the context."""
    from ablate.analysis.curves import curve_keys

    study, analysis, curves = results.study, report.analysis, curve_keys(results)
    with TemporaryDirectory(prefix="ablate-summary-") as scratch:
        page = Path(scratch, "report.html")
        page.write_text(report.html(), encoding="utf-8", newline="\n")
        figures = sorted((report.folder / "figures").glob("*.png"))
        yield StudySummary(
            study=study.name,
            note=_note(analysis),
            verdicts={_claim_name(c): c.verdict for c in analysis.comparisons if not c.exploratory},
            arms=tuple(_arms(results, report, curves, Path(scratch))),
            shown={study.score_key(name): results.metrics[name].direction for name in study.metrics},
            curves=curves,
            best=_best(analysis),
            baseline=study.baseline,
            files={
                "report.html": page,
                "results.csv": report.folder / "results.csv",
                **{f"figures/{figure.name}": figure for figure in figures},
            },
        )


def _arms(results: Results, report: Report, curves: Sequence[str], scratch: Path) -> Iterator[ArmSummary]:
    """What the store shows of each arm. `curves`: the keys of those that are shown."""
    from ablate.analysis.arm_means import curve_means, score_means
    from ablate.report.figures import marks_of

    marks, used = marks_of(report.analysis), set[str]()
    figures = [file for name in ARM_FIGURES if (file := report.folder / "figures" / name).is_file()]
    frame = results.frame()
    for arm in results.study.arms:
        colour = distinct(marks.colour(arm), used)
        used.add(colour)
        table = scratch / arm / "seeds.csv"
        table.parent.mkdir()
        of_arm = frame[frame.arm == arm].dropna(axis="columns", how="all")
        of_arm.to_csv(table, index=False, lineterminator="\n")
        yield ArmSummary(
            arm=arm,
            label=report.analysis.labels[arm],
            colour=colour,
            yardstick=results.study.arms[arm].reference,
            runs={seed: run_id for (name, seed), run_id in results.run_ids.items() if name == arm},
            metrics=score_means(results, arm),
            curves=curve_means(results, arm, curves),
            files=(table, *figures),
        )


def distinct(colour: str, used: set[str]) -> str:
    """The colour "#rrggbb", or where it is used already the first of ever lighter or darker ones that is not."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    shades = (light + (1 if light < 0.5 else -1) * step / 10 for step in range(1, 10))
    candidates = (colorsys.hls_to_rgb(hue, min(max(shade, 0.1), 0.9), saturation) for shade in shades)
    texts = ("#" + "".join(f"{round(255 * part):02X}" for part in parts) for parts in candidates)
    return colour if colour not in used else next((text for text in texts if text not in used), colour)


def _claim_name(comparison: Comparison) -> str:
    kind = "" if comparison.kind == "better" else f"/{comparison.kind}"
    return f"{comparison.arm}/{comparison.against}/{comparison.metric.name}{kind}"


def _best(analysis: Analysis) -> str | None:
    """The trained arm with the best mean in the primary metric."""
    metric = analysis.metrics[0]
    means: Mapping[str, float] = {
        row.arm: mean
        for row in analysis.matrix
        if not row.reference and (mean := row.scores[metric.name].mean) is not None
    }
    choose = min if metric.direction == "lower" else max
    return choose(means, key=means.__getitem__, default=None)


def _note(analysis: Analysis) -> str:
    """Question, answer, matrix and how to read it, in Markdown."""
    from ablate.report import markdown, sections_answer, tables_results
    from ablate.report.blocks import Heading

    first = [block for block in sections_answer.answer(analysis) if not isinstance(block, Heading)]
    return markdown.render([*first, tables_results.matrix(analysis)]) + f"\n{READING}\n"
