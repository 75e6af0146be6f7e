"""Everything that a report shows of a study: matrix, comparisons, gaps. Pure: Results in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ablate.analysis.across import DatasetTable, dataset_tables
from ablate.analysis.answer import FOR_SETTINGS, Comparison, answers, scope_words, split_words
from ablate.analysis.budget import BudgetRow, budget_rows
from ablate.analysis.clusters import over_clusters
from ablate.analysis.conditions import ConditionTable, condition_tables
from ablate.analysis.control_findings import ControlFinding
from ablate.analysis.controls import control_findings, explanations
from ablate.analysis.costs import (
    CostPoint,
    ParameterRow,
    count,
    family_label,
    label,
    parameter_rows,
    references_last,
    tradeoff,
    trained,
)
from ablate.analysis.curves import CurvePanel, curve_panels
from ablate.analysis.densities import DensityTable, density_tables
from ablate.analysis.design import DesignEffects, design_effects
from ablate.analysis.effects import baseline_of, effect, effect_decimals, paired_means, score, score_decimals
from ablate.analysis.external import ExternalTable, external_tables
from ablate.analysis.factor import FactorCurve, factor_curves
from ablate.analysis.failures import failure_warnings
from ablate.analysis.look_rows import LookRow, look_rows
from ablate.analysis.population import PopulationRow, disjoint, names_people, population_rows
from ablate.analysis.promises import Promises, promises
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.same_question import same_question
from ablate.analysis.spending import Looks, looks_of
from ablate.analysis.statistics import Effect, Estimate
from ablate.analysis.tuning_history import TuningHistory, tuning_history
from ablate.analysis.verdicts import (
    DECLARED,
    Claim,
    Verdict,
    adjusted_p,
    improvement,
    judge,
    judge_looks,
    repeated,
)
from ablate.analysis.warnings import remarks, warnings, without_clusters
from ablate.analysis.yardsticks import yardstick_sentences
from ablate.study import Color, Spending, Split, Study
from ablate.study.amend import History, claim_words, history_of
from ablate.study.runs import TrainerKind


@dataclass(frozen=True)
class MatrixRow:
    """One arm: its information, parameters and scores, and its differences to the baseline."""

    arm: str
    label: str
    baseline: bool
    reference: bool
    information: Mapping[str, str]
    parameters: float | None
    scores: Mapping[str, Estimate]  # by metric
    effects: Mapping[str, Effect]  # to its baseline, by metric; empty for a baseline, and where the level has none
    runs: int
    expected_runs: int


@dataclass(frozen=True)
class Gap:
    """A run without a score: failed or missing."""

    label: str
    seed: int
    status: str
    error: str


@dataclass(frozen=True)
class Analysis:
    """All that a report shows of a study. `report.json` has these fields by name."""

    name: str
    question: str
    labels: Mapping[str, str]  # of every arm, and of the baseline in the study file where a factor replaced it by arms
    baseline: str  # as in the study file
    baselines: Mapping[str, str]  # arm → the arm it is compared with: the baseline at the same level of the factor
    focus: tuple[str, ...]  # the arms that the answer is about, baseline first
    seeds: tuple[int, ...]
    metrics: tuple[MetricInfo, ...]
    matrix: tuple[MatrixRow, ...]
    comparisons: tuple[Comparison, ...]  # the declared hypotheses; without any, exploratory comparisons
    answers: tuple[str, ...]  # the first is the answer in one sentence
    populations: tuple[PopulationRow, ...]  # empty where no run has a column of people
    controls: tuple[ControlFinding, ...]  # in study order
    explanations: tuple[str, ...]  # paragraphs that combine the three explanations of a gain; often none
    factor: tuple[FactorCurve, ...]  # one for each metric, the primary one first; empty without a factor
    external: tuple[ExternalTable, ...]
    warnings: tuple[str, ...]  # serious ones, for the first page, as whole sentences
    remarks: tuple[str, ...]  # whole sentences for the section of caveats
    parameters: tuple[ParameterRow, ...]
    budget: tuple[BudgetRow, ...]
    conditions: tuple[ConditionTable, ...]
    curves: tuple[CurvePanel, ...]
    densities: tuple[DensityTable, ...]  # those the report asks for and the runs have values of
    tradeoff: tuple[CostPoint, ...]
    tuning: TuningHistory | None
    gaps: tuple[Gap, ...]
    behind: tuple[str, ...]  # sentences about references that an arm is not shown to be better than
    places: Mapping[str, int]  # decimals of the differences, by metric
    tuned: bool
    test_examples: int | None  # of one run
    overlap: float | None  # of training sets, where every seed redraws the split or is a fold; see `shared_training`
    trainer: TrainerKind
    split: Split  # whose scores are compared
    people: bool  # the examples of some run name people
    promises: Promises | None  # None for the built-in loop
    history: History  # late and withdrawn hypotheses, and earlier looks
    folds: bool = False  # every seed is a fold
    colors: Mapping[str, Color] = field(default_factory=dict)  # of arms, where the study names them
    # one for each metric; empty without a design, and without data sets, and then not in report.json
    design: tuple[DesignEffects, ...] = ()
    across: tuple[DatasetTable, ...] = ()
    looks: tuple[LookRow, ...] = ()  # that were planned; empty without `[stopping]`, and then not in report.json
    spending: Spending | None = None  # of the error over them; in report.json with `looks` alone
    beyond: int = 0  # finished runs of seeds after the look that ended the study; in report.json with `looks` alone

    @property
    def declared(self) -> bool:
        """The comparisons are the study's hypotheses."""
        return any(not c.exploratory for c in self.comparisons)

    @property
    def information(self) -> tuple[str, ...]:
        """The quantities that arms state their information about, in order of appearance."""
        return tuple(dict.fromkeys(key for row in self.matrix for key in row.information))


def analyse(results: Results) -> Analysis:
    """All that a report shows, computed once."""
    study = results.study
    comparisons, rows, curves = compare(results), matrix(results), factor_curves(results)
    parameters, findings = tuple(parameter_rows(results)), control_findings(results)
    designed, across = design_effects(results), dataset_tables(results)
    others = bool(curves or designed or across)  # which answer in place of exploratory comparisons
    answering = [c for c in comparisons if not (others and c.exploratory)]
    totals = {row.arm: row.total for row in parameters}
    tuned, per_seed = study.tuning is not None, study.tuning is not None and study.tuning.per == "seed"
    where = split_words(study.split, tuned=tuned)
    scope = scope_words(study.trainer, tuned=tuned, per_seed=per_seed)
    sentences = answers(answering, totals, scope=scope, where=where and f"{where}, ") if answering or not others else ()
    return Analysis(
        name=study.name,
        question=study.question,
        labels=_labels(results),
        baseline=study.baseline,
        baselines={arm: base for arm in study.arms if (base := baseline_of(results, arm))},
        focus=_focus(results, [a for c in answering for n in (c.against, c.arm) for a in study.members(n)]),
        seeds=tuple(study.seeds),
        metrics=tuple(results.metrics[name] for name in study.metrics),
        matrix=rows,
        comparisons=comparisons,
        answers=(
            *sentences,
            *(curve.answer for curve in curves),
            *(text for d in designed for text in d.answers),
            *(table.answer for table in across if not designed),
        ),
        populations=population_rows(results),
        controls=findings,
        explanations=explanations(findings),
        factor=curves,
        external=external_tables(results),
        warnings=(*warnings(results), *without_clusters(comparisons), *failure_warnings(results, comparisons)),
        remarks=remarks(results),
        parameters=parameters,
        budget=tuple(budget_rows(results)),
        conditions=tuple(condition_tables(results)),
        curves=tuple(curve_panels(results)),
        gaps=gaps(results),
        behind=yardstick_sentences(results),
        places={metric: effect_decimals(results, metric) for metric in study.metrics},
        densities=density_tables(results),
        tradeoff=tradeoff(results),
        tuning=tuning_history(results),
        tuned=tuned,
        test_examples=_test_examples(results),
        overlap=results.overlap,
        trainer=study.trainer,
        split=study.split,
        people=names_people(results),
        promises=promises(study),
        history=_history(results),
        folds="fold" in study.vary,
        colors=study.report.colors,
        design=designed,
        across=across,
        looks=look_rows(results, comparisons),
        spending=results.study.stopping.spending if results.study.stopping else None,
        beyond=results.beyond,
    )


def matrix(results: Results) -> tuple[MatrixRow, ...]:
    """A row for every arm in study order, references last."""
    return tuple(_matrix_row(results, arm) for arm in references_last(results))


def compare(results: Results) -> tuple[Comparison, ...]:
    """The comparisons that the answer is made of.

    These are the study's hypotheses, judged together. Without hypotheses they are every trained arm against its
    baseline in every metric: exploratory, with intervals but neither adjusted p nor verdict.
    """
    hypotheses = results.study.hypotheses
    if not hypotheses:
        pairs = [(arm, base) for arm in trained(results) if (base := baseline_of(results, arm))]
        return tuple(comparison(results, *pair, metric) for pair in pairs for metric in results.study.metrics)
    note, history = _verdict_note(results.study), _history(results)
    return tuple(
        replace(
            d,
            judgement=replace(v, reason=f"{v.reason}; {note}") if note else v,
            family=len(hypotheses) + len(history.withdrawn),
            p_adjusted=adjusted_p(v.outcome, v.p_supported, v.p_refuted),
            elsewhere=same_question(results, d.arm, d.against, d.metric.name, d.claim),
        )
        for d, v in judged(results)
    )


def judged(results: Results) -> list[tuple[Comparison, Verdict]]:
    """The study's hypotheses with their verdicts, without what other studies say."""
    history, planned = _history(results), looks_of(results.study)
    if planned is None:
        drafts = _drafts(results)
        verdicts = judge(_claims(results, drafts), withdrawn=len(history.withdrawn), looks=history.looks)
    else:
        drafts, verdicts = _at_looks(results, planned, len(history.withdrawn))
    return list(zip(drafts, verdicts, strict=True))


def _drafts(results: Results) -> list[Comparison]:
    """The hypotheses without their verdicts."""
    return [
        replace(comparison(results, h.arm, h.against, h.metric), margin=h.margin, kind=h.kind)
        for h in results.study.hypotheses
    ]


def _claims(results: Results, drafts: Sequence[Comparison]) -> list[Claim]:
    late = _history(results).late
    pairs = zip(drafts, results.study.hypotheses, strict=True)
    return [
        replace(draft.claim, late=claim_words(h) in late, disjoint=disjoint(results, h.arm, h.against, h.metric))
        for draft, h in pairs
    ]


def _at_looks(results: Results, planned: Looks, withdrawn: int) -> tuple[list[Comparison], list[Verdict]]:
    """The hypotheses as of the last planned look that was taken, with repeated intervals, and their verdicts.

    Before the first look they are of the runs that there are, and without a verdict.
    """
    taken = results.looks
    by_look = [_drafts(results.first(look)) for look in taken] or [_drafts(results)]
    claims = [_claims(results, drafts) for drafts in by_look]
    if taken:
        verdicts = judge_looks(claims, planned, withdrawn=withdrawn)
    else:
        reason = f"not looked at yet: the first look is at {planned.seeds[0]} seeds"
        verdicts = [Verdict("no verdict", None, None, improvement(claim), reason) for claim in claims[0]]
    return [_repeated(draft, planned, len(by_look) - 1) for draft in by_look[-1]], verdicts


def _repeated(draft: Comparison, planned: Looks, look: int) -> Comparison:
    """The comparison with intervals that hold at all looks together."""
    both = draft.over_clusters
    if both is not None and both.interval is not None:
        both = replace(both, interval=repeated(both.interval, planned, look))
    effect = replace(draft.effect, difference=repeated(draft.effect.difference, planned, look))
    return replace(draft, effect=effect, over_clusters=both)


def _verdict_note(study: Study) -> str:
    """What every verdict of the study says beside its reason."""
    if study.trainer == "adopted":
        return DECLARED
    return FOR_SETTINGS if study.tuning is not None and study.tuning.per == "arm" else ""


def _history(results: Results) -> History:
    """Of adopted results, when a hypothesis was made is the owner's word."""
    adopted = results.study.trainer == "adopted"
    return History(()) if adopted else history_of(results.document, results.study)


def comparison(results: Results, arm: str, against: str, metric: str) -> Comparison:
    """Two arms in a metric, exploratory."""
    found = effect(results, arm, against, metric)
    means = paired_means(results, found, arm, against, metric) or (None, None)
    return Comparison(
        arm=arm,
        label=label(results, arm),
        against=against,
        against_label=label(results, against),
        metric=results.metrics[metric],
        effect=found,
        p_adjusted=None,
        places=effect_decimals(results, metric),
        over_clusters=over_clusters(results, arm, against, metric, found),
        score=means[0],
        score_against=means[1],
        score_places=score_decimals(results, metric),
    )


def _labels(results: Results) -> dict[str, str]:
    """Labels of every arm, and of the baseline in the study file where it was replaced by an arm at each level."""
    arms = {arm: label(results, arm) for arm in results.study.arms}
    return {**arms, **{name: family_label(results, name) for name in [results.study.baseline] if name not in arms}}


def _focus(results: Results, pairs: Sequence[str]) -> tuple[str, ...]:
    """The baseline and the arms of the answer; where the answer is the factor's curves, every arm at a level."""
    arms = results.study.arms
    at_a_level = [name for name, arm in arms.items() if arm.family]
    first = [results.study.baseline] if results.study.baseline in arms else []
    return tuple(dict.fromkeys([*first, *(pairs or at_a_level)]))


def gaps(results: Results) -> tuple[Gap, ...]:
    """Every run of the study that failed or is missing, in study order."""
    return tuple(
        Gap(label(results, str(run.arm)), int(str(run.seed)), str(run.status), str(run.error))
        for run in results.runs.itertuples()
        if run.status != "done"
    )


def _matrix_row(results: Results, arm: str) -> MatrixRow:
    study = results.study
    runs = results.runs[results.runs.arm == arm]
    against = baseline_of(results, arm)
    keys = {name: results.study.score_key(name) for name in study.metrics}
    return MatrixRow(
        arm=arm,
        label=label(results, arm),
        baseline=study.baseline_of(arm) == arm,
        reference=study.arms[arm].reference,
        information=study.arms[arm].information,
        parameters=count(results, arm),
        scores={name: score(results, results.by_seed(arm, key)) for name, key in keys.items()},
        effects={name: effect(results, arm, against, name) for name in study.metrics} if against else {},
        runs=int((runs.status == "done").sum()),
        expected_runs=len(runs),
    )


def _test_examples(results: Results) -> int | None:
    tables = (results.columns(*run) for run in results.run_ids)
    return next((len(next(iter(table.values()), ())) for table in tables if table is not None), None)
