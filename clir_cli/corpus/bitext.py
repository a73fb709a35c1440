"""Bitext: sentence pairs of one language pair from all sources, cleaned, sampled and split."""

import itertools
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.checksums import known_digest, record_of
from clir_cli.corpus.filters import DUPLICATE_KEYS, active, filtered
from clir_cli.corpus.realign import realign
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.corpus.sampling import bottom_k
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import file_digest
from clir_cli.settings import BitextSettings

SPLIT_SEED = 0  # the same held-out pairs for every seed and method, so that they compare
IN_MEMORY = 200_000  # pairs; a larger source is sampled as it streams by


@dataclass(frozen=True)
class Bitext:
    """The sentence pairs to train on and those held out for model selection.

    ``counts`` tells the pairs each source gave; ``skipped`` counts what was left out, by fault or
    by filter; ``moved`` counts, for each source that had slipped, the pairs that were put right.
    """

    train: list[SentencePair]
    held_out: list[SentencePair]
    counts: Mapping[str, int]
    skipped: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)


def located_files(
    kind: catalogue.Kind, name: str, language: str, downloads: Path
) -> list[formats.Located]:
    """Return a source's files for a language on this machine; empty when it lacks the language.

    Raises:
        UserError: The catalogue has no such source.
    """
    files = catalogue.source(kind, name).files_for(language)
    return [formats.Located(entry.local(downloads), entry) for entry in files]


def checked_digest(file: formats.Located) -> str:
    """Return the sha256 of a source's file.

    Raises:
        MissingInput: It has not been fetched, or is not the one that the catalogue or the record of
            the first fetch pins.
    """
    if not file.path.is_file():
        raise MissingInput(f"{file.path} is missing")
    found = file_digest(file.path)
    if found != (known_digest(file.path, file.entry) or found):
        whose = "catalogue's" if file.entry.sha256 else f"record's ({record_of(file.path).name})"
        raise MissingInput(f"{file.path}: the checksum does not match the {whose}")
    return found


def inputs(settings: BitextSettings, pair: Pair, downloads: Path) -> dict[str, str]:
    """Return the sha256 of every file the bitext of a pair is read from.

    Raises:
        UserError: A file is missing, or no source has the pair.
    """
    if settings.files:
        for name in settings.files:
            if not Path(name).is_file():
                raise UserError(f"{name}: no such file (bitext.files)")
        return {name: file_digest(Path(name)) for name in settings.files}
    found = {}
    for name in settings.sources:
        for file in located_files("bitext", name, pair.query, downloads):
            found[f"{name}/{file.entry.path}"] = checked_digest(file)
    if not found:
        named = ", ".join(settings.sources) or "none"
        raise UserError(f"no bitext for {pair}: the sources ({named}) lack it; see bitext.files")
    return found


def load_bitext(settings: BitextSettings, pair: Pair, downloads: Path) -> Bitext:
    """Read, clean, sample and split the bitext of a pair.

    Text is brought to Unicode NFC, sides that have slipped against each other are put right (see
    ``corpus/realign.py``), pairs that a filter takes out are counted (``corpus/filters.py``), and
    of pairs that are the same (``duplicates``) the first is kept. A source of more than
    ``IN_MEMORY`` pairs is sampled as it streams by, if it is to be sampled at all
    (``corpus/sampling.py``); it enters with at most ``max_pairs``. Held out is ``held_out`` pairs,
    at most a tenth; no English sentence stands on both sides of the split.

    Raises:
        UserError: A fault in a file (``on_error = stop``), or fewer than ten pairs.
    """
    faults = formats.Faults(settings.on_error)
    tests, dropped = active(settings), Counter[str]()
    key = DUPLICATE_KEYS[settings.duplicates]
    seen: set[object] = set()
    pairs: list[SentencePair] = []
    counts, moved = {}, {}
    for name, rows, ordered in _sources(settings, pair, downloads, faults):
        stream = (_normalised(row) for row in rows)
        read = list(itertools.islice(stream, IN_MEMORY + 1))
        if len(read) <= IN_MEMORY and settings.realign and ordered:
            mended = realign(read)
            read = mended.pairs
            if mended.moved:
                moved[name] = mended.moved
        rest = filtered(itertools.chain(read, stream), tests, dropped)
        rest = (row for row in rest if key(row) not in seen)
        most = _most(settings)
        if len(read) > IN_MEMORY and most:
            fresh = bottom_k(rest, most, seed=f"{settings.seed} {name}", key=key)
            seen.update(map(key, fresh))
        else:
            fresh = _unseen(rest, key, seen)
            fresh = _sample(fresh, settings.max_pairs_per_source, f"{settings.seed} {name}")
        counts[name] = len(fresh)
        pairs += fresh
    pairs = _sample(pairs, settings.max_pairs, f"{settings.seed} all")
    if len(pairs) < 10:
        raise UserError(f"only {len(pairs)} sentence pairs for {pair}; at least 10 are needed")
    train, held_out = _split(pairs, settings.held_out)
    if not train:
        raise UserError(
            f"the {len(pairs)} sentence pairs for {pair} have too few English sentences"
        )
    return Bitext(train, held_out, counts, {**faults.skipped, **dropped}, moved)


def _sources(
    settings: BitextSettings, pair: Pair, downloads: Path, faults: formats.Faults
) -> Iterator[tuple[str, Iterator[SentencePair], bool]]:
    """Yield name and pairs of each source, and whether its lines are in the order of a text."""
    if settings.files:
        yield "files", formats.read_files([Path(name) for name in settings.files], faults), True
        return
    for name in settings.sources:
        source = catalogue.source("bitext", name)
        files = located_files("bitext", name, pair.query, downloads)
        if files:
            reader = formats.PAIR_READERS[source.format]
            rows = reader(files, formats.Wanted(pair.query, source.options, faults))
            yield name, rows, bool(source.options.get("in_order", True))


def _normalised(row: SentencePair) -> SentencePair:
    return SentencePair(*(unicodedata.normalize("NFC", side) for side in row))


def _most(settings: BitextSettings) -> int:
    """Return how many pairs of one source can be wanted at most; 0 for all."""
    wanted = [each for each in (settings.max_pairs_per_source, settings.max_pairs) if each]
    return min(wanted, default=0)


def _unseen(
    rows: Iterable[SentencePair], key: Callable[[SentencePair], object], seen: set[object]
) -> list[SentencePair]:
    """Return the pairs whose key is new, and remember the keys."""
    fresh = []
    for row in rows:
        found = key(row)
        if found not in seen:
            seen.add(found)
            fresh.append(row)
    return fresh


def _sample(rows: list[SentencePair], most: int, seed: str) -> list[SentencePair]:
    if not most or len(rows) <= most:
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), most))
    return [rows[index] for index in chosen]


def _split(
    pairs: list[SentencePair], held_out: int
) -> tuple[list[SentencePair], list[SentencePair]]:
    wanted = min(held_out, len(pairs) // 10)
    order = list(range(len(pairs)))
    random.Random(SPLIT_SEED).shuffle(order)
    kept_english = {pairs[index].english for index in order[:wanted]}
    chosen = set(order[:wanted])
    train = [
        row
        for index, row in enumerate(pairs)
        if index not in chosen and row.english not in kept_english
    ]
    return train, [pairs[index] for index in sorted(chosen)]
