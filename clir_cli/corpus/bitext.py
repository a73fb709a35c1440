"""Bitext: sentence pairs of one language pair from all sources, cleaned, sampled and split."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from clir_cli.corpus import catalogue, parse_cache
from clir_cli.corpus.catalogue import CatalogueEntry, LocalFile
from clir_cli.corpus.checksums import source_digests
from clir_cli.corpus.filters import DUPLICATE_KEYS, active, filtered
from clir_cli.corpus.formats import PAIR_READERS
from clir_cli.corpus.formats.opening import require_regular
from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.own_files import own_files
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.corpus.sampling import bottom_k, sampled
from clir_cli.errors import UserError
from clir_cli.files import digest, file_digest
from clir_cli.settings import BitextSettings

SPLIT_SEED = 0  # the same held-out pairs for every seed and method, so that they are comparable
IN_MEMORY = 200_000  # pairs; a larger source is sampled as a stream


@dataclass(frozen=True)
class Bitext:
    """The sentence pairs to train on and those held out for model selection."""

    train: list[SentencePair]
    held_out: list[SentencePair]
    counts: Mapping[str, int]  # pairs of each source
    skipped: Mapping[str, int] = field(default_factory=dict)  # what was left out, by fault, filter
    moved: Mapping[str, int] = field(default_factory=dict)  # realigned pairs of misaligned sources


def inputs(settings: BitextSettings, pair: Pair, downloads: Path) -> dict[str, str]:
    """Return the sha256 of every file the bitext of a pair is read from.

    Raises:
        UserError: A file is missing, or no source has the pair.
    """
    digests = {}
    for path in own_files(settings, pair):
        require_regular(path, " (bitext.files)")
        digests[str(path)] = file_digest(path)
    sources = catalogue.chosen("bitext", settings)
    digests |= source_digests(sources, pair.query, downloads)
    if not digests:
        names = ", ".join(source.name for source in sources) or "none"
        shut = settings.licence != "any" and len(sources) < len(settings.sources)
        hint = ", bitext.licence leaves others out" if shut else ""
        what = f"the sources ({names}) lack it{hint}; see bitext.files"
        raise UserError(f"no bitext for {pair}: {what}")
    return digests


def load_bitext(
    settings: BitextSettings,
    pair: Pair,
    downloads: Path,
    test_texts: frozenset[str] = frozenset(),
) -> Bitext:
    """Return the bitext of ``read_bitext``; one that was read before comes from a cache."""
    sources = _sources_of(settings, pair, downloads)
    options = [[source.name, source.format, dict(source.options)] for source, _ in sources]
    texts = digest(sorted(test_texts))
    facts = (settings.model_dump(mode="json"), str(pair), texts, options)
    cached_at = downloads / parse_cache.FOLDER / f"bitext-{digest(facts)[:16]}.json"
    files = [*own_files(settings, pair), *(file.path for _, part in sources for file in part)]
    key = parse_cache.cache_key(files, *facts)
    content = parse_cache.load(cached_at, key)
    if content is not None:
        sides = (content.pop(part) for part in ("train", "held_out"))
        train, held_out = ([SentencePair(*row) for row in rows] for rows in sides)
        return Bitext(train, held_out, **content)
    bitext = read_bitext(settings, pair, downloads, test_texts)
    parse_cache.save(cached_at, key, vars(bitext))
    return bitext


def read_bitext(
    settings: BitextSettings,
    pair: Pair,
    downloads: Path,
    test_texts: frozenset[str] = frozenset(),
) -> Bitext:
    """Read, clean, sample and split the bitext of a pair.

    Text is normalised to Unicode NFC, misaligned sides are realigned (``corpus/realign.py``), pairs
    that a filter rejects (``corpus/filters.py``) or that equal one of ``test_texts``
    (``corpus/overlap.py``) are counted, and of equal pairs (``duplicates``) the first is kept. A
    source of more than ``IN_MEMORY`` pairs is sampled as a stream, if it is to be sampled at all
    (``corpus/sampling.py``); it contributes at most ``max_pairs``. ``held_out`` pairs are held out,
    at most a tenth; no English sentence is on both sides of the split. If there are
    ``held_out_sources``, they are pairs of these, and nothing of these trains.

    Raises:
        UserError: A fault in a file (``on_error = stop``), fewer than ten pairs, or none of
            ``held_out_sources`` has the pair.
    """
    names = settings.held_out_sources
    if unknown := [name for name in names if name not in ("files", *settings.sources)]:
        raise UserError(f"bitext.held_out_sources: {unknown[0]} is none of bitext.sources")
    faults = Faults(settings.on_error)
    tests, dropped = active(settings, test_texts), Counter[str]()
    key = DUPLICATE_KEYS[settings.duplicates]
    limits = [limit for limit in (settings.max_pairs_per_source, settings.max_pairs) if limit]
    seen: set[object] = set()
    pairs: list[SentencePair] = []
    apart: list[SentencePair] = []  # of the sources that are held out
    counts, moved = {}, {}
    for name, rows, in_order in _rows(settings, pair, downloads, faults):
        stream = (SentencePair(*(normalize("NFC", side) for side in row)) for row in rows)
        head = list(itertools.islice(stream, IN_MEMORY + 1))
        is_large = len(head) > IN_MEMORY
        if settings.realign and in_order and not is_large:
            from clir_cli.corpus.realign import realign  # scipy

            head, realigned = realign(head)
            if realigned:
                moved[name] = realigned
        rest = filtered(itertools.chain(head, stream), tests, dropped)
        if is_large and limits:
            unseen = (row for row in rest if key(row) not in seen)
            chosen = bottom_k(unseen, min(limits), seed=f"{settings.seed} {name}", key=key)
            seen.update(map(key, chosen))
        else:
            chosen = []
            for row in rest:
                if (value := key(row)) not in seen:
                    seen.add(value)
                    chosen.append(row)
            chosen = sampled(chosen, settings.max_pairs_per_source, f"{settings.seed} {name}")
        counts[name] = len(chosen)
        (apart if name in settings.held_out_sources else pairs).extend(chosen)
    pairs = sampled(pairs, settings.max_pairs, f"{settings.seed} all")
    if len(pairs) < 10:
        raise UserError(f"only {len(pairs)} sentence pairs for {pair}; at least 10 are needed")
    if names and not apart:
        lacking = f"none of {', '.join(names)} has pairs of {pair}"
        raise UserError(f"bitext.held_out_sources: {lacking}; name one that has (clir ls bitext)")
    train, held_out = _split(pairs, min(settings.held_out, len(pairs) // 10), apart)
    if not train:
        what = "have too few English sentences"
        raise UserError(f"the {len(pairs)} sentence pairs for {pair} {what}")
    return Bitext(train, held_out, counts, {**faults.skipped, **dropped}, moved)


def _sources_of(
    settings: BitextSettings, pair: Pair, downloads: Path
) -> list[tuple[CatalogueEntry, Sequence[LocalFile]]]:
    """Return the sources that have a pair, with their files."""
    found = (
        (source, source.local_files(pair.query, downloads))
        for source in catalogue.chosen("bitext", settings)
    )
    return [(source, files) for source, files in found if files]


def _rows(
    settings: BitextSettings, pair: Pair, downloads: Path, faults: Faults
) -> Iterator[tuple[str, Iterator[SentencePair], bool]]:
    if settings.files:
        yield "files", read_files(own_files(settings, pair), faults, pair.query), True
    for source, files in _sources_of(settings, pair, downloads):
        request = ReadRequest(pair.query, source.options, faults=faults)
        rows = PAIR_READERS[source.format](files, request)
        yield source.name, rows, bool(source.options.get("in_order", True))


def _split(
    pairs: list[SentencePair], count: int, apart: list[SentencePair]
) -> tuple[list[SentencePair], list[SentencePair]]:
    """Return the pairs to train on and ``count`` held-out ones, of ``apart`` if there are any."""
    if apart:
        sides = {side for row in apart for side in row}
        train = [row for row in pairs if sides.isdisjoint(row)]
        return train, sampled(apart, count, f"{SPLIT_SEED} held out")
    order = list(range(len(pairs)))
    random.Random(SPLIT_SEED).shuffle(order)
    held_out = [pairs[index] for index in sorted(order[:count])]
    english = {row.english for row in held_out}
    others = (pairs[index] for index in sorted(order[count:]))
    return [row for row in others if row.english not in english], held_out
