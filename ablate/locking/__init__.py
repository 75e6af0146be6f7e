"""One driver a study on this machine: a file lock that names its holder."""
