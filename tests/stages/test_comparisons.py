"""evaluate with a baseline, and metrics across pairs: on runs of BM25, which need no model."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from clir_cli.cli import run
from clir_cli.evaluation.significance import holm, paired_t

KEYS = [
    "suite", "collection", "pair", "method", "variant", "seed", "metric", "value", "queries",
    "ci_low", "ci_high",
]  # fmt: skip
METHODS = "bm25,dictionary-bm25,english-bm25"
WORDS = ("--set", "dictionary.induced=false")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Runs of three methods over the sample, for a low- and a high-resource pair."""
    folder = tmp_path_factory.mktemp("bm25")
    words = ["search", "--lang", "sw-en,de-en", "--method", METHODS, "--home", str(folder)]
    assert run([*words, *WORDS, "--quiet"]) == 0
    return folder


@pytest.fixture
def evaluate(clir, home, tmp_path):
    def call(*words, lang="sw-en,de-en", method=METHODS):
        own = ("--home", home, "--results", tmp_path, "--json", *WORDS)
        return clir("evaluate", "--lang", lang, "--method", method, *words, *own)

    return call


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_baseline_adds_its_name_and_corrected_p_values(evaluate, tmp_path):
    rows = evaluate("--metric", "map,mrr", "--baseline", "bm25").json
    assert all(list(row) == [*KEYS, "baseline", "p_value"] for row in rows)
    assert {row["baseline"] for row in rows} == {"bm25"}
    queries: dict[tuple[str, ...], list[float]] = {}
    for row in table(tmp_path / "sample" / "per_query.csv"):
        key = (row["pair"], row["metric"], row["method"])
        queries.setdefault(key, []).append(float(row["value"]))
    p = {(row["pair"], row["metric"], row["method"]): row["p_value"] for row in rows}
    for pair, metric in (("sw-en", "map"), ("de-en", "mrr")):
        raw = [
            paired_t(queries[pair, metric, method], queries[pair, metric, "bm25"])
            for method in ("dictionary-bm25", "english-bm25")
        ]
        told = [p[pair, metric, method] for method in ("dictionary-bm25", "english-bm25")]
        assert told == pytest.approx(holm(raw))
        assert p[pair, metric, "bm25"] is None
    # The tables of scores stay as they are without a comparison.
    assert list(table(tmp_path / "sample" / "scores.csv")[0]) == KEYS


def test_the_randomisation_test_is_a_setting(evaluate):
    words = ("--metric", "map", "--baseline", "bm25", "--set", "evaluation.test=randomisation")
    rows = evaluate(*words).json
    least = min(row["p_value"] for row in rows if row["p_value"] is not None)
    assert least == pytest.approx(2 * 2 / 10_001)  # never 0; twice for two methods


def test_a_baseline_that_is_not_asked_for_is_scored_too(evaluate):
    rows = evaluate("--metric", "map", "--baseline", "bm25", method="english-bm25").json
    assert {row["method"] for row in rows} == {"bm25", "english-bm25"}


def test_the_table_for_people_marks_what_is_significant(clir, home, tmp_path):
    words = ("--lang", "sw-en", "--method", METHODS, "--metric", "map", "--baseline", "bm25")
    outcome = clir("evaluate", *words, "--home", home, "--results", tmp_path, *WORDS)
    assert outcome.code == 0, outcome.err
    table, _, legend = outcome.out.partition("▲ ▼:")
    assert table.count("▲") == 2
    assert "above or below bm25 by a paired t-test, p < .05 after Holm's correction" in legend


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ("bm52", "unknown method 'bm52': did you mean bm25"),
        ("bm25,english-bm25", "name one method"),
        (".plain", "name one method"),
        ("zero-shot", "make it with: clir"),
    ],
)
def test_a_wrong_baseline_is_told(evaluate, baseline, said):
    outcome = evaluate("--metric", "map", "--baseline", baseline)
    assert outcome.code == 2
    assert said in outcome.err


def test_with_the_baseline_alone_there_is_nothing_to_compare(evaluate):
    outcome = evaluate("--metric", "map", "--baseline", "bm25", method="bm25")
    assert outcome.code == 2
    assert "nothing to compare with the baseline bm25" in outcome.err


def test_scoring_leaves_torch_unimported(home, tmp_path):
    script = "import sys; from clir_cli.cli import run; print(run(sys.argv[1:]), *sys.modules)"
    words = ["evaluate", "--lang", "sw-en,de-en", "--method", METHODS, "--metric", "map,gap-map"]
    words += ["--baseline", "bm25", "--home", home, "--results", tmp_path, *WORDS, "--quiet"]
    command = [sys.executable, "-c", script, *map(str, words)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *modules = process.stdout.splitlines()[-1].split()
    assert code == "0", process.stderr
    assert "clir_cli.evaluation.scoring" in modules
    assert "torch" not in modules


# -------------------------------------------------------------------------------- across pairs


def test_gap_and_rank_distance_are_rows_of_all_pairs(evaluate, tmp_path):
    rows = evaluate("--metric", "gap-map,rank-distance").json
    value = {(row["pair"], row["method"], row["metric"]): row["value"] for row in rows}
    for method in METHODS.split(","):
        gap = value["de-en", method, "map"] - value["sw-en", method, "map"]
        assert value["all", method, "gap-map"] == pytest.approx(gap)
    # English queries are the same whatever the pair; so are the ranks.
    assert value["all", "english-bm25", "rank-distance"] == 0
    assert value["all", "bm25", "rank-distance"] > 1
    across = [row for row in rows if row["pair"] == "all"]
    assert {row["queries"] for row in across} == {80}
    kept = {row["metric"] for row in table(tmp_path / "sample" / "per_query.csv")}
    assert kept == {"map", "gap-map", "rank-distance"}


def test_metrics_across_pairs_are_compared_too(evaluate):
    rows = evaluate("--metric", "rank-distance", "--baseline", "bm25").json
    p = {row["method"]: row["p_value"] for row in rows if row["metric"] == "rank-distance"}
    assert p["english-bm25"] < 0.01
    assert p["bm25"] is None


def test_one_pair_has_neither_gap_nor_distance(evaluate):
    outcome = evaluate("--metric", "gap-map", lang="sw-en")
    assert outcome.code == 2
    assert "none of sw-en is high-resource; take --lang all" in outcome.err
    outcome = evaluate("--metric", "rank-distance", lang="sw-en")
    assert outcome.code == 2
    assert "name two or more" in outcome.err
