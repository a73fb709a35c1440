"""The documentation: links lead somewhere, and files and settings that it names exist."""

import re
from pathlib import Path

import pytest

from clir_cli.settings import Settings
from clir_cli.suites import known_keys

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDERS = ("benchmarks", "clir_cli", "data", "docs", "experiments", "tests")
FENCED = re.compile(r"^ *```.*?^ *```", flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> list[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    slugs: list[str] = []
    for title in re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        before = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in slugs
        )
        slugs.append(f"{slug}-{before}" if before else slug)
    return slugs


def codes(page: Path) -> list[str]:
    """Return what stands between single backticks, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCED.sub("", page.read_text("utf-8")))


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_links_lead_to_files_and_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text("utf-8")))
    for link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_named_files_exist(page: Path) -> None:
    for code in codes(page):
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", code):
            assert (ROOT / code).exists(), code


def test_no_place_is_kept_for_text_that_is_not_there(page: Path) -> None:
    assert not re.findall(r"@[A-Z]+@|\bT(?:BD|ODO)\b", page.read_text("utf-8"))


def test_named_settings_exist(page: Path) -> None:
    sections = "|".join(name for name in Settings.model_fields)
    known = set(known_keys())
    for code in codes(page):
        for key in re.findall(rf"(?:^|--set |')((?:{sections})\.[a-z]\w+)(?=$|[ =\]])", code):
            assert key in known or (ROOT / key).suffix in (".py", ".toml", ".csv"), code


def test_the_tree_of_the_readme_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    tree = text[text.index("## What is where") :].split("```")[1]
    named: set[Path] = set()
    folders = [ROOT]
    for line in tree.strip().splitlines():
        depth, entry = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        path = folders[depth] / entry
        assert path.exists(), entry
        named.add(path)
        folders[depth + 1 :] = [path]
    packages = {path.parent for path in (ROOT / "clir_cli").rglob("__init__.py")}
    assert packages <= named
