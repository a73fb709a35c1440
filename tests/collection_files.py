"""What the tests of published collections share: a file put down, a reader called, two texts."""

import json
from pathlib import Path
from typing import Any

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats import COLLECTION_READERS
from clir_cli.corpus.formats.reading import ParsedCollection, ReadRequest
from clir_cli.suites import bundled

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


def small_sample(folder: Path) -> Path:
    """Write the first 24 documents of the sample, with their queries in English and Swahili."""
    source = bundled("data") / "sample" / "collection"
    (folder / "qrels").mkdir(parents=True)
    documents = (source / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:24]
    kept = {json.loads(line)["_id"] for line in documents}
    judged = (source / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    qrels = [line for line in judged[1:] if line.split("\t")[1] in kept]
    asked = {line.split("\t")[0] for line in qrels}
    (folder / "corpus.jsonl").write_text("\n".join(documents) + "\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join([judged[0], *qrels]) + "\n")
    for language in ("en", "sw"):
        lines = (source / f"queries.{language}.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = [line for line in lines if json.loads(line)["_id"] in asked]
        text = "\n".join(chosen) + "\n"
        (folder / f"queries.{language}.jsonl").write_text(text, encoding="utf-8")
    return folder
