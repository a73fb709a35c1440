"""A stage that finds nothing to do ends at once: it does not import torch."""

import json
import subprocess
import sys

STAGES = (
    ("distill", "--method", "ot,kd-mse"),
    ("index",),
    ("dictionary",),
    ("search", "--method", "zero-shot,ot,bm25,dictionary-bm25,fusion"),
    ("search", "--method", "ot", "--dry-run"),
    ("evaluate", "--method", "zero-shot,ot,bm25", "--metric", "map", "--baseline", "ot"),
)
SCRIPT = """
import json, sys
from clir_cli.cli import run
commands = json.loads(sys.argv[1])
print(json.dumps([[run(words), "torch" in sys.modules] for words in commands]))
"""


def test_a_finished_home_needs_no_torch(clir, quick, home, tmp_path):
    commands = []
    for name, *words in STAGES:
        pairs = () if name == "index" else ("--lang", "sw-en")
        results = ("--results", tmp_path / "results") if name == "evaluate" else ()
        command = [name, *pairs, *words, *quick, "--home", home, *results]
        outcome = clir(*command)
        assert outcome.code == 0, outcome.err
        commands.append([*map(str, command), "--json"])
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(process.stdout.splitlines()[-1]) == [[0, False]] * len(STAGES)
    assert process.stderr.count("is current") == 2 + 1 + 1 + 5
