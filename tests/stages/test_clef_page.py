"""docs/clef.md: every command of the page, in order, on a small disk of the same layout."""

import re
import shlex
from pathlib import Path

import pytest
from outcomes import well
from rehearsal import clef_disk

PAGE = (Path(__file__).resolve().parents[2] / "docs/clef.md").read_text(encoding="utf-8")
NAME = "clef-2000-2003"


def commands() -> list[list[str]]:
    """Return the words of the commands that the page has in blocks without a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def small(empty, quick, home, tmp_path) -> list[str]:
    """Write disk and topics where the page has them; return the options of a small scale."""
    clef_disk.write_disk(tmp_path / "E0008")
    clef_disk.write_ciir(Path(), "sw")
    Path("artifacts").symlink_to(home)
    chosen = [word for word in quick if word != "--set" and not word.startswith("collection=")]
    return [word for value in [*chosen, "index.passage_tokens=60"] for word in ("--set", value)]


def as_here(words: list[str], disk: Path, small: list[str]) -> list[str]:
    """Return a command with the models and the bitext of the sample in place of the suite's."""
    words = [str(disk) if word == "/media/E0008" else word for word in words]
    at = words.index("--suite")
    words[at : at + 2] = [] if NAME in words else ["--collection", NAME]
    deep = [] if "evaluate" not in words else ["--results", "results"]
    if words[0] in ("distill",):
        words = [word for word in words if word not in ("--collection", NAME)]
    return [*words, *small, "--set", "search.top_k=1000", *deep]


@pytest.mark.slow  # eight commands
def test_every_command_of_the_page_runs_after_the_one_before(clir, small, tmp_path) -> None:
    done, told = [], []
    for words in commands():
        outcome = well(clir(*as_here(words, tmp_path / "E0008", small)))
        done.append(words[0])
        told.append(outcome)
    assert done == [
        *("download", "download", "search", "evaluate"),
        *("distill", "index", "search", "evaluate"),
    ]
    assert "layout of the disk E0008; documents in 9 files, topics in sw in 1 file" in told[1].err
    assert "warning" not in told[3].err + told[7].err
    assert f"MAP on {NAME} (sample), 80 queries" in told[7].out
    for year in clef_disk.YEARS:
        assert f"P@10 on {NAME}:{year} (sample), 20 queries" in told[7].out
    index = next(Path("artifacts").glob(f"sample/index/{NAME}/manifest.json")).read_text()
    assert '"passages"' in index and '"documents": 144' in index
