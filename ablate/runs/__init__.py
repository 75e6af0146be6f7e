"""Where models that ablate 0.1 and 0.2 logged look for their loader."""
