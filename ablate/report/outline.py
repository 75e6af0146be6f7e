"""The page of a study as blocks, in reading order: answer, numbers, caveats, origin. For every format."""

from __future__ import annotations

from ablate.analysis.results import Results
from ablate.analysis.study_analysis import Analysis
from ablate.report import (
    sections_answer,
    sections_claims,
    sections_datasets,
    sections_design,
    sections_origin,
    sections_results,
)
from ablate.report.blocks import Block, unique
from ablate.report.figures import Pictures


def outline(analysis: Analysis, results: Results, pictures: Pictures, *, study_file: str = "") -> list[Block]:
    """The whole page. `study_file` names the study in the command to run it, unless the store has that command."""
    trained = results.study.trainer != "adopted"  # of other scores neither parameters nor budget are known
    blocks = [
        *sections_answer.answer(analysis),
        *sections_results.factor(analysis, pictures),  # shorter than the matrix, which has a row a level
        *sections_datasets.across(analysis),  # and so is this, which has a row an arm on each data set
        *sections_answer.matrix(analysis, pictures),
        *sections_answer.warnings(analysis),
        *sections_design.design(analysis, pictures),
        *sections_claims.hypotheses(analysis),
        *sections_claims.controls(analysis),
        *sections_claims.population(analysis),
        *sections_claims.external(analysis),
        *(sections_results.parameters(analysis) if trained else ()),
        *sections_results.cost(analysis, pictures),
        *(sections_results.budget(analysis) if trained else ()),
        *sections_results.tuning(analysis, pictures),
        *sections_results.curves(analysis, pictures),
        *sections_results.density(analysis, pictures),
        *sections_results.conditions(analysis, pictures),
        *sections_results.examples(analysis, pictures),
        *sections_origin.gaps(analysis, results),
        *sections_origin.outdated(analysis, results),
        *sections_origin.caveats(analysis, results),
        *sections_origin.origin(analysis, results, study_file),
    ]
    return unique(blocks)
