"""The command line: parses, calls `ablate.commands`, prints. Imports nothing heavy."""
