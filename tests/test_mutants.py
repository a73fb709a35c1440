"""The faults of mutants.py can be tried: each is in its file once, is Python, and has its tests."""

import ast

import pytest
from mutants import ROOT, Mutant, mutants

FAULTS = mutants()


@pytest.mark.parametrize("mutant", FAULTS, ids=lambda mutant: mutant.name)
def test_a_fault_is_a_small_change_of_a_file(mutant: Mutant) -> None:
    assert ast.dump(ast.parse(mutant.applied(ROOT))) != ast.dump(
        ast.parse((ROOT / mutant.file).read_text(encoding="utf-8"))
    )
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert f"def {name or 'test'}" in (ROOT / path).read_text(encoding="utf-8")


def test_there_are_enough_faults_in_each_room() -> None:
    assert len({mutant.name for mutant in FAULTS}) == len(FAULTS) >= 64
    rooms = [mutant.room for mutant in FAULTS]
    assert min(map(rooms.count, rooms)) >= 5


def test_a_text_that_is_not_in_the_file_once_is_reported() -> None:
    for text, count in (("return", r"\d+"), ("no such" + " text", "0")):
        with pytest.raises(ValueError, match=rf"name: in tests/mutants\.py, {count} times: '"):
            Mutant("name", "", "tests/mutants.py", text, "", ()).applied(ROOT)
