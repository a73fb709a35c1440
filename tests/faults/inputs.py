"""A user's own files: rewritten so that they mean the same, or broken so that they mean nothing."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from clir_cli.suites import bundled
from faults.endings import Ending
from faults.judging import REFUSED, SAME, Fault, failure
from faults.world import Home, World

Change = Callable[[Path, Random], None]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _save(path: Path, lines: Sequence[str], end: str = "\n", encoding: str = "utf-8") -> None:
    path.write_bytes("".join(line + end for line in lines).encode(encoding))


def _on_a_line(change: Callable[[str, Random], str], first: int = 0) -> Change:
    """Return the change of one line of a file, any from ``first`` on."""

    def apply(path: Path, chance: Random) -> None:
        lines = _lines(path)
        number = chance.randrange(first, len(lines))
        lines[number] = change(lines[number], chance)
        _save(path, lines)

    return apply


def _on_a_row(change: Callable[[dict], object]) -> Change:
    """Return the change of one JSON line."""
    return _on_a_line(lambda line, _: json.dumps(change(json.loads(line)), ensure_ascii=False))


def _on_all(change: Callable[[list[str]], list[str]], **how: str) -> Change:
    return lambda path, _: _save(path, change(_lines(path)), **how)


def _bytes(change: Callable[[bytes, Random], bytes]) -> Change:
    return lambda path, chance: path.write_bytes(change(path.read_bytes(), chance))


def _gzipped(path: Path, _: Random) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def _fifo(path: Path, _: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _foreign_byte(content: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + b"\xff" + content[place:]


def _again(lines: list[str]) -> list[str]:
    return [*lines, lines[len(lines) // 2]]


NESTED = '{"_id": "z", "text": ' + "[" * 100_000 + "]" * 100_000 + "}"
BROKEN_FILE: dict[str, Change] = {
    "a byte that is not UTF-8": _bytes(_foreign_byte),
    "UTF-16": _on_all(list, encoding="utf-16"),
    "emptied": _bytes(lambda *_: b""),
    "zeros": _bytes(lambda content, _: bytes(len(content))),
    "a folder": lambda path, _: (path.unlink(), path.mkdir())[0],
    "a fifo": _fifo,
    "lost": lambda path, _: path.unlink(),
}
SAME_JSON: dict[str, Change] = {
    "CRLF": _on_all(list, end="\r\n"),
    "a byte order mark": _bytes(lambda content, _: b"\xef\xbb\xbf" + content),
    "blank lines": _on_all(lambda lines: [part for line in lines for part in (line, "", " ")]),
    "another key": _on_a_row(lambda row: {**row, "metadata": {"a": [1, None]}}),
    "keys in another order": _on_a_row(lambda row: dict(reversed(row.items()))),
    "escapes": _on_a_line(lambda line, _: json.dumps(json.loads(line))),
    "white space after a line": _on_a_line(lambda line, _: f"{line} \t"),
    "no end of the last line": _bytes(lambda content, _: content.rstrip(b"\n")),
    "gzip under another name": _bytes(lambda content, _: gzip.compress(content)),
    "gzip": _gzipped,
}
BROKEN_JSON: dict[str, Change] = {
    **BROKEN_FILE,
    "a line cut": _on_a_line(lambda line, chance: line[: chance.randrange(1, len(line) - 1)]),
    "two rows on a line": _on_a_line(lambda line, _: line + line),
    "a list for a row": _on_a_line(lambda line, _: json.dumps([line])),
    "a number for a row": _on_a_line(lambda *_: "7"),
    "null for a row": _on_a_line(lambda *_: "null"),
    "a text for a row": _on_a_line(lambda *_: '"text"'),
    "no text": _on_a_row(lambda row: {key: row[key] for key in row if key != "text"}),
    "no id": _on_a_row(lambda row: {key: row[key] for key in row if key != "_id"}),
    **{
        f"{key} is {value!r}"[:60]: _on_a_row(lambda row, key=key, value=value: {**row, key: value})
        for key in ("text", "_id")
        for value in (None, float("nan"), float("inf"), [], ["a"], {}, {"a": "b"}, True, "", " ")
    },
    "an id of two words": _on_a_row(lambda row: {**row, "_id": "a b"}),
    "an id with a tab": _on_a_row(lambda row: {**row, "_id": "a\tb"}),
    "a row twice": _on_all(_again),
    "nested too deep": _on_a_line(lambda *_: NESTED),
}
GRADES = (
    "2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
    "9" * 5000, "1.5", "nan", "inf", "", "one", "1 1", "0x1", "1_000", "\u0661", "+", "1e3",
)  # fmt: skip
SAME_TSV: dict[str, Change] = {
    "CRLF": SAME_JSON["CRLF"],
    "no end of the last line": SAME_JSON["no end of the last line"],
    "gzip under another name": SAME_JSON["gzip under another name"],
}
TITLE_ALONE = ("text is ''", "text is ' '")  # a document may have a title and no text
COLLECTION: dict[str, tuple[dict[str, Change], dict[str, Change]]] = {
    "corpus.jsonl": (
        {**SAME_JSON, "a title that is null": _on_a_row(lambda row: {"title": None, **row})},
        {
            **{name: BROKEN_JSON[name] for name in BROKEN_JSON if name not in TITLE_ALONE},
            **{
                f"a title that is {value!r}": _on_a_row(lambda row, v=value: {**row, "title": v})
                for value in (float("nan"), 7, [], {}, True)
            },
        },
    ),
    "queries.en.jsonl": (SAME_JSON, BROKEN_JSON),
    "qrels/test.tsv": (
        {
            **SAME_TSV,
            "blank lines": SAME_JSON["blank lines"],
            "a byte order mark": SAME_JSON["a byte order mark"],
            "no header": _on_all(lambda lines: lines[1:]),
            "a line twice": _on_all(_again),
            "in another order": _on_all(lambda lines: [lines[0], *reversed(lines[1:])]),
        },
        {
            **BROKEN_FILE,
            **{
                f"grade {grade[:24]!r}": _on_a_line(
                    lambda line, _, grade=grade: "\t".join([*line.split("\t")[:2], grade]), first=1
                )
                for grade in GRADES
            },
            "four columns": _on_a_line(lambda line, _: line.replace("\t", "\t0\t", 1), first=1),
            "two columns": _on_a_line(lambda line, _: line.rsplit("\t", 1)[0], first=1),
            "commas": _on_all(lambda lines: [line.replace("\t", ",") for line in lines]),
            "a document twice, graded otherwise": _on_all(
                lambda lines: [*lines, lines[-1].rsplit("\t", 1)[0] + "\t0"]
            ),
            "an unknown document": _on_a_line(
                lambda line, _: "\t".join([line.split("\t")[0], "nobody", "1"]), first=1
            ),
            "an unknown query": _on_a_line(lambda line, _: f"x{line}", first=1),
        },
    ),
}


def _meant(ending: Ending, is_same: bool, expected: str, made: Callable[[], str]) -> str:
    """Return the verdict on a file that is to mean the same, or is to be refused."""
    if ending.refused:
        return f"refused: {ending.err.strip()[:160]}" if is_same else REFUSED
    if ending.code:
        return failure(ending)
    if not is_same:
        return "a broken file is read, exit 0"
    return SAME if made() == expected else "another result, exit 0"


def collections(world: World, chance: Random) -> Iterator[Fault]:
    """Rewrite or break one file of a collection; search it by words and score the run."""

    def lines(home: Home) -> list[list[object]]:
        own = ("--collection", home.folder / "mine", "--home", home.artifacts, "-q")
        asked = ("--lang", "sw-en", "--method", "english-bm25")
        results = ("--results", home.folder / "scores")
        return [["search", *asked, *own], ["evaluate", *asked, "--metric", "map", *own, *results]]

    def made(home: Home) -> str:
        runs = sorted(home.artifacts.glob("sample/sw-en/english-bm25/runs/*/run.trec"))
        scores = (home.folder / "scores/sample/per_query.csv").read_text().splitlines()
        return runs[0].read_text() + "".join(line.rpartition(",")[2] for line in scores)

    def play(home: Home, file: str, change: Change | None, expected: str, seed: str) -> str:
        shutil.copytree(world.root / "small", home.folder / "mine")
        if change:
            change(home.folder / "mine" / file, Random(seed))
        ending = home.run(lines(home))
        return _meant(ending, bool(expected), expected, lambda: made(home))

    with world.copy("collection") as home:
        shutil.copytree(world.root / "small", home.folder / "mine")
        assert home.run(lines(home)).code == 0
        whole = made(home)
    while True:
        file = chance.choice(list(COLLECTION))
        is_same, seed = chance.random() < 0.3, str(chance.random())
        changes = COLLECTION[file][0 if is_same else 1]
        name = chance.choice(list(changes))
        expected = whole if is_same else ""
        yield Fault(
            "collection rewritten or broken",
            f"{file}: {name} ({seed})",
            lambda home, f=file, c=changes[name], e=expected, s=seed: play(home, f, c, e, s),
        )


# ------------------------------------------------------------------ bitext


def _third_column(lines: list[str]) -> list[str]:
    return [f"0.{number:03}\t{line}" for number, line in enumerate(lines)]


SAME_BITEXT: dict[str, Change] = {
    **SAME_TSV,
    "a byte order mark": SAME_JSON["a byte order mark"],
    "white space at the ends": _on_a_line(lambda line, _: f" {line}  "),
    "gzip": _gzipped,
}
BROKEN_BITEXT: dict[str, Change] = {
    **BROKEN_FILE,
    "a score first": _on_all(_third_column),
    "ids between": _on_all(
        lambda lines: [f"1\t{line}".replace("\t", "\t2\t", 2) for line in lines]
    ),
    "one column": _on_a_line(lambda line, _: line.replace("\t", " ")),
    "an empty side": _on_a_line(lambda line, _: line.split("\t")[0] + "\t"),
    "an empty line": _on_a_line(lambda *_: ""),
    "a column more on a line": _on_a_line(lambda line, _: f"{line}\tmore"),
}


def bitexts(world: World, chance: Random) -> Iterator[Fault]:
    """Rewrite or break a user's own bitext and distil a student from it."""
    sides = [
        (bundled("data") / "sample" / "bitext" / f"sample.{language}.txt")
        for language in ("sw", "en")
    ]

    def write(home: Home) -> Path:
        path = home.folder / "mine.tsv"
        _save(path, ["\t".join(pair) for pair in zip(*map(_lines, sides), strict=True)][:40])
        return path

    def distill(home: Home) -> list[list[object]]:
        files = [path.name for path in home.folder.glob("mine.tsv*")] or ["mine.tsv"]
        chosen = json.dumps([str(home.folder / name) for name in files[:1]])
        more = ("--set", f"bitext.files={chosen}", "--set", "bitext.sources=[]")
        return [home.words("distill", "--lang", "sw-en", "--variant", "own", *more)]

    def made(home: Home) -> str:
        weights = home.artifacts / "sample/sw-en/ot.own/student/model.safetensors"
        return weights.read_bytes().hex()

    def play(home: Home, change: Change, expected: str, seed: str) -> str:
        change(write(home), Random(seed))
        return _meant(home.run(distill(home)), bool(expected), expected, lambda: made(home))

    with world.copy("bitext") as home:
        write(home)
        assert (ending := home.run(distill(home))).code == 0, ending.err
        whole = made(home)
    while True:
        is_same, seed = chance.random() < 0.3, str(chance.random())
        changes = SAME_BITEXT if is_same else BROKEN_BITEXT
        name, expected = chance.choice(list(changes)), whole if is_same else ""
        yield Fault(
            "bitext rewritten or broken",
            f"{name} ({seed})",
            lambda home, c=changes[name], e=expected, s=seed: play(home, c, e, s),
        )


# ------------------------------------------------------------------ edits that leave no trace


def edits(world: World, chance: Random) -> Iterator[Fault]:
    """Change a letter or a grade of a collection in place; its size and mtime stay."""

    def lines(home: Home) -> list[list[object]]:
        own = ("--collection", home.folder / "mine", "--home", home.artifacts, "-q")
        asked = ("--lang", "sw-en", "--method", "english-bm25", "--force")
        results = ("--results", home.folder / "scores")
        return [
            ["search", *asked, *own],
            ["evaluate", *asked[:-1], "--metric", "map", *own, *results],
        ]

    def scores(home: Home) -> str:
        table = home.folder / "scores/sample/per_query.csv"
        runs = home.artifacts.glob("sample/sw-en/english-bm25/runs/*/run.trec")
        return table.read_text() + "".join(path.read_text() for path in runs)

    def edit(path: Path, place: float) -> None:
        before, content = path.stat(), path.read_bytes()
        letters = [n for n, byte in enumerate(content) if chr(byte) in "aeiou"]
        if path.suffix == ".tsv":
            letters = [n + 1 for n, two in enumerate(pairwise(content)) if two == tuple(b"\t1")]
        at = letters[int(place * len(letters))]
        new = b"0" if path.suffix == ".tsv" else b"y"
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(new)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def play(home: Home, file: str, place: float) -> str:
        shutil.copytree(world.root / "small", home.folder / "mine")
        if home.run(lines(home)).code:
            return "the unchanged collection is refused"
        edit(home.folder / "mine" / file, place)
        ending = home.run(lines(home))
        seen = scores(home) if ending.code == 0 else ""
        fresh = home.folder / "artifacts2"
        (fresh / "models").mkdir(parents=True)
        shutil.rmtree(home.artifacts)
        fresh.rename(home.artifacts)
        shutil.rmtree(home.folder / "scores")
        afresh = home.run(lines(home))
        if ending.refused and afresh.refused:
            return REFUSED
        if ending.code or afresh.code:
            return failure(ending if ending.code else afresh)
        return SAME if seen == scores(home) else "the file as it was before is scored, exit 0"

    while True:
        file = chance.choice(("corpus.jsonl", "queries.en.jsonl", "qrels/test.tsv"))
        place = chance.random()
        yield Fault(
            "edit that keeps size and mtime",
            f"{file} at {place:.5f}",
            lambda home, f=file, p=place: play(home, f, p),
        )
