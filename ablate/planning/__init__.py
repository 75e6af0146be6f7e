"""Which runs a study asks for, and which stored record counts for each. Pure: no I/O."""
