"""What a newcomer gets: a wheel that works in any folder, a README whose commands are right."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from clir_cli.cli import app
from clir_cli.corpus.own_files import pair_of
from clir_cli.evaluation.measures import parse_measures
from clir_cli.stages import listing
from clir_cli.stages.support.methods import parse_methods
from clir_cli.suites import load_settings

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# ------------------------------------------------------------------------------ the wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, each built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*build, "--wheel", "--sdist", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def unzipped(built: Path) -> Path:
    """The wheel, unzipped as an installer would."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "site")
    return built / "site"


def from_elsewhere(unzipped: Path, folder: Path, *words: str) -> str:
    """Run a module of the wheel in a folder that is not the checkout; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(unzipped)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("inside", "source"),
    [("_data", "data"), ("_experiments", "experiments"), ("", "clir_cli")],
)
def test_all_that_the_program_reads_travels_with_the_wheel(unzipped, inside, source) -> None:
    packed = files(unzipped / "clir_cli" / inside)
    if not inside:
        packed = {name: size for name, size in packed.items() if not name.startswith("_data/")}
        packed = {name: size for name, size in packed.items() if not name.startswith("_exper")}
    assert packed == files(ROOT / source)


def test_the_wheel_holds_the_package_its_licence_notes_and_the_command(unzipped) -> None:
    assert {path.name.partition("-")[0] for path in unzipped.iterdir()} == {"clir_cli"}
    (told,) = unzipped.glob("*.dist-info")
    assert "clir = clir_cli.cli:main" in (told / "entry_points.txt").read_text().splitlines()
    metadata = (told / "METADATA").read_text(encoding="utf-8")
    assert f"Version: {PROJECT['version']}" in metadata
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert {"py.typed", "__init__.py"} <= files(unzipped / "clir_cli").keys()
    assert files(told / "extra_metadata") == {
        name: (ROOT / name).stat().st_size for name in ("CITATION.cff", "CHANGELOG.md")
    }


def test_the_source_distribution_holds_what_building_testing_and_citing_take(built) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    needed = [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "SECURITY.md",
        "pyproject.toml",
    ]
    needed += ["Makefile", "constraints.txt", "clir_cli/py.typed", "tests/conftest.py"]
    needed += [".ci/run", ".github/workflows/ci.yml"]
    assert set(needed) <= packed


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [entry["name"] for entry in citation["authors"]] == [
        entry["name"] for entry in PROJECT["authors"]
    ]
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= paper.keys()
    assert paper["url"] == PROJECT["urls"]["Paper"]


def test_the_newest_released_changes_are_of_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([0-9.]+)\]", changes, flags=re.MULTILINE)[0] == PROJECT["version"]


def test_the_workflow_runs_the_same_script_on_every_python_that_is_promised() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    promised = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "3.1" in text]
    assert job["strategy"]["matrix"]["python"] == promised


def test_the_wheel_works_from_another_folder_with_its_own_data(unzipped, tmp_path) -> None:
    script = (
        "import clir_cli.suites as s; print(s.__file__, *map(s.bundled, ('data', 'experiments')))"
    )
    inside = unzipped / "clir_cli"
    version = from_elsewhere(unzipped, tmp_path, "-m", "clir_cli", "--version")
    assert version == f"clir {PROJECT['version']}\n"
    assert from_elsewhere(unzipped, tmp_path, "-c", script).split() == [
        str(inside / "suites.py"), str(inside / "_data"), str(inside / "_experiments")
    ]  # fmt: skip
    suites = from_elsewhere(unzipped, tmp_path, "-m", "clir_cli", "ls", "suites", "--json")
    assert json.loads(suites) == listing.rows("suites")
    dry = ("download", "--lang", "all", "--dry-run", "--json")
    needed = json.loads(from_elsewhere(unzipped, tmp_path, "-m", "clir_cli", *dry))
    # Bitext in eight languages, dictionaries of seven; documents, qrels and queries in eight.
    assert len(needed) == 8 + 7 + 10
    for row in needed:
        assert row["there"]
        assert Path(row["path"]).is_relative_to(inside / "_data" / "sample")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------ the README

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def fenced_commands() -> Iterator[list[str]]:
    """Yield the words of each command in the README's code blocks, without comments and pipes."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if not re.match(r"(\S+/)?(clir|make)\s", line):
                continue
            for part in re.split(r"\s(?:&&|\|\|?|>+|;)\s", line)[:1]:
                yield shlex.split(part, comments=True)


def inline_commands() -> Iterator[list[str]]:
    """Yield the words of each command that stands in a sentence."""
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if re.match(r"(clir|make)\s", code):
            yield shlex.split(code)


COMMANDS = [*fenced_commands(), *inline_commands()]


def test_make_demo_and_make_test_are_the_first_two_commands_of_the_readme() -> None:
    assert COMMANDS[:2] == [["make", "demo"], ["make", "test"]]


def made_with(program: str) -> list:
    return [pytest.param(words, id=" ".join(words)) for words in COMMANDS if words[0] == program]


@pytest.mark.parametrize("words", made_with("make"))
def test_every_make_target_of_the_readme_is_in_the_makefile(words) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    variables = set(re.findall(r"^([A-Z]+) [?:]=", MAKEFILE, flags=re.MULTILINE))
    for word in words[1:]:
        name, assigned, _ = word.partition("=")
        assert name in (variables if assigned else targets)


@pytest.mark.parametrize("words", made_with("clir"))
def test_every_clir_command_of_the_readme_says_what_the_program_understands(words) -> None:
    """Its options are parsed, and what they name is looked up; nothing is run."""
    command = typer.main.get_command(app)
    if words[1] == "COMMAND":  # stands for each of them
        assert words[2:] == ["--help"]
        return
    if words[1].startswith("--"):
        assert words[1:] in [option.opts for option in command.params]
        return
    if isinstance(command.commands[words[1]], typer.core.TyperGroup):  # of two words
        command, words = command.commands[words[1]], words[1:]
    chosen = command.commands[words[1]]
    if "--lang" not in words and any(
        "--lang" in each.opts and each.required for each in chosen.params
    ):
        words = [*words, "--lang", "sw-en"]  # in a sentence an option may be left to the reader
    told = chosen.make_context(words[1], words[2:]).params
    if words[1] == "ls":
        assert listing.rows(told["what"], word=told["word"])
        return
    if words[1] == "init":
        return
    settings = load_settings(told["suite"], None, told["assign"])
    for pair in told.get("lang", "all").split(","):
        assert pair == "all" or pair_of(pair, settings)
    assert parse_methods(told.get("method", ""), settings.methods, imported=["NAME"])
    assert not told.get("metric") or parse_measures(told["metric"])


def test_the_makefile_lists_its_targets_and_runs_commands_that_exist() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)[1].split()
    assert {"help", "demo", "test", "lint", "reproduce-all"} <= set(phony)
    for target in phony:
        assert re.search(rf"^{target}:.*## \S", MAKEFILE, flags=re.MULTILINE), target
    commands = typer.main.get_command(app).commands
    verbs = re.findall(r"^\t *\$\(CLIR\) (\w+)", MAKEFILE, flags=re.MULTILINE)
    assert {"download", "distill", "index", "search", "evaluate", "reproduce", "report"} <= set(
        verbs
    )
    assert set(verbs) <= commands.keys()


def test_the_pinned_versions_are_inside_the_promised_ranges() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *itertools.chain(*extras)]:
        requirement = packaging.Requirement(text)
        pin = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(pin), text
