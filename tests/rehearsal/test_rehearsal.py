"""A core of the rehearsal: one experiment of the suite ``paper`` to its table, and one removal."""

import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal import programme, removals, stage
from rehearsal.running import cells, run

pytest.importorskip("ir_datasets")
pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> stage.Stage:
    return stage.build(tmp_path_factory.mktemp("rehearsal") / "stage")


def test_the_copy_differs_from_the_checkout_in_pins_and_grids_alone(built: stage.Stage) -> None:
    changed: Counter[str] = Counter()
    for folder in stage.COPIED:
        for path in sorted((stage.ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = path.relative_to(stage.ROOT)
                before, after = (
                    Counter((root / name).read_text(encoding="utf-8").splitlines())
                    for root in (stage.ROOT, built.checkout)
                )
                changed[str(name)] += ((before - after) + (after - before)).total()
    pinned = ("data/catalogue/collections.toml", "data/catalogue/dictionaries.toml")
    experiments = [f"experiments/{name}.toml" for name in stage.CUTS]
    assert {name for name, lines in changed.items() if lines} == {*pinned, *experiments}
    assert {name: changed[name] for name in pinned} == dict(zip(pinned, (6, 14), strict=True))


@pytest.mark.parametrize("name", stage.CUTS)
def test_a_cut_experiment_has_the_same_methods(built: stage.Stage, name: str) -> None:
    whole, cut = (
        tomllib.loads((root / "experiments" / f"{name}.toml").read_text(encoding="utf-8"))
        for root in (stage.ROOT, built.checkout)
    )
    for grid in (whole, cut):
        for axis in ("seeds", "pairs"):
            grid["suites"]["paper"].pop(axis, None)
        for variant in grid["suites"]["paper"].get("variants", []):
            variant["set"].pop("augment.sentences", None)
    assert cut == whole


def test_every_method_runs_from_what_the_suite_names_to_the_table(built: stage.Stage) -> None:
    removals.write_grids(built)
    path = built.checkout / "experiments" / "parts_of_methods.toml"
    path.write_text(path.read_text().replace('["sw-en", "de-en"]', '["sw-en"]'))
    words = next(iter(programme.commands(built)))
    fetched = run(built, *("sw-en" if word == "all" else word for word in words), home="core")
    assert fetched.code == 0, fetched.err
    done = run(built, "reproduce", "parts_of_methods", home="core")
    found = cells(built, "parts_of_methods", "core")
    assert [cell for cell in found if cell.error] == []
    assert (done.code, len(found)) == (0, 8), done.err


@pytest.mark.slow
@pytest.mark.parametrize("removal", removals.REMOVALS, ids=lambda removal: removal.part)
def test_without_a_part_the_cells_that_need_it_fail_and_no_others(
    built: stage.Stage, removal: removals.Removal
) -> None:
    outcome = removals.remove(built, removal)
    assert outcome.ended.code == 2, outcome.ended.err
    assert outcome.failed
    assert outcome.wrong == []
    assert "\n" not in outcome.message


@pytest.mark.slow
def test_every_command_of_the_suite_ends_with_all_its_cells(built: stage.Stage) -> None:
    ended = programme.perform(built)
    assert [(done.command, done.code) for done in ended if done.code] == []
    for done in ended[-len(programme.EXPERIMENTS) :]:
        found = programme.made(built, done)
        assert found, done.command
        assert [cell for cell in found if cell.error] == []


def test_a_part_that_is_not_there_is_no_removal(built: stage.Stage, tmp_path: Path) -> None:
    nothing = replace(removals.REMOVALS[0], paths=lambda _: [tmp_path / "nothing"])
    with pytest.raises(FileNotFoundError, match="nothing to remove"):
        removals.remove(built, nothing)
