"""Parallel text as collections: NTREX-128 and FLORES-200 split into runs of sentences."""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.opening import open_unpacked
from clir_cli.corpus.formats.reading import ParsedCollection, Queries, ReadRequest, text_lines
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

RUN = 5  # sentences: the first is the query, up to four are the document
ARTICLE_RUN = 4  # the first is the query, three are a document
NEXT, SAME_ARTICLE = 2, 1  # grades of documents next to the query's sentence, and elsewhere


def read_ntrex(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Split NTREX-128 into known-item search: runs of five sentences of a document.

    The first sentence of a run, in the query language, is the query; the others, in English,
    are the document. A rest of fewer than three sentences is dropped.
    """
    return _known_items(*_aligned(files), RUN, least=3)


def read_ntrex_articles(
    files: Sequence[LocalFile], _: ReadRequest | None = None
) -> ParsedCollection:
    """Split NTREX-128 into a search for articles, with several graded documents a query.

    Articles are cut into runs of four sentences. The first, in the query language, is a query, the
    other three, in English, are a document, so no sentence is on both sides. All documents of the
    query's article are relevant: 2 for the one before and the one behind its sentence, 1 for the
    others. A rest of fewer than four, and articles of a single run, are dropped.
    """
    return _known_items(*_aligned(files), ARTICLE_RUN, least=ARTICLE_RUN, graded=True)


def _aligned(files: Sequence[LocalFile]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the name of each sentence's article, and the sentences by language."""
    by_language = {file.declared.lang: text_lines(file.path) for file in files}
    names = by_language.pop("")
    for file in files:
        lines = by_language.get(file.declared.lang, names)
        if len(lines) != len(names):
            raise UserError(f"{file.path}: {len(lines):,} lines, but {len(names):,} document names")
    return names, by_language


def read_flores(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Split the devtest part of FLORES-200 into known-item search, straight from its tar.gz.

    Sentences that follow each other on one page (column ``URL`` of the metadata) are a run; pages
    have three to five, so a rest of two is kept. Nothing is unpacked to disk.
    """
    path, split = files[0].path, request.options.get("split", "devtest")
    codes = {**request.codes, "en": request.options["english"]}
    metadata = f"metadata_{split}.tsv"
    members = {f"{split}/{codes[lang]}.{split}": lang for lang in ("en", request.language)}
    members[metadata] = ""
    by_language = dict(_read_members(path, members))
    for name, language in members.items():
        if language not in by_language:
            raise UserError(f"{path}: {name} is not in it; is it FLORES-200?")
    header, *table = by_language.pop("")
    if header.split("\t")[0] != "URL":
        raise UserError(f"{path}: {metadata} does not begin with the column URL")
    for language, lines in by_language.items():
        if len(lines) != len(table):
            counts = f"has {len(lines):,} lines, metadata {len(table):,}"
            raise UserError(f"{path}: {codes[language]} {counts}")
    numbers: dict[str, int] = {}
    pages = [numbers.setdefault(line.split("\t")[0], len(numbers) + 1) for line in table]
    return _known_items([f"{split}-{page:04d}" for page in pages], by_language, RUN, 2)


def _read_members(path: Path, members: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    missing = set(members)
    try:
        # Not mode "r|gz": that takes the end of a truncated file for the end of the archive.
        with open_unpacked(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = next((n for n in missing if f"/{member.name}".endswith(f"/{n}")), None)
                file = archive.extractfile(member) if name and member.isfile() else None
                if name is None or file is None:
                    continue
                missing.discard(name)
                yield members[name], text_lines(path / member.name, file.read())
                if not missing:
                    return
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"{path}: truncated or damaged tar.gz ({error}); delete it and fetch it again"
        ) from None


def _known_items(
    names: Sequence[str],
    by_language: Mapping[str, Sequence[str]],
    size: int,
    least: int,
    graded: bool = False,
) -> ParsedCollection:
    """Split the aligned sentences of each document (``names``) into runs of ``size`` sentences.

    A rest of fewer than ``least`` is dropped. If ``graded``, all runs of a document are relevant,
    and a document of a single run is dropped.
    """
    numbers_of: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        numbers_of.setdefault(name, []).append(number)
    documents, qrels = [], {}
    queries: Queries = {language: {} for language in by_language}
    for name, numbers in numbers_of.items():
        starts = range(0, len(numbers) - least + 1, size)
        items = [f"{name}-{run:02d}" for run, _ in enumerate(starts, start=1)]
        for run, start in enumerate(starts if len(items) > 1 or not graded else ()):
            first, *rest = numbers[start : start + size]
            item, places = items[run], enumerate(items)
            documents.append(Document(item, "", " ".join(by_language["en"][i] for i in rest)))
            near = (run - 1, run)
            grades = {other: NEXT if at in near else SAME_ARTICLE for at, other in places}
            qrels[item] = grades if graded else {item: 1}
            for language, sentences in by_language.items():
                queries[language][item] = sentences[first]
    return ParsedCollection(documents, queries, qrels)
