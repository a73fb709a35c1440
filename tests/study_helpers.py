"""What the tests of studies share: a small experiment, and what a call tells and leaves."""

import json
from collections import Counter
from pathlib import Path

GRID = """
title = "tiny"
question = "Does it run?"
metrics = ["map", "mrr"]
baseline = "zero-shot"

[grid]
pairs = ["sw-en"]
methods = ["zero-shot", "ot", "bm25"]
"transport.eps" = [0.05, 0.2]
"""


def made(told: str) -> Counter[str]:
    """Return how often each stage ran, as the last lines on standard error tell it."""
    line = next(line for line in told.splitlines() if line.startswith(("made: ", "everything")))
    if line.startswith("everything"):
        return Counter()
    parts = (part.rsplit(" ", 1) for part in line.removeprefix("made: ").split(", "))
    return Counter({verb: int(count) for verb, count in parts})


def seals(home: Path) -> dict[str, str]:
    """Return when each artifact was finished, by where it lies."""
    return {
        str(path.parent.relative_to(home)): json.loads(path.read_text())["finished"]
        for path in sorted(home.rglob("manifest.json"))
        if "models" not in path.parts
    }
