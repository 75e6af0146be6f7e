"""How a run trains: the contract of its components, its errors, log and provenance; `builtin` is ablate's own loop."""
