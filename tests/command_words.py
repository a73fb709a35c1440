"""What the tests of the command line share: words to call, a refusal, what a folder holds."""

import re
from pathlib import Path

DISTILL = "distill --lang sw-en"


def refused(outcome) -> str:
    """Return the one line that a command ended with; it said nothing else."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert re.fullmatch(r"clir: [^\n]+\n", outcome.err), outcome.err
    return outcome.err


def tree(folder: Path) -> list[str]:
    """Return what lies under a folder; what was read of a collection may be remembered there."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    remembered = {path for path in found if path.startswith("downloads/.read")}
    found -= remembered
    kept = any(path.startswith("downloads/") for path in found)
    return sorted(found if kept or not remembered else found - {"downloads"})
