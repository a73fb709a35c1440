"""The page on other tools: its commands and its Python, in order, after a demo on a small scale."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs/tools.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def after_the_demo(clir, empty, quick, home, small_collection) -> list[str]:
    """What `make demo` leaves, of a tiny student; return the options that name place and size."""
    where = [*quick, "--home", str(home)]
    for words in (["distill", "--lang", "sw-en"], ["index"], ["search", "--lang", "sw-en"]):
        assert clir(*words, *where).code == 0
    (empty / "run.bm25.trec").write_text(pyserini(small_collection), encoding="utf-8")
    return [*where, "--results", "results"]


def pyserini(collection: Path) -> str:
    judged = (collection / "qrels/test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    answers = dict(line.split("\t")[:2] for line in judged)
    lines = (f"{query} Q0 {document} 1 9.5 Anserini\n" for query, document in answers.items())
    return "".join(lines)


def taken_by(words: list[str], options: list[str]) -> list[str]:
    """Return the options of place and size that a command takes."""
    takes_results = words[0] in ("evaluate", "report") or words[:2] == ["export", "student"]
    return options if takes_results else options[:-2]


def test_every_example_of_the_page_runs(clir, after_the_demo, capsys) -> None:
    names: dict = {}
    commands = 0
    for number, (kind, block) in enumerate(BLOCK.findall(PAGE)):
        if kind == "python":
            exec(compile(block, f"docs/tools.md, block {number}", "exec"), names)
        for line in block.splitlines() if not kind else ():
            if line.startswith("clir "):
                words = shlex.split(line, comments=True)[1:]
                outcome = clir(*words, *taken_by(words, after_the_demo))
                assert outcome.code == 0, outcome.err
                commands += 1
    assert commands == 11
    assert names["queries"][0].shape[1] == names["documents"][1].shape[1]
