"""What every test shares: one torch thread, the real data, a quiet MLflow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real recordings: $ABLATE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("ABLATE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "cmu_dev.npz").is_file():
        pytest.skip(f"the real recordings are not here ({folder}); set ABLATE_DATA")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Results depend on the number of threads, and the machine is shared."""
    import torch

    torch.set_num_threads(1)
