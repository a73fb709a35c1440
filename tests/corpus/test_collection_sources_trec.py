"""TREC and CLEF as the campaigns hand them out, and what is wrong with a user's files of them."""

import gzip
from pathlib import Path

import pytest

from clir_cli.corpus.collections import collection_label, load_collection
from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import UserError

# As in LA Times 94: white space around the number, paragraphs, entities, upper-case tags.
LA_TIMES = b"""<DOC>
<DOCNO> LA010194-0001 </DOCNO>
<DOCID> 000001 </DOCID>
<SOURCE><P>Los Angeles Times</P></SOURCE>
<DATE><P>January 1, 1994, Saturday, Home Edition</P></DATE>
<HEADLINE><P>WELLS &amp; PUMPS;</P><P>A VILLAGE DIGS</P></HEADLINE>
<TEXT>
<P>
Forty people dug a well -- it took x < 3 days.
</P>
<P>
The pump cost $900.<!-- checked -->
</P>
</TEXT>
<GRAPHIC><P>Photo, the well</P></GRAPHIC>
</DOC>
<DOC>
<DOCNO> LA010194-0002 </DOCNO>
<DOCID> 000002 </DOCID>
<HEADLINE><P>FOR THE RECORD</P></HEADLINE>
</DOC>
"""

# As in Glasgow Herald 95: ISO-8859-1, no space around the number, the text in one piece.
HERALD = """<DOC>
<DOCNO>GH950102-000000</DOCNO>
<DOCID>GH950102-000000</DOCID>
<DATE>950102</DATE>
<HEADLINE>Café opens</HEADLINE>
<EDITION>3</EDITION>
<PAGE>3</PAGE>
<TEXT>
A café for £5 a meal opened in Leith.
</TEXT>
</DOC>
""".encode("iso-8859-1")

TOPICS = {
    "en": """<top>
<num> C001 </num>
<EN-title> Digging wells </EN-title>
<EN-desc> Find reports on wells dug by hand. </EN-desc>
<EN-narr> Pumps alone do not count. </EN-narr>
</top>

<top>
<num> C041 </num>
<EN-title> New cafés </EN-title>
<EN-desc> Which cafés were opened? </EN-desc>
<EN-narr> Any. </EN-narr>
</top>
""".encode("iso-8859-1"),
    "fi": """<top>
<num> C001 </num>
<FI-title> Kaivon kaivaminen </FI-title>
<FI-desc> Etsi juttuja käsin kaivetuista kaivoista. </FI-desc>
</top>
<top>
<num> C041 </num>
<FI-title> Uudet kahvilat </FI-title>
<FI-desc> Mitkä kahvilat avattiin? </FI-desc>
</top>
""".encode("iso-8859-1"),
}

QRELS = """1 0 LA010194-0001 1
1 0 GH950102-000000 0
41 0 GH950102-000000 1
"""


@pytest.fixture
def clef(tmp_path: Path) -> Path:
    """A directory with a few documents in the formats of CLEF 2000-2003."""
    folder = tmp_path / "mini"
    (folder / "documents" / "latimes94").mkdir(parents=True)
    (folder / "documents" / "gh95").mkdir()
    (folder / "documents" / "latimes94" / "la010194").write_bytes(LA_TIMES)
    (folder / "documents" / "gh95" / "GH950102.sgml").write_bytes(HERALD)
    for language, text in TOPICS.items():
        (folder / "topics" / language).mkdir(parents=True)
        (folder / "topics" / language / f"Top-{language}00.txt").write_bytes(text)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "qrels_EN").write_text(QRELS)
    return folder


def load(folder: Path, language: str = "fi") -> Collection:
    return load_collection(str(folder), language, folder / "downloads")


def settings(folder: Path, text: str) -> None:
    (folder / "collection.toml").write_text(text)


def test_documents_topics_and_qrels_of_clef_are_read(clef: Path) -> None:
    found = load(clef)
    assert found.name == collection_label(str(clef)) == "mini"
    assert found.documents == [
        Document("GH950102-000000", "Café opens", "A café for £5 a meal opened in Leith."),
        Document(
            "LA010194-0001",
            "WELLS & PUMPS; A VILLAGE DIGS",
            "Forty people dug a well -- it took x < 3 days. The pump cost $900.",
        ),
        Document("LA010194-0002", "FOR THE RECORD", ""),
    ]
    assert found.queries == {
        "fi": {"C001": "Kaivon kaivaminen", "C041": "Uudet kahvilat"},
        "en": {"C001": "Digging wells", "C041": "New cafés"},
    }
    # CLEF's qrels have the topics by number alone.
    assert found.qrels == {
        "C001": {"LA010194-0001": 1, "GH950102-000000": 0},
        "C041": {"GH950102-000000": 1},
    }


def test_the_same_in_utf8_gzipped_or_in_one_file_is_the_same_collection(clef: Path) -> None:
    before = load(clef)
    la, herald = clef / "documents/latimes94/la010194", clef / "documents/gh95/GH950102.sgml"
    with gzip.open(clef / "documents" / "all.gz", "wb") as stream:
        stream.write(HERALD.decode("iso-8859-1").encode() + LA_TIMES.replace(b"\n", b"\r\n"))
    la.unlink()
    herald.unlink()
    for language, text in TOPICS.items():
        path = clef / "topics" / language / f"Top-{language}00.txt"
        path.write_bytes(text.decode("iso-8859-1").encode("utf-8-sig"))
    named = QRELS.replace("41 0", "C041 Q0").replace("1 0", "C001 Q0")
    (clef / "qrels" / "qrels_EN").write_text(named)
    assert load(clef) == before


def test_the_layout_is_a_setting(clef: Path) -> None:
    settings(
        clef,
        'documents = ["documents/latimes94/*"]\ntext = ["TEXT", "GRAPHIC"]\nquery = ["title", '
        '"desc"]\nmissing = "drop"\n',
    )
    found = load(clef)
    assert [document.id for document in found.documents] == ["LA010194-0001", "LA010194-0002"]
    assert found.documents[0].text.endswith("The pump cost $900. Photo, the well")
    assert found.queries["en"]["C001"] == "Digging wells Find reports on wells dug by hand."
    assert found.qrels == {"C001": {"LA010194-0001": 1}}  # C041 has nothing left to be found


def test_classic_trec_topics_and_text_without_tags_are_read(tmp_path: Path) -> None:
    (tmp_path / "documents.trec").write_text(
        "<DOC><DOCNO>d-1</DOCNO>One line&blank;here.</DOC>\n"
        "<DOC>\n<DOCNO>d-2</DOCNO>\n<TITLE>Two</TITLE>\n<BODY>lines</BODY>\n</DOC>\n"
    )
    (tmp_path / "topics.sw.txt").write_text(
        "<top>\n\n<num> Number: 301\n<title> mji mkuu\n\n<desc> Description:\nMiji yote.\n\n"
        "<narr> Narrative:\nYote.\n\n</top>\n<top>\n<num> Number: 302\n<title> kisima\n</top>\n"
    )
    (tmp_path / "topics.en.xml").write_text(
        '<?xml version="1.0"?>\n<topics>\n<topic lang="en">\n<identifier>301</identifier>\n'
        "<title>capital &amp; city</title>\n<description>All.</description>\n</topic>\n"
        '<topic number="302"><query>well</query></topic>\n</topics>\n'
    )
    (tmp_path / "qrels.txt").write_text("301 0 d-1 2\n302 0 d-2 1\n302 0 d-1 0\n")
    found = load(tmp_path, "sw")
    assert found.documents == [
        Document("d-1", "", "One line here."),
        Document("d-2", "Two", "lines"),
    ]
    assert found.queries["sw"] == {"301": "mji mkuu", "302": "kisima"}
    assert found.queries["en"] == {"301": "capital & city", "302": "well"}
    settings(tmp_path, 'query = ["desc", "title"]')
    assert load(tmp_path, "sw").queries["sw"] == {"301": "Miji yote. mji mkuu", "302": "kisima"}


def test_documents_alone_need_no_english_topics(clef: Path) -> None:
    path = clef / "topics" / "en" / "Top-en00.txt"
    path.unlink()
    found = load(clef, "en")
    assert len(found.documents) == 3
    assert found.queries == found.qrels == {}
    assert load(clef, "fi").queries.keys() == {"fi"}


def test_topics_without_a_relevant_document_are_not_judged(clef: Path) -> None:
    (clef / "qrels" / "qrels_EN").write_text(
        QRELS.replace("41 0 GH950102-000000 1", "41 0 LA010194-0001 0")
    )
    assert load(clef).qrels.keys() == {"C001"}


def test_a_file_of_13_mb_is_read_in_less_than_4(clef: Path) -> None:
    import tracemalloc

    from clir_cli.corpus.formats.trec import Layout, read_documents

    path = clef / "large.sgml"
    text = b"<TEXT>" + b"word " * 13_000 + b"</TEXT>\n"
    with path.open("wb") as stream:
        for number in range(200):
            stream.write(b"<DOC>\n<DOCNO> D%d </DOCNO>\n%s</DOC>\n" % (number, text))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_documents(path, Layout())) == 200
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("documents/latimes94/la010194", b"</DOC>\n<DOC>", b"\n<DOC>",
         "la010194: a document before the next has no </DOC>"),
        ("documents/latimes94/la010194", b"<DOCNO> LA010194-0002 </DOCNO>", b"",
         "la010194, document 2: no <DOCNO>"),
        ("documents/latimes94/la010194", b"LA010194-0002", b"LA010194-0001",
         "la010194: document LA010194-0001 occurs twice"),
        ("documents/gh95/GH950102.sgml", b"</DOC>", b"", "the last document has no </DOC>"),
        ("topics/fi/Top-fi00.txt", b"<num> C001 </num>", b"", "Top-fi00.txt, topic 1: no <num>"),
        ("topics/fi/Top-fi00.txt", TOPICS["fi"], b"<top> x </top>", "topic 1: no <num>"),
        ("topics/fi/Top-fi00.txt", b"C041", b"C001", "topic C001 occurs twice"),
        ("topics/fi/Top-fi00.txt", b"C041", b"C 41", "topic 2: <num> 'C 41' has white space in it"),
        ("topics/fi/Top-fi00.txt", b"avattiin? </FI-desc>\n</top>", b"avat",
         "the last topic has no end tag; the file is truncated"),
        ("topics/fi/Top-fi00.txt", b"</FI-title>", b"</FI-title><FI-title>x",
         "topic 1: two fields <title>, 'x' the second"),
        ("documents/latimes94/la010194", b"LA010194-0002", b"LA 94-2",
         "la010194, document 2: <DOCNO> 'LA 94-2' has white space in it"),
        ("documents/latimes94/la010194", b"<DOC>\n<DOCNO> LA010194-0002", b"<D>\n<DOCNO> x",
         "la010194: </DOC> without <DOC>"),
        ("documents/gh95/GH950102.sgml", HERALD, HERALD.decode("latin-1").encode("utf-16"),
         "GH950102.sgml: UTF-16 or UTF-32"),
        ("topics/fi/Top-fi00.txt", TOPICS["fi"], TOPICS["fi"].decode("latin-1").encode("utf-16-le"),
         "Top-fi00.txt: UTF-16 or UTF-32"),
        ("qrels/qrels_EN", b"GH950102-000000 0", b"GH950102-000000 0.5",
         "line 2: grade '0.5' is not a whole number"),
        ("qrels/qrels_EN", b"GH950102-000000 0", b"GH950102-000000 " + b"9" * 5000, "grade '999"),
        ("topics/fi/Top-fi00.txt", b"<top>", b"<query>", "no <top>, <topic> or query_id: in it"),
        ("topics/fi/Top-fi00.txt", b"Uudet kahvilat", b"", "topic C041: none of the fields title"),
        ("topics/fi/Top-fi00.txt", b"</FI-title>", b"</FI-title><SV-title> x </SV-title>", None),
        ("qrels/qrels_EN", b"1 0 LA010194-0001 1", b"1 LA010194-0001 1",
         "qrels_EN, line 1: '1 LA010194-0001 1' is not topic, iteration, document and grade"),
        ("qrels/qrels_EN", b"GH950102-000000 0", b"LA010194-0001 0",
         "qrels_EN, line 2: 1 LA010194-0001 is judged twice, 1 and 0"),
        ("qrels/qrels_EN", b"41 0", b"01 0", "qrels of topic C001 under two names, 01 the second"),
        ("qrels/qrels_EN", b"41 0", b"42 0", "1 judged topics are missing, 42 the first; add"),
        ("qrels/qrels_EN", b"41 0 GH950102-000000", b"41 0 GH950103-000001",
         "1 judged documents are missing, GH950103-000001 the first; add"),
        ("qrels/qrels_EN", QRELS.encode(), b"1 0 LA010194-0001 0\n",
         "no topic has a relevant document"),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_is_told(
    clef: Path, name: str, old: bytes, new: bytes, message: str | None
) -> None:
    path = clef / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    if message is None:  # the query language is among several: nothing is wrong
        assert load(clef).queries["fi"]["C001"] == "Kaivon kaivaminen"
        return
    with pytest.raises(UserError, match=message) as error:
        load(clef)
    assert "\n" not in str(error.value)
    assert str(clef) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('document = ["x"]', "collection.toml: document: did you mean documents"),
        ("documents = [", "collection.toml: not valid TOML"),
        ('query = ["titel"]', "collection.toml: query: Input should be 'title'"),
        ('encoding = "latin-99"', "collection.toml: encoding 'latin-99' is unknown"),
        ('encoding = "ascii"', "not valid ascii"),
        ('documents = ["nowhere/*"]', r"no documents \(nowhere/\*\); docs/collections.md"),
        ('encoding = "undefined"', "collection.toml: encoding 'undefined' is unknown"),
        ('encoding = "hex"', "collection.toml: encoding 'hex' is unknown"),
        ('encoding = "utf-8\\u0000"', r"collection.toml: encoding 'utf-8\\x00' is unknown"),
        ('encoding = "punycode"', "encoding 'punycode' is unknown, or does not extend ASCII"),
        ('encoding = "utf-16"', "encoding 'utf-16' is unknown, or does not extend ASCII"),
        ('encoding = "utf-7"', "encoding 'utf-7' is unknown, or does not extend ASCII"),
        ('documents = [""]', "collection.toml: pattern '': Unacceptable pattern"),
        ('documents = ["/etc/*"]', "collection.toml: pattern '/etc/\\*': Non-relative"),
        ('documents = ["../*"]', r"pattern '../\*': it leads out of the directory"),
        ('qrels = ["**x"]', r"pattern '\*\*x': Invalid pattern|pattern '\*\*x': '\*\*' can"),
        ('topics = ["fi/{lang}/**x"]', r"pattern 'fi/fi/\*\*x': "),
        ('topics = ["nowhere"]', r"no topics in 'fi' \(nowhere\); docs/collections.md"),
        ('qrels = ["nowhere"]', r"no qrels \(nowhere\); docs/collections.md"),
    ],
)
def test_a_fault_in_the_settings_of_a_directory_is_told(
    clef: Path, text: str, message: str
) -> None:
    settings(clef, text)
    with pytest.raises(UserError, match=message):
        load(clef)


TITLES = {
    "<title> age < 5 and > 1": "age < 5 and > 1",
    "<title> age <5, then": "age <5, then",
    "<title>if a<b and c>d then": "if a<b and c>d then",
    "<title>if a<b then\n<narr> no": "if a<b then",
    '<title>the <a href="x">well</a>': "the well",
    "<title>less &lt; more</title> outside": "less < more",
    "<title>water in <i>dry</i> places</title>": "water in dry places",
    "<title>water in <i>dry</i> places\n<con> dams": "water in dry places",
    "<title>over\n two lines\n\n<desc> more": "over two lines",
    "<title>a <!-- <desc> no </desc> --> b</title>": "a b",
    "<EN-title>either</FI-title>": "either",
    "<query>of 2021</query>": "of 2021",
    "<title>" + "&#" + "9" * 5000 + ";</title>": "\ufffd",
}


@pytest.mark.parametrize("field", TITLES)
@pytest.mark.parametrize("number", ["<num> Number: 7\n", "<number>7</number>", "<identifier>7"])
def test_a_title_is_read_whole(clef: Path, field: str, number: str) -> None:
    path = clef / "topics" / "fi" / "Top-fi00.txt"
    path.write_text(f"<top>\n{number}\n{field}\n</top>\n")
    (clef / "qrels" / "qrels_EN").write_text("7 0 LA010194-0001 1\n")
    assert load(clef).queries["fi"] == {"7": TITLES[field]}


def test_a_number_in_an_attribute_may_be_in_either_quotes(clef: Path) -> None:
    path = clef / "topics" / "fi" / "Top-fi00.txt"
    path.write_text(
        "<topic number='7'><query>a</query></topic><topic number=\"8\"><query>b</query></topic>"
    )
    (clef / "qrels" / "qrels_EN").write_text("7 0 LA010194-0001 1\n8 0 LA010194-0001 1\n")
    assert load(clef).queries["fi"] == {"7": "a", "8": "b"}


def test_topics_in_one_language_are_not_taken_for_english_ones(clef: Path) -> None:
    settings(clef, 'topics = ["topics/fi/*"]')
    assert load(clef).queries.keys() == {"fi"}
    path = clef / "topics" / "fi" / "Top-fi00.txt"
    both = path.read_bytes().replace(b"<FI-desc>", b"<EN-title> in English </EN-title><FI-desc>")
    path.write_bytes(both)
    assert load(clef).queries["en"] == {"C001": "in English", "C041": "in English"}


def test_hostile_tags_take_time_in_proportion_to_their_number(clef: Path) -> None:
    """Each of these took hours while an end tag was looked for from every start."""
    document, topic = clef / "documents" / "gh95" / "x", clef / "topics" / "fi" / "Top-fi00.txt"
    (clef / "qrels" / "qrels_EN").write_text("1 0 LA010194-0001 1\n")
    count = 60_000
    for text in ("<!--", "<TEXT>", "<TEXT ", "<HEADLINE>", "</TEXT ", "<a", "<DOCNO>", "<", "\n"):
        inside = text * count
        document.write_text(f"<DOC><DOCNO>x</DOCNO>{inside}</DOC>")
        topic.write_text(f"<top><num>1</num><title>a {inside}</title></top>")
        assert "x" in [found.id for found in load(clef).documents]
    for text in ("<DOCNO>" + " " * count + "</DOCNO>", "<DOC>" * count, "<doc " * count):
        document.write_text(f"<DOC>{text}</DOC>")
        with pytest.raises(UserError, match=r"x(, document 1)?: (no <DOCNO>|a document before)"):
            load(clef)
    for text in ("</DOC>\n" * count, "<DOC>\n" * count):
        document.write_text(text)
        with pytest.raises(UserError, match=r"x: (</DOC> without|the last document)"):
            load(clef)
    document.write_text("</docno>\n" * count)
    assert load(clef).notes == ("1 file without a document left out: x",)


def test_a_language_without_topics_and_a_packed_file_are_told(clef: Path) -> None:
    with pytest.raises(UserError, match=r"no topics in 'sw' \(topics.sw, topics.sw.\*, topics/"):
        load(clef, "sw")
    for name, content in (
        ("a.zip", b"PK\3\4"),
        ("b.tar", b"\0" * 257 + b"ustar"),
        ("c.Z", b"\x1f\x9d"),
    ):
        (clef / "documents" / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: unpack it first"):
            load(clef)
        (clef / "documents" / name).unlink()


def test_files_without_a_document_are_left_out_but_not_all_of_them(clef: Path) -> None:
    herald, times = clef / "documents/gh95/GH950102.sgml", clef / "documents/latimes94/la010194"
    settings(clef, 'missing = "drop"\n')
    herald.write_text("About these files.")
    (clef / "documents" / "gh95.dtd").write_text("<!ELEMENT doc - - (docno)>")
    found = load(clef)
    assert len(found.documents) == 2
    assert found.notes == ("2 files without a document left out: GH950102.sgml, gh95.dtd",)
    times.write_text("None here.")
    with pytest.raises(
        UserError, match=r"GH950102\.sgml: no <DOC> in it, nor in any other file of doc"
    ):
        load(clef)


def test_links_to_folders_of_documents_are_followed(clef: Path, tmp_path: Path) -> None:
    before = load(clef)
    (clef / "documents" / "latimes94").rename(tmp_path / "on a disk")
    (clef / "documents" / "latimes94").symlink_to(tmp_path / "on a disk")
    assert load(clef) == before


def test_links_that_lead_in_circles_are_followed_once(clef: Path) -> None:
    before = load(clef)
    for number in range(4):
        (clef / "documents" / f"more{number}").symlink_to(clef)
    assert load(clef) == before


def test_a_gzipped_file_that_was_cut_is_told(clef: Path) -> None:
    (clef / "documents" / "more.gz").write_bytes(
        gzip.compress(LA_TIMES.replace(b"LA0", b"LA9"))[:-40]
    )
    with pytest.raises(UserError, match=r"more.gz: truncated or damaged"):
        load(clef)
