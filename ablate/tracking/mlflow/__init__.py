"""Finished runs in MLflow: written and read through its client; one module reads SQLite directly, for speed."""
