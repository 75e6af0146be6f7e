"""Tuning by Optuna: the settings of each trial, and a copy of all trials for optuna-dashboard."""
