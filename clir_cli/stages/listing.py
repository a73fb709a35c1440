"""ls: what there is to choose from, as rows for people and programs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clir_cli.artifacts import store
from clir_cli.artifacts.command import Command
from clir_cli.corpus import catalogue
from clir_cli.errors import MissingInput, UserError, nearest
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES
from clir_cli.suites import load_settings, suites

Row = dict[str, object]


def _suites() -> list[Row]:
    return [
        {
            "suite": settings.suite,
            "what it is": settings.title,
            "collection": settings.collection,
            "bitext": " ".join(settings.bitext.sources),
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


def _sources_of(kind: catalogue.Kind, language: str) -> str:
    """Return the names of the sources that have a language; user-supplied ones may have any."""
    sources = catalogue.sources(kind).values()
    return " ".join(s.name for s in sources if s.user_supplied or s.has(language))


def _sources(kind: catalogue.Kind) -> list[Row]:
    return [
        {
            "name": source.name,
            "what it is": "; supply ".join(filter(None, (source.title, source.user_supplied))),
            **(
                {"domain": source.domain + "; machine-translated" * source.machine_translated}
                if kind == "bitext"
                else {}
            ),
            "languages": " ".join(source.languages) or "any",
            "size": _size(source),
            "licence": source.licence,
            "home": source.homepage,
        }
        for source in catalogue.sources(kind).values()
    ]


def _size(source: catalogue.CatalogueEntry) -> str:
    if source.user_supplied:
        return "user-supplied"
    # A file that two languages share is listed for each.
    sizes = {file.url or file.path: file.bytes or file.about for file in source.files}.values()
    total = sum(sizes)
    if not total:
        bundled = source.files and not any(file.url for file in source.files)
        return "in the package" if bundled else "unknown"
    text = f"{total / 1e9:.1f} GB" if total > 1e9 else f"{total / 1e6:.1f} MB"
    return text if all(sizes) else f"more than {text}"


def _models() -> list[Row]:
    from clir_cli.retrieval import memory

    batch = memory.Load(32, 64)  # as the suites train, on sentences of some length
    rows = []
    for entry in catalogue.models().values():
        shape = entry.shape
        model = memory.ModelSize(**shape)
        rows.append(
            {
                "name": entry.name,
                "what it is": entry.title,
                "parameters": f"{model.parameters / 1e6:,.0f} M",
                "layers": model.layers,
                "dimensions": model.hidden,
                "vocabulary": shape["vocabulary"],
                "size": memory.size(entry.bytes),
                "to train": memory.size(memory.training(model, batch).total),
                "to encode": memory.size(memory.encoding(model, memory.Load(1, 8192)).total),
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
        except (AttributeError, KeyError, TypeError):  # edited by somebody
            raise UserError(f"{file}: damaged; make the index again with --force") from None
    return rows


def _index_row(manifest: Mapping[str, Any]) -> Row:
    notes = manifest.get("notes", {})
    by_count = notes.get("candidate_recall", {}).items()
    return {
        "format": notes.get("format") or manifest["config"]["dtype"],
        "documents": notes.get("documents", ""),
        "tokens": notes.get("tokens", ""),
        "bytes a token": notes.get("bytes_a_token", ""),
        "ranking kept": notes.get("format_recall", ""),
        "recall@100 by search.candidates": ", ".join(f"{n}: {r}" for n, r in by_count),
    }


LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": lambda: [{"method": m.name, "what it is": m.summary} for m in METHODS.values()],
    "languages": _languages,
    "bitext": lambda: _sources("bitext"),
    "dictionaries": lambda: _sources("dictionaries"),
    "collections": lambda: _sources("collections"),
    "models": _models,
    "recipes": lambda: [
        {"recipe": r.name, "leaves": r.leaves, "what it is": r.summary} for r in RECIPES.values()
    ],
    "suites": _suites,
}


def rows(what: str, home: Path = Path("artifacts")) -> list[Row]:
    """Return the rows of a list.

    ``what`` is a key of LISTS, or ``indexes``: those under ``home``.

    Raises:
        UserError: There is no such list, or no index.
    """
    if what == "indexes":
        return _indexes(home)
    if what not in LISTS:
        raise UserError(f"nothing to list under {what!r}: {nearest(what, [*LISTS, 'indexes'])}")
    return LISTS[what]()
