"""Sinkhorn for batches of small problems: by geomloss, compiled, and two rivals to compare with."""
