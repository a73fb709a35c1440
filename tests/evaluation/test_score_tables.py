"""Score tables: rows are put in, the others stay to the last digit, and text stays text."""

import csv
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.errors import UserError
from clir_cli.evaluation.scores import COLUMNS, PER_QUERY_COLUMNS, read_table, update

# What a reader of tables likes to take for something else than text.
WORDS = st.sampled_from(["", "NA", "null", "001", "1e5", "True", "nan", 'a,"b"', "ä", "2024-01-01"])


def row(**changed: object) -> dict[str, object]:
    return {
        "suite": "sample", "collection": "sample", "pair": "sw-en", "method": "ot", "variant": "",
        "seed": 0, "metric": "map", "value": 0.5, "queries": 80, "ci_low": 0.4, "ci_high": 0.6,
    } | changed  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_table_has_the_columns_that_are_promised_and_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "results" / "sample" / "scores.csv"
    rows = [row(pair="tl-en"), row(seed=10), row(seed=2), row(metric="mrr"), row(method="english")]
    update(path, rows, COLUMNS)
    assert path.read_text().splitlines()[0] == (
        "suite,collection,pair,method,variant,seed,metric,value,queries,ci_low,ci_high"
    )
    told = [(each["pair"], each["method"], each["seed"], each["metric"]) for each in read(path)]
    assert told == [
        ("sw-en", "english", "0", "map"),
        ("sw-en", "ot", "0", "mrr"),
        ("sw-en", "ot", "2", "map"),
        ("sw-en", "ot", "10", "map"),
        ("tl-en", "ot", "0", "map"),
    ]
    assert [each.name for each in path.parent.iterdir()] == ["scores.csv"]


ROWS = st.lists(
    st.builds(
        row,
        collection=WORDS,
        variant=WORDS,
        seed=st.integers(0, 2**63 - 1),
        metric=st.sampled_from(["map", "mrr"]),
        value=st.floats(0, 1),
        ci_low=st.floats(0, 1),
    ),
    max_size=5,
)


@given(st.lists(ROWS, min_size=1, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_the_last_row_of_a_key_counts_and_all_others_stay_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict]]
) -> None:
    path = tmp_path_factory.mktemp("results") / "scores.csv"
    expected = {}
    for batch in batches:
        update(path, batch, COLUMNS)
        for each in batch:
            key = tuple(str(each[name]) for name in COLUMNS[:7])
            expected[key] = (each["value"], each["ci_low"])
        found = {
            tuple(each[name] for name in COLUMNS[:7]): (
                float(each["value"]),
                float(each["ci_low"]),
            )
            for each in read(path)
        }
        assert found == expected
        assert len(read(path)) == len(expected)


def test_bringing_the_same_rows_again_changes_not_one_byte(tmp_path: Path) -> None:
    path = tmp_path / "per_query.csv"
    rows = [
        row(query=query, value=value)
        for query, value in [("007", 1 / 3), ("7", 0.1 + 0.2), ("NA", 5e-324), ("ä b", 1.0)]
    ]
    update(path, rows, PER_QUERY_COLUMNS)
    before = path.read_bytes()
    assert [each["query"] for each in read(path)] == ["007", "7", "NA", "ä b"]
    update(path, rows[:1], PER_QUERY_COLUMNS)
    update(path, [], PER_QUERY_COLUMNS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", ",".join(COLUMNS[:-1]) + "\n", "suite,seed\nx,many\n", '"open']
)
def test_what_is_no_score_table_is_told_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"scores\.csv: not a score table of clir; move it away"):
        update(path, [row()], COLUMNS)
    assert path.read_text() == content
    assert [each.name for each in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("{0},0.5,80,0.4,0.6\n{0},0.5,80,0.4,0.", 3),  # cut in the last number
        ("{0},0.5,80,0.4,0.6\n{0},0.5\n", 3),
        ("{0},0.5,80,0.4,0.6,7\n", 2),
        ("{0},0.5,80,half,0.6\n", 2),
        ("{0},nan,80,0.4,0.6\n", 2),
        ("s,c,p,m,v,first,map,0.5,80,0.4,0.6\n", 2),
        ("s,c,p,m,v,{1},map,0.5,80,0.4,0.6\n", 2),
    ],
)
def test_a_damaged_row_is_refused_by_its_number(tmp_path: Path, table: str, row: int) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(",".join(COLUMNS) + "\n" + table.format("s,c,p,m,v,0,map", "9" * 5000))
    numbers = ["value", "queries", "ci_low", "ci_high"]
    with pytest.raises(UserError, match=rf"scores\.csv: row {row} is damaged; move the file away"):
        read_table(path, COLUMNS, numbers)


def put_in(path: Path, seed: int) -> None:
    for metric in ("map", "mrr", "ndcg@10"):
        update(path, [row(seed=seed, metric=metric)], COLUMNS)


def test_tables_that_are_written_side_by_side_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=put_in, args=(path, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert len(read(path)) == 9


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_place_of_a_table_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scores.csv")
    with pytest.raises(UserError, match=r"scores\.csv: not a regular file; move it away"):
        update(tmp_path / "scores.csv", [], COLUMNS)
