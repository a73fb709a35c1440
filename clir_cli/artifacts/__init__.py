"""Artifacts: what each kind is made from (spec), how they hang together (graph), files (store)."""
