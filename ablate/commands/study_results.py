"""`ablate.open`: a study of the store as tables and figures, for Python and notebooks. Reads the store only.

Heavy libraries are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.commands.report import results as results_of
from ablate.scheduler.loaded_study import study_name
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Problem
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ablate.analysis.example_tables import Columns
    from ablate.analysis.records import MetricInfo
    from ablate.analysis.results import Results
    from ablate.analysis.study_analysis import Analysis
    from ablate.report.style import Marks

# The columns that tables begin with; those after them are in the order of the report's CSV files.
EFFECT_COLUMNS = ["arm", "against", "metric", "unit", "difference_mean", "difference_low", "difference_high", "p"]
VERDICT_COLUMNS = ["arm", "against", "metric", "unit", "kind", "margin", "verdict", "p_adjusted", "reason"]
EXAMPLE_COLUMNS = ["arm", "seed", "example"]


def open(study: str | Path, *, mlruns: str | Path = "mlruns", tracking_uri: str | None = None) -> StudyResults:
    """Open a study of the store, to look at its results.

    Parameters
    ----------
    study
        The study's name, or its study file. Nothing that the file names is imported.
    mlruns
        The folder of the store.
    tracking_uri
        The address of an MLflow server or database in place of the store in `mlruns`.

    Returns
    -------
    StudyResults
        The study as the store has it now. Open it again to see later runs.

    Raises
    ------
    InputError
        Where there is no store, or it does not have the study, or the study file is wrong.
    StoreUnavailable
        Where the server does not answer.

    Examples
    --------
    >>> s = ablate.open("quick", mlruns="mlruns")
    >>> s.effects()[["arm", "metric", "difference_mean", "difference_low", "difference_high"]]
    >>> s.plot.differences().savefig("differences.pdf")
    """
    return _opened(study, Workspace(Path(mlruns), tracking_uri=tracking_uri))


def load_results(study: str | Path, workspace: Workspace | None = None) -> pd.DataFrame:
    """The runs of a study as a table: the same as `ablate.open(study).results()`.

    Parameters
    ----------
    study
        The study's name, or its study file.
    workspace
        Where the store is. Default: `mlruns` in the working folder.

    Returns
    -------
    DataFrame
        See `StudyResults.results`.

    Raises
    ------
    InputError
        Where there is no store, or it does not have the study, or the study file is wrong.
    """
    return _opened(study, workspace or Workspace()).results()


def _opened(study: str | Path, workspace: Workspace) -> StudyResults:
    return StudyResults(results_of(study_name(str(study)), workspace))


class StudyResults:
    """What a study has measured, as tables and figures. Made by `ablate.open`.

    Every table is tidy: one fact a row, full precision, names of arms and metrics as in the study file. A score that a
    run does not have is NaN. A run that failed or is missing has no score in any table. In a notebook the object shows
    the question, the verdicts and the matrix.

    Attributes
    ----------
    plot : Plots
        The figures of the report.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    @property
    def name(self) -> str:
        """The study's name."""
        return self._results.study.name

    @property
    def question(self) -> str:
        """What the study asks."""
        return self._results.study.question

    @property
    def plot(self) -> Plots:
        """The figures of the report, as matplotlib figures."""
        return Plots(self._analysis)

    def results(self) -> pd.DataFrame:
        """Every run that the study asks for, with all its scores side by side.

        Returns
        -------
        DataFrame
            A row for each arm and seed, in the order of the study. `arm`, `seed`, `status` (`done`, `failed` or
            `missing`), a column for each score, such as `test/azimuth_mae_deg`, in the metric's unit, `cost/parameters`
            or `time/train_s` (seconds), and `run_id`, the run's id in MLflow.
        """
        return self._results.frame()

    def effects(self) -> pd.DataFrame:
        """The differences of every arm to its baseline, paired by seed: the matrix of the report.

        Returns
        -------
        DataFrame
            A row for each arm that has a baseline, and metric. The arm's score: `mean`, `low` and `high` (the ends of
            the 95 % t interval over seeds), `n` (seeds), `standard_error`. The difference, arm minus `against`:
            `difference_mean`, `difference_low`, `difference_high`, `difference_n` (pairs), `p` (two-sided paired
            t-test), `p_sign_flip`, `d_z`. Scores and differences are in `unit`.
        """
        from ablate.report import tables_results, tidy

        table = tidy.frame(tables_results.matrix(self._analysis))
        return _first(table[table.against.notna()].reset_index(drop=True), EFFECT_COLUMNS)

    def verdicts(self) -> pd.DataFrame:
        """The hypotheses that the study has declared, with their verdicts.

        Returns
        -------
        DataFrame
            A row for each hypothesis, in the order of the study file: `arm`, `against`, `metric`, `unit`, `kind`,
            `margin`, `verdict` (`supported`, `refuted`, `inconclusive` or `no verdict`), `reason`, `p_adjusted` (Holm,
            over both tests of all hypotheses), the paired difference over seeds as `effect_difference_mean`, `…_low`
            and `…_high`, and the improvement that the verdict rests on, with the sign that makes positive better, as
            `judgement_improvement_mean`, `…_low` and `…_high`. Without a hypothesis there is no row.
        """
        from ablate.report import tables_claims, tidy

        table = tidy.frame(tables_claims.comparisons(self._analysis.comparisons))
        return _first(table if self._analysis.declared else table.iloc[:0], VERDICT_COLUMNS)

    def examples(self, arm: str | None = None, seed: int | None = None) -> pd.DataFrame:
        """The scores of single test examples, as far as the runs have kept them.

        Parameters
        ----------
        arm, seed
            Only the examples of this arm, and of this seed. Default: of all.

        Returns
        -------
        DataFrame
            A row for each arm, seed and example: `arm`, `seed`, `example` (from 0, the same for all arms of a seed,
            where the trainer gives them in the same order), a column for each metric that has a value for an example,
            in the metric's unit, and one for each number that describes an example, such as `subject`. Empty where no
            run has kept its examples.

        Raises
        ------
        InputError
            Where the study has no such arm or seed.
        """
        import pandas as pd

        study = self._results.study
        self._check("arm", arm, list(study.arms))
        self._check("seed", seed, study.seeds)
        wanted = [run for run in self._results.run_ids if arm in (None, run[0]) and seed in (None, run[1])]
        tables = [_with_run(columns, *run) for run in wanted if (columns := self._results.columns(*run)) is not None]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=EXAMPLE_COLUMNS)

    def curves(self) -> pd.DataFrame:
        """What the runs have reported while they trained.

        Returns
        -------
        DataFrame
            A row for each arm, seed, epoch (or step, from 1) and metric: `arm`, `seed`, `epoch`, `metric`, such as
            `train/loss` or `val/azimuth_mae_deg`, and `score`, in the metric's unit.
        """
        return self._results.curves.copy()

    def __repr__(self) -> str:
        runs = self._results.runs
        return f"<StudyResults {self.name}: {(runs.status == 'done').sum()} of {len(runs)} runs done>"

    def _repr_markdown_(self) -> str:
        from ablate.report import notebook

        return notebook.as_markdown(self._analysis)

    def _repr_html_(self) -> str:
        from ablate.report import notebook

        return notebook.as_html(self._analysis)

    @cached_property
    def _analysis(self) -> Analysis:
        from ablate.analysis.study_analysis import analyse

        return analyse(self._results)

    def _check(self, what: str, value: object, known: Sequence[object]) -> None:
        """Raise InputError for an arm or a seed that the study does not have."""
        if value is not None and value not in known:
            rule, choices = f"no {what} of this study", [str(each) for each in known]
            raise InputError(Problem(self.name, what, rule, shown(value), nearest(str(value), choices)))


@dataclass(frozen=True)
class Plots:
    """The figures of a study's report, as matplotlib figures: 3.4 inches wide, one column of a two-column paper.

    A figure can be changed and saved as any other: `s.plot.matrix().savefig("matrix.pdf")`. A notebook shows it.
    """

    _analysis: Analysis

    def differences(self) -> Figure:
        """The paired difference of every trained arm to its baseline, with its 95 % interval; every seed is a dot.

        Returns
        -------
        Figure
            One panel for each metric, in the metric's unit.

        Raises
        ------
        InputError
            Where no seed has a score of an arm and of its baseline.
        """
        from ablate.report import figures_dots

        return self._drawn("differences", "no arm has a paired difference", figures_dots.differences)

    def matrix(self) -> Figure:
        """The mean score of every arm over seeds, with its 95 % interval.

        Returns
        -------
        Figure
            One panel for each metric, in the metric's unit.

        Raises
        ------
        InputError
            Where no run is finished.
        """
        from ablate.report import figures_dots

        return self._drawn("matrix", "no run is finished", figures_dots.matrix)

    def curves(self) -> Figure:
        """The learning curves: mean over seeds, with a band from the lowest to the highest seed.

        Returns
        -------
        Figure
            One panel for the loss of training and for each metric on validation.

        Raises
        ------
        InputError
            Where no run has reported epochs.
        """
        from ablate.report import figures_lines

        return self._drawn("curves", "no run has reported epochs", figures_lines.learning_curves)

    def cost(self, metric: str | None = None) -> Figure:
        """The mean score of every arm against what it costs: parameters, operations, milliseconds.

        Parameters
        ----------
        metric
            The metric of the study that is drawn. Default: the first one.

        Returns
        -------
        Figure
            One panel for each cost that the runs of two arms at least have recorded.

        Raises
        ------
        InputError
            Where the study has no such metric, or no two arms have a cost to compare.
        """
        from ablate.report import figures, figures_cost

        info = self._metric(metric)
        return self._drawn(
            "cost",
            "no two arms have a recorded cost",
            lambda analysis, marks: figures_cost.cost(analysis.tradeoff, info, marks, figures.families(analysis)),
        )

    def _metric(self, name: str | None) -> MetricInfo:
        metrics = {metric.name: metric for metric in self._analysis.metrics}
        if name is not None and name not in metrics:
            hint = nearest(name, list(metrics))
            raise InputError(Problem(self._analysis.name, "metric", "no metric of this study", shown(name), hint))
        return self._analysis.metrics[0] if name is None else metrics[name]

    def _drawn(self, name: str, reason: str, draw: Callable[[Analysis, Marks], Figure | None]) -> Figure:
        """The figure as the report draws it. Raises InputError where there is nothing to draw."""
        from ablate.report import notebook, style
        from ablate.report.figures import marks_of

        with style.look():
            drawing = draw(self._analysis, marks_of(self._analysis))
            if drawing is None:
                raise InputError(Problem(self._analysis.name, f"plot.{name}", f"nothing to draw: {reason}"))
            return notebook.for_notebook(drawing)


def _first(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table with these columns first, as far as it has them."""
    there = [column for column in columns if column in table]
    return table[[*there, *table.columns.difference(there, sort=False)]]


def _with_run(columns: Columns, arm: str, seed: int) -> pd.DataFrame:
    """The examples of a run, whose own columns of these names are called `…_of_example`."""
    import pandas as pd

    own = {f"{name}_of_example" if name in EXAMPLE_COLUMNS else name: values for name, values in columns.items()}
    table = pd.DataFrame(own)
    run: dict[str, Any] = {"arm": arm, "seed": seed, "example": range(len(table))}
    for position, name in enumerate(EXAMPLE_COLUMNS):
        table.insert(position, name, run[name])
    return table
