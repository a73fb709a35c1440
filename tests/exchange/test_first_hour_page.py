"""The page of the first hour: its commands and its Python, in order, on a small scale."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from outcomes import well
from test_tools_page import BLOCK, taken_by

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/first-hour.md").read_text(encoding="utf-8")


@pytest.fixture
def files_of_the_page(empty, quick, home, small_collection) -> list[str]:
    """Write the files that the page names; return the options that name place and size."""
    texts = (ROOT / "data/sample/bitext").joinpath
    sides = [texts(f"sample.{code}.txt").read_text("utf-8").splitlines() for code in ("sw", "en")]
    rows = ("\t".join(row) + "\n" for row in zip(*sides, strict=True))
    Path("rw-en.tsv").write_text("".join(rows), encoding="utf-8")
    folder = small_collection.rename("my-docs")
    (folder / "queries.sw.jsonl").rename(folder / "queries.jsonl")
    (toml,) = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    Path("mine.toml").write_text(toml, encoding="utf-8")
    sizes = [pair for pair in pairwise(quick) if not pair[1].startswith("collection=")]
    chosen = [word for pair in sizes if pair[0] == "--set" for word in pair]
    Path("artifacts").symlink_to(home)
    return [*chosen, "--home", "artifacts", "--results", "results"]


def test_every_command_of_the_page_runs_after_the_one_before(clir, files_of_the_page) -> None:
    names: dict = {}
    done: list[str] = []
    for number, (kind, block) in enumerate(BLOCK.findall(PAGE)):
        if kind == "python":
            exec(compile(block, f"docs/first-hour.md, block {number}", "exec"), names)
        for line in block.splitlines() if not kind else ():
            if line.startswith("clir "):
                words = shlex.split(line)[1:]
                well(clir(*words, *taken_by(words, files_of_the_page)))
                done.append(words[0])
    assert done == [
        *("download", "distill", "distill", "index", "search", "align", "search"),
        *("evaluate", "report", "export", "export"),
    ]
    assert names["queries"][0].shape[1] == names["documents"][1].shape[1]
    for name in ("plan.svg", "training.svg", "report.html", "results/sample/scores.csv"):
        assert Path(name).stat().st_size > 0
    for column in names["log"].columns:
        assert f"`{column}`" in PAGE
