"""What several tests ask of a command's outcome: that it worked, or was refused in one line."""

from typing import Any


def well(outcome: Any) -> Any:
    assert outcome.code == 0, outcome.err
    return outcome


def refused(outcome: Any) -> str:
    """Return the one line of a refusal."""
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err
