"""Tables are whole at any width: prose wraps between words, or each row is a block."""

import pytest

from clir_cli.console import wrapped
from clir_cli.layout import show_table

HEADER = ("name", "what it is", "command")
ROWS = [
    ["colbert-ir/colbertv2.0", "an English teacher of tokens", "clir index --suite open"],
    ["short", "", "clir search --lang sw-en --method ot --collection ./a/folder --suite open"],
]


@pytest.fixture
def shown(capsys, monkeypatch):
    def show(columns, header=HEADER, rows=ROWS, **options):
        monkeypatch.setenv("COLUMNS", str(columns)) if columns else monkeypatch.delenv(
            "COLUMNS", False
        )
        show_table("models", header, rows, ["a note of several words"], **options)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("columns", [0, 200])
def test_a_table_is_as_wide_as_it_needs_where_there_is_room(shown, columns) -> None:
    told = shown(columns).splitlines()
    assert told[0] == "models"
    assert len(told[1]) == 22 + 28 + 73 + 10
    assert "│ short                  │                              │ clir search" in told[5]
    assert told[-1] == "a note of several words"


def test_prose_wraps_before_anything_is_cut(shown) -> None:
    told = shown(130).splitlines()
    assert {len(line) for line in told[1:-1]} == {130}
    assert ROWS[0][0] in told[4]
    assert ROWS[1][2] in told[6]


def test_rows_become_blocks_and_commands_stay_on_one_line(shown) -> None:
    rows = [["colbert-ir/colbertv2.0", "tokens " * 12, ROWS[0][2]], ROWS[1]]
    assert shown(80, rows=rows) == (
        "models\n\n"
        "colbert-ir/colbertv2.0\n"
        "  what it is  tokens tokens tokens tokens tokens tokens tokens tokens tokens\n"
        "              tokens tokens tokens\n"
        "  command     clir index --suite open\n\n"
        "short\n"
        f"  command     {ROWS[1][2]}\n\n"
        "a note of several words\n"
    )


def test_numbers_stand_to_the_right_and_are_never_wrapped(shown) -> None:
    header, rows = ("pair", "ot"), [["sw-en", "0.818 [0.773, 0.859] ▲"], ["so-en", "-"]]
    assert "│ so-en │                      - │" in shown(34, header, rows, numbers=True)
    assert "so-en\n  ot  -\n" in shown(33, header, rows, numbers=True)


def test_prose_that_begins_as_a_command_does_is_wrapped(shown) -> None:
    row = ["hybrid", "clir train: contrastive, on English and cross-lingual batches", ""]
    assert "what it is  clir train: contrastive,\n" in shown(36, rows=[row])


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_talk_ends_its_lines_between_words_and_keeps_a_command_whole(columns) -> None:
    command = "clir distill --lang sw-en --method ot --set training.epochs=1"
    message = f"artifacts/sample/sw-en/ot/student: missing; make it with: {command}"
    lines = wrapped(message, columns)
    assert " ".join(lines) == message
    assert lines[-1].endswith(command)
    assert all(len(line) <= columns or " " not in line for line in lines[:-1])
