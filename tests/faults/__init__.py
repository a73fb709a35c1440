"""Faults injected into the commands: ``make test-faults`` prints what became of each kind."""
