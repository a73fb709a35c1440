"""A download from a server with any fault ends in the right bytes or in one line."""

from collections import Counter
from pathlib import Path

import pytest

from faults.hostile_servers import Replies, faulty_replies, outcome
from faults.judging import REFUSED, SAME


def try_all(folder: Path, faults: list[Replies]) -> Counter[str]:
    counts, wrong = Counter(), []
    for number, fault in enumerate(faults):
        (folder / str(number)).mkdir()
        verdict = outcome(fault, folder / str(number))
        counts[verdict] += 1
        if verdict not in (SAME, REFUSED):
            wrong.append(f"{fault.name} ({fault.pin}): {verdict}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(faults)}", *wrong])
    return counts


def test_a_sample_of_faulty_replies(tmp_path: Path) -> None:
    counts = try_all(tmp_path, list(faulty_replies(0))[::15])
    assert min(counts[SAME], counts[REFUSED]) > 5


@pytest.mark.faults
def test_every_faulty_reply(tmp_path: Path) -> None:
    faults = list(faulty_replies(1))
    assert len(faults) > 400
    try_all(tmp_path, faults)
