"""Which settings a tuning trial tries, by Optuna, and a copy of all trials for its dashboard."""
