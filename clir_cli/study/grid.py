"""From an experiment to its cells: one point of the grid each, with all its settings resolved.

A point at the suite's own settings has no variant, and so shares its artifacts with every other
experiment. Elsewhere the variant is a canonical name that tells what differs (``eps0.02``), or the
one that the experiment gives it.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import assignment
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import IRDS, collection_label, is_directory
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS, parse_methods
from clir_cli.stages.support.paths import column_variant
from clir_cli.stages.support.recipes import trained_cell
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

    def with_changes(self, below: Sequence[str], above: Sequence[str]) -> Settings:
        """Return the settings with changes under the user's ``--set`` and above it."""
        return load_settings(self.suite, self.config, [*below, *self.assignments, *above])


@dataclass(frozen=True)
class Point:
    """One cell of an experiment's grid.

    Attributes:
        experiment: Its name.
        pair: The language pair.
        cell: Method, variant and seed: what the artifacts are called.
        short: The same, without what the whole experiment has in common.
        collection: What is searched.
        settings: All of them, resolved; the collection too.
        values: The value of each setting that the grid spans; None where it does not reach the
            method.
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
        """Return the variant as tables have it: a trained teacher and a joint student are told."""
        return column_variant(self.settings, self.cell)

    @property
    def column(self) -> str:
        """Return method and variant: what is compared with the baseline."""
        return ".".join(part for part in (self.cell.method, self.variant) if part)

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the experiment's file may call the column: in full, or in short."""
        variants = (column_variant(self.settings, cell) for cell in (self.cell, self.short))
        return tuple(
            ".".join(part for part in (self.cell.method, variant) if part) for variant in variants
        )

    @property
    def label(self) -> str:
        """Return how people call the cell."""
        seed = f"seed{self.cell.seed} " if self.cell.seed else ""
        return f"{self.pair} {self.column} {seed}on {collection_label(self.collection)}"


def expand(experiment: Experiment, base: Base) -> list[Point]:
    """Return the cells of an experiment in a suite, each once, pair by pair.

    Raises:
        UserError: The grid names something that does not exist, or that the suite cannot run.
    """
    grid = experiment.grid_for(base.suite)
    collections = grid.collections or (base.settings.collection,)
    pairs = _pairs(experiment, grid.pairs or base.settings.pairs)
    methods = _methods(experiment, grid.methods or base.settings.methods)
    changes = [
        (variant, change, _resolved(experiment, base, grid, change))
        for variant, change in _changes(grid)
    ]
    spanned = dict.fromkeys(key for _, change, _ in changes for key in change)
    found: dict[tuple[Pair, str, int, str], Point] = {}
    _check_collections(experiment, collections)
    for collection, pair in itertools.product(collections, pairs):
        for (variant, change, resolved), name, seed, joint in itertools.product(
            changes, methods, grid.seeds, grid.joint
        ):
            if variant is not None and variant.methods and name not in variant.methods:
                continue
            if not _asks(collection, pair, name):
                continue
            settings = resolved.model_copy(update={"collection": collection})
            if reason := unable(settings, name, pair):
                raise UserError(
                    f"{experiment.path}: method {name} cannot run in suite {base.suite}: {reason}; "
                    f"or leave it out of methods under [suites.{base.suite}]"
                )
            group = tuple(pairs) if joint and METHODS[name].has_seeds else ()
            # A name that no variant has: what the settings reach does not depend on it.
            reached = graph.reach(Ref("run", settings, (pair,), Cell(name, "?", joint=group)))
            cells = _cells(base, grid, settings, variant, change, name, seed, reached)
            cell, short = (replace(each, joint=group) for each in cells)
            point = Point(
                experiment.name,
                pair,
                cell,
                short,
                collection,
                settings,
                {key: value_of(settings, key) if key in reached else None for key in spanned},
            )
            found.setdefault((pair, point.column, cell.seed, collection), point)
    points = list(found.values())
    _check_asked(experiment, base.suite, points, pairs, methods, collections)
    _check_names(experiment, base, points)
    return points


# ------------------------------------------------------------------ axes


def _changes(grid: Grid) -> Iterator[tuple[Variant | None, dict[str, Any]]]:
    """Yield each combination of the axes with each variant; the plain grid stands first."""
    axes = [[(key, value) for value in values] for key, values in grid.axes.items()]
    variants: list[Variant | None] = [None, *grid.variants] if grid.variants else [None]
    for variant, values in itertools.product(variants, itertools.product(*axes)):
        yield variant, {**(variant.set if variant else {}), **dict(values)}


def _resolved(
    experiment: Experiment, base: Base, grid: Grid, change: Mapping[str, Any]
) -> Settings:
    try:
        return base.with_changes(_assignments(grid.settings), _assignments(change))
    except UserError as error:
        raise UserError(f"{experiment.path}: {error}") from None


def _cells(
    base: Base,
    grid: Grid,
    settings: Settings,
    variant: Variant | None,
    change: Mapping[str, Any],
    name: str,
    seed: int,
    reached: frozenset[str],
) -> tuple[Cell, ...]:
    """Return method, variant and seed, as far as they matter; in full, and as files may say it."""
    method = METHODS[name]
    differing = [
        key
        for key in dict.fromkeys([*change, *grid.settings])
        if key in reached
        and value_of(settings, key) != value_of(base.settings, key)
        # What a trained teacher leads to has a folder of its own.
        and not (key == "teacher.model" and trained_cell(settings.teacher.model))
    ]
    parts = []
    if variant is not None:
        if any(key in variant.set for key in differing):
            parts.append(variant.name)
        differing = [key for key in differing if key not in variant.set]
    # What holds for the whole experiment stands last, and its files need not say it.
    own = [canonical(key, value_of(settings, key)) for key in differing if key in change]
    rest = [canonical(key, value_of(settings, key)) for key in differing if key not in change]
    seed = seed if method.has_seeds else 0
    named = ("-".join([*parts, *own, *rest]), "-".join([*parts, *own]))
    return tuple(Cell(name, each if method.has_variants else "", seed) for each in named)


def canonical(key: str, value: Any) -> str:
    """Return a setting and its value as a name for a folder.

    >>> canonical("transport.eps", 0.02), canonical("student.vocabulary", "initial")
    ('eps0.02', 'vocabulary-initial')
    """
    name = key.rpartition(".")[2]
    # `seed` alone would read as the seed of the cell, `model` as anybody's.
    if name == "seed" or _short_names()[name] > 1:
        name = key.replace(".", "_")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
    words = value if isinstance(value, list | tuple) else [value]
    text = "-".join(str(each).rpartition("/")[2] for each in words)
    text = re.sub(r"[^\w.-]+|\.(?=\.|$)", "-", text).strip("-.")
    return f"{name}-{text.lower() if isinstance(value, bool) else text or 'none'}"


@cache
def _short_names() -> Counter[str]:
    """Return how many settings have each name, their sections apart."""
    return Counter(key.rpartition(".")[2] for key in known_keys())


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    return [assignment(key, value) for key, value in settings.items()]


# ------------------------------------------------------------------ checks


def _pairs(experiment: Experiment, names: Sequence[str]) -> list[Pair]:
    try:
        return list(dict.fromkeys(parse_pair(name, catalogue.languages()) for name in names))
    except UserError as error:
        raise UserError(f"{experiment.path}: pairs: {error}") from None


def _methods(experiment: Experiment, names: Sequence[str]) -> list[str]:
    try:
        return [each.name for each in parse_methods(",".join(names), ())]
    except UserError as error:
        raise UserError(f"{experiment.path}: methods: {error}") from None


def _check_collections(experiment: Experiment, names: Sequence[str]) -> None:
    known = catalogue.sources("collections")
    for name in names:
        if name not in known and not name.startswith(IRDS) and not is_directory(name):
            hint = nearest(name, known)
            raise UserError(f"{experiment.path}: collections: unknown collection {name!r}; {hint}")


def _asks(collection: str, pair: Pair, name: str) -> bool:
    """Return True if a collection has the queries of a method; unknown ones may have any."""
    source = catalogue.sources("collections").get(collection)
    language = "en" if METHODS[name].queries == "english" else pair.query
    return source is None or language in source.languages


def _check_asked(
    experiment: Experiment,
    suite: str,
    points: Sequence[Point],
    pairs: Sequence[Pair],
    methods: Sequence[str],
    collections: Sequence[str],
) -> None:
    """Refuse a pair or a method that no collection has queries for."""
    where = ", ".join(collections)
    for pair in pairs:
        if not any(point.pair == pair for point in points):
            raise UserError(
                f"{experiment.path}: pairs: {where} has no queries in {pair.query!r}; take {pair} "
                f"out under [suites.{suite}], or another collection (clir ls collections)"
            )
    for name in methods:
        if not any(point.cell.method == name for point in points):
            raise UserError(
                f"{experiment.path}: method {name} cannot run in suite {suite}: {where} lacks "
                f"queries for it; remove it from methods under [suites.{suite}]"
            )


def unable(settings: Settings, name: str, pair: Pair) -> str:
    """Return why a method cannot run under the settings, and what to do; empty when it can."""
    method = METHODS[METHODS[name].whose or name]
    if method.queries == "nmt" and not settings.nmt.model:
        return "it needs a translation model, set nmt.model"
    given = settings.dictionary.sources or settings.dictionary.files
    if method.queries == "dictionary" and not (given or settings.dictionary.induced):
        return "there is no dictionary, set dictionary.sources or dictionary.induced"
    if method.has_student and not settings.bitext.files:
        sources = [catalogue.source("bitext", each) for each in settings.bitext.sources]
        if not any(source.has(pair.query) for source in sources):
            return f"there is no bitext for {pair}, set bitext.sources (clir ls languages)"
    if method.scorer == "fusion":
        for part in settings.fusion.runs:
            if part not in METHODS:
                return f"fusion.runs: unknown method {part!r}, {nearest(part, METHODS)}"
            if reason := unable(settings, part, pair):
                return f"fusion.runs names {part}, and {reason}"
    return ""


def _check_names(experiment: Experiment, base: Base, points: Sequence[Point]) -> None:
    """Refuse a baseline or an expected score of something that is not in the grid."""
    columns = dict.fromkeys(point.names[1] for point in points)
    if experiment.baseline and baseline_of(experiment, points) is None:
        raise UserError(
            f"{experiment.path}: baseline: no cell of suite {base.suite} is called "
            f"{experiment.baseline!r}; {nearest(experiment.baseline, columns)}"
        )
    for number, each in enumerate(experiment.expected):
        if each.suite == base.suite and not any(is_meant(each, point) for point in points):
            wanted = " ".join(part for part in (each.pair, each.method, each.variant) if part)
            raise UserError(
                f"{experiment.path}: expected[{number}]: no cell {wanted} in suite {each.suite}; "
                f"there are {', '.join(columns)}, each for {', '.join(_names(points))}"
            )


def baseline_of(experiment: Experiment, points: Sequence[Point]) -> str | None:
    """Return the column that the experiment's baseline is, or None when there is none."""
    return next((each.column for each in points if experiment.baseline in each.names), None)


def is_meant(expected: Expected, point: Point) -> bool:
    """Return True if an expected score is one of the point's, or across its pairs."""
    name = ".".join(part for part in (expected.method, expected.variant) if part)
    return (
        expected.pair in (str(point.pair), "all")
        and name in point.names
        and expected.seed in (None, point.cell.seed)
        and expected.collection in (None, point.collection)
    )


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(str(point.pair) for point in points))
