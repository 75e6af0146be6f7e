"""The name under which ablate is installed. The import name and the command are `ablate`."""

DISTRIBUTION = "ablate-study"
