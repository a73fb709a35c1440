"""One part is removed at a time: the cells that need it fail with a message, and no others."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rehearsal import clef_disk, published
from rehearsal.bitexts import STORE
from rehearsal.programme import Said
from rehearsal.running import Cell, Ended, as_table, bring, cells, run
from rehearsal.stage import Stage

HEAD = """
title = "What a part is needed for"
question = "Do the cells fail that need a part, and no others?"
metrics = ["map"]

[grid]
pairs = ["sw-en", "de-en"]
"""
TAIL = """
[suites.paper]
[suites.paper.settings]
"nmt.model" = "facebook/nllb-200-distilled-600M"
"models.allow_pickle" = "pytorch_model.bin"
"dictionary.induced" = false

[table]
rows = ["collection", "pair"]
columns = ["method"]
"""
# Parts that are trained or translated with are tried on one collection, the others on five.
GRIDS = {
    "parts_of_methods": """
methods = [
  "zero-shot", "bm25", "dictionary-bm25", "nmt-bm25", "ot", "code-switch", "hybrid", "english",
]
""",
    "parts_of_collections": """
methods = ["zero-shot", "bm25", "english-bm25", "english"]
collections = ["clef-2000-2003", "mlqa", "miracl-sw", "beir-scifact", "belebele"]
""",
}
# What a cell of a skipped task has before the reason: the task that failed.
CAUSE = re.compile(r"^(download .*? \([a-z ]+\)|(models|paper)/\S+): ")
OF_A_STUDENT = ("zero-shot", "ot", "code-switch", "hybrid")


@dataclass(frozen=True)
class Removal:
    """A part that is taken away: its name, where its files lie, and which cells need it."""

    part: str
    grid: str
    paths: Callable[[Stage], list[Path]]
    needed_by: Callable[[Cell], bool]


@dataclass(frozen=True)
class Outcome:
    """What a removal did: how the command ended, its cells, and those that should have failed."""

    removal: Removal
    ended: Ended
    cells: Sequence[Cell]

    @property
    def failed(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.error]

    @property
    def wrong(self) -> list[Cell]:
        """Return the cells that failed and do not need the part, or need it and did not fail."""
        needs = self.removal.needed_by
        return [cell for cell in self.cells if bool(cell.error) != needs(cell)]

    @property
    def message(self) -> str:
        """Return the reason of the first cell that failed, without the places of this stage."""
        reason = self.failed[0].error if self.failed else "no cell failed"
        return CAUSE.sub("", reason)


def _model(name: str) -> Callable[[Stage], list[Path]]:
    return lambda stage: [stage.mirror / "huggingface.co" / name]


def _on_mirror(*parts: str) -> Callable[[Stage], list[Path]]:
    return lambda stage: [stage.mirror.joinpath(*parts)]


def _named(pattern: str) -> Callable[[Stage], list[Path]]:
    return lambda stage: sorted(stage.mirror.rglob(pattern))


def _on(collection: str, *pairs: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.collection == collection and (not pairs or cell.pair in pairs)


def _by(*methods: str, pair: str = "") -> Callable[[Cell], bool]:
    return lambda cell: cell.method in methods and pair in ("", cell.pair)


Part = tuple[
    Callable[[Stage], list[Path]], Callable[[Cell], bool]
]  # its files; which cells need it
COLBERT, MBERT = "colbert-ir/colbertv2.0", "google-bert/bert-base-multilingual-cased"
NLLB, CLEF = "facebook/nllb-200-distilled-600M", "clef-2000-2003"
OF_METHODS: dict[str, Part] = {
    COLBERT: (_model(COLBERT), lambda cell: not cell.method.endswith("bm25")),
    MBERT: (_model(MBERT), _by(*OF_A_STUDENT)),
    NLLB: (_model(NLLB), _by("nmt-bm25")),
    "CCAligned en-sw": (
        _on_mirror(STORE, "OPUS-CCAligned", "v1", "moses", "en-sw.txt.zip"),
        _by("ot", "code-switch", "hybrid", pair="sw-en"),
    ),
    "TICO-19's terminology, de": (
        _named("f_en-de_DE.csv"),
        _by("dictionary-bm25", "code-switch", pair="de-en"),
    ),
    "MS MARCO": (
        lambda stage: [stage.ir_datasets / "msmarco-passage"],
        _by("code-switch", "hybrid"),
    ),
}
OF_COLLECTIONS: dict[str, Part] = {
    "the disk E0008": (lambda stage: [stage.disk], _on(CLEF)),
    "the LA Times on it": (
        lambda stage: [stage.disk / clef_disk.ENGLISH / "LATimes94"],
        _on(CLEF),
    ),
    "the qrels on it": (
        lambda stage: [path.resolve() for path in stage.disk.glob("RelAssess")],
        _on(CLEF),
    ),
    "the German topics on it": (
        lambda stage: sorted(
            path for pattern in ("TOP-D.txt", "Top-de*.txt") for path in stage.disk.rglob(pattern)
        ),
        _on(CLEF, "de-en"),
    ),
    "CIIR's Swahili topics": (
        lambda stage: sorted(stage.topics.rglob("*_SWAHILI.txt")),
        _on(CLEF, "sw-en"),
    ),
    "MLQA": (_on_mirror(published.MLQA), _on("mlqa")),
    "MIRACL sw": (
        lambda stage: [stage.ir_datasets / "miracl" / "v1.0" / "sw"],
        _on("miracl-sw"),
    ),
    "BEIR scifact": (_on_mirror(published.BEIR, "scifact.zip"), _on("beir-scifact")),
    "Belebele sw": (_named("swh_Latn.jsonl"), _on("belebele", "sw-en")),
}
REMOVALS = tuple(
    Removal(part, grid, *found)
    for grid, parts in (
        ("parts_of_methods", OF_METHODS),
        ("parts_of_collections", OF_COLLECTIONS),
    )
    for part, found in parts.items()
)


def write_grids(stage: Stage) -> None:
    """Put the experiments of the removals into the copy of the checkout."""
    for name, grid in GRIDS.items():
        path = stage.checkout / "experiments" / f"{name}.toml"
        path.write_text(HEAD + grid.lstrip() + TAIL, encoding="utf-8")


@contextmanager
def without(stage: Stage, paths: Sequence[Path]) -> Iterator[None]:
    """Take files and folders off the stage, and put them back."""
    if not paths or not all(path.exists() for path in paths):
        raise FileNotFoundError(f"nothing to remove: {[str(path) for path in paths]}")
    aside = stage.folder / "removed"
    aside.mkdir()
    for number, path in enumerate(paths):
        path.rename(aside / str(number))
    try:
        yield
    finally:
        for number, path in enumerate(paths):
            if path.is_dir():  # what a library made in its place
                shutil.rmtree(path)
            (aside / str(number)).rename(path)
        aside.rmdir()


def remove(stage: Stage, removal: Removal) -> Outcome:
    """Run the grid of a removal in a fresh home, without the part."""
    write_grids(stage)
    with without(stage, removal.paths(stage)):
        bring(stage, "removal")
        ended = run(stage, "reproduce", removal.grid, home="removal")
    found = cells(stage, removal.grid, "removal")
    shutil.rmtree(stage.folder / "removal")
    return Outcome(removal, ended, found)


def perform(
    stage: Stage, removals: Sequence[Removal] = REMOVALS, said: Said = print
) -> list[Outcome]:
    """Remove each part in turn; say after each what failed."""
    outcomes = []
    for removal in removals:
        outcome = remove(stage, removal)
        outcomes.append(outcome)
        said(
            f"{outcome.ended.seconds:5.0f} s  without {removal.part}: {len(outcome.failed)} of "
            f"{len(outcome.cells)} cells failed, {len(outcome.wrong)} of them wrongly: "
            f"{outcome.message[:200]}"
        )
        for cell in outcome.wrong:
            said(f"        WRONG {cell}")
    return outcomes


def table(stage: Stage, outcomes: Sequence[Outcome]) -> str:
    """Return the table of removals: cells, those that failed, the first message."""
    rows = []
    for outcome in outcomes:
        methods = ", ".join(dict.fromkeys(cell.method for cell in outcome.failed))
        pairs = ", ".join(dict.fromkeys(cell.pair for cell in outcome.failed))
        places = ", ".join(dict.fromkeys(cell.collection for cell in outcome.failed))
        message = outcome.message.replace(f"{stage.folder}/", "").replace("|", "/")
        failed = f"{len(outcome.failed)} of {len(outcome.cells)}: {pairs}; {methods}; {places}"
        rows.append((outcome.removal.part, failed, len(outcome.wrong), message[:300]))
    return as_table(("removed", "cells that failed", "wrong", "message"), rows)
