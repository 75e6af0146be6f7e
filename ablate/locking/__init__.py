"""The lock of a study on this machine: a file lock whose holder is named in a file beside it."""
