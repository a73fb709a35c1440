"""Known-item search over parallel text: NTREX-128 and FLORES-200 cut into runs of sentences."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus.formats.parts import Asked, Parts
from clir_cli.corpus.formats.shared import Located, text_lines
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

RUN = 5  # sentences: one asks, up to four answer


def read_ntrex(files: Sequence[Located], _: Asked | None = None) -> Parts:
    """Cut NTREX-128 into known-item search: runs of five sentences of a document.

    The first sentence of a run, in the query language, is the query; the others, in English,
    are the document. A rest of fewer than three sentences is dropped.
    """
    by_lang = {file.entry.lang: text_lines(file.path) for file in files}
    for file in files:
        found, expected = len(by_lang[file.entry.lang]), len(by_lang[""])
        if found != expected:
            raise UserError(f"{file.path}: {found:,} lines, but {expected:,} document names")
    names = by_lang.pop("")
    return cut(names, by_lang, least=3)


def read_flores(files: Sequence[Located], asked: Asked) -> Parts:
    """Cut the devtest part of FLORES-200 into known-item search, straight from its tar.gz.

    Sentences that follow each other on one page (column ``URL`` of the metadata) are a run; pages
    have three to five, so a rest of two is kept. Nothing is unpacked to disk.

    Raises:
        UserError: The archive is damaged, or lacks a language.
    """
    path, split = files[0].path, asked.options.get("split", "devtest")
    spoken = {"en": asked.options["english"]}
    if asked.language != "en":
        spoken[asked.language] = asked.codes[asked.language]
    wanted = {f"{split}/{code}.{split}": language for language, code in spoken.items()}
    wanted[f"metadata_{split}.tsv"] = ""
    by_lang = dict(_members(path, wanted))
    for name, language in wanted.items():
        if language not in by_lang:
            raise UserError(f"{path}: {name} is not in it; is it FLORES-200?")
    header, *table = by_lang.pop("")
    if header.split("\t")[0] != "URL":
        raise UserError(f"{path}: metadata_{split}.tsv does not begin with the column URL")
    pages = [line.split("\t")[0] for line in table]
    for language, lines in by_lang.items():
        if len(lines) != len(pages):
            code = spoken[language]
            raise UserError(f"{path}: {code} has {len(lines):,} lines, metadata {len(pages):,}")
    numbers: dict[str, int] = {}
    names = [f"{split}-{numbers.setdefault(page, len(numbers) + 1):04d}" for page in pages]
    return cut(names, by_lang, least=2)


def _members(path: Path, wanted: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the wanted members' languages and lines, in one pass over the archive."""
    left = set(wanted)
    try:
        # Not mode "r|gz": that takes the end of a file that was cut for the end of the archive.
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = next((name for name in left if f"/{member.name}".endswith(f"/{name}")), None)
                found = archive.extractfile(member) if name and member.isfile() else None
                if name is None or found is None:
                    continue
                left.discard(name)
                text = found.read().decode("utf-8-sig").removesuffix("\n")
                yield wanted[name], [line.strip() for line in text.split("\n")]
                if not left:
                    return
    except (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cut or damaged tar.gz ({error}); delete it and fetch it again"
        ) from None


def cut(names: Sequence[str], by_lang: Mapping[str, Sequence[str]], least: int) -> Parts:
    """Cut parallel sentences into runs of at most five with the same name, in order.

    Args:
        names: The document of each sentence.
        by_lang: The sentences of each language, line by line the same; English among them.
        least: A shorter rest of a document is dropped.
    """
    members: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        members.setdefault(name, []).append(number)
    documents, qrels = [], {}
    queries: dict[str, dict[str, str]] = {spoken: {} for spoken in by_lang}
    for name, numbers in members.items():
        for start in range(0, len(numbers), RUN):
            run = numbers[start : start + RUN]
            if len(run) < least:
                continue
            known = f"{name}-{start // RUN + 1:02d}"
            documents.append(Document(known, "", " ".join(by_lang["en"][i] for i in run[1:])))
            qrels[known] = {known: 1}
            for spoken, found in queries.items():
                found[known] = by_lang[spoken][run[0]]
    return Parts(documents, queries, qrels)
