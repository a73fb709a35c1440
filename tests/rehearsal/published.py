"""Published collections and dictionaries in small: with their members, columns and cached files."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from clir_cli.corpus import catalogue
from rehearsal.texts import (
    EVERY,
    LANGUAGES,
    dictionary,
    documents,
    qrels,
    queries,
    sentences,
)

MLQA = "dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip"
BEIR = "public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
BEIR_SETS = ("scifact", "nfcorpus", "fiqa")
MIRACL = {"sw": 1, "fi": 4, "de": 32, "fr": 30}  # with the number of files of documents
QUESTIONS = 24


def answered() -> Iterator[tuple[str, str]]:
    """Yield query and document, one document for each query: the first that answers it."""
    found: dict[str, str] = {}
    for query, document, grade in qrels():
        if grade == 2:
            found.setdefault(query, document)
    yield from list(found.items())[:QUESTIONS]


def _zipped(path: Path, members: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _json_lines(rows: Iterator[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# ------------------------------------------------------------------ questions


def _squad(language: str, breaks: bool = False) -> str:
    """Return a file in SQuAD's format; with ``breaks`` that of XQuAD-R, with its sentences."""
    told = []
    for query, document in answered():
        text = documents()[document][1]
        asked = {
            "id": f"56be-{query}", "question": queries(language)[query],
            "answers": [{"answer_start": 0, "text": text.split()[0]}],
        }  # fmt: skip
        paragraph: dict[str, object] = {"context": text, "qas": [asked]}
        if breaks:
            paragraph["sentence_breaks"] = list(_sentence_breaks(text))
            paragraph["sentences"] = ["..." for _ in _sentence_breaks(text)]
        told.append(paragraph)
    return json.dumps({"data": [{"title": "Village", "paragraphs": told}], "version": "1.1"})


def _sentence_breaks(text: str) -> Iterator[list[int]]:
    begin = 0
    while begin < len(text):
        end = text.find(". ", begin) + 1 or len(text)
        yield [begin, end]
        begin = end + 1


def mlqa(mirror: Path) -> Path:
    """MLQA: test and dev part of seven languages, those that clir has not with English texts."""
    codes = catalogue.source("collections", "mlqa").codes
    members = {"MLQA_V1/README.md": "# MLQA\n", "__MACOSX/MLQA_V1/._README.md": "\0"}
    for code in codes.values():
        text = _squad(code if code in EVERY else "en")
        for part in ("test", "dev"):
            members[f"MLQA_V1/{part}/{part}-context-en-question-{code}.json"] = text
            members[f"MLQA_V1/{part}/{part}-context-{code}-question-en.json"] = text
    _zipped(mirror / MLQA, members)
    return mirror / MLQA


def xquad_r(folder: Path) -> dict[str, Path]:
    """Write XQuAD-R's files in English and German; return them by their path in the catalogue."""
    return {
        f"xquad-r/{code}.json": _written(folder / f"{code}.json", _squad(code, code == "en"))
        for code in ("en", "de")
    }


def belebele(folder: Path) -> dict[str, Path]:
    """Write Belebele's files of the suite's languages; return them by their path."""
    codes = catalogue.source("collections", "belebele").codes
    files = {}
    for language in EVERY:
        rows = (
            {
                "link": f"https://en.wikinews.org/wiki/{document}",
                "question_number": number % 4 + 1,
                "flores_passage": documents()[document][1],
                "question": queries(language)[query],
                **{f"mc_answer{answer}": sentences(language)[answer] for answer in range(1, 5)},
                "correct_answer_num": "1",
                "dialect": codes[language],
                "ds": "2023-05-03",
            }
            for number, (query, document) in enumerate(answered())
        )
        name = f"data/{codes[language]}.jsonl"
        files[name] = _written(folder / name, _json_lines(rows))
    return files


def terminologies(folder: Path) -> dict[str, Path]:
    """Write TICO-19's terminologies; return them by their path in the catalogue."""
    files = {}
    for file in catalogue.source("dictionaries", "tico-19").files:
        if file.lang in LANGUAGES:
            lines = dictionary(file.lang)[:120]
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(["id", "sourceLang", "targetLang", "sourceString", "targetString"])
            for number, (word, english) in enumerate(lines, start=1):
                writer.writerow([number, "en", file.lang, english, word])
            files[file.path] = _written(folder / file.path, table.getvalue())
    return files


def beir(mirror: Path) -> Path:
    """BEIR's zips: a folder of the set's name, queries of all splits, qrels of train and test."""
    corpus = _json_lines(
        {"_id": name, "title": title, "text": text, "metadata": {}}
        for name, (title, text) in documents().items()
    )
    asked = _json_lines(
        {"_id": name, "text": text, "metadata": {}} for name, text in queries("en").items()
    )
    head = "query-id\tcorpus-id\tscore\n"
    judged = [f"{query}\t{document}\t1\n" for query, document in answered()]
    for name in BEIR_SETS:
        _zipped(mirror / BEIR / f"{name}.zip", {
            f"{name}/corpus.jsonl": corpus,
            f"{name}/queries.jsonl": asked,
            f"{name}/qrels/train.tsv": head + "".join(judged[12:]),
            f"{name}/qrels/test.tsv": head + "".join(judged[:12]),
        })  # fmt: skip
    return mirror / BEIR


# ------------------------------------------------------------------ ir_datasets


def ir_datasets_home(folder: Path) -> Path:
    """Write MS MARCO, mMARCO and MIRACL as ir_datasets caches what it has downloaded."""
    _ms_marco(folder / "msmarco-passage")
    _mmarco(folder / "mmarco")
    for language, files in MIRACL.items():
        _miracl(folder / "miracl" / "v1.0" / language, language, files)
    return folder


def _tar(path: Path, members: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info, content = tarfile.TarInfo(name), text.encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _numbered() -> tuple[dict[str, int], dict[str, int]]:
    asked = {name: 300_000 + number for number, name in enumerate(queries("en"))}
    return asked, {name: number for number, name in enumerate(documents())}


def _table(rows: Iterator[tuple[object, ...]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def _ms_marco(folder: Path) -> None:
    asked, found = _numbered()
    collection = _table((found[name], text) for name, (_, text) in documents().items())
    topics = _table((asked[name], text) for name, text in queries("en").items())
    judged = _table((asked[query], 0, found[name], 1) for query, name, _ in qrels())
    _tar(folder / "collectionandqueries.tar.gz", {
        "collection.tsv": collection,
        "queries.train.tsv": topics,
        "queries.dev.small.tsv": topics,
        "qrels.dev.small.tsv": judged,
        "qrels.train.tsv": judged,
    })  # fmt: skip
    parts = {f"queries.{part}.tsv": topics for part in ("train", "dev", "eval")}
    _tar(folder / "queries.tar.gz", parts)
    for part in ("train", "dev"):
        _written(folder / part / "qrels", judged)


def _mmarco(folder: Path) -> None:
    asked, found = _numbered()
    for language, name in (("de", "german"), ("fr", "french")):
        rows = ((asked[query], text) for query, text in queries(language).items())
        _written(folder / "v2" / f"{name}.queries.dev.tsv", _table(rows))
    judged = ((asked[query], 0, found[name], 1) for query, name, _ in qrels())
    _written(folder / "qrels.dev.small.tsv", _table(judged))


def _miracl(folder: Path, language: str, files: int) -> None:
    """Documents are sentences; each query has the one of its place as relevant."""
    texts = sentences(language)
    for number in range(files):
        rows = (
            {"docid": f"{place}#0", "title": texts[place].split()[0], "text": texts[place]}
            for place in range(number, len(texts) // 4, files)
        )
        path = folder / "docs" / f"docs-{number}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(_json_lines(rows).encode(), mtime=0))
    asked = list(queries(language).values())[:QUESTIONS]
    _written(
        folder / "dev" / "topics.tsv", _table((f"{n}#0", text) for n, text in enumerate(asked))
    )
    judged = ((f"{number}#0", "Q0", f"{number}#0", 1) for number in range(len(asked)))
    _written(folder / "dev" / "qrels.tsv", _table(judged))
