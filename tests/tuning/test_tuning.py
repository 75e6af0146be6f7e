"""Proposals depend only on their arguments; and the copy for optuna-dashboard."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.planning import plan
from ablate.planning.trials import trial_specs, tuning_seed
from ablate.study import (
    CategoricalSpace,
    FloatSpace,
    IntSpace,
    Metric,
    Record,
    RunSpec,
    Scalar,
    StoreUnavailable,
    Study,
    study_file,
)
from ablate.study.space_rules import Entry, contains
from ablate.tuning import optuna as tuning
from ablate.untrusted.addresses import sqlite_address

METRICS = {"error": Metric("error", "Error", "m", "lower", lambda output, targets: output)}
SPACE: dict[str, Entry] = {
    # The conditional entry stands before the one it depends on.
    "model.momentum": FloatSpace(type="float", low=0.5, high=1.0, when={"model.optimizer": "sgd"}),
    "training.learning_rate": FloatSpace(type="float", low=1e-4, high=1e-2, log=True),
    "model.layers": IntSpace(type="int", low=1, high=6),
    "model.optimizer": CategoricalSpace(type="categorical", choices=["adam", "sgd"]),
    "model.nesterov": CategoricalSpace(
        type="categorical", choices=[True, False], when={"model.optimizer": "sgd", "model.layers": 2}
    ),
}
WRITTEN: dict[str, Scalar] = {
    "model.momentum": 0.9, "training.learning_rate": 0.001, "model.layers": 2, "model.optimizer": "adam",
    "model.nesterov": False, "model.width": 8,
}  # fmt: skip
Chain = list[tuple[dict[str, Scalar], float | None]]


def propose(finished: Chain, *, sampler: Any = "tpe", seed: int = 0, **options: Any) -> dict[str, Scalar]:
    all_options = {"total": 8, "direction": "lower", "defaults": WRITTEN, **options}
    return tuning.propose(SPACE, finished, sampler=sampler, seed=seed, **all_options)


def bowl(values: Mapping[str, Scalar]) -> float | None:
    """Lowest at learning rate 0.003; sgd fails whenever it has six layers."""
    if values["model.optimizer"] == "sgd" and values["model.layers"] == 6:
        return None
    return abs(math.log10(float(values["training.learning_rate"])) + 2.5) + 0.1 * float(values["model.layers"])


def chain(length: int, sampler: str, finished: Chain | None = None) -> Chain:
    """Tune the bowl, re-seeding from the trial's index as the scheduler does; continues from `finished`."""
    finished = list(finished or [])
    while len(finished) < length:
        values = propose(finished, sampler=sampler, seed=tuning_seed("toy", "plain", len(finished)))
        finished.append((values, bowl(values)))
    return finished


def active(values: Mapping[str, Scalar]) -> set[str]:
    names = {"training.learning_rate", "model.layers", "model.optimizer"}
    if values["model.optimizer"] == "sgd":
        names.add("model.momentum")
        if values["model.layers"] == 2:
            names.add("model.nesterov")
    return names


def test_the_first_trial_is_the_settings_as_written() -> None:
    expected = {"training.learning_rate": 0.001, "model.layers": 2, "model.optimizer": "adam"}
    for sampler in ("tpe", "random", "qmc"):
        assert propose([], sampler=sampler) == expected
    sgd = propose([], defaults=WRITTEN | {"model.optimizer": "sgd"})
    assert sgd == {**expected, "model.optimizer": "sgd", "model.momentum": 0.9, "model.nesterov": False}


@pytest.mark.parametrize(
    "outside", [{"training.learning_rate": 0.1}, {"model.layers": 2.5}, {"model.optimizer": "lion"}]
)
def test_settings_outside_the_space_are_no_trial(outside: dict[str, Scalar]) -> None:
    values = propose([], defaults=WRITTEN | outside)
    assert all(contains(SPACE[path], value) for path, value in values.items())


def test_a_whole_number_written_for_a_fraction_becomes_one() -> None:
    space: dict[str, Entry] = {"x": FloatSpace(type="float", low=0, high=2)}
    values = tuning.propose(space, [], total=1, seed=0, sampler="tpe", direction="lower", defaults={"x": 1})
    assert isinstance(values["x"], float)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_chain_stopped_anywhere_continues_with_the_same_trials(sampler: str) -> None:
    whole = chain(8, sampler)
    for stop in range(8):
        assert chain(8, sampler, whole[:stop]) == whole
    assert len({str(values) for values, _ in whole}) == 8


def test_a_chain_is_the_same_in_another_process() -> None:
    code = "import test_tuning; print(test_tuning.chain(6, 'tpe'))"
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "7"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == str(chain(6, "tpe"))


def test_tpe_learns_from_finished_trials() -> None:
    finished = chain(24, "tpe")
    late = [value for _, value in finished[12:] if value is not None]
    random = [value for _, value in chain(24, "random")[12:] if value is not None]
    assert sorted(late)[len(late) // 2] < sorted(random)[len(random) // 2]


def test_the_direction_matters_to_tpe() -> None:
    finished = chain(12, "tpe")
    lower, higher = (propose(finished, direction=direction, seed=5) for direction in ("lower", "higher"))
    assert lower != higher


@pytest.mark.parametrize("sequence", range(20))
def test_the_first_four_quasi_random_trials_are_spread_over_the_space(sequence: int) -> None:
    space = {"lr": FloatSpace(type="float", low=1e-4, high=1.0, log=True)}
    values = [
        tuning.propose(
            space, [], total=4, seed=0, sampler="qmc", direction="lower", defaults=None, index=i, sequence=sequence
        )["lr"]
        for i in range(4)
    ]
    assert sorted(int(math.log10(float(value)) + 4) for value in values) == [0, 1, 2, 3]


def test_quasi_random_trials_depend_on_the_space_alone() -> None:
    finished = chain(3, "qmc")
    upfront = [propose([], sampler="qmc", index=index, seed=index) for index in range(8)]
    assert [propose(finished, sampler="qmc", index=index, seed=99) for index in range(8)] == upfront
    assert propose(finished, sampler="qmc") == upfront[3]
    # Scrambled Sobol' points: eight fall one into each half of the range, four times over.
    rates = [float(v["training.learning_rate"]) for v in upfront[1:]]
    assert 3 <= sum(rate < 1e-3 for rate in rates) <= 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 5), sampler=st.sampled_from(["tpe", "random", "qmc"]), length=st.integers(0, 4))
def test_every_proposal_lies_in_the_space_and_obeys_when(seed: int, sampler: str, length: int) -> None:
    finished: Chain = [(propose([], sampler="random", index=9, seed=seed + i), i or None) for i in range(length)]
    values = propose(finished, sampler=sampler, seed=seed, index=9)
    assert set(values) == active(values)
    assert all(contains(SPACE[path], value) for path, value in values.items())
    assert list(values) == [path for path in SPACE if path in values]


STUDY = """\
name = "mirrored"
question = "?"
baseline = "plain"
seeds = [1, 2]
metrics = ["error"]
catalogue = "test_tuning:METRICS"
[settings]
model = { factory = "a:b", width = 8 }
data = { factory = "a:b" }
loss = { factory = "a:b" }
training = { epochs = 1 }
[arms.plain]
[arms.wide]
set."model.width" = 16
[tuning]
trials = 3
seeds = [101]
metric = "val/error"
space."training.learning_rate" = { type = "float", low = 1e-4, high = 1e-2 }
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "mirrored.toml").write_text(STUDY, encoding="utf-8")
    return study_file.load(tmp_path / "mirrored.toml")


def record(spec: RunSpec, error: float, status: Any = "FINISHED") -> Record:
    scores = {"val/error": error, "test/error": error + 10} if status == "FINISHED" else {}
    return Record("id", spec.arm, spec.seed, spec.phase, spec.key, status, scores, spec.overrides, spec.trial)


def records(study: Study) -> Iterator[Record]:
    """Of arm `plain`: two trials finished, one failed, one comparison run finished and one failed."""
    for trial, rate in enumerate([0.001, 0.002, 0.003]):
        (spec,) = trial_specs(study, "plain", trial, {"training.learning_rate": rate})
        yield record(spec, 1.0 - trial / 4, "FAILED" if trial == 2 else "FINISHED")
    best = {"training.learning_rate": 0.002}
    yield record(plan.compare_spec(study, "plain", 1, best), 0.5)
    yield record(plan.compare_spec(study, "plain", 2, best), 0.5, "FAILED")


def digest(arm: str) -> str:
    return ""


Reader = Callable[[str], list[tuple[str, dict[str, Any], float | None]]]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Reader]:
    opened = []

    def read_trials(name: str) -> list[tuple[str, dict[str, Any], float | None]]:
        storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
        opened.append(storage)
        trials = optuna.load_study(study_name=name, storage=storage).trials
        return [(t.state.name, t.params, t.value) for t in trials]

    yield read_trials
    for storage in opened:
        storage.engine.dispose()


def test_the_mirror_has_every_ended_trial_once(study: Study, tmp_path: Path, read: Reader) -> None:
    for _ in range(2):
        tuning.mirror(sqlite_address(tmp_path / "optuna.db"), study, records(study), digest)
    assert read("mirrored/plain") == [
        ("COMPLETE", {"training.learning_rate": 0.001}, 1.0),
        ("COMPLETE", {"training.learning_rate": 0.002}, 0.75),
        ("FAIL", {"training.learning_rate": 0.003}, None),
    ]
    assert read("mirrored/wide") == []
    assert read("mirrored/compare") == [("COMPLETE", {"arm": "plain", "seed": 1}, 10.5)]


def test_the_mirror_names_the_objectives(study: Study, tmp_path: Path) -> None:
    for _ in range(2):
        tuning.mirror(sqlite_address(tmp_path / "optuna.db"), study, records(study), digest)
    names = "SELECT study_name, value_json FROM studies JOIN study_system_attributes USING (study_id) WHERE key = ?"
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        found = dict(database.execute(names, ["study:metric_names"]).fetchall())
    tuned, compared = '["val/error"]', '["test/error"]'
    assert found == {"mirrored/plain": tuned, "mirrored/wide": tuned, "mirrored/compare": compared}


ONE_SPLIT = {
    "name": "script",
    "question": "?",
    "baseline": "plain",
    "seeds": [1],
    "metric": {"loss": {"direction": "lower"}},
    "settings": {"run": {"command": ["python", "train.py", "{out}"], "test": "none"}},
    "arms": {"plain": {}},
}


def test_the_mirror_of_a_study_of_one_split_has_the_scores_of_that_split(tmp_path: Path, read: Reader) -> None:
    study = Study.model_validate(ONE_SPLIT)
    spec = plan.compare_spec(study, "plain", 1)
    compared = Record("id", "plain", 1, "compare", spec.key, "FINISHED", {"val/loss": 0.5, "test/loss": 9.0})
    tuning.mirror(sqlite_address(tmp_path / "optuna.db"), study, [compared], digest)
    assert read("script/compare") == [("COMPLETE", {"arm": "plain", "seed": 1}, 0.5)]


def equal_trials(study: Study) -> Iterator[Record]:
    """Six trials of arm `plain` with two choices of values between them; TPE over a few choices proposes such."""
    for trial in range(6):
        (spec,) = trial_specs(study, "plain", trial, {"training.learning_rate": [0.001, 0.002][trial % 2]})
        yield record(spec, 1.0 + trial % 2)


def test_trials_with_equal_values_are_trials_of_their_own(study: Study, tmp_path: Path, read: Reader) -> None:
    six = study.model_copy(update={"tuning": study.tuning.model_copy(update={"trials": 6})})  # type: ignore[union-attr]
    for _ in range(2):
        tuning.mirror(sqlite_address(tmp_path / "optuna.db"), six, equal_trials(six), digest)
    trials = read("mirrored/plain")
    assert [params["training.learning_rate"] for _, params, _ in trials] == [0.001, 0.002] * 3
    assert [value for *_, value in trials] == [1.0, 2.0] * 3


def test_the_mirror_has_an_optuna_study_for_every_tuning(study: Study, tmp_path: Path, read: Reader) -> None:
    per_seed = study.model_copy(update={"tuning": study.tuning.model_copy(update={"per": "seed", "seeds": []})})  # type: ignore[union-attr]
    rates = {1: 0.001, 2: 0.002}
    specs = {s: trial_specs(per_seed, "plain", 0, {"training.learning_rate": r}, seed=s)[0] for s, r in rates.items()}
    tuning.mirror(
        sqlite_address(tmp_path / "optuna.db"), per_seed, [record(spec, s) for s, spec in specs.items()], digest
    )
    for seed, rate in rates.items():
        assert read(f"mirrored/plain/seed{seed}") == [("COMPLETE", {"training.learning_rate": rate}, float(seed))]
        assert read(f"mirrored/wide/seed{seed}") == []


def test_the_mirror_follows_an_amended_study(study: Study, tmp_path: Path, read: Reader) -> None:
    tuning.mirror(sqlite_address(tmp_path / "optuna.db"), study, records(study), digest)
    more = study.model_copy(update={"seeds": [1, 2, 3]})
    best = {"training.learning_rate": 0.002}
    added = [*records(study), record(plan.compare_spec(more, "plain", 3, best), 0.25)]
    tuning.mirror(sqlite_address(tmp_path / "optuna.db"), more, added, digest)
    assert [params["seed"] for _, params, _ in read("mirrored/compare")] == [1, 3]


def test_a_mirror_that_cannot_be_written_raises(study: Study, tmp_path: Path) -> None:
    (tmp_path / "optuna.db").mkdir()
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        tuning.mirror(sqlite_address(tmp_path / "optuna.db"), study, records(study), digest)


def test_a_folder_with_braces_and_percent_signs(tmp_path: Path, study: Study) -> None:
    folder = tmp_path / "we ird {x} %41 'q'"
    folder.mkdir()
    tuning.mirror(sqlite_address(folder / "optuna.db"), study, records(study), digest)
    assert [file.name for file in folder.iterdir()] == ["optuna.db"]
