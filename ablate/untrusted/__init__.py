"""Readers for files of strangers, and the messages that say what is wrong with them. Executes nothing."""
