"""The page of a study as blocks, in reading order: answer, numbers, caveats, origin. For every format."""

from __future__ import annotations

from ablate.analysis.results import Results
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Block, unique
from ablate.report.figures import Pictures
from ablate.report.sections_answer import answer_section, matrix_section, warnings_section
from ablate.report.sections_claims import controls_section, external_section, hypotheses_section, population_section
from ablate.report.sections_origin import caveats_section, gaps_section, origin_section, outdated_section
from ablate.report.sections_results import (
    budget_section,
    conditions_section,
    cost_section,
    curves_section,
    density_section,
    examples_section,
    factor_section,
    parameters_section,
    tuning_section,
)


def outline(analysis: Analysis, results: Results, pictures: Pictures, *, study_file: str = "") -> list[Block]:
    """The whole page. `study_file` names the study in the command to run it, unless the store has that command."""
    blocks = [
        *answer_section(analysis),
        *warnings_section(analysis),
        *factor_section(analysis, pictures),  # shorter than the matrix, which has a row a level
        *matrix_section(analysis, pictures),
        *hypotheses_section(analysis),
        *controls_section(analysis),
        *population_section(analysis),
        *external_section(analysis),
        *parameters_section(analysis),
        *cost_section(analysis, pictures),
        *budget_section(analysis),
        *tuning_section(analysis, pictures),
        *curves_section(analysis, pictures),
        *density_section(analysis, pictures),
        *conditions_section(analysis, pictures),
        *examples_section(pictures),
        *gaps_section(analysis),
        *outdated_section(analysis, results),
        *caveats_section(analysis, results),
        *origin_section(analysis, results, study_file),
    ]
    return unique(blocks)
