"""Modules that existed before 0.3 and that stored models and components still import."""
