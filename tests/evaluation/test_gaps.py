"""Measures across pairs: the gap between resource groups, and the distance of ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.errors import UserError
from clir_cli.evaluation.gaps import (
    gap,
    parse_metrics,
    rank_distance,
    resource_of,
    split_metrics,
)
from clir_cli.evaluation.measures import Bootstrap
from clir_cli.evaluation.runs import ranks


def values(*numbers: float) -> dict[str, float]:
    return {f"q{place}": number for place, number in enumerate(numbers)}


def test_the_gap_is_the_mean_of_the_high_minus_the_mean_of_the_low() -> None:
    found = gap(
        {"de-en": values(0.8, 0.6), "fr-en": values(0.6, 0.8), "sw-en": values(0.1, 0.5)}, "map"
    )
    assert found.measure == "gap-map"
    assert found.per_query == pytest.approx({"q0": 0.6, "q1": 0.2})
    assert found.value == pytest.approx(0.4)
    assert found.low <= found.value <= found.high


def test_every_pair_counts_the_same_however_many_queries_it_has() -> None:
    found = gap({"de-en": values(*[1.0] * 30), "fr-en": {"f": 0.0}, "sw-en": {"s": 0.25}}, "mrr")
    assert found.value == pytest.approx(0.25)
    assert found.per_query == {}


def test_languages_that_are_all_the_same_have_a_gap_of_exactly_nothing() -> None:
    same = values(*np.random.default_rng(2).random(40))
    found = gap(dict.fromkeys(("sw-en", "so-en", "tl-en", "de-en", "fr-en", "fi-en"), same), "map")
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert set(map(str, found.per_query.values())) == {"0.0"}  # and no -0.0


def test_what_makes_a_query_hard_in_every_language_does_not_widen_the_interval() -> None:
    hard = np.random.default_rng(0).random(80)
    high = {query: value + 0.1 for query, value in values(*hard).items()}
    together = gap({"de-en": high, "sw-en": values(*hard)}, "map")
    assert (together.low, together.high) == pytest.approx((0.1, 0.1))
    apart = gap({"de-en": {f"d{q}": v for q, v in high.items()}, "sw-en": values(*hard)}, "map")
    assert apart.value == pytest.approx(0.1)
    single = np.subtract(*Bootstrap().interval(hard)[::-1])
    assert apart.high - apart.low == pytest.approx(single * np.sqrt(2), rel=0.12)


def test_without_one_of_the_groups_there_is_no_gap() -> None:
    with pytest.raises(UserError, match=r"none of sw-en, so-en is high-resource; take --lang all"):
        gap({"sw-en": values(1), "so-en": values(1)}, "map")
    with pytest.raises(UserError, match="none of de-en is low-resource"):
        gap({"de-en": values(1)}, "map")


def test_english_belongs_to_neither_group() -> None:
    assert [resource_of(pair) for pair in ("sw-en", "de-en", "en-en")] == ["low", "high", ""]
    pairs = {"de-en": values(1.0), "sw-en": values(0.5)}
    assert gap({**pairs, "en-en": values(0.0)}, "map").value == gap(pairs, "map").value == 0.5


# -------------------------------------------------------------------------------- rank distance


def run(**order: str) -> dict[str, dict[str, float]]:
    """``run(q1="abc")``: documents a, b, c, best first."""
    return {
        query: {document: -float(rank) for rank, document in enumerate(ranked)}
        for query, ranked in order.items()
    }


def test_rank_distance_is_the_spread_of_a_documents_rank_over_the_languages() -> None:
    runs = {"sw-en": run(q1="abcd", q2="ab"), "de-en": run(q1="dcba", q2="ab"),
            "fr-en": run(q1="bacd", q2="ab")}  # fmt: skip
    qrels = {"q1": {"a": 1, "b": 2, "c": 0}, "q2": {"b": 1}}
    found = rank_distance(runs, dict.fromkeys(runs, qrels), 10)
    # q1: a at 1, 4, 2 and b at 2, 3, 1, which is (3 + 2) / 2; q2: b at 2 everywhere.
    assert found.per_query == {"q1": 2.5, "q2": 0.0}
    assert found.value == 1.25


def test_a_document_that_was_not_found_stands_one_behind_the_last() -> None:
    runs = {"sw-en": run(q1="bc"), "de-en": run(q1="ab")}
    qrels = {pair: {"q1": {"a": 1}} for pair in runs}
    assert rank_distance(runs, qrels, 100).value == 100
    assert rank_distance({**runs, "de-en": {}}, qrels, 100).value == 0  # 101 in both


def test_only_what_the_pairs_share_is_compared() -> None:
    runs = {"sw-en": run(q1="ab", q2="ab"), "de-en": run(q1="ba", q3="ab")}
    qrels = {"sw-en": {"q1": {"a": 1, "b": 1}, "q2": {"a": 1}},
             "de-en": {"q1": {"a": 1, "b": 0}, "q3": {"a": 1}}}  # fmt: skip
    assert rank_distance(runs, qrels, 10).per_query == {"q1": 1.0}
    with pytest.raises(UserError, match="share none"):
        rank_distance(runs, {**qrels, "de-en": {"q3": {"a": 1}}}, 10)
    with pytest.raises(UserError, match="name two or more"):
        rank_distance({"sw-en": runs["sw-en"]}, qrels, 10)


RANKINGS = st.permutations("abcdef").map("".join)


@given(st.lists(RANKINGS, min_size=2, max_size=4), RANKINGS)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_rank_distance_is_zero_for_one_ranking_and_never_shrinks_with_a_language(
    rankings: list[str], more: str
) -> None:
    languages = ("sw-en", "so-en", "de-en", "fr-en", "fi-en")
    qrels = {pair: {"q": {"b": 1, "e": 1}} for pair in languages}

    def distance(orders: list[str]) -> float:
        runs = {pair: run(q=order) for pair, order in zip(languages, orders, strict=False)}
        return rank_distance(runs, qrels, 6, Bootstrap(resamples=100)).value

    assert distance([more] * 3) == 0
    assert 0 <= distance(rankings) <= 5
    assert distance(rankings) <= distance([*rankings, more])
    assert distance(rankings) == distance(rankings[::-1])


def test_ties_are_ranked_as_trec_eval_ranks_them() -> None:
    assert ranks({"d1": 1.0, "d9": 1.0, "d5": 2.0}) == {"d5": 1, "d9": 2, "d1": 3}


# -------------------------------------------------------------------------------- names


def test_metrics_across_pairs_are_asked_for_as_any_other() -> None:
    names = parse_metrics(" MAP,gap-nDCG@10, rank-distance,map,gap-map")
    assert names == ["map", "gap-ndcg@10", "rank-distance", "gap-map"]
    assert split_metrics(names).single == ("map",)
    assert split_metrics(names).scored == ("map", "ndcg@10")
    assert split_metrics(names).across == ("gap-ndcg@10", "rank-distance", "gap-map")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("gap-mapp", "unknown metric 'mapp': did you mean map?"),
        ("gap-recall", "metric 'recall' needs a cut-off"),
        ("gap-", "unknown metric 'gap-'"),
        ("rank-distanc", "unknown metric 'rank-distanc'"),
        ("", "--metric is empty"),
    ],
)
def test_a_wrong_name_across_pairs_is_told(typed: str, said: str) -> None:
    with pytest.raises(UserError, match="metric") as caught:
        parse_metrics(typed)
    assert said in str(caught.value)
