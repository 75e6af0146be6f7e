"""The name under which ablate is installed. The import name and the command are `ablate`."""

DISTRIBUTION = "ablate-study"  # on the package index `ablate` is another project
