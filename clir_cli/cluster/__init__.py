"""Ray: workers on the processors of this machine or of a cluster.

Only this package imports Ray. Work is distributed in three ways (``workers.py``): each item to an
idle worker (shards to encode), every item to all workers, each of which holds a part of the data
(shards to search), and single tasks (cells of an experiment). Ray restarts a worker that died and
repeats its work, so everything that is done here must be safe to do twice.
"""
