"""Bitext as OPUS publishes it: a zip for each pair in Moses format, faults of mined ones in it."""

import zipfile
from pathlib import Path

from rehearsal.texts import LANGUAGES, sentences

STORE = "object.pouta.csc.fi"
CORPORA = {"CCAligned": "v1", "NLLB": "v1"}
HEAD = """
The lines of the two sides are in the same order.
"""
# Of each kind a line as they are found: what is dropped or counted, not what stops a run.
JUNK = (
    ("", "An empty side."),
    ("Tazama hapa\u2028na pale", "See here\u2028and there"),
    ("Nunua sasa\r", "Buy now\r"),
    ('<a href="http://example.org">Bofya</a>', '<a href="http://example.org">Click</a>'),
    ("Copyright 2014 Example Ltd.", "Copyright 2014 Example Ltd."),
    ("Ndiyo", "This line is much longer than its other side, as of a list that was cut badly."),
    ("Bei: 12,00 \u20ac \u00a0 \u200b", "Price: 12.00 \u20ac \u00a0 \u200b"),
)


def code_of(language: str) -> str:
    """Return OPUS's name of a pair: both languages in alphabetical order."""
    return "-".join(sorted(("en", language)))


def write_bitexts(mirror: Path) -> Path:
    """Write a zip for each language and corpus; a mined one has each line twice somewhere."""
    for corpus, version in CORPORA.items():
        for language in LANGUAGES:
            pairs = [*zip(sentences(language), sentences("en"), strict=True)]
            lines = [*pairs[:200], *JUNK, *pairs[200:], *pairs[:20]]
            folder = mirror / STORE / f"OPUS-{corpus}" / version / "moses"
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{code_of(language)}.txt.zip", corpus, language, lines)
    return mirror


def _write(path: Path, corpus: str, language: str, lines: list[tuple[str, str]]) -> None:
    stem = f"{corpus}.{code_of(language)}"
    links = "".join(
        f'<link xtargets="s{number};s{number}" />\n' for number in range(1, len(lines) + 1)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", f"{corpus}, {code_of(language)}\n{HEAD}")
        archive.writestr("LICENSE", "as the web pages that it was mined from\n")
        for side, code in enumerate((language, "en")):
            text = "".join(f"{line[side]}\n" for line in lines)
            archive.writestr(f"{stem}.{code}", text)
        archive.writestr(f"{stem}.xml", f"<?xml version='1.0'?>\n<cesAlign>\n{links}</cesAlign>\n")
