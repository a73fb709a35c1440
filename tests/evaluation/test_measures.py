"""Measures: trec_eval's definitions, missing queries, spellings, and the interval."""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus.formats.reading import LARGEST_GRADE
from clir_cli.errors import UserError
from clir_cli.evaluation.fusion import fuse
from clir_cli.evaluation.measures import Bootstrap, parse_measures, score

ALL = ["map", "mrr", "ndcg", "ndcg@3", "recall@3", "p@3", "success@1", "rprec", "map@2", "mrr@2"]
# Three relevant documents; one of them is never found. Ranked: d2, d1, d4, d3.
QRELS = {"q1": {"d1": 1, "d2": 0, "d3": 2, "d9": 1}}
RUN = {"q1": {"d1": 0.8, "d2": 0.9, "d3": -0.1, "d4": 0.5}}
IDEAL = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)


def means(qrels: dict, run: dict, names: list[str]) -> dict[str, float]:
    return {each.measure: each.value for each in score(qrels, run, names, Bootstrap(resamples=100))}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("map", (1 / 2 + 2 / 4) / 3),
        ("map@2", (1 / 2) / 3),
        ("mrr", 1 / 2),
        ("mrr@2", 1 / 2),
        ("mrr@1", 0),
        ("p@1", 0),
        ("p@3", 1 / 3),
        ("p@10", 2 / 10),  # trec_eval divides by the cut-off, not by what was found
        ("recall@3", 1 / 3),
        ("recall@100", 2 / 3),
        ("success@1", 0),
        ("success@2", 1),
        ("rprec", 1 / 3),
        ("ndcg", (1 / math.log2(3) + 2 / math.log2(5)) / IDEAL),  # the gain is the grade itself
        ("ndcg@3", (1 / math.log2(3)) / IDEAL),
    ],
)
def test_a_measure_is_what_trec_eval_defines(name: str, expected: float) -> None:
    assert means(QRELS, RUN, [name])[name] == pytest.approx(expected, abs=1e-6)


def reference(grades: dict[str, int], found: dict[str, float]) -> dict[str, float]:
    """Measures of one query, from their definitions."""
    ranked = sorted(found, key=lambda document: (found[document], document), reverse=True)
    gains = [max(grades.get(document, 0), 0) for document in ranked]
    hits = [gain > 0 for gain in gains]
    relevant = sum(grade > 0 for grade in grades.values())

    def average_precision(cut: int | None) -> float:
        told = [sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits[:cut]) if hit]
        return sum(told) / relevant if relevant else 0.0

    def reciprocal_rank(cut: int | None) -> float:
        return next((1 / (n + 1) for n, hit in enumerate(hits[:cut]) if hit), 0.0)

    def ndcg(cut: int | None) -> float:
        def gain(values: list[int]) -> float:
            return sum(value / math.log2(n + 2) for n, value in enumerate(values[:cut]))

        ideal = gain(sorted((max(grade, 0) for grade in grades.values()), reverse=True))
        return gain(gains) / ideal if ideal else 0.0

    return {
        "map": average_precision(None),
        "map@2": average_precision(2),
        "mrr": reciprocal_rank(None),
        "mrr@2": reciprocal_rank(2),
        "ndcg": ndcg(None),
        "ndcg@3": ndcg(3),
        "recall@3": sum(hits[:3]) / relevant if relevant else 0.0,
        "p@3": sum(hits[:3]) / 3,
        "success@1": float(any(hits[:1])),
        "rprec": sum(hits[:relevant]) / relevant if relevant else 0.0,
    }


DOCUMENTS = st.sampled_from([f"d{number}" for number in range(8)])
GRADES = st.dictionaries(DOCUMENTS, st.integers(0, 3), min_size=1)
# Few values, so that ties occur: trec_eval puts the greater document id first among them, and the
# same order must hold for measures that ir-measures does not take from trec_eval.
FOUND = st.dictionaries(DOCUMENTS, st.sampled_from([-2.0, 0.0, 0.5, 1.0, 7.0]))
QUERIES = st.sampled_from(["q1", "q2", "q3", "q4"])


@given(st.dictionaries(QUERIES, GRADES, min_size=1), st.dictionaries(QUERIES, FOUND))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_every_measure_agrees_with_its_definition_on_any_run(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    expected = {query: reference(grades, run.get(query, {})) for query, grades in qrels.items()}
    for found in score(qrels, run, ALL, Bootstrap(resamples=100)):
        assert found.per_query.keys() == qrels.keys()
        for query, value in found.per_query.items():
            assert value == pytest.approx(expected[query][found.measure], abs=1e-6)
        assert found.value == pytest.approx(np.mean(list(found.per_query.values())))
        assert 0 <= found.low <= found.high <= 1


def test_equal_scores_are_ordered_as_trec_eval_orders_them() -> None:
    run = {"q1": {"d1": 1.0, "d9": 1.0, "d0": 1.0, "d5": 1.0}}
    told = pytrec_eval.RelevanceEvaluator(QRELS, {"map", "recip_rank", "ndcg", "P_1"}).evaluate(run)
    ours = means(QRELS, run, ["map", "mrr", "ndcg", "p@1"])
    assert list(ours.values()) == pytest.approx(
        [told["q1"][name] for name in ("map", "recip_rank", "ndcg", "P_1")], abs=1e-9
    )
    assert means(QRELS, run, ["mrr@10"])["mrr@10"] == ours["mrr"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("missing", [None, {}])
def test_a_query_that_the_run_lacks_counts_zero(name: str, missing: dict | None) -> None:
    perfect = {"q1": {"d3": 3.0, "d1": 2.0, "d9": 1.0}}
    whole = means(QRELS, perfect, [name])[name]
    assert whole > 0
    qrels = {**QRELS, "q2": {"d1": 1}}
    run = perfect if missing is None else {**perfect, "q2": missing}
    (found,) = score(qrels, run, [name], Bootstrap(resamples=100))
    assert found.value == pytest.approx(whole / 2)
    assert found.per_query["q2"] == 0


def test_an_empty_run_scores_zero_and_an_unjudged_query_changes_nothing() -> None:
    for run in ({}, {"other": {"d1": 1.0}}):
        assert set(means(QRELS, run, ALL).values()) == {0.0}
    more = {**RUN, "unjudged": {"d1": 1.0}}
    assert means(QRELS, more, ALL) == means(QRELS, RUN, ALL)


def test_scores_come_in_the_order_asked_for() -> None:
    for names in (ALL, ALL[::-1]):
        assert [
            each.measure for each in score(QRELS, RUN, names, Bootstrap(resamples=100))
        ] == names


# -------------------------------------------------------------------------------- spellings


def test_names_are_brought_to_one_spelling_and_each_counts_once() -> None:
    assert parse_measures(" MAP, nDCG@10 ,map,,Recall@100") == ["map", "ndcg@10", "recall@100"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("mapp", "unknown metric 'mapp': did you mean map?"),
        ("ndgc@10", "unknown metric 'ndgc@10': did you mean ndcg@10?"),
        ("map,recal@100", "did you mean recall@100?"),
        ("sucess@5", "did you mean success@5?"),
        ("bpref?", "unknown metric 'bpref?': did you mean rprec?"),
        ("zzz", "known: map, mrr, ndcg@10, recall@100, p@10, success@5, rprec"),
        ("recall", "metric 'recall' needs a cut-off, as in recall@10"),
        ("p", "metric 'p' needs a cut-off, as in p@10"),
        ("rprec@5", "takes no cut-off"),
        ("ndcg@0", "unknown metric 'ndcg@0'"),
        ("ndcg@", "unknown metric 'ndcg@'"),
        ("ndcg@-1", "unknown metric 'ndcg@-1'"),
        ("ndcg@ten", "unknown metric 'ndcg@ten'"),
        ("", "--metric is empty; for example: map, mrr, ndcg@10"),
        (" , ", "--metric is empty"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(typed: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_measures(typed)
    assert said in str(caught.value)


# -------------------------------------------------------------------------------- intervals

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(VALUES, st.integers(0, 5))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_an_interval_is_ordered_inside_the_values_and_the_same_every_time(
    values: list[float], seed: int
) -> None:
    low, high = Bootstrap(200, 0.95, seed).interval(values)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert Bootstrap(200, 0.95, seed).interval(values) == (low, high)
    wide_low, wide_high = Bootstrap(200, 0.99, seed).interval(values)
    assert wide_low <= low <= high <= wide_high
    # Of the mean: it moves and stretches as the values do.
    moved = Bootstrap(200, 0.95, seed).interval([3 - 2 * value for value in values])
    assert moved == pytest.approx((3 - 2 * high, 3 - 2 * low))


@given(st.floats(0, 1), st.integers(1, 40))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_constant_values_leave_no_doubt(value: float, count: int) -> None:
    assert Bootstrap(100, 0.9).interval([value] * count) == pytest.approx((value, value))


def test_an_interval_narrows_as_queries_are_added_and_covers_as_often_as_it_says() -> None:
    chance = np.random.default_rng(7)
    small, large = chance.random(20), chance.random(2000)
    widths = [np.diff(Bootstrap(1000).interval(each))[0] for each in (small, large)]
    assert widths[1] < widths[0] / 5
    # The normal approximation of the mean's interval, 1.96 standard errors to each side.
    error = 1.96 * large.std() / math.sqrt(len(large))
    expected = (large.mean() - error, large.mean() + error)
    assert Bootstrap(1000).interval(large) == pytest.approx(expected, abs=0.002)
    covered = 0
    for _ in range(200):
        low, high = Bootstrap(300).interval(chance.random(50))
        covered += low <= 0.5 <= high
    assert 176 <= covered <= 200  # 190 expected; four standard deviations are 12


# ------------------------------------------------------------------------- what is not computed


def test_a_value_that_the_library_did_not_compute_is_no_zero(monkeypatch) -> None:
    qrels, run = {**QRELS, "q2": {"d1": 1}}, {**RUN, "q2": {"d1": 0.1}}
    evaluate = pytrec_eval.RelevanceEvaluator.evaluate

    def forgetful(self, scores):
        return {query: row for query, row in evaluate(self, scores).items() if query != "q2"}

    monkeypatch.setattr(pytrec_eval.RelevanceEvaluator, "evaluate", forgetful)
    with pytest.raises(UserError, match="did not compute nDCG of query q2"):
        score(qrels, run, ["ndcg"], Bootstrap(resamples=100))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_run_with_scores_that_are_no_numbers_has_no_order(bad: float) -> None:
    with pytest.raises(UserError, match="document d4 has the score"):
        means(QRELS, {"q1": {**RUN["q1"], "d4": bad}}, ["map"])
    with pytest.raises(UserError, match="has the score"):
        fuse([RUN, {"q1": {"d1": bad, "d2": 1.0}}], "zscore", 10)


def test_measures_are_exact_up_to_the_largest_grade() -> None:
    top = LARGEST_GRADE
    qrels = {"q1": {"d1": top, "d2": -top, "d3": top - 1, "d9": 1}}
    expected = reference(qrels["q1"], RUN["q1"])
    for name, value in means(qrels, RUN, ALL).items():
        assert value == pytest.approx(expected[name], abs=1e-9)
