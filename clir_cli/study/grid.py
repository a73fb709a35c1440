"""From an experiment to its cells: one point of the grid each, with all its settings resolved.

A point at the suite's own settings has no variant, and so shares its artifacts with every other
experiment. Any other has as variant a canonical name of what differs (``eps0.02``), or the name
that the experiment gives it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import assignment
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue, dictionaries
from clir_cli.corpus.collections import ELSEWHERE, collection_label, is_directory
from clir_cli.corpus.own_files import pair_of, require_own_files_of_each
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS, parse_methods
from clir_cli.stages.support.paths import column_variant
from clir_cli.stages.support.recipes import trained_cell
from clir_cli.stages.support.used_models import TRAINED
from clir_cli.study.experiment import Expected, Experiment, Grid, Variant
from clir_cli.suites import known_keys, load_settings, value_of


@dataclass(frozen=True)
class Base:
    """A suite with the user's changes: what ``--suite``, ``--config`` and ``--set`` say."""

    suite: str
    config: Path | None = None
    assignments: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> Settings:
        """Return the settings that a cell without a variant has."""
        return load_settings(self.suite, self.config, self.assignments)

    def with_changes(self, below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
        """Return the settings with changes under the user's ``--set`` and above it."""
        under, over = ([assignment(*item) for item in part.items()] for part in (below, above))
        return load_settings(self.suite, self.config, [*under, *self.assignments, *over])


@dataclass(frozen=True)
class Point:
    """One cell of an experiment's grid.

    The artifacts are named after ``cell``: method, variant and seed; ``short`` is the same without
    what the whole experiment has in common. ``values`` has each setting that the grid spans: None
    where it does not reach the method.
    """

    experiment: str
    pair: Pair
    cell: Cell
    short: Cell
    collection: str
    settings: Settings
    values: Mapping[str, Any] = field(hash=False)

    @property
    def run(self) -> Ref:
        """Return the run as an artifact."""
        return Ref("run", self.settings, (self.pair,), self.cell)

    @property
    def variant(self) -> str:
        """Return the variant as tables have it, with a trained teacher and the pairs of a group."""
        return column_variant(self.settings, self.cell)

    @property
    def column(self) -> str:
        """Return method and variant: what is compared with the baseline."""
        return self.names[0]

    @property
    def names(self) -> tuple[str, str]:
        """Return what the experiment's file may call the column: in full, or in short."""
        full, short = (column_variant(self.settings, cell) for cell in (self.cell, self.short))
        return _joined(self.cell.method, full), _joined(self.cell.method, short)

    @property
    def label(self) -> str:
        """Return the cell in words."""
        seed = f"seed{self.cell.seed} " if self.cell.seed else ""
        return f"{self.pair} {self.column} {seed}on {collection_label(self.collection)}"


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


@dataclass(frozen=True)
class Change:
    """One combination of the axes over settings with a variant, and the resolved settings."""

    variant: Variant | None
    values: Mapping[str, Any]
    settings: Settings


def expand(experiment: Experiment, base: Base) -> list[Point]:
    """Return the cells of an experiment in a suite, each once, pair by pair.

    Raises:
        UserError: The grid names something that does not exist, or that the suite cannot run.
    """
    with _named(str(experiment.path)):
        grid = _completed(experiment.grid_for(base.suite), base)
        with _named("pairs"):
            names = grid.pairs or base.settings.pairs
            pairs = list(dict.fromkeys(pair_of(name, base.settings) for name in names))
        by_cell: dict[tuple[Pair, str, int, str], Point] = {}
        for point in _points(experiment.name, grid, pairs, base):
            key = (point.pair, point.column, point.cell.seed, point.collection)
            by_cell.setdefault(key, point)
        points = list(by_cell.values())
        _check_reach(grid, points)
        _check_queries(base.suite, grid, pairs, points)
        _check_names(experiment, base.suite, points)
        return points


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Add the file, or the part of it that is at fault, to an error message."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{part}: {error}") from None


# ------------------------------------------------------------------ axes


def _completed(grid: Grid, base: Base) -> Grid:
    """Return the grid with the suite's own methods and collection where it names none."""
    with _named("methods"):
        methods = parse_methods(",".join(grid.methods or base.settings.methods), ())
    collections = grid.collections or (base.settings.collection,)
    known = catalogue.sources("collections")
    for name in collections:
        if name not in known and not name.startswith(ELSEWHERE) and not is_directory(name):
            raise UserError(f"collections: unknown collection {name!r}; {nearest(name, known)}")
    return replace(grid, methods=tuple(method.name for method in methods), collections=collections)


def _points(experiment: str, grid: Grid, pairs: Sequence[Pair], base: Base) -> Iterator[Point]:
    changes = list(_changes(grid, base))
    spanned = dict.fromkeys(key for change in changes for key in change.values)
    for collection, pair, change, name, seed, joint in itertools.product(
        grid.collections, pairs, changes, grid.methods, grid.seeds, grid.joint
    ):
        if change.variant and change.variant.methods and name not in change.variant.methods:
            continue
        if not _has_queries(collection, pair, name):
            continue
        require_own_files_of_each(change.settings, pairs)
        settings = change.settings.model_copy(update={"collection": collection})
        if reason := unable(settings, name, pair):
            raise UserError(
                f"method {name} cannot run in suite {base.suite}: {reason}; or leave it out of "
                f"methods under [suites.{base.suite}]"
            )
        method = METHODS[name]
        group = tuple(pairs) if joint and method.has_seeds else ()
        # A name that no variant has: what the settings reach does not depend on it.
        reached = graph.reach(Ref("run", settings, (pair,), Cell(name, "?", joint=group)))
        variants = _variants(base, grid, change, reached) if method.has_variants else ("", "")
        cell, short = (
            Cell(name, variant, seed if method.has_seeds else 0, group) for variant in variants
        )
        values = {key: value_of(settings, key) if key in reached else None for key in spanned}
        yield Point(experiment, pair, cell, short, collection, settings, values)


def _changes(grid: Grid, base: Base) -> Iterator[Change]:
    """Yield each combination of the axes with each variant; the plain grid comes first."""
    axes = [[(key, value) for value in values] for key, values in grid.axes.items()]
    variants: list[Variant | None] = [None, *grid.variants]
    for variant, values in itertools.product(variants, itertools.product(*axes)):
        change = {**(variant.set if variant else {}), **dict(values)}
        yield Change(variant, change, base.with_changes(grid.settings, change))


def _variants(base: Base, grid: Grid, change: Change, reached: frozenset[str]) -> tuple[str, str]:
    """Return the variant after the settings that matter: in full, and as files may say it."""
    differing = {
        key: canonical(key, value_of(change.settings, key))
        for key in [*change.values, *grid.settings]
        if key in reached
        and value_of(change.settings, key) != value_of(base.settings, key)
        # What follows from a trained or centred teacher has a folder of its own.
        and key != "teacher.centre"
        and not (key == "teacher.model" and trained_cell(change.settings.teacher.model))
        # The one fetched translation model of an experiment has none, where none is trained.
        and not (
            key == "nmt.model" and key not in change.values and base.settings.nmt.model != TRAINED
        )
    }
    named = change.variant.set if change.variant else {}
    parts = [change.variant.name] if change.variant and differing.keys() & named.keys() else []
    parts += [part for key, part in differing.items() if key in change.values and key not in named]
    # What holds for the whole experiment comes last, and its files need not say it.
    common = [part for key, part in differing.items() if key not in change.values]
    return "-".join([*parts, *common]), "-".join(parts)


def canonical(key: str, value: Any) -> str:
    """Return a setting and its value as a name for a folder.

    >>> canonical("transport.eps", 0.02), canonical("student.vocabulary", "initial")
    ('eps0.02', 'vocabulary-initial')
    """
    name = key.rpartition(".")[2]
    # `seed` alone would read as the seed of the cell, and `model` is in several sections.
    if name == "seed" or _short_names()[name] > 1:
        name = key.replace(".", "_")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
    words = value if isinstance(value, list | tuple) else [value]
    text = "-".join(str(word).rpartition("/")[2] for word in words)
    text = re.sub(r"[^\w.-]+|\.(?=\.|$)", "-", text).strip("-.")
    return f"{name}-{text.lower() if isinstance(value, bool) else text or 'none'}"


@cache
def _short_names() -> Counter[str]:
    return Counter(key.rpartition(".")[2] for key in known_keys())


# ------------------------------------------------------------------ checks


def _has_queries(collection: str, pair: Pair, method: str) -> bool:
    """Return True if a collection has the queries that a method reads; unknown ones may have."""
    source = catalogue.sources("collections").get(collection)
    language = "en" if METHODS[method].queries == "english" else pair.query
    return source is None or source.format == "hub" or language in source.languages


def _check_reach(grid: Grid, points: Sequence[Point]) -> None:
    """Refuse an axis of which no cell would know more than one value."""
    for key, values in grid.axes.items():
        if len(values) > 1 and all(point.values[key] is None for point in points):
            raise UserError(
                f"{key}: no method of the grid depends on it, so all values are one cell; take the "
                "axis out, or name it under settings"
            )


def _check_queries(suite: str, grid: Grid, pairs: Sequence[Pair], points: Sequence[Point]) -> None:
    """Refuse a pair or a method that no collection has queries for."""
    collections, table = ", ".join(grid.collections), f"[suites.{suite}]"
    for pair in pairs:
        if all(point.pair != pair for point in points):
            raise UserError(
                f"pairs: {collections} has no queries in {pair.query!r}; take {pair} out under "
                f"{table}, or another collection (clir ls collections)"
            )
    for method in grid.methods:
        if all(point.cell.method != method for point in points):
            raise UserError(
                f"method {method} cannot run in suite {suite}: {collections} lacks queries for "
                f"it; remove it from methods under {table}"
            )


def unable(settings: Settings, method_name: str, pair: Pair) -> str:
    """Return why a method cannot run under the settings, and what to do; empty when it can."""
    method = METHODS[METHODS[method_name].whose or method_name]
    translates = method.queries == "nmt"
    if translates and not settings.nmt.model:
        return "it needs a translation model, set nmt.model"
    given = dictionaries.is_given(settings.dictionary)
    if method.queries == "dictionary" and not (given or settings.dictionary.induced):
        return "there is no dictionary, set dictionary.sources or dictionary.induced"
    centred = method.encoder == "initial" and settings.teacher.centre
    trained = translates and settings.nmt.model == TRAINED
    if (method.has_student or centred or trained) and not settings.bitext.files:
        sources = catalogue.chosen("bitext", settings.bitext)
        if not any(source.has(pair.query) for source in sources):
            return f"there is no bitext for {pair}, set bitext.sources (clir ls languages)"
    if method.scorer == "fusion":
        for part in settings.fusion.runs:
            if part not in METHODS:
                return f"fusion.runs: unknown method {part!r}, {nearest(part, METHODS)}"
            if reason := unable(settings, part, pair):
                return f"fusion.runs names {part}, and {reason}"
    return ""


def _check_names(experiment: Experiment, suite: str, points: Sequence[Point]) -> None:
    """Refuse a baseline or an expected score of something that is not in the grid."""
    columns = dict.fromkeys(point.names[1] for point in points)
    if experiment.baseline and baseline_of(experiment, points) is None:
        raise UserError(
            f"baseline: no cell of suite {suite} is called {experiment.baseline!r}; "
            f"{nearest(experiment.baseline, columns)}"
        )
    for number, score in enumerate(experiment.expected):
        if score.suite == suite and not any(is_meant(score, point) for point in points):
            cell = " ".join(part for part in (score.pair, score.method, score.variant) if part)
            pairs = dict.fromkeys(str(point.pair) for point in points)
            raise UserError(
                f"expected[{number}]: no cell {cell} in suite {suite}; there are "
                f"{', '.join(columns)}, each for {', '.join(pairs)}"
            )


def baseline_of(experiment: Experiment, points: Sequence[Point]) -> str | None:
    """Return the column that the experiment's baseline is, or None when there is none."""
    return next((point.column for point in points if experiment.baseline in point.names), None)


def is_meant(expected: Expected, point: Point) -> bool:
    """Return True if an expected score is one of the point's, or across its pairs."""
    return (
        expected.pair in (str(point.pair), "all")
        and _joined(expected.method, expected.variant) in point.names
        and expected.seed in (None, point.cell.seed)
        and expected.collection in (None, point.collection)
    )
