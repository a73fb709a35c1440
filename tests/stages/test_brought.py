"""CLEF that a user has brought goes through all stages; without it each says what is missing."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def brought(home: Path, small_collection: Path) -> Path:
    """The small collection in CLEF's original formats, where the user puts CLEF 2000-2003."""
    folder = home / "downloads" / "brought" / "clef-2000-2003"
    for name in ("documents/latimes94", "documents/gh95", "topics/en", "topics/sw", "qrels"):
        (folder / name).mkdir(parents=True)
    names = {}
    for number, line in enumerate((small_collection / "corpus.jsonl").read_text().splitlines()):
        row = json.loads(line)
        title, text = (row[key].replace("&", "&amp;") for key in ("title", "text"))
        if number % 2:
            key = f"GH950102-{number:06d}"
            path = folder / "documents/gh95/GH950102.sgml"
            written = (
                f"<DOC>\n<DOCNO>{key}</DOCNO>\n<DOCID>{key}</DOCID>\n<DATE>950102</DATE>\n"
                f"<HEADLINE>{title}</HEADLINE>\n<TEXT>\n{text}\n</TEXT>\n</DOC>\n"
            )
        else:
            key = f"LA010194-{number:04d}"
            path = folder / "documents/latimes94/la010194"
            written = (
                f"<DOC>\n<DOCNO> {key} </DOCNO>\n<DOCID> {number:06d} </DOCID>\n<HEADLINE>\n<P>\n"
                f"{title}\n</P>\n</HEADLINE>\n<TEXT>\n<P>\n{text}\n</P>\n</TEXT>\n</DOC>\n"
            )
        names[row["_id"]] = key
        with path.open("ab") as stream:
            stream.write(written.encode("iso-8859-1", "xmlcharrefreplace"))
    numbers: dict[str, int] = {}
    for language in ("en", "sw"):
        lines = (small_collection / f"queries.{language}.jsonl").read_text().splitlines()
        with (folder / "topics" / language / "Top.txt").open("wb") as stream:
            for row in map(json.loads, lines):
                number = numbers.setdefault(row["_id"], len(numbers) + 141)  # of 2003
                tag = language.upper()
                text = (
                    f"<top>\n<num> C{number:03d} </num>\n<{tag}-title> {row['text']} </{tag}-title>"
                    f"\n<{tag}-desc> {row['text']} </{tag}-desc>\n</top>\n\n"
                )
                stream.write(text.encode("iso-8859-1", "xmlcharrefreplace"))
    judged = (small_collection / "qrels" / "test.tsv").read_text().splitlines()[1:]
    with (folder / "qrels" / "qrels_EN").open("w") as stream:
        for query, document, grade in (line.split("\t") for line in judged):
            stream.write(f"{numbers[query]} 0 {names[document]} {int(int(grade) > 0)}\n")
    return folder


def test_clef_runs_through_all_five_stages(clir, home: Path, brought: Path, tmp_path: Path) -> None:
    own = ("--collection", "clef-2000-2003", "--home", home)
    pair = ("--lang", "sw-en")
    methods = (*pair, "--method", "zero-shot,ot,english")
    little = ("--set", "bitext.max_pairs=48", "--set", "training.epochs=1")
    outcome = clir("download", *pair, *own, "--json")
    assert outcome.code == 0, outcome.err
    assert [row["there"] for row in outcome.json if row["source"] == "clef-2000-2003"] == [True]
    for command in (
        ("distill", *pair, *little, "--home", home),
        ("index", *own),
        ("search", *methods, *own, *little),
    ):
        outcome = clir(*command)
        assert outcome.code == 0, outcome.err
    results = ("--results", tmp_path / "results")
    outcome = clir("evaluate", *methods, *own, *little, *results, "--metric", "map", "--json")
    assert outcome.code == 0, outcome.err
    value = {row["method"]: row["value"] for row in outcome.json}
    assert value["english"] > 0.6
    assert value["zero-shot"] < value["english"]
    assert {row["collection"] for row in outcome.json} == {"clef-2000-2003"}
    run = home / "sample" / "sw-en" / "english" / "runs" / "clef-2000-2003" / "run.trec"
    assert {line.split()[2][:2] for line in run.read_text().splitlines()} == {"LA", "GH"}


def test_what_must_be_brought_is_told_before_and_by_every_stage(clir, home: Path) -> None:
    own = ("--collection", "clef-2000-2003", "--home", home)
    dry = clir("download", "--lang", "sw-en", *own, "--dry-run", "--json")
    assert dry.code == 0
    row = next(row for row in dry.json if row["source"] == "clef-2000-2003")
    assert not row["there"]
    assert "ELRA-E0008" in row["url"]
    assert row["path"].endswith("downloads/brought/clef-2000-2003")
    for command in (("download", "--lang", "sw-en", *own), ("index", *own)):
        outcome = clir(*command)
        assert outcome.code == 2
        assert "user-supplied" in outcome.err
        assert "downloads/brought/clef-2000-2003" in outcome.err
    listed = next(row for row in clir("ls", "collections", "--json").json
                  if row["name"] == "clef-2000-2003")  # fmt: skip
    assert "ELRA-E0008" in json.dumps(listed)
