"""English questions and titles with their passages, from files as they are published."""

import json
import os
from pathlib import Path

import pytest
from collection_files import located

from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.formats import english_pairs
from clir_cli.corpus.formats.reading import ParsedCollection
from clir_cli.errors import UserError

WELL = "The well is nine metres deep. Forty people dug it."


def shown(parsed: ParsedCollection) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each query's text with title and text of its documents."""
    texts = {document.id: (document.title, document.text) for document in parsed.documents}
    queries = parsed.queries["en"]
    return [(queries[query], [texts[name] for name in grades]) for query, grades in
            parsed.qrels.items()]  # fmt: skip


def test_squadshifts_in_several_files_has_each_question_once(tmp_path):
    def squad(*questions: str) -> str:
        rows = [{"id": f"{number}", "question": text} for number, text in enumerate(questions)]
        return json.dumps({"data": [{"paragraphs": [{"context": WELL, "qas": rows}]}]})

    files = [
        located(tmp_path / "a.json", squad(" How deep? ", "How deep?"), "en"),
        located(tmp_path / "b.json", squad("Who dug it?"), "en"),
    ]
    assert shown(english_pairs.read_squads(files)) == [
        ("How deep?", [("", WELL)]),
        ("Who dug it?", [("", WELL)]),
    ]


def test_boolq_passages_have_the_title_of_their_page(tmp_path):
    rows = [
        {"question": "is it deep", "passage": f"Well -- {WELL}"},
        {"passage": "No page. It is long.", "question": "is it long"},  # keys in another order
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows).rstrip("\n")  # no last line end
    files = [located(tmp_path / "val.jsonl", text, "en")]
    assert shown(english_pairs.read_boolq(files)) == [
        ("is it deep", [("Well", WELL)]),
        ("is it long", [("", "No page. It is long.")]),
    ]


def test_multirc_has_the_questions_inside_the_passage(tmp_path):
    questions = [{"question": "How deep?", "answers": []}, {"question": "Who dug?", "answers": []}]
    line = json.dumps({"idx": 0, "passage": {"text": WELL, "questions": questions}})
    files = [located(tmp_path / "train.jsonl", line, "en")]
    assert shown(english_pairs.read_multirc(files)) == [
        ("How deep?", [("", WELL)]),
        ("Who dug?", [("", WELL)]),
    ]
    files = [located(tmp_path / "bad.jsonl", '{"passage": ["text"]}', "en")]
    with pytest.raises(UserError, match=r"bad.jsonl, line 1: no list of records"):
        english_pairs.read_multirc(files)


def test_headlines_have_articles_over_several_lines(tmp_path):
    text = (
        'category\theadline\ttext\turl\nnews\tA well is dug\t"It is ""deep"".\nVery."\thttp://x\n'
    )
    files = [located(tmp_path / "dev.tsv", text, "en")]
    assert shown(english_pairs.read_headlines(files)) == [
        ("A well is dug", [("", 'It is "deep".\nVery.')])
    ]
    files = [located(tmp_path / "cut.tsv", text[:-20], "en")]
    with pytest.raises(UserError, match=r"cut.tsv, line"):
        english_pairs.read_headlines(files)


def test_reuters_is_sgml_in_latin_1_with_titles_in_capitals(tmp_path):
    body = "Wells &lt;WEL> were dug in M\xfcnchen, the firm said. " + "They are deep. " * 10
    article = "<REUTERS NEWID='{}'>\n<TEXT>&#2;\n<TITLE>{}</TITLE><BODY>{}\n&#3;</BODY></REUTERS>\n"
    content = "<!DOCTYPE lewis>\n" + "".join((
        article.format(1, "SMITH &amp; CO &lt;SMI> DIGS", body),
        article.format(2, "SHORT", "Too short."),
        "<REUTERS NEWID='3'><TEXT><TITLE>NO BODY</TITLE></TEXT></REUTERS>\n",
        article.format(4, "Mixed Case", body),
    ))  # fmt: skip
    files = [located(tmp_path / "reut2-000.sgm", content.encode("latin-1"), "en")]
    (first, [(_, text)]), (second, _) = shown(english_pairs.read_reuters(files))
    assert (first, second) == ("smith & co <smi> digs", "Mixed Case")
    assert text.startswith("Wells <WEL> were dug in M\xfcnchen,")
    assert text.endswith("They are deep.")
    files = [located(tmp_path / "other.sgm", "<html></html>", "en")]
    with pytest.raises(UserError, match=r"other.sgm: no <REUTERS> article"):
        english_pairs.read_reuters(files)


@pytest.mark.skipif("CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder")
@pytest.mark.parametrize(
    ("name", "documents", "pairs"),
    [
        ("squadshifts", 5_664, 27_121),
        ("reuters-21578", 17_208, 17_246),
        ("boolq", 5_483, 6_515),
        ("multirc", 705, 7_904),
        ("masakhanews-en", 1_419, 1_420),
    ],
)
def test_the_published_files_have_the_pairs_they_are_known_to_have(name, documents, pairs):
    parsed = load_collection(name, "en", Path(os.environ["CLIR_MIRROR"]))
    assert len(parsed.documents) == documents
    assert sum(map(len, parsed.qrels.values())) == pairs
