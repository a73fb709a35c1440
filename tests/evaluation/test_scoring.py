"""Results: scores of runs, metrics across pairs, and comparisons with a baseline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, significance
from clir_cli.evaluation.measures import Bootstrap
from clir_cli.evaluation.runs import RUN_FILE, write_run
from clir_cli.evaluation.scoring import (
    Result,
    ScoredRun,
    compare_results,
    results_of,
    score_across_pairs,
    score_run,
)
from clir_cli.suites import load_settings

QUERIES = ("q1", "q2", "q3", "q4")
DOCUMENTS = [Document(name, "", name) for name in "abcd"]
QRELS = {query: {"a": 1} for query in QUERIES}
COLLECTION = Collection("tiny", DOCUMENTS, {}, QRELS, {})
SETTINGS = load_settings("sample")


@pytest.fixture
def scored(tmp_path: Path):
    """Score a run in which the relevant document has these ranks: ``scored("ot", 0, "1234")``."""

    def make(column: str, seed: int, ranks: str, pair: str = "sw-en") -> ScoredRun[str]:
        rankings = {}
        for query, rank in zip(QUERIES, ranks, strict=True):
            order = ["b", "c", "d"]
            order.insert(int(rank) - 1, "a")
            rankings[query] = [(document, -float(at)) for at, document in enumerate(order)]
        folder = tmp_path / f"{column} {seed} {ranks} {pair}"
        folder.mkdir(exist_ok=True)
        write_run(folder / RUN_FILE, rankings, tag=column)
        scores = score_run(folder, COLLECTION, ["mrr"], SETTINGS.evaluation)
        return ScoredRun(f"{column}/{seed}", column, seed, pair, COLLECTION, folder, scores)

    return make


def test_a_result_has_the_columns_of_a_score_table(scored) -> None:
    (result,) = results_of([scored("ot", 0, "1244")])
    low, high = Bootstrap().interval([1, 0.5, 0.25, 0.25])
    assert result.columns == {
        "collection": "tiny",
        "pair": "sw-en",
        "metric": "mrr",
        "value": 0.5,
        "queries": 4,
        "ci_low": low,
        "ci_high": high,
    }


def test_the_seeds_of_a_column_are_averaged_before_the_test(scored) -> None:
    runs = [scored("base", 0, "4321"), scored("ot", 0, "1124"), scored("ot", 1, "2211")]
    comparisons = compare_results(results_of(runs), "base", ["t"], strict=True)
    means = {"q1": 0.75, "q2": 0.75, "q3": 0.75, "q4": 0.625}
    values = {"base": runs[0].scores[0].per_query, "ot": means}
    (expected,) = significance.compare(values, "base", bootstrap=Bootstrap(resamples=100))
    assert comparisons == {1: {"t": expected}, 2: {"t": expected}}


def test_methods_are_corrected_together_and_pairs_apart(scored) -> None:
    columns = {"base": "4444", "up": "1112", "down": "4443"}
    runs = [scored(*of, pair) for pair in ("sw-en", "de-en") for of in _seed_zero(columns)]
    comparisons = compare_results(results_of(runs), "base", ["t", "randomisation"], strict=True)
    assert list(comparisons) == [1, 2, 4, 5]
    assert comparisons[1] == comparisons[4]
    for test in ("t", "randomisation"):
        of_pair = [comparisons[index][test] for index in (1, 2)]
        raw = [comparison.p_raw for comparison in of_pair]
        assert [comparison.p_value for comparison in of_pair] == significance.holm(raw)


def _seed_zero(columns: dict[str, str]) -> Iterator[tuple[str, int, str]]:
    return ((column, 0, ranks) for column, ranks in columns.items())


def test_what_has_no_counterpart_is_left_out_or_refused(scored) -> None:
    other = results_of([scored("ot", 0, "1234")])
    assert compare_results(other, "base", ["t"], strict=False) == {}
    base = results_of([scored("base", 0, "1234")])
    assert compare_results(base, "base", ["t"], strict=False) == {}
    with pytest.raises(UserError, match="nothing to compare with the baseline base"):
        compare_results(base, "base", ["t"], strict=True)


def test_metrics_across_pairs_belong_to_all_pairs_and_the_first_run(scored) -> None:
    runs = [scored("ot", 0, "2222"), scored("ot", 0, "1144", pair="de-en")]
    names = ["gap-mrr", gaps.RANK_DISTANCE]
    results: list[Result[str]] = list(score_across_pairs(runs, names, SETTINGS))
    assert [result.score.measure for result in results] == names
    assert [result.score.value for result in results] == pytest.approx([0.625 - 0.5, 1.5])
    assert all(result.pair == "all" and result.run is runs[0] for result in results)
    assert {result.queries for result in results} == {4}
