"""An experiment whose tasks Ray does has the table of one process."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENT = """
title = "Who does it"
question = "Does the engine change the table?"
metrics = ["map"]

[grid]
pairs = ["sw-en"]
methods = ["zero-shot", "ot", "english", "bm25"]
seeds = [0]
collections = ["FOLDER"]

[suites.sample.settings]
bitext.max_pairs = 60
training.epochs = 1
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
)
def test_the_same_table(models: Path, small_collection: Path, tmp_path: Path):
    (tmp_path / "who.toml").write_text(EXPERIMENT.replace("FOLDER", str(small_collection)))
    tables = []
    for engine in ("local", "ray"):
        home, results = tmp_path / engine, tmp_path / f"results-{engine}"
        home.mkdir()
        (home / "models").symlink_to(models)
        words = ["reproduce", "who.toml", "--home", home, "--results", results, "--quiet"]
        found = subprocess.run(
            [sys.executable, "-m", "clir_cli", *words, "--engine", engine, "--jobs", "2"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert found.returncode == 0, found.stderr
        with (results / "sample" / "who.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        tables.append([{key: row[key] for key in row if key != "command"} for row in rows])
        assert not list(home.glob(".probe-*"))
    assert len(tables[0]) == 4
    assert tables[0] == tables[1]
