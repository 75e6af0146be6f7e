"""One `ablate run`: which runs are missing, in what order, and what happens when one fails or the store is away.

Also what other commands need before they read or write a study: `workspace` (the machine), `loaded_study` (the file or
the stored document), `study_lock`, and `retry` for a store that does not answer.
"""
