"""ls: what there is to choose from, as rows for people and programs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clir_cli.artifacts import store
from clir_cli.artifacts.command import Command
from clir_cli.corpus import catalogue
from clir_cli.errors import MissingInput, UserError, nearest
from clir_cli.stages import setting_list
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES
from clir_cli.suites import load_settings, suites

Row = dict[str, object]


def _suites() -> list[Row]:
    return [
        {
            "suite": settings.suite,
            "title": settings.title,
            "collection": settings.collection,
            "bitext": list(settings.bitext.sources),
            "teacher": settings.teacher.model,
        }
        for settings in map(load_settings, suites())
    ]


def _languages() -> list[Row]:
    return [
        {
            "pair": f"{language.code}-en",
            "language": language.name,
            "family": language.family,
            "resource": language.resource,
            "bitext": _sources_of("bitext", language.code),
            "dictionaries": _sources_of("dictionaries", language.code),
        }
        for language in catalogue.languages().values()
    ]


def _sources_of(kind: catalogue.Kind, language: str) -> list[str]:
    """Return the names of the sources that have a language; user-supplied ones may have any."""
    sources = catalogue.sources(kind).values()
    return [source.name for source in sources if source.user_supplied or source.has(language)]


def _sources(kind: catalogue.Kind) -> list[Row]:
    return [
        {
            "name": source.name,
            "title": source.title,
            "supply": source.user_supplied,
            **(
                {"domain": source.domain, "machine_translated": source.machine_translated}
                if kind == "bitext"
                else {}
            ),
            "languages": list(source.languages),
            **_size(source),
            "licence": source.licence,
            "home": source.homepage,
        }
        for source in catalogue.sources(kind).values()
    ]


def _size(source: catalogue.CatalogueEntry) -> Row:
    """Return the bytes to fetch as far as they are known, and if they are all."""
    # A file that two languages share is listed for each.
    sizes = {file.url: file.bytes or file.about for file in source.files if file.url}.values()
    is_known = all(sizes) and not source.user_supplied and bool(source.files)
    return {"bytes": sum(sizes), "bytes_are_all": is_known}


def _models() -> list[Row]:
    from clir_cli.retrieval import memory

    batch = memory.Load(32, 64)  # as the suites train, on sentences of some length
    one = memory.Load(1, 8192)
    rows: list[Row] = []
    for entry in catalogue.models().values():
        shape = entry.shape
        model = memory.ModelSize(**shape) if shape else None
        rows.append(
            {
                "name": entry.name,
                "title": entry.title,
                "parameters": model.parameters if model else None,
                "layers": model.layers if model else None,
                "dimensions": model.hidden if model else None,
                "vocabulary": model.vocabulary if model else None,
                "bytes": entry.bytes or None,
                "training_bytes": round(memory.training(model, batch).total) if model else None,
                "encoding_bytes": round(memory.encoding(model, one).total) if model else None,
                "licence": entry.licence,
            }
        )
    return rows


def _indexes(home: Path) -> list[Row]:
    """Return what each index takes, and what it was measured to keep of the ranking."""
    manifests = sorted(home.glob(f"*/index/*/{store.MANIFEST}"))
    if not manifests:
        command = Command("index", (("--home", str(home)),))
        raise MissingInput(f"no index under {home}; make one with: {command}")
    rows: list[Row] = []
    for file in manifests:
        name = file.parent.relative_to(home).as_posix()
        try:
            rows.append({"index": name, **_index_row(store.read_manifest(file.parent))})
        except (AttributeError, KeyError, TypeError, ValueError):  # edited by somebody
            raise UserError(f"{file}: damaged; make the index again with --force") from None
    return rows


def _index_row(manifest: Mapping[str, Any]) -> Row:
    notes = manifest.get("notes", {})
    return {
        "format": notes.get("format") or manifest["config"]["dtype"],
        "documents": notes.get("documents"),
        "passages": notes.get("passages"),
        "documents_cut": notes.get("documents_cut"),
        "tokens": notes.get("tokens"),
        "bytes_a_token": notes.get("bytes_a_token"),
        "ranking_kept": notes.get("format_recall"),
        "candidate_recall": dict(notes.get("candidate_recall", {})),
    }


LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": lambda: [{"method": m.name, "title": m.summary} for m in METHODS.values()],
    "languages": _languages,
    "bitext": lambda: _sources("bitext"),
    "dictionaries": lambda: _sources("dictionaries"),
    "collections": lambda: _sources("collections"),
    "models": _models,
    "recipes": lambda: [
        {"recipe": r.name, "leaves": r.leaves, "title": r.summary} for r in RECIPES.values()
    ],
    "suites": _suites,
}


def rows(
    what: str, home: Path = Path("artifacts"), suite: str = "sample", word: str = ""
) -> list[Row]:
    """Return the rows of a list, with ``word`` those that have it in one of their texts.

    ``what`` is a key of LISTS, ``settings``: with the values of ``suite``, or ``indexes``: those
    under ``home``.

    Raises:
        UserError: There is no such list, no index, or no row with the word.
    """
    lists = {
        **LISTS,
        "settings": lambda: setting_list.rows(suite),
        "indexes": lambda: _indexes(home),
    }
    if what not in lists:
        raise UserError(f"nothing to list under {what!r}: {nearest(what, lists)}")
    found = lists[what]()
    chosen = [row for row in found if word.lower() in str(list(row.values())).lower()]
    if word and not chosen:
        names = [str(next(iter(row.values()))) for row in found]
        raise UserError(f"no row of {what} has {word!r}: {nearest(word, names)}")
    return chosen
