"""What is said where training sets of seeds overlap: by how much intervals are wider, and what was corrected."""

from __future__ import annotations

import pytest
from toy_scores import AZIMUTH, around, load

from ablate.analysis.compare import arm_comparisons
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import analyse
from ablate.report.sections_answer import overlap_words
from ablate.report.terminal_compare import summary


def results(vary: str, hybrid_seeds: int = 5) -> Results:
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1, hybrid_seeds)}
    counts = {"count/test_examples": 100.0, "count/train_examples": 400.0}
    other = {key: {arm: dict.fromkeys(scores["existing"], value) for arm in scores} for key, value in counts.items()}
    return load(scores, other=other, vary=["init", vary])


def test_the_width_is_that_of_the_seeds_that_have_run() -> None:
    # sqrt(1 + n / 4): 1.5 for five seeds, 1.323 for three
    assert overlap_words(analyse(results("split"))).endswith("which makes them 50 % wider. ")
    assert overlap_words(analyse(results("split", 3))).endswith("which makes them 32 to 50 % wider. ")


@pytest.mark.parametrize(("vary", "share"), [("split", "(the correction by"), ("fold", "(half of the correction by")])
def test_a_comparison_names_the_correction_that_is_made(vary: str, share: str) -> None:
    (found,) = arm_comparisons(results(vary), "hybrid", "existing", [AZIMUTH])
    assert f"{share} Nadeau and Bengio)" in dict(summary(found))["Overlap"]
