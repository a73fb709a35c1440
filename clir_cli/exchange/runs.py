"""Import of runs that other tools wrote in TREC's format."""

import json
from collections.abc import Collection as Container
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.formats.opening import require_regular
from clir_cli.corpus.formats.reading import excerpt, text_lines
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError, counted
from clir_cli.evaluation.runs import RUN_FILE, parse_run, trec_order, write_run
from clir_cli.files import file_digest, write_text
from clir_cli.stages.support import imported
from clir_cli.stages.support.methods import imported_method
from clir_cli.stages.support.sources import read_collection
from clir_cli.stages.support.workspace import Workspace

Scores = dict[str, dict[str, float]]  # by query and document


def import_runs(
    workspace: Workspace, pairs: Sequence[Pair], method: str, files: Sequence[Path]
) -> list[Path]:
    """Import runs as a method: of one pair all files are one run, of several each has one file.

    All files are read before any run is written.

    Returns:
        The folder of each pair's run.

    Raises:
        UserError: The name is a method's, the number of files does not fit, a file is missing or
            not in TREC's format, or has documents or queries that the collection lacks.
    """
    cell = imported_method(method).cell(workspace.ref("run").cell)
    if len(pairs) > 1 and len(files) != len(pairs):
        raise UserError(
            f"{len(pairs)} pairs and {len(files)} files; give one file for each pair, in the order "
            "of --lang"
        )
    parts = [files] if len(pairs) == 1 else [[file] for file in files]
    refs = [workspace.ref("run", (pair,), cell) for pair in pairs]
    read = [_read(workspace, *both) for both in zip(refs, parts, strict=True)]
    return [
        _write(workspace, ref, part, *found)
        for ref, part, found in zip(refs, parts, read, strict=True)
    ]


def _read(workspace: Workspace, ref: Ref, files: Sequence[Path]) -> tuple[Scores, str]:
    """Return the scores of a run, and its tag: the first three with commas."""
    collection = read_collection(workspace, ref.pair.query)
    run: Scores = {}
    tags: dict[str, None] = {}
    for path in files:
        require_regular(path)
        scores, own_tags = parse_run(path, text_lines(path))
        if not scores:
            raise UserError(f"{path}: no line of a run in it")
        if shared := next((query for query in scores if query in run), ""):
            raise UserError(f"{path}: query {excerpt(shared)} is in another of the files, too")
        run |= scores
        tags |= dict.fromkeys(own_tags)
        _require_known(path, scores, collection)
    return run, ",".join(list(tags)[:3])


def _require_known(path: Path, run: Scores, collection: Collection) -> None:
    queries = {query for texts in collection.queries.values() for query in texts}
    documents = {document.id for document in collection.documents}
    ranked = dict.fromkeys(document for scores in run.values() for document in scores)
    _refuse(path, "queries", list(run), queries | set(collection.qrels), collection.name)
    _refuse(path, "documents", list(ranked), documents, collection.name)


def _refuse(
    path: Path, what: str, names: Sequence[str], known: Container[str], collection: str
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"{path}: {len(unknown):,} of {len(names):,} {what} are not in the collection "
            f"{collection}, {excerpt(unknown[0])} the first; name its own with --collection"
        )


def _report(workspace: Workspace, ref: Ref, run: Scores, collection: Collection) -> None:
    say, name = workspace.talk.say, ref.cell.method
    absent = [query for query in collection.qrels if query not in run]
    if absent:
        share = f"{len(absent):,} of {len(collection.qrels):,} judged queries"
        say(f"{name}: the run lacks {share}, which count as 0; {excerpt(absent[0])} is the first")
    depth, own = max(map(len, run.values())), workspace.settings.search.top_k
    if depth != min(own, len(collection.documents)):
        say(f"{name}: {depth:,} documents a query; runs of clir have {own:,} (search.top_k)")


def _write(workspace: Workspace, ref: Ref, files: Sequence[Path], run: Scores, tag: str) -> Path:
    digests = {str(path): file_digest(path) for path in files}
    given = {f"{imported.FILE}{n}": value for n, value in enumerate(digests.values(), start=1)}
    planned = graph.resolve(workspace, ref, recorded={})
    others = {k: v for k, v in planned.inputs.items() if not k.startswith(imported.FILE)}
    names = tuple(map(str, files))
    command = graph.with_settings(workspace, imported.command(ref, names), ref)
    artifact = replace(planned, inputs={**given, **others}, command=str(command))
    with store.make(artifact, force=workspace.force) as draft:
        if draft is None:
            workspace.talk.say(f"{artifact.path} is current")
            return artifact.path
        rankings = {query: _ranked(scores) for query, scores in run.items()}
        write_run(draft / RUN_FILE, rankings, tag=tag)
        notes = {"imported": True, "tag": tag, "files": digests, "queries": len(run)}
        write_text(draft / "notes.json", json.dumps(notes, ensure_ascii=False) + "\n")
    workspace.talk.say(
        f"{artifact.path}: {counted(len(run), 'query')}, imported as {ref.cell.label}"
    )
    _report(workspace, ref, run, read_collection(workspace, ref.pair.query))
    return artifact.path


def _ranked(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(document, scores[document]) for document in trec_order(scores)]
