"""Runs in TREC format: what is written is what is read, and what others read."""

from pathlib import Path

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.errors import UserError
from clir_cli.evaluation.measures import Bootstrap, score
from clir_cli.evaluation.runs import read_run, write_run

IDS = st.text("aé名9-_.:", min_size=1, max_size=5)
RANKED = st.dictionaries(IDS, st.floats(-1e9, 1e9, width=32), min_size=1, max_size=6)


@given(st.dictionaries(IDS, RANKED, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_run_is_read_as_it_was_written_with_ranks_from_one(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.trec"
    ranked = {
        query: sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        for query, scores in found.items()
    }
    write_run(path, ranked, tag="ot")
    assert read_run(path) == found  # every score to its last digit
    lines = [line.split(" ") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert all(len(line) == 6 and line[1] == "Q0" and line[5] == "ot" for line in lines)
    for query, expected in ranked.items():
        rows = [line for line in lines if line[0] == query]
        assert [int(row[3]) for row in rows] == list(range(1, len(expected) + 1))
        assert [row[2] for row in rows] == [document for document, _ in expected]


def test_scores_that_differ_in_the_last_digit_stay_in_order(tmp_path: Path) -> None:
    close = [("b", 12.000001), ("c", 12.0000005), ("a", 12.0), ("z", -0.0), ("y", -1e-30)]
    write_run(tmp_path / "run.trec", {"q": close}, tag="t")
    assert list(read_run(tmp_path / "run.trec")["q"].items()) == close


def test_other_readers_of_the_format_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q1": [("d1", 2.5), ("d2", -1.0)], "q2": [("d1", 1e-7)]}, tag="ot.plain.seed1")
    told = [(row.query_id, row.doc_id, row.score) for row in ir_measures.read_trec_run(str(path))]
    assert told == [("q1", "d1", 2.5), ("q1", "d2", -1.0), ("q2", "d1", 1e-7)]
    (found,) = score(
        {"q1": {"d2": 1}, "q2": {"d1": 1}}, read_run(path), ["mrr"], Bootstrap(resamples=100)
    )
    assert found.per_query == {"q1": 0.5, "q2": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        "q1 Q0 d1 1 high ot", "q1 Q0 d1 1 0.5", "q1 Q0 d1 1 0.5 ot more", "", "q1\td1",
        "q1 Q0 d1 1 nan ot", "q1 Q0 d1 1 -inf ot", "q1 Q0 d1 1 1_0 ot",
    ],
)  # fmt: skip
def test_a_line_of_another_format_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(f"q1 Q0 d1 1 0.5 ot\n{line}\nq1 Q0 d3 3 0.1 ot\n")
    with pytest.raises(UserError, match=r"run\.trec, line 2: not a line of a TREC run"):
        read_run(path)


def test_a_document_that_is_ranked_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("q1 Q0 d1 1 0.5 ot\nq2 Q0 d1 1 0.5 ot\nq1 Q0 d1 2 0.5 ot\n")
    with pytest.raises(UserError, match=r"run\.trec, line 3: q1 d1 is ranked twice"):
        read_run(path)
    path.write_bytes("q1 Q0 é 1 0.5 ot\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"run\.trec: a run is UTF-8"):
        read_run(path)


def test_a_run_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q": [("d", 1.0)]}, tag="ot")
    with pytest.raises(UnicodeEncodeError):
        write_run(path, {"q": [("d", 2.0), ("\ud800", 1.0)]}, tag="ot")
    assert read_run(path) == {"q": {"d": 1.0}}
    assert [each.name for each in tmp_path.iterdir()] == ["run.trec"]
