"""Runs of other tools: imported, compared, fused and reported as any method's."""

import gzip
import json
import re
from pathlib import Path

import pytest
from command_words import refused, tree

from clir_cli.evaluation.fusion import fuse
from clir_cli.evaluation.runs import read_run
from clir_cli.evaluation.significance import paired_t
from clir_cli.suites import bundled

PAIR = ("--lang", "sw-en")
NAME = "pyserini-bm25"


@pytest.fixture
def world(clir, small_collection, tmp_path):
    """Runs of BM25, and the command line over them: ``world("evaluate", *words)``."""

    def call(verb, *words):
        results = ("--results", tmp_path / "results") if verb in ("evaluate", "report") else ()
        place = ("--home", tmp_path / "home", *results)
        verbs = verb.split()
        at = () if verb == "report" else ("--collection", small_collection)
        return clir(*verbs, *words, *at, *place)

    assert call("search", *PAIR, "--method", "bm25,english-bm25").code == 0
    return call


@pytest.fixture
def foreign(world, tmp_path) -> Path:
    """A run as Pyserini writes one, of English queries: its own scores and tag, ten documents."""
    own = tmp_path / "home/sample/sw-en/english-bm25/runs/small/run.trec"
    lines = []
    for query, scores in read_run(own).items():
        for rank, (document, score) in enumerate(list(scores.items())[:10], start=1):
            lines.append(f"{query} Q0 {document} {rank} {score / 2 + 1:.6f} Anserini\n")
    path = tmp_path / "foreign.trec"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_an_imported_run_is_compared_as_any_method_and_marked(world, foreign, tmp_path):
    outcome = world("import run", foreign, *PAIR, "--method", NAME)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "home" / "sample" / "sw-en" / f"{NAME}.imported" / "runs" / "small"
    assert read_run(folder / "run.trec") == read_run(foreign)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["kind"] == "run"
    assert manifest["notes"]["tag"] == "Anserini"
    (digest,) = manifest["notes"]["files"].values()
    assert manifest["inputs"]["file 1"] == digest
    assert f"clir import run --lang sw-en --method {NAME}" in manifest["command"]

    words = (*PAIR, "--metric", "map", "--method", f"bm25,{NAME}", "--baseline", "bm25")
    rows = world("evaluate", *words, "--json").json
    (row,) = [row for row in rows if row["method"] == NAME]
    assert (row["variant"], row["baseline"]) == ("imported", "bm25")
    values: dict[str, list[float]] = {"bm25": [], NAME: []}
    for line in (tmp_path / "results/sample/per_query.csv").read_text().splitlines()[1:]:
        cells = line.split(",")
        values[cells[3]].append(float(cells[-1]))
    assert row["p_value"] == pytest.approx(paired_t(values[NAME], values["bm25"]))
    assert row["p_value"] < 0.05
    assert f"{NAME}.imported" in world("evaluate", *words).out
    for base in (NAME, f"{NAME}.imported"):  # as a baseline
        words = (*PAIR, "--metric", "map", "--method", "bm25", "--baseline", base, "--json")
        assert {row["baseline"] for row in world("evaluate", *words).json} == {f"{NAME}.imported"}

    page = tmp_path / "report.html"
    assert world("report", "-o", page, "--method", NAME, "--baseline", "bm25").code == 0
    text = page.read_text(encoding="utf-8")
    assert f"{NAME}.imported is a run that another tool wrote (tag Anserini)" in text
    seen = re.sub("<[^>]+>", "", text)  # options are marked up, so that lines end between them
    assert f"clir import run --lang sw-en --method {NAME}" in seen
    assert str(tmp_path) not in text


def test_an_imported_run_is_fused_with_others(world, foreign, tmp_path):
    assert world("import run", foreign, *PAIR, "--method", NAME).code == 0
    runs = ("--set", f'fusion.runs=["bm25","{NAME}"]')
    assert world("search", *PAIR, "--method", "fusion", *runs).code == 0
    home = tmp_path / "home" / "sample" / "sw-en"
    parts = [read_run(home / "bm25/runs/small/run.trec"), read_run(foreign)]
    expected = {query: dict(row) for query, row in fuse(parts, "rrf", 100).items()}
    assert read_run(home / "fusion/runs/small/run.trec") == expected
    line = refused(world("search", *PAIR, "--method", "fusion", *runs, "--query", "maji"))
    assert f"the imported run {NAME}, which cannot answer a new query" in line
    wrong = ("--set", f'fusion.runs=["bm25","{NAME[:-1]}"]')
    line = refused(world("search", *PAIR, "--method", "fusion", *wrong))
    assert f"did you mean {NAME}?" in line
    # Another run under the name makes the fused one stale.
    text = foreign.read_text(encoding="utf-8").replace(" Anserini", " Lucene")
    foreign.write_text(text, encoding="utf-8")
    assert world("import run", foreign, *PAIR, "--method", NAME, "--force").code == 0
    assert NAME in refused(world("search", *PAIR, "--method", "fusion", *runs))


def test_parts_of_a_run_and_runs_of_several_pairs(world, foreign, tmp_path):
    lines = foreign.read_text(encoding="utf-8").splitlines(keepends=True)
    first = lines[0].split()[0]
    parts = [tmp_path / "a.trec", tmp_path / "b.trec.gz"]
    parts[0].write_text("".join(line for line in lines if line.split()[0] == first))
    rest = "".join(line for line in lines if line.split()[0] != first)
    parts[1].write_bytes(gzip.compress(rest.encode()))
    assert world("import run", *parts, *PAIR, "--method", "parts").code == 0
    home = tmp_path / "home" / "sample"
    assert read_run(home / "sw-en/parts.imported/runs/small/run.trec") == read_run(foreign)
    line = refused(world("import run", foreign, "--lang", "sw-en,so-en", "--method", "two"))
    assert "2 pairs and 1 files" in line


def test_of_several_pairs_each_has_a_file(clir, tmp_path):
    qrels = (bundled("data") / "sample/collection/qrels/test.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t")[:2] for line in qrels]
    files = []
    for name, rank in (("sw", 1), ("so", 2)):
        lines = [
            f"{query} Q0 {document} 1 {1 / rank} x\n" for query, document in dict(rows).items()
        ]
        files.append(tmp_path / f"{name}.trec")
        files[-1].write_text("".join(lines))
    words = ("--lang", "sw-en,so-en", "--method", "two", "--home", tmp_path / "home")
    assert clir("import", "run", *files, *words).code == 0
    for path in files:
        run = tmp_path / f"home/sample/{path.stem}-en/two.imported/runs/sample/run.trec"
        assert read_run(run) == read_run(path)


def test_it_is_imported_once_and_stale_when_the_collection_changes(
    world, foreign, tmp_path, small_collection
):
    assert world("import run", foreign, *PAIR, "--method", NAME).code == 0
    assert "is current" in world("import run", foreign, *PAIR, "--method", NAME).err
    other = tmp_path / "other.trec"
    other.write_text("".join(foreign.read_text(encoding="utf-8").splitlines(True)[:-1]))
    line = refused(world("import run", other, *PAIR, "--method", NAME))
    assert "made from something else (file 1); --force replaces it" in line
    corpus = small_collection / "corpus.jsonl"
    added = json.dumps({"_id": "new-1", "title": "", "text": "It came later."})
    corpus.write_text(corpus.read_text(encoding="utf-8") + added + "\n", encoding="utf-8")
    line = refused(world("evaluate", *PAIR, "--metric", "map", "--method", NAME))
    assert "made from something else (documents)" in line
    assert "clir import run --lang sw-en" in line


FIRST = "{query} Q0 {document} 1 2.5 x\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: not a line of a TREC run"),
        ("{query} {document} 2.5\n", "line 1: not a line of a TREC run"),
        (FIRST + "{query} Q0 other 2 nan x\n", "line 2: not a line of a TREC run"),
        (FIRST + "{query} Q0 other 2 inf x\n", "line 2: not a line of a TREC run"),
        (FIRST + FIRST, "is ranked twice"),
        (FIRST + "{query} Q0 nowhere 2 1.5 x\n", "1 of 2 documents are not in the collection"),
        (FIRST + "q999 Q0 {document} 1 1.5 x\n", "1 of 2 queries are not in the collection"),
        (b"\xff\xfe" + "q Q0 d 1 1 x\n".encode("utf-16-le"), "UTF-16"),
        (b"q Q0 d\xff 1 1 x\n", "line 1: not valid UTF-8"),
        (b"\x1f\x8b\x08" + b"\0" * 30, "truncated or damaged"),
        (b"PK\x03\x04" + b"\0" * 30, "unpack it first"),
    ],
)
def test_a_run_with_a_fault_is_told_in_one_line_and_leaves_nothing(
    world, tmp_path, content, said, small_collection
):
    query, document = (small_collection / "qrels/test.tsv").read_text().split("\n")[1].split()[:2]
    path = tmp_path / "wrong.trec"
    if isinstance(content, str):
        content = content.format(query=query, document=document).encode()
    path.write_bytes(content)
    before = tree(tmp_path / "home")
    assert said in refused(world("import run", path, *PAIR, "--method", "wrong"))
    assert tree(tmp_path / "home") == before


def test_names_files_and_commands_that_do_not_fit_are_told(world, foreign, tmp_path):
    before = tree(tmp_path / "home")
    for name, said in (
        ("ot", "ot is a method of clir"), ("a/b", "use letters"), ("", "use letters"),
        ("x.seed1", "use letters"), ("a,b", "use letters"),
    ):  # fmt: skip
        assert said in refused(world("import run", foreign, *PAIR, "--method", name))
    assert "no such file" in refused(world("import run", tmp_path / "no", *PAIR, "--method", "x"))
    assert "not a regular file" in refused(world("import run", tmp_path, *PAIR, "--method", "x"))
    line = refused(world("import run", foreign, foreign, *PAIR, "--method", "x"))
    assert "is in another of the files" in line
    assert "--dry-run" in refused(world("import run", foreign, *PAIR, "--method", "x", "--dry-run"))
    assert tree(tmp_path / "home") == before
    assert world("import run", foreign, *PAIR, "--method", NAME).code == 0
    line = refused(world("search", *PAIR, "--method", NAME))
    assert "is an imported run, which is there" in line
    line = refused(world("evaluate", *PAIR, "--metric", "map", "--method", NAME[:-1]))
    assert f"did you mean {NAME}?" in line
    line = refused(world("search", *PAIR, "--method", "ot", "--variant", "imported"))
    assert "--variant 'imported'" in line
