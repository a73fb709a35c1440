"""A rehearsal of the suite ``paper``: its commands, against miniatures of all that it needs."""
