"""What a person types: settings, names, texts, and the terminal that they are typed at."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from random import Random

from clir_cli.settings import Settings
from clir_cli.suites import known_keys
from faults.judging import REFUSED, SAME, Fault, differing, failure, verdict
from faults.world import Home, World

NO_NUMBERS = (
    "nan", "inf", "-inf", "-1", "-1e30", "1e30", "1e400", "9" * 30, "9" * 5000, "'x'", "''", "[]",
    "[1]", "{a=1}", "'\\u0000'", "0.5.1", "1,5", "--", "[" * 5000, "{a=" * 3000,
)  # fmt: skip
NO_TEXT = ("[]", "{a=1}", "[[[[", "\0", "[" * 5000)
NO_CHOICE = ("'nonsense'", "''", "[]", "7", "{a=1}", "nan")


def settings(world: World, chance: Random) -> Iterator[Fault]:
    """Give a setting a value that it cannot have."""
    del world
    values = _values()
    while True:
        key = chance.choice(list(values))
        value = chance.choice(values[key])

        def play(home: Home, text: str = f"{key}={value}") -> str:
            words = home.words("distill", "--lang", "sw-en", "--dry-run", "--set", text)
            ending = home.run([words])
            if ending.code == 0:
                return "accepted, exit 0"
            return REFUSED if ending.refused else failure(ending)

        yield Fault("setting with an impossible value", f"{key}={value}"[:80], play)


def _values() -> dict[str, tuple[str, ...]]:
    """Return the values that each setting must refuse."""
    schema = Settings.model_json_schema()
    values = {}
    for key in known_keys():
        part = schema
        for name in key.split("."):
            part = part["properties"][name]
            if "$ref" in part:
                part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        kind = "enum" if "enum" in part else part.get("type", "")
        if kind in ("integer", "number"):
            values[key] = NO_NUMBERS
        elif kind in ("enum", "boolean"):
            values[key] = NO_CHOICE if kind == "enum" else (*NO_CHOICE[:-3], "{a=1}", "nan")
        elif kind == "string":
            values[key] = NO_TEXT
    return values


# ------------------------------------------------------------------ names and texts


TEXTS = (
    "", " ", "x", "../x", "/", ".", "..", "a" * 300, "a" * 100_000, "x\ny", "a\tb", "[/x]",
    "[red]x[/red]", ":book:", "\x1b[31mx", "\x9b31m", "\u202etxet", "\udce9", "caf\udce9 market",
    "None", "NaN", "null", "🙂", "-x", "--", ",", "sw-en,", "%s", "{0}", "$(id)", "`id`", "'; ls",
    "a b", "\ufeff", "\u200b", "e\u0301", "=1+1", "@x", "9" * 5000, "<b>", "&amp;", "C:\\x", "CON",
    "\x00", "scores", "per_query", "Scores.csv", "sample", "sw-en", "ot", "ot.", ".ot", "ot,ot",
)  # fmt: skip
OPTIONS = {
    "distill": ("--lang", "--method", "--variant", "--suite", "--config", "--set", "--device"),
    "search": ("--query", "--lang", "--method", "--variant", "--collection", "--top-k", "--suite"),
    "evaluate": ("--metric", "--baseline", "--method", "--variant", "--collection", "--seed"),
    "index": ("--collection", "--engine", "--address", "--config"),
    "ls": ("",),
    "align": ("", "--lang", "--method"),
    "download": ("--mirror", "--lang", "--collection"),
    "reproduce": ("", "--suite"),
}
FIXED = {
    "distill": ("--lang", "sw-en", "--dry-run"),
    "search": ("--lang", "sw-en", "--method", "english"),
    "evaluate": ("--lang", "sw-en", "--metric", "map", "--method", "english", "--dry-run"),
    "index": ("--dry-run",),
    "align": ("--lang", "sw-en"),
    "download": ("--lang", "sw-en", "--dry-run"),
    "reproduce": ("--dry-run",),
}
CONTROLS = {chr(n) for n in (*range(32), *range(127, 160), 0x202E)} - set("\n\r\t")


def names(world: World, chance: Random) -> Iterator[Fault]:
    """Give an option a text that is no name, or a name that is hard to handle."""
    del world
    while True:
        verb = chance.choice(list(OPTIONS))
        option, text = chance.choice(OPTIONS[verb]), chance.choice(TEXTS)

        def play(home: Home, verb: str = verb, option: str = option, text: str = text) -> str:
            words = home.words(verb, *FIXED.get(verb, ()))
            words += [option, text] if option else [text]
            ending = home.run([words])
            if CONTROLS & set(ending.out + ending.err):
                return f"control characters printed: {(ending.out + ending.err)[:80]!r}"
            return verdict(ending, home)

        yield Fault("name or text that is hard to handle", f"{verb} {option} {text[:40]!r}", play)


# ------------------------------------------------------------------ ids and texts in a collection


def marks(world: World, chance: Random) -> Iterator[Fault]:
    """Put a hard text into ids, titles and documents: it is shown as it is, or harmlessly."""
    asked = ("--method", "english-bm25", "--lang", "sw-en")
    texts = [text for text in TEXTS if text.strip() and len(text) < 100 and "\udce9" not in text]
    while True:
        text, field = chance.choice(texts), chance.choice(("_id", "title", "text"))

        def play(home: Home, text: str = text, field: str = field) -> str:
            folder = home.folder / "mine"
            (folder / "qrels").mkdir(parents=True)
            rows = [{"_id": f"d{n}", "title": "", "text": f"maize market {n}"} for n in range(3)]
            rows[1][field] = f"maize {text}" if field != "_id" else text
            corpus = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "corpus.jsonl").write_text(corpus)
            for language in ("en", "sw"):
                query = json.dumps({"_id": "q1", "text": "maize"})
                (folder / f"queries.{language}.jsonl").write_text(f"{query}\n")
            (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
            own = ("--collection", folder, "--home", home.artifacts, "-q")
            search = ["search", *asked, *own]
            shown = home.run([[*search, "--query", "maize"]])
            as_json = home.run([[*search, "--query", "maize", "--json"]])
            results = ("--metric", "map", "--results", home.folder / "scores")
            scored = home.run([search, ["evaluate", *asked, *own, *results]])
            for ending in (shown, as_json, scored):
                if ending.code and not ending.refused:
                    return failure(ending)
            if CONTROLS & set(shown.out + shown.err):
                return f"control characters printed: {shown.out[:80]!r}"
            if scored.refused:
                return REFUSED
            ids = {hit["document"] for hit in json.loads(as_json.out)}
            if ids != {row["_id"] for row in rows}:
                return f"other ids: {sorted(ids)}"
            printable = text.isprintable() and not any(c in text for c in CONTROLS)
            if field == "_id" and printable and len(text) < 20 and text not in shown.out:
                return f"the id is not shown: {shown.out[:160]!r}"
            return SAME

        yield Fault("hard text in a collection", f"{field} {text!r}", play)


# ------------------------------------------------------------------ terminals and environment


ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "utf-16"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"COLUMNS": "1"},
    {"COLUMNS": "0"}, {"COLUMNS": "-5"}, {"COLUMNS": "x"}, {"COLUMNS": "20"}, {"TERM": "dumb"},
    {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {"WORLD_SIZE": "x"}, {"WORLD_SIZE": "1"},
    {"RANK": "7"}, {"HTTPS_PROXY": "socks5://localhost:1"}, {"SSL_CERT_FILE": "/nope"},
    {"HF_TOKEN": "é"}, {"CLIR_HOME": "/proc/x"}, {"CLIR_RESULTS": "/proc/x"}, {"HOME": "/nope"},
    {"TZ": "nonsense"}, {"LANG": "xx_YY"}, {"OMP_NUM_THREADS": "x"}, {"TMPDIR": "/nope"},
)  # fmt: skip
STREAMS = ("", "", "", "1>&-", "2>&-", "0<&-", "1>/dev/full", "2>/dev/full", "1>&- 2>&-")
COMMANDS = {
    "evaluate": ("--lang", "sw-en", "--metric", "map,mrr", "--method", "ot,english",
                 "--baseline", "english"),
    "ls": ("methods",),
    "search": ("--lang", "sw-en", "--method", "ot"),
    "distill": ("--lang", "sw-en", "--dry-run"),
    "align": ("--lang", "sw-en", "maji safi"),
    "index": ("--dry-run",),
}  # fmt: skip


def terminals(world: World, chance: Random) -> Iterator[Fault]:
    """Start a real process under a strange environment, its streams closed or full."""
    del world
    while True:
        environment, streams = chance.choice(ENVIRONMENTS), chance.choice(STREAMS)
        verb = chance.choice(list(COMMANDS))

        def play(home: Home, environment: dict = environment, streams: str = streams,
                 verb: str = verb) -> str:  # fmt: skip
            words = [str(word) for word in home.words(verb, *COMMANDS[verb])]
            if set(environment) & {"CLIR_HOME", "CLIR_RESULTS"}:
                for option in {"--home", "--results"} & set(words):
                    del words[words.index(option) : words.index(option) + 2]
            script = f'exec "$@" {streams}'
            program = [sys.executable, "-m", "clir_cli", *words]
            clean = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
            done = subprocess.run(
                ["/bin/sh", "-c", script, "sh", *program], capture_output=True, timeout=120,
                env={**clean, "OMP_NUM_THREADS": "1", **environment},
            )  # fmt: skip
            said = done.stderr.decode("utf-8", "replace")
            if "Traceback" in said or "Error:" in said or done.returncode not in (0, 2):
                return f"exit {done.returncode}: {said.strip()[-160:]}"
            if done.returncode == 0:
                return differing(home) or SAME
            return REFUSED

        name = f"{' '.join(f'{k}={v}' for k, v in environment.items())} clir {verb} {streams}"
        yield Fault("terminal or environment", name, play)
