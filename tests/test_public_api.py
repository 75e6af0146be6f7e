from __future__ import annotations

import subprocess
import sys

import pytest

import ablate


def test_every_public_name_is_there_and_once() -> None:
    assert len(set(ablate.__all__)) == len(ablate.__all__)
    assert {"Batch", "Metric", "InputError", "Problem", "load_results", "__version__"} <= set(ablate.__all__)
    for name in ablate.__all__:
        assert getattr(ablate, name) is not None
    assert dir(ablate) == sorted(ablate.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Metrics'"):
        ablate.Metrics  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, ablate; print([m for m in sys.modules if m.startswith('ablate.') or m in ('torch', 'mlflow')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_metric_needs_no_torch() -> None:
    code = (
        "import sys; from ablate import Metric; print([m for m in ('torch', 'mlflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_older_components_import_is_the_same() -> None:
    from ablate.runs import contract
    from ablate.study import Metric

    assert Metric is ablate.Metric
    assert contract.Batch is ablate.Batch
    assert contract.Told is ablate.UsesTargets
    for name in contract.__all__:
        assert getattr(contract, name) in {getattr(ablate, each) for each in ablate.__all__ if each != "Arrays"}
