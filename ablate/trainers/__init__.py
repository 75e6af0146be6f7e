"""How a run trains: the contract of its components, its errors, log and provenance; `builtin` is ablate's own loop.

`atomic_write` and `print_capture` serve runs and commands alike. Nothing here knows a store.
"""
