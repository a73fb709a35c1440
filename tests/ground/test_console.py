"""The terminal: data is shown as it is, and every stream can be written."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Progress

import clir_cli
from clir_cli import display
from clir_cli.artifacts.command import Command
from clir_cli.console import Talk, Words, console
from clir_cli.corpus.records import Document, Pair
from clir_cli.stages.query import Hit, Part
from clir_cli.study import tables

# Mark-up, emoji, and what a terminal obeys: colours, titles, C1, letters from right to left.
NAMES = {
    "a[/b]3": "a[/b]3",
    "[bold]d7[/bold]": "[bold]d7[/bold]",
    "shop:book:1": "shop:book:1",
    "\x1b[31mred": "␛[31mred",
    "\x1b]0;title\x07": "␛]0;title␇",
    "\x9b2J": "\ufffd2J",
    "a\u202eb\u2066c": "a\ufffdb\ufffdc",
    "half \udce9": "half \ufffd",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_names_are_shown_as_they_are(capsys, name, shown) -> None:
    display.show_rows(name, [{name: name}])
    hit = Hit(1, 0.5, Document(name, "", f"a text of {name}"), [(2, 6)], name)
    display.show_hits({(Pair("sw", "en"), name): [hit]})
    tables.text(tables.TextTable(name, [name], [[name]], [name]))
    Talk().say(name)
    with Progress(Words("{task.description}"), console=console()) as bars:
        bars.add_task(name)
    told = capsys.readouterr()
    assert told.out.count(shown) == 3 + 3 + 4 + 1, told.out
    assert told.err == f"{shown}\n"
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told.out)


def test_a_translation_is_shown_where_one_was_searched_for(capsys) -> None:
    hit = Hit(1, 0.5, Document("d", "", "clean water"), [(0, 5)], "water that is clean")
    display.show_hits({(Pair("sw", "en"), "nmt"): [hit]}, "maji safi")
    assert "sw-en, nmt: water that is clean" in capsys.readouterr().out
    display.show_hits({(Pair("sw", "en"), "ot"): [hit]}, hit.query)
    assert "water that" not in capsys.readouterr().out


def test_a_passage_is_around_the_matches_and_each_word_of_the_query_has_its_part(
    capsys, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = f"{'before ' * 60}clean water{' after' * 60}"
    low = text.index("clean")
    spans = [(low, low + 5), (low + 6, low + 11)]
    parts = [Part("safi", 0.75, spans[0]), Part("maji", 1.0, spans[1]), Part("", 0.5)]
    hit = Hit(1, 2.25, Document("d", "", text), spans, "safi maji", parts)
    display.show_hits({(Pair("sw", "en"), "ot"): [hit]})
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["sw-en, ot", "1  2.25  d"]
    assert told[2].startswith("   ... before before")
    assert told[-2].endswith("after ...")
    assert told[-1] == "   safi → clean 0.75, maji → water 1.00, other tokens 0.50"
    assert "*clean* *water*" in " ".join(line.strip() for line in told)
    assert max(map(len, told)) <= 60
    display.show_hits({(Pair("sw", "en"), "bm25"): []})
    assert capsys.readouterr().out == "sw-en, bm25: no document has a word of the query\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_has_step_share_and_time_before_what_may_be_cut(monkeypatch, columns) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with Talk().progress(unit="steps") as bars:
        note = "epoch 2  loss 0.663  plan entropy 4.83  182 pairs/s  and more that is not needed"
        bars.add_task("distill so-en ot.plain", total=102, completed=51, note=note)
        screen = console(width=columns)
        with screen.capture() as captured:
            screen.print(bars.make_tasks_table(bars.tasks))
    (line,) = captured.get().splitlines()
    assert line.strip().startswith("51/102 steps 50 %")
    assert "left distill so-en ot.plain  epoch 2  loss" in line
    assert line.rstrip().endswith("…")
    assert len(line) <= columns


@pytest.mark.parametrize("name", NAMES)
def test_json_has_no_letter_that_a_terminal_obeys(capsys, name) -> None:
    display.print_json({name: name})
    told = capsys.readouterr().out
    assert json.loads(told) == {name: name}
    assert told.replace("\n", "").isprintable()


def test_only_one_place_makes_consoles() -> None:
    package = Path(clir_cli.__file__).parent
    made = re.compile(r"\b(Console\(|TextColumn|from_markup|import Console)")
    found = {str(file.relative_to(package)) for file in package.rglob("*.py")
             if made.search(file.read_text(encoding="utf-8"))}  # fmt: skip
    assert found == {"console.py"}


@pytest.mark.parametrize("name", ["my  docs", "it's", "a\nb\t", "\x1b[1m'\\", "\u202eab", "ä$x"])
def test_a_command_that_is_shown_can_be_pasted(name) -> None:
    shown = str(Command("index", (("--collection", name),)))
    assert not re.search("[\x00-\x1f\u202e]", shown)
    script = f"clir() {{ printf '%s' \"$3\"; }}; {shown}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == name


def clir_in_shell(line: str) -> subprocess.CompletedProcess[bytes]:
    command = f"{shlex.quote(sys.executable)} -m clir_cli {line}"
    return subprocess.run(["bash", "-c", command], capture_output=True)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error_and_messages_stay_apart(closed) -> None:
    done = clir_in_shell(f"ls suites {closed}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"sample" in done.stdout) == (">&-" not in closed.split())
    done = clir_in_shell(f"ls nothing {closed}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert (b"nothing to list" in done.stderr) == ("2>&-" not in closed)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letters_that_a_terminal_lacks_have_a_stand_in(encoding) -> None:
    script = (
        "from clir_cli import console, display; from clir_cli.study import tables\n"
        "console.prepare_streams()\n"
        "for draw in tables.FORMATS.values():\n"
        "    draw(tables.TextTable('▲ मराठी', ['±', '▼'], [['✗', 'é']]))\n"
        "display.print_json({'é': '▲ 😀'})"
    )
    environment = {"PYTHONIOENCODING": encoding, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    told = done.stdout.decode(encoding)
    assert "^ ?????" in told
    assert "v" in told
    assert json.loads(told[told.index("{", told.rindex("\n\n")) :]) == {"é": "▲ 😀"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "--lang", "sw-en", "--query", "caf\udce9"], "an argument is not UTF-8: caf"),
        (["align", "caf\udce9", "coffee", "--lang", "sw-en"], "an argument is not UTF-8: caf"),
        (["index", "--home", "/tmp/\udce9"], "an argument is not UTF-8: /tmp/"),
        (["index", "--set", "teacher.model=\udce9"], "an argument is not UTF-8: teacher.model="),
        (["index", "--collection", "./\ud800"], "an argument is not UTF-8: ./"),
        (["index"], "CLIR_HOME is not UTF-8: /tmp/caf"),
    ],
)
def test_text_that_is_not_utf8_is_refused(clir, monkeypatch, words, said) -> None:
    if words == ["index"]:
        monkeypatch.setenv("CLIR_HOME", "/tmp/caf\udce9")
    done = clir(*words)
    assert done.code == 2
    assert re.fullmatch(f"clir: {re.escape(said)}.*; write it in UTF-8, .*\n", done.err), done.err


def test_folders_above_may_have_any_name(clir, tmp_path, monkeypatch, home, small_collection):
    folder = tmp_path / "caf\udce9"
    small_collection.rename(folder)
    monkeypatch.chdir(folder)
    shutil.move(home, folder / "artifacts")
    monkeypatch.delenv("CLIR_HOME", raising=False)
    shutil.copytree(folder, folder / "docs", ignore=shutil.ignore_patterns("artifacts"))
    words = ("--collection", "./docs", "--lang", "sw-en", "--method", "bm25")
    assert clir("search", *words).code == 0
    assert clir("evaluate", *words, "--metric", "map", "--results", "r").code == 0
    link = tmp_path / "link"
    link.symlink_to(folder)
    outcome = clir("search", "--collection", link, *words[2:])
    assert outcome.code == 2
    assert "the name of the collection is not UTF-8: caf�; " in outcome.err
