"""Collections: from the catalogue by name, or the user's own directory in BEIR layout."""

from pathlib import Path

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.bitext import checked_digest, located_files
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError, nearest
from clir_cli.files import digest


def is_directory(name: str) -> bool:
    """Tell whether ``--collection`` names a folder rather than an entry of the catalogue."""
    return name not in catalogue.sources("collections") and ("/" in name or Path(name).is_dir())


def collection_label(name: str) -> str:
    """Return the short name under which artifacts and scores of a collection are kept."""
    return Path(name).resolve().name if is_directory(name) else name


def load_collection(name: str, language: str, downloads: Path) -> Collection:
    """Read a collection with the queries of one language, and the English ones where it has them.

    Args:
        name: A name of the catalogue, or a directory in BEIR layout.
        language: The query language; ``en`` reads documents and English queries alone.
        downloads: Where downloaded files lie.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: Unknown name, a missing file, or a file that is not as its format demands.
    """
    if is_directory(name):
        files, layout = _own_files(Path(name), language), "beir"
    else:
        known = catalogue.sources("collections")
        if name not in known:
            raise UserError(f"unknown collection {name!r}: {nearest(name, known)}, or a directory")
        source = known[name]
        layout = source.format
        files = located_files("collections", name, language, downloads)
        if not files:
            raise UserError(f"collection {name} has no queries in {language!r}")
        for file in files:
            checked_digest(file)
    parts = formats.COLLECTION_READERS[layout](files)
    return Collection(
        name=collection_label(name),
        documents=parts.documents,
        queries=parts.queries,
        qrels=parts.qrels,
        # By content, not by file: the same documents are the same input, however they came.
        digests={
            "documents": digest(parts.documents),
            "qrels": digest(parts.qrels),
            **{f"queries.{spoken}": digest(asked) for spoken, asked in parts.queries.items()},
        },
    )


def _own_files(folder: Path, language: str) -> list[formats.Located]:
    layout = "a collection has corpus.jsonl, queries.jsonl and qrels/test.tsv"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; {layout}")
    own = folder / f"queries.{language}.jsonl"
    queries = own if own.is_file() else folder / "queries.jsonl"
    found = [folder / "corpus.jsonl", folder / "qrels" / "test.tsv", queries]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path}: missing; {layout}")
    spoken = {queries: language}
    english = folder / "queries.en.jsonl"
    if english.is_file() and english != queries:
        found.append(english)
        spoken[english] = "en"
    return [
        formats.Located(path, catalogue.SourceFile(path.name, lang=spoken.get(path, "")))
        for path in found
    ]
