"""Collections, queries, qrels and runs as the files of TREC and of BEIR.

TREC: documents in SGML, topics, qrels of four columns, runs of six. BEIR: JSON lines, qrels with a
header, a run as one JSON object.
"""

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import Ref
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus.records import Collection, Document, Pair
from clir_cli.errors import UserError, nearest
from clir_cli.evaluation.runs import RUN_FILE, read_run
from clir_cli.exchange.folders import exporting
from clir_cli.files import write_output
from clir_cli.stages.support.sources import collection_options, read_collection
from clir_cli.stages.support.workspace import Workspace

FORMATS = ("beir", "trec")
Lines = Iterator[str]


def export_collection(workspace: Workspace, pair: Pair, folder: Path, style: str) -> Path:
    """Write documents, queries and qrels of a collection into a folder; return it.

    The queries are those of the pair's language, and the English ones if there are any.

    Raises:
        MissingInput: It has not been fetched.
        UserError: It has no queries in the language, an id cannot be written, or something else is
            in the folder.
    """
    _check(style)
    collection = read_collection(workspace, pair.query)
    own = _queries(collection, pair.query)
    command = Command(
        "export collection",
        (
            ("--lang", str(pair)),
            *collection_options(workspace.settings),
            ("--suite", workspace.suite),
            *workspace.shown,
            ("--format", style),
        ),
        (str(folder),),
    )
    config = {"collection": collection.name, "pair": str(pair), "format": style}
    artifact = Artifact(folder, "export", config, dict(collection.digests), str(command))
    with exporting(workspace, artifact) as draft:
        if draft is None:
            return folder
        for name, lines in _parts(collection, pair.query, own, style).items():
            path = draft / name
            path.parent.mkdir(exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(lines)
    counts = f"{len(collection.documents):,} documents, {len(collection.qrels):,} judged queries"
    workspace.talk.say(f"{folder}: {counts}")
    return folder


def export_queries(
    workspace: Workspace, pair: Pair, path: Path, style: str, *, english: bool = False
) -> None:
    """Write the queries of a pair's language, or English ones; raises as ``export_collection``."""
    _check(style, QUERIES)
    collection = read_collection(workspace, pair.query)
    queries = _queries(collection, "en" if english else pair.query)
    _write(workspace, path, QUERIES[style](queries))


def export_qrels(workspace: Workspace, pair: Pair, path: Path, style: str) -> None:
    """Write the judgments of a pair's queries into a file; raises as ``export_collection``."""
    _check(style)
    _write(workspace, path, QRELS[style](read_collection(workspace, pair.query).qrels))


def export_run(workspace: Workspace, ref: Ref, path: Path, style: str) -> None:
    """Write a run into a file.

    Raises:
        MissingInput: There is no run; the message has the command that makes it.
        UserError: The run was made from other inputs or settings, or the file is there.
    """
    _check(style)
    folder = graph.require_current(workspace, ref).path
    if style == "beir":
        run = read_run(folder / RUN_FILE)
        _write(workspace, path, iter([json.dumps(run, ensure_ascii=False, indent=1) + "\n"]))
    else:
        _write(workspace, path, iter([(folder / RUN_FILE).read_text(encoding="utf-8")]))


def _queries(collection: Collection, language: str) -> Mapping[str, str]:
    if language not in collection.queries:
        there = ", ".join(collection.queries) or "none"
        raise UserError(
            f"collection {collection.name} has no queries in {language!r}; has: {there}"
        )
    return collection.queries[language]


def _check(style: str, known: Iterable[str] = FORMATS) -> None:
    if style not in known:
        raise UserError(f"--format {style!r}: {nearest(style, known)}")


def _write(workspace: Workspace, path: Path, lines: Lines) -> None:
    if path.is_file() and not workspace.force:
        raise UserError(f"{path} is there; name another file, or --force replaces it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    write_output(path, "".join(lines).encode("utf-8"))
    workspace.talk.say(f"{path} written")


# ------------------------------------------------------------------ formats


def _parts(
    collection: Collection, language: str, own: Mapping[str, str], style: str
) -> dict[str, Lines]:
    """Return the lines of each file of a collection, with its ``own`` queries in a language."""
    queries = {language: own}
    if "en" in collection.queries:
        queries.setdefault("en", collection.queries["en"])
    if style == "trec":
        return {
            "documents/documents.trec": _trec_documents(collection.documents),
            **{f"topics.{code}.trec": _trec_topics(texts) for code, texts in queries.items()},
            **({"qrels.txt": _trec_qrels(collection.qrels)} if collection.qrels else {}),
        }
    asked = {"queries.jsonl" if code == language else f"queries.{code}.jsonl": _beir_queries(texts)
           for code, texts in queries.items()}  # fmt: skip
    corpus = ({"_id": d.id, "title": d.title, "text": d.text} for d in collection.documents)
    return {
        "corpus.jsonl": map(_json_line, corpus),
        **asked,
        **({"qrels/test.tsv": _beir_qrels(collection.qrels)} if collection.qrels else {}),
    }


def _json_line(row: Mapping[str, str]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _beir_queries(queries: Mapping[str, str]) -> Lines:
    return (_json_line({"_id": key, "text": text}) for key, text in queries.items())


def _beir_qrels(qrels: Mapping[str, Mapping[str, int]]) -> Lines:
    yield "query-id\tcorpus-id\tscore\n"
    for query, grades in qrels.items():
        for document, grade in grades.items():
            yield f"{query}\t{document}\t{grade}\n"


def _trec_qrels(qrels: Mapping[str, Mapping[str, int]]) -> Lines:
    for query, grades in qrels.items():
        for document, grade in grades.items():
            yield f"{_word(query)} 0 {_word(document)} {grade}\n"


def _trec_documents(documents: Iterable[Document]) -> Lines:
    for document in documents:
        title = f"<TITLE>{_marked_up(document.title)}</TITLE>\n" if document.title else ""
        text = f"<TEXT>\n{_marked_up(document.text)}\n</TEXT>\n" if document.text else ""
        yield f"<DOC>\n<DOCNO>{_word(document.id)}</DOCNO>\n{title}{text}</DOC>\n"


def _trec_topics(queries: Mapping[str, str]) -> Lines:
    for query, text in queries.items():
        number = f"<num>{_word(query)}</num>"
        yield f"<top>\n{number}\n<title>{_marked_up(text)}</title>\n</top>\n\n"


def _tab_separated(queries: Mapping[str, str]) -> Lines:
    return (f"{_word(query)}\t{' '.join(text.split())}\n" for query, text in queries.items())


def _marked_up(text: str) -> str:
    """Return a text on one line, in which nothing is taken for a tag or an entity."""
    return html.escape(" ".join(text.split()), quote=False)


def _word(name: str) -> str:
    """Return an id as TREC's files can hold it; UserError if it has white space."""
    if name.split() != [name]:
        raise UserError(f"id {name!r} has white space, which ends a column; take --format beir")
    return name


QUERIES = {"beir": _beir_queries, "trec": _trec_topics, "tsv": _tab_separated}
QRELS = {"beir": _beir_qrels, "trec": _trec_qrels}
