"""Which runs a study consists of, and which stored record counts for each. Pure: no I/O."""
