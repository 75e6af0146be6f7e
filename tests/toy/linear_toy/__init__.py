"""A subject of one's own: prices of houses, predicted by a line. It lives outside of `ablate`."""
