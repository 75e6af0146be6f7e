"""What is claimed: results, paired differences, intervals, verdicts, controls. Pure: no torch, no store."""
