"""The benchmark that anybody with a card runs, in its small form on the CPU."""

import csv
from pathlib import Path

import pytest

from benchmarks import gpu


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of sentence-transformers
def test_the_table_has_each_part_beside_its_peer(tmp_path: Path) -> None:
    path = gpu.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)])
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    ways = {}
    for row in rows:
        ways.setdefault(row["part"].split(",")[0].split()[0], set()).add(row["way"])
    assert ways["transport"] == {"clir", "geomloss"}
    assert ways["step"] == {"clir", "torch eager"}
    assert "clir" in ways["encode"]
    assert ways["MaxSim"] == {"clir, on the card", "clir, streamed", "torch eager"}
    assert all(float(row["ms"]) > 0 and row["machine"] for row in rows)
    assert all(float(row["roofline"]) > 0 for row in rows if row["roofline"])


def test_without_a_card_the_large_form_is_refused(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--device", "cpu"])
    assert ended.value.code == 2
    assert "--tiny measures small sizes" in capsys.readouterr().err
