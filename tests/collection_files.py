"""What the tests of published collections share: a file put down, a reader called, two texts."""

from pathlib import Path
from typing import Any

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats import COLLECTION_READERS
from clir_cli.corpus.formats.reading import ParsedCollection, ReadRequest

WELL = "The well is nine metres deep. Forty people dug it."
MAIZE = " Maize dries in the sun. It is turned twice."


def located(path: Path, content: bytes | str, lang: str = "", role: str = "") -> LocalFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return LocalFile(path, CatalogueFile(path.name, lang=lang, role=role))


def read(name: str, files: list[LocalFile], language: str, **asked: Any) -> ParsedCollection:
    source = catalogue.source("collections", name)
    return COLLECTION_READERS[source.format](
        files, ReadRequest(language, asked.get("options", source.options), asked.get("codes", {}))
    )
