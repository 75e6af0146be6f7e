"""One `ablate run`: which runs are missing, in what order, and what happens when one fails or the store is away."""
