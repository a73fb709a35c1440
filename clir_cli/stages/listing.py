"""ls: what there is to choose from, as rows for people and programs."""

from collections.abc import Callable

from clir_cli.corpus import catalogue
from clir_cli.errors import UserError, nearest
from clir_cli.settings import load_settings, suites
from clir_cli.stages.methods import METHODS

Row = dict[str, object]


def _methods() -> list[Row]:
    return [{"method": each.name, "what it is": each.summary} for each in METHODS.values()]


def _languages() -> list[Row]:
    return [
        {"pair": f"{each.code}-en", "language": each.name, "family": each.family,
         "resource": each.resource}
        for each in catalogue.languages().values()
    ]  # fmt: skip


def _sources(kind: catalogue.Kind) -> list[Row]:
    return [
        {
            "name": each.name,
            "what it is": each.title,
            "languages": " ".join(dict.fromkeys(f.lang for f in each.files if f.lang)),
            "licence": each.licence,
            "home": each.homepage,
        }
        for each in catalogue.sources(kind).values()
    ]


def _models() -> list[Row]:
    return [
        {
            "name": each.name,
            "what it is": each.title,
            "size": f"{sum(file.bytes for file in each.files) / 1e6:.0f} MB",
            "licence": each.licence,
            "home": each.homepage,
        }
        for each in catalogue.models().values()
    ]


def _suites() -> list[Row]:
    loaded = [load_settings(name) for name in suites()]
    return [
        {"suite": each.suite, "what it is": each.title, "collection": each.collection,
         "bitext": " ".join(each.bitext.sources), "teacher": each.teacher.model}
        for each in loaded
    ]  # fmt: skip


LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": _methods,
    "languages": _languages,
    "bitext": lambda: _sources("bitext"),
    "collections": lambda: _sources("collections"),
    "models": _models,
    "suites": _suites,
}


def rows(what: str) -> list[Row]:
    """Return the rows of a list.

    Raises:
        UserError: There is no such list.
    """
    if what not in LISTS:
        raise UserError(f"nothing to list under {what!r}: {nearest(what, LISTS)}")
    return LISTS[what]()
