"""ls: what there is to choose from, as rows for people and programs."""

from collections.abc import Callable
from pathlib import Path

from clir_cli.artifacts import store
from clir_cli.corpus import catalogue
from clir_cli.errors import MissingInput, UserError, nearest
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES
from clir_cli.suites import load_settings, suites

Row = dict[str, object]


def _methods() -> list[Row]:
    return [{"method": each.name, "what it is": each.summary} for each in METHODS.values()]


def _languages() -> list[Row]:
    return [
        {
            "pair": f"{each.code}-en",
            "language": each.name,
            "family": each.family,
            "resource": each.resource,
            "bitext": _having("bitext", each.code),
            "dictionaries": _having("dictionaries", each.code),
        }
        for each in catalogue.languages().values()
    ]


def _having(kind: catalogue.Kind, language: str) -> str:
    """Return the names of the sources that have a language; those to bring may have any."""
    found = catalogue.sources(kind).values()
    return " ".join(each.name for each in found if each.user_supplied or each.has(language))


def _sources(kind: catalogue.Kind) -> list[Row]:
    return [
        {
            "name": each.name,
            "what it is": "; supply ".join(filter(None, (each.title, each.user_supplied))),
            "languages": " ".join(each.languages) or "any",
            "size": _size(each),
            "licence": each.licence,
            "home": each.homepage,
        }
        for each in catalogue.sources(kind).values()
    ]


def _size(source: catalogue.CatalogueEntry) -> str:
    """Return the size of all files, as far as it is told; what is not fetched says so."""
    if source.user_supplied:
        return "user-supplied"
    sizes = [file.bytes or file.about for file in source.files]
    if not any(sizes):
        bundled = source.files and not any(file.url for file in source.files)
        return "in the package" if bundled else "unknown"
    told = sum(sizes)
    text = f"{told / 1e9:.1f} GB" if told > 1e9 else f"{told / 1e6:.1f} MB"
    return text if all(sizes) else f"more than {text}"


def _models() -> list[Row]:
    from clir_cli.retrieval import memory

    batch = memory.Load(32, 64)  # as the suites train, on sentences of some length
    rows = []
    for each in catalogue.models().values():
        shape = each.shape
        model = memory.ModelSize(shape["parameters"], shape["layers"], shape["hidden"])
        rows.append(
            {
                "name": each.name,
                "what it is": each.title,
                "parameters": f"{model.parameters / 1e6:,.0f} M",
                "layers": model.layers,
                "dimensions": model.hidden,
                "vocabulary": shape["vocabulary"],
                "size": memory.size(each.bytes),
                "to train": memory.size(memory.training(model, batch).total),
                "to encode": memory.size(memory.encoding(model, memory.Load(1, 8192)).total),
                "licence": each.licence,
            }
        )
    return rows


def _suites() -> list[Row]:
    loaded = [load_settings(name) for name in suites()]
    return [
        {"suite": each.suite, "what it is": each.title, "collection": each.collection,
         "bitext": " ".join(each.bitext.sources), "teacher": each.teacher.model}
        for each in loaded
    ]  # fmt: skip


def _recipes() -> list[Row]:
    return [
        {"recipe": each.name, "leaves": each.leaves, "what it is": each.summary}
        for each in RECIPES.values()
    ]


def _indexes(home: Path) -> list[Row]:
    """Return what each index takes, and what it was measured to keep of the ranking."""
    found = sorted(home.glob(f"*/index/*/{store.MANIFEST}"))
    if not found:
        raise MissingInput(f"no index under {home}; make one with: clir index")
    rows: list[Row] = []
    for file in found:
        manifest = store.read_manifest(file.parent)
        notes, config = manifest.get("notes", {}), manifest["config"]
        by_count = notes.get("candidate_recall", {}).items()
        rows.append(
            {
                "index": file.parent.relative_to(home).as_posix(),
                "format": notes.get("format") or config["dtype"],
                "documents": notes.get("documents", ""),
                "tokens": notes.get("tokens", ""),
                "bytes a token": notes.get("bytes_a_token", ""),
                "ranking kept": notes.get("format_recall", ""),
                "recall@100 by search.candidates": ", ".join(f"{n}: {r}" for n, r in by_count),
            }
        )
    return rows


LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": _methods,
    "languages": _languages,
    "bitext": lambda: _sources("bitext"),
    "dictionaries": lambda: _sources("dictionaries"),
    "collections": lambda: _sources("collections"),
    "models": _models,
    "recipes": _recipes,
    "suites": _suites,
}


def rows(what: str, home: Path = Path("artifacts")) -> list[Row]:
    """Return the rows of a list.

    Args:
        what: A key of LISTS, or ``indexes``.
        home: Folder for artifacts, whose indexes are listed.

    Raises:
        UserError: There is no such list, or no index.
    """
    if what == "indexes":
        return _indexes(home)
    if what not in LISTS:
        raise UserError(f"nothing to list under {what!r}: {nearest(what, [*LISTS, 'indexes'])}")
    return LISTS[what]()
