import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.evaluation.fusion import NORMALISERS, fuse

ONE = {"q": {"a": 9.0, "b": 5.0, "c": 1.0}}
TWO = {"q": {"c": 0.9, "b": 0.8, "d": 0.1}}


def test_reciprocal_rank_fusion_by_hand():
    ((first, value), *rest) = fuse([ONE, TWO], "rrf", 10)["q"]
    assert first == "c"  # third and first: 1/63 + 1/61 is more than twice 1/62
    assert value == pytest.approx(1 / 63 + 1 / 61)
    assert [name for name, _ in rest] == ["b", "a", "d"]


def test_a_run_fused_with_itself_keeps_its_order():
    for by in NORMALISERS:
        assert [name for name, _ in fuse([ONE, ONE], by, 10)["q"]] == ["a", "b", "c"]


def test_a_query_that_one_run_lacks_is_ranked_by_the_other():
    assert [name for name, _ in fuse([ONE, {}], "zscore", 2)["q"]] == ["a", "b"]


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-100, 100), min_size=1),
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-100, 100), min_size=1),
    st.sampled_from(sorted(NORMALISERS)),
)
def test_every_document_is_ranked_once_and_order_of_runs_does_not_matter(one, two, by):
    fused = fuse([{"q": one}, {"q": two}], by, 100)["q"]
    assert {name for name, _ in fused} == set(one) | set(two)
    assert len(fused) == len(set(one) | set(two))
    values = [value for _, value in fused]
    assert values == sorted(values, reverse=True)
    swapped = dict(fuse([{"q": two}, {"q": one}], by, 100)["q"])
    assert swapped == pytest.approx(dict(fused))


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-50, 50), min_size=2),
    st.integers(1, 9),
    st.integers(-9, 9),
)
def test_z_scores_do_not_depend_on_scale_or_origin(run, scale, origin):
    moved = {name: scale * value + origin for name, value in run.items()}
    assert NORMALISERS["zscore"](moved) == pytest.approx(NORMALISERS["zscore"](run), abs=1e-9)
