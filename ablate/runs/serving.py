"""The loader that the MLmodel files of ablate 0.1 and 0.2 name: `mlflow.pyfunc.load_model` imports it."""

from __future__ import annotations

from ablate.tracking.mlflow.mlflow_pyfunc import _load_pyfunc as _load_pyfunc
