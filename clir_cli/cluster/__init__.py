"""Ray: workers on the processors of this machine or of a cluster, and work that outlives them.

Nothing outside this room imports Ray. Three ways to give work away are enough (``workers.py``):
each item to whoever is free (shards to encode), every item to all, of whom each holds a part
(shards to search), and single tasks (cells of an experiment). Ray starts a worker again that has
died, and gives it again what it was at; so what is done here must be such that doing it twice is
doing it once.
"""
