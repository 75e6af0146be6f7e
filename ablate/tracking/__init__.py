"""Stores of finished runs: in memory, for tests and smoke passes, and in MLflow (`tracking.mlflow`)."""
