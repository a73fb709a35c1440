"""The table of the time that an experiment took."""

import csv
import json

import pytest

GRID = """
title = "time"
question = "How long?"
metrics = ["map"]
baseline = "bm25"

[grid]
pairs = ["sw-en"]
methods = ["bm25", "zero-shot", "english"]
"""


@pytest.fixture
def spent(reproduce, tmp_path):
    """Reproduce an experiment; return the path of its table of time."""
    path = tmp_path / "hours.toml"
    path.write_text(GRID)
    outcome = reproduce(path, "--quiet")
    assert outcome.code == 0, outcome.err
    return tmp_path / "results" / "sample" / "time" / "hours.csv"


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_hours_are_those_of_the_manifests(spent, home):
    rows = {row["stage"]: row for row in rows_of(spent)}
    manifests = [
        json.loads(path.read_text())
        for path in (home / "sample" / "sw-en").glob("*/runs/*/manifest.json")
    ]
    assert len(manifests) == int(rows["search"]["artifacts"]) == 3
    hours = sum(manifest["seconds"] for manifest in manifests) / 3600
    assert float(rows["search"]["hours"]) == pytest.approx(hours, abs=1e-4)
    assert rows["search"]["first"] == min(manifest["finished"] for manifest in manifests)
    hardware = manifests[0]["hardware"]
    assert rows["search"]["machine"] == f"{hardware['processor']}, {hardware['cores']} cores"
    assert rows["search"]["clir"].split()[0] == manifests[0]["versions"]["clir-cli"]
    assert rows["index"]["artifacts"] == "1"


def test_rows_of_other_machines_stay_and_nothing_to_do_changes_nothing(spent, reproduce, tmp_path):
    there = dict(rows_of(spent)[0], machine="Another processor")
    with spent.open("a", newline="") as stream:
        csv.DictWriter(stream, list(there)).writerow(there)
    assert reproduce(tmp_path / "hours.toml").code == 0
    before = spent.read_bytes()
    assert there in rows_of(spent)
    assert reproduce(tmp_path / "hours.toml").code == 0
    assert spent.read_bytes() == before


def test_scores_from_results_leave_the_table_as_it_is(spent, reproduce, tmp_path):
    before = spent.read_bytes()
    outcome = reproduce(tmp_path / "hours.toml", "--from-results")
    assert outcome.code == 0, outcome.err
    assert spent.read_bytes() == before
