"""Experiments: the grid of cells, the work they share, and the tables drawn from them."""
