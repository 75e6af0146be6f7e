"""What is said of hypotheses about data sets, of clusters that are none, and of a margin that is no number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ablate.study import InputError, study_file

STUDY = """
name = "several"
question = "Does it help?"
baseline = "plain"
seeds = [1, 2, 3, 4, 5]
{top}
[settings.run]
command = ["x", "{{on?--on}}", "--data={{data}}", "{{out}}"]
on = false
data = ""
[metric.loss]
direction = "lower"
[arms.plain]
[arms.other]
set."run.on" = true
[datasets.a]
set."run.data" = "a"
[datasets.b]
set."run.data" = "b"
[[hypotheses]]
arm = "{arm}"
against = "{against}"
metric = "loss"
margin = {margin}
"""


def said(folder: Path, *, arm: str = "other", against: str = "plain", margin: str = "0.1", top: str = "") -> list[str]:
    file = folder / "study.toml"
    file.write_text(STUDY.format(arm=arm, against=against, margin=margin, top=top), encoding="utf-8")
    with pytest.raises(InputError) as error:
        study_file.load(file, imports=False)
    return [str(InputError(problem._replace(file=""))) for problem in error.value.problems]


def test_a_misspelt_arm_is_told_once_and_the_arm_on_all_data_sets_is_offered(tmp_path: Path) -> None:
    (only,) = said(tmp_path, arm="othr")
    assert "hypotheses[0].arm: is not an arm of this study" in only
    assert "did you mean 'other'" in only


def test_arms_on_one_data_set_and_on_all_cannot_be_compared(tmp_path: Path) -> None:
    (only,) = said(tmp_path, against="plain@a")
    assert "must compare arms on one data set, or both on all of them" in only


def test_a_margin_that_is_no_number_is_told_once(tmp_path: Path) -> None:
    (only,) = said(tmp_path, margin="nan")
    assert "hypotheses[0].margin: must be a finite number" in only


def test_a_command_has_no_clusters(tmp_path: Path) -> None:
    (only,) = said(tmp_path, top='cluster = "subject"')
    assert 'cluster: names a column of scores of single examples, which a command does not give (got "subject")' in only


@pytest.mark.parametrize(("cluster", "told"), [("loss", "'loss' is a metric"), (" ", 'such as "subject"')])
def test_a_cluster_is_a_column_of_people_or_the_like(tmp_path: Path, cluster: str, told: str) -> None:
    text = STUDY.format(arm="other", against="plain", margin="0.1", top=f'cluster = "{cluster}"')
    (tmp_path / "study.toml").write_text(re.sub(r"command = .*", 'function = "x:train"', text), encoding="utf-8")
    with pytest.raises(InputError) as error:
        study_file.load(tmp_path / "study.toml", imports=False)
    (only,) = error.value.problems
    assert str(only).endswith(
        f'cluster: must name the column that says whose each example is (got "{cluster}"); {told}'
    )
