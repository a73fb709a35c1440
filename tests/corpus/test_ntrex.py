"""NTREX cut into runs of sentences, and its articles with grades."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats.known_item import read_ntrex, read_ntrex_articles
from clir_cli.errors import UserError


def ntrex(folder: Path, sizes: list[int], *, end: str = "\n", odd: str = "") -> list[LocalFile]:
    """Lay documents of so many sentences in three files, as NTREX-128 is published."""
    names = [f"paper.{number}" for number, size in enumerate(sizes) for _ in range(size)]
    files = {"": names}
    for spoken in ("en", "sw"):
        files[spoken] = [f"{spoken} {number}{odd}" for number in range(len(names))]
    located = []
    for spoken, lines in files.items():
        path = folder / f"lines.{spoken}"
        path.write_bytes("".join(line + end for line in lines).encode())
        located.append(LocalFile(path, CatalogueFile(path.name, lang=spoken)))
    return located


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 17), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_ntrex_is_cut_into_runs_of_five_and_a_short_rest_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], end: str
) -> None:
    parts = read_ntrex(ntrex(tmp_path_factory.mktemp("ntrex"), sizes, end=end))
    expected, first = {}, 0
    for document, size in enumerate(sizes):
        for run in range(size // 5 + (size % 5 >= 3)):
            start = first + 5 * run
            expected[f"paper.{document}-{run + 1:02d}"] = range(start, min(start + 5, first + size))
        first += size
    assert [document.id for document in parts.documents] == list(expected)
    for document in parts.documents:
        query, *relevant = expected[document.id]
        assert 2 <= len(relevant) <= 4
        assert document.full_text == " ".join(f"en {number}" for number in relevant)
        assert parts.queries["sw"][document.id] == f"sw {query}"
        assert parts.queries["en"][document.id] == f"en {query}"
        assert parts.qrels[document.id] == {document.id: 1}
    assert parts.queries.keys() == {"en", "sw"}
    assert parts.qrels.keys() == parts.queries["sw"].keys() == expected.keys()


def test_articles_of_ntrex_are_graded_by_their_distance_to_the_sentence(tmp_path: Path) -> None:
    parts = read_ntrex_articles(ntrex(tmp_path, [13, 4, 8]))  # three runs, one, two
    assert [document.id for document in parts.documents] == [
        "paper.0-01", "paper.0-02", "paper.0-03", "paper.2-01", "paper.2-02",
    ]  # fmt: skip
    assert parts.documents[1].full_text == "en 5 en 6 en 7"
    assert parts.queries["sw"]["paper.0-02"] == "sw 4"
    assert parts.qrels == {
        "paper.0-01": {"paper.0-01": 2, "paper.0-02": 1, "paper.0-03": 1},
        "paper.0-02": {"paper.0-01": 2, "paper.0-02": 2, "paper.0-03": 1},
        "paper.0-03": {"paper.0-01": 1, "paper.0-02": 2, "paper.0-03": 2},
        "paper.2-01": {"paper.2-01": 2, "paper.2-02": 1},
        "paper.2-02": {"paper.2-01": 2, "paper.2-02": 2},
    }
    shown = " ".join(document.full_text for document in parts.documents).split("en ")
    asked = {text.removeprefix("sw ") for text in parts.queries["sw"].values()}
    assert asked.isdisjoint(text.strip() for text in shown)


def test_odd_characters_in_an_ntrex_sentence_move_no_line(tmp_path: Path) -> None:
    plain, odd = ({}, {})
    for found, mark in ((plain, ""), (odd, "\u2028a\x85b\x0cc")):
        folder = tmp_path / str(len(mark))
        folder.mkdir()
        found.update(read_ntrex(ntrex(folder, [5, 4], odd=mark)).queries["sw"])
    assert {key: text.split("\u2028")[0] for key, text in odd.items()} == plain


def test_unequal_ntrex_files_are_told(tmp_path: Path) -> None:
    files = ntrex(tmp_path, [5, 5])
    files[2].path.write_text("sw 0\n" * 9)
    with pytest.raises(UserError, match=r"lines.sw: 9 lines, but 10 document names"):
        read_ntrex(files)
