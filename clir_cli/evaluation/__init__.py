"""Runs, measures and score tables. No torch."""
