"""Experiment files: what is wrong with one is told in a line, before any work."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.artifacts.command import assignment
from clir_cli.errors import UserError
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study import experiment as files
from clir_cli.study.grid import Base, canonical, expand
from clir_cli.study.tasks import Study
from clir_cli.suites import bundled, load_settings, suites, value_of

GRID = """
title = "tiny"
question = "Does it run?"
metrics = ["map"]

[grid]
pairs = ["sw-en"]
methods = ["ot"]
"""
FAULTS = {
    "colour = 1\n": "colour: no such key",
    "metrics = []": "metrics",
    'metrics = ["mapp"]': "metrics: unknown metric 'mapp': did you mean map?",
    'baseline = "bm25"': "baseline: no cell of suite sample is called 'bm25'; known: ot",
    "[grid]\npears = []": "grid.pears: no such setting; did you mean pairs?",
    "[grid]\npairs = []": "grid.pairs: empty, so the grid has no cell",
    '[grid]\npairs = ["xx-en"]': "pairs: unknown pair 'xx-en'",
    '[grid]\nmethods = ["otp"]': "methods: unknown method 'otp': did you mean ot?",
    (
        '[suites.sample]\nmethods = ["nmt"]\nsettings = { "nmt.model" = "" }'
    ): "method nmt cannot run in suite sample: it needs a translation",
    '[grid]\nseeds = ["one"]': "grid.seeds[0]: input should be a valid integer",
    '[grid]\n"transport.epps" = [1]': "grid.transport.epps: no such setting; did you mean",
    '[grid]\n"transport.eps" = 0.1': "grid.transport.eps: an axis is a list of values",
    '[grid]\n"transport.eps" = []': "grid.transport.eps: an axis is a list of values",
    '[grid]\n"transport.eps" = [-1]': "setting transport.eps: input should be greater than",
    '[grid]\ncollections = ["clefs"]': "collections: unknown collection 'clefs'",
    '[grid]\npairs = ["so-en"]\ncollections = ["clirmatrix"]': "clirmatrix has no queries in",
    '[grid]\ncollections = ["beir-scifact"]': "beir-scifact has no queries in 'sw'",
    "[suites.samples]\nseeds = [1]": "suites.samples: no such suite 'samples'; did you mean",
    "[suites.sample]\nmethods = []": "suites.sample.methods: empty, so the grid has no cell",
    '[suites.sample]\nsettings = { "training.epoch" = 1 }': "suites.sample.settings.training.epoch",
    '[table]\nrows = ["pairs"]': "table.rows: no such dimension 'pairs'; did you mean pair?",
    '[[variants]]\nname = "a b"\nset = {}': "variants[0].name: 'a b' is no name for a folder",
    '[[variants]]\nname = "a"\nset = { x = 1 }': "variants[0].set.x: no such setting",
    '[[variants]]\nname = "a"\nset = {}\n[[variants]]\nname = "a"\nset = {}': "the same name",
    "[[expected]]\nvalue = 1": "missing",
    (
        '[[expected]]\nsuite = "sample"\npair = "sw-en"\nmethod = "ot"\nmetric = "map"\nvalue = 0.8'
    ): "expected[0].tolerance: missing; an expected score needs one",
    (
        '[[expected]]\nsuite = "sample"\npair = "de-en"\nmethod = "ot"\nmetric = "map"\n'
        "value = 0.8\ntolerance = 0.1"
    ): "expected[0]: no cell de-en ot in suite sample",
    (
        '[[expected]]\nsuite = "sample"\npair = "sw-en"\nmethod = "ot"\nmetric = "mrr"\n'
        "value = 0.8\ntolerance = 0.1"
    ): "expected[0].metric: not among the metrics",
    "x = [": "not valid TOML",
}


def with_fault(fault: str) -> str:
    """Return the file with a fault in the place where it belongs."""
    if fault.startswith("[grid]\n"):
        _, _, lines = fault.partition("\n")
        keys = [line.split(" ")[0] for line in lines.splitlines()]
        kept = [line for line in GRID.splitlines() if line.split(" ")[0] not in keys]
        return "\n".join([*kept, lines])
    if fault.startswith("["):
        return GRID + fault
    key = fault.split(" ")[0]
    return fault + "\n".join(
        ["", *(line for line in GRID.splitlines() if not line.startswith(key))]
    )


@pytest.mark.parametrize(("fault", "told"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_fault_is_told_by_file_and_key(fault, told, clir, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(with_fault(fault), encoding="utf-8")
    outcome = clir("reproduce", path, "--home", tmp_path / "home", "--quiet")
    assert outcome.code == 2, outcome.err
    assert outcome.err.startswith(f"clir: {path}: ")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_the_file_without_faults_is_read(tmp_path):
    (tmp_path / "good.toml").write_text(GRID)
    assert files.load(str(tmp_path / "good.toml")).metrics == ("map",)


@pytest.mark.parametrize("suite", suites())
def test_the_experiments_of_the_package_can_run_in_every_suite(suite, tmp_path):
    study, base = Study(Workspace(load_settings(suite), tmp_path)), Base(suite)
    for name in files.names():
        experiment = files.load(name)
        assert experiment.question.endswith("?")
        study.add(experiment, expand(experiment, base))
    for task in study.tasks.values():
        assert set(task.needs) <= study.tasks.keys()


def test_the_experiments_are_listed_with_their_questions(clir):
    rows = clir("reproduce", "--json").json
    assert {row["experiment"] for row in rows} == set(files.names())
    assert "code_switching" in clir("reproduce").out


def test_an_unknown_experiment_is_told(clir):
    outcome = clir("reproduce", "opticl", "--dry-run")
    assert outcome.code == 2
    assert "did you mean optical?" in outcome.err
    assert clir("reproduce", "--all", "optical").code == 2
    assert clir("reproduce", "optical", "--cells", "3/2").code == 2
    assert "did you mean local" in clir("reproduce", "optical", "--engine", "locale").err


def test_the_file_in_the_manual_can_be_run(tmp_path):
    manual = bundled("experiments").parent / "docs" / "experiments.md"
    (block,) = re.findall(r"```toml\n(.*?)```", manual.read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "manual.toml").write_text(block, encoding="utf-8")
    read = files.load(str(tmp_path / "manual.toml"))
    assert {point.cell.variant for point in expand(read, Base("sample"))} == {
        "", "eps0.2", "words", "words-eps0.2",
    }  # fmt: skip
    assert {point.collection for point in expand(read, Base("paper"))} == {"belebele", "mlqa"}


# ------------------------------------------------------------------ names and values

VALUES = {
    "transport.eps": st.floats(1e-4, 1e3, allow_nan=False),
    "student.layers": st.integers(0, 99),
    "student.model": st.text(max_size=12),
    "bitext.realign": st.booleans(),
    "bitext.sources": st.lists(st.text("abc-", max_size=4), max_size=3),
}


@given(st.sampled_from(sorted(VALUES)).flatmap(lambda key: st.tuples(st.just(key), VALUES[key])))
@settings(derandomize=True, deadline=None)
def test_a_value_goes_through_the_command_line_and_back(each):
    key, value = each
    found = value_of(load_settings("sample", None, [assignment(key, value)]), key)
    assert found == (tuple(value) if isinstance(value, list) else value)


@given(st.sampled_from(sorted(VALUES)).flatmap(lambda key: st.tuples(st.just(key), VALUES[key])))
@settings(derandomize=True, deadline=None)
def test_a_canonical_name_is_one_for_a_variant(each):
    from clir_cli.commands.cells import variant_of

    assert variant_of(canonical(*each)) == canonical(*each)
    assert "seed" not in canonical(*each).split(".")


def test_names_read_as_people_write_them():
    assert canonical("transport.eps", 0.02) == "eps0.02"
    assert canonical("student.model", "org/Name-base") == "student_model-Name-base"
    assert canonical("bitext.seed", 1) == "bitext_seed1"
    assert canonical("bitext.realign", False) == "realign-false"


def test_an_unreadable_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        files.load(str(tmp_path / "none.toml"))
