"""Experiments as TOML: a question, a grid, what each suite changes, the table, expected scores.

Everything that can be wrong with a file is told before any work starts, in one line: which file,
which key, what to write instead.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clir_cli.errors import UserError, nearest
from clir_cli.evaluation.gaps import parse_metrics
from clir_cli.suites import bundled, known_keys, read_toml, suites

AXES = ("pairs", "methods", "seeds", "collections", "joint")
# What a table's rows and columns may be; a setting's dotted name may stand beside them.
DIMENSIONS = ("pair", "method", "variant", "seed", "collection", "metric")
Settings = dict[str, Any]  # dotted name -> value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Axes(_Part):
    """Axes of a grid; what is left out is the suite's own, or the grid's.

    ``pairs`` may be all of the suite; ``joint = [false, true]`` asks for one student of all pairs
    beside one for each.
    """

    pairs: Literal["all"] | list[str] | None = None
    methods: list[str] | None = None
    seeds: list[int] | None = None
    collections: list[str] | None = None
    joint: list[bool] | None = None
    axes: dict[str, list[Any]] = Field(default_factory=dict)


class Changes(Axes):
    """What a suite changes in the grid, and settings that hold for all of its cells."""

    settings: Settings = Field(default_factory=dict)
    variants: "list[Variant] | None" = None


class Variant(_Part):
    """Settings under a name, in the place of an axis; ``methods`` limits it to some of them."""

    name: str = Field(pattern=r"^[\w-]+(\.[\w-]+)*$")
    set: Settings
    methods: list[str] = Field(default_factory=list)


class TableLayout(_Part):
    """What stands in the rows and columns of the table that people see."""

    rows: list[str] = Field(default_factory=lambda: ["pair"])
    columns: list[str] = Field(default_factory=lambda: ["method", "variant"])


class Expected(_Part):
    """A score to come out, and how far off it may be."""

    suite: str
    pair: str
    method: str
    metric: str
    value: float = Field(strict=False)
    tolerance: float = Field(strict=False, gt=0)
    variant: str = ""
    seed: int | None = None
    collection: str | None = None


class _File(_Part):
    title: str
    question: str
    metrics: list[str] = Field(min_length=1)
    baseline: str = ""
    grid: Axes
    variants: list[Variant] = Field(default_factory=list)
    suites: dict[str, Changes] = Field(default_factory=dict)
    table: TableLayout = TableLayout()
    expected: list[Expected] = Field(default_factory=list)


@dataclass(frozen=True)
class Grid:
    """The grid of an experiment in one suite; empty axes are the suite's own."""

    pairs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    collections: tuple[str, ...] = ()
    joint: tuple[bool, ...] = (False,)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One experiment; ``name`` is the file's, ``metrics[0]`` leads."""

    name: str
    path: Path
    title: str
    question: str
    metrics: tuple[str, ...]
    baseline: str
    grid: Axes
    variants: tuple[Variant, ...]
    suites: Mapping[str, Changes]
    table: TableLayout
    expected: tuple[Expected, ...]

    def grid_for(self, suite: str) -> Grid:
        """Return the grid with what a suite changes in it."""
        changes = self.suites.get(suite, Changes())
        found = Grid(variants=self.variants, settings=changes.settings)
        for part in (self.grid, changes):
            told = {name: getattr(part, name) for name in AXES}
            told = {
                name: tuple(value) for name, value in told.items() if value not in (None, "all")
            }
            if part.pairs == "all":
                told["pairs"] = ()
            found = replace(found, **told, axes={**found.axes, **part.axes})
        if changes.variants is not None:
            found = replace(found, variants=tuple(changes.variants))
        return found


def names() -> list[str]:
    """Return the names of the experiments that travel with the package."""
    return sorted(path.stem for path in bundled("experiments").glob("*.toml"))


def load(name: str) -> Experiment:
    """Read an experiment: by the name of one that travels with the package, or a TOML file.

    Raises:
        UserError: There is none of that name, or the file is not as it should be; file, key and
            what to write instead are told.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in names():
            hint = nearest(name, names())
            raise UserError(f"unknown experiment {name!r}: {hint}, or give a file (.toml)")
        path = bundled("experiments") / f"{name}.toml"
    raw = read_toml(path)
    try:
        read = _File.model_validate(_with_axes(path, raw))
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    _check(path, read)
    return Experiment(
        name=path.stem,
        path=path,
        title=read.title,
        question=read.question,
        metrics=tuple(_metrics(path, read.metrics)),
        baseline=read.baseline,
        grid=read.grid,
        variants=tuple(read.variants),
        suites=read.suites,
        table=read.table,
        expected=tuple(read.expected),
    )


# ------------------------------------------------------------------ reading


def flat(table: Mapping[str, Any], prefix: str = "") -> Settings:
    """Return a table under dotted names: ``transport.eps`` may be written with quotes or without.

    >>> flat({"transport": {"eps": 0.1}, "student.layers": 2})
    {'transport.eps': 0.1, 'student.layers': 2}
    """
    found: Settings = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _with_axes(path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file with the dotted axes of its grids under ``axes``, and settings flattened."""
    read = dict(raw)
    if isinstance(read.get("grid"), Mapping):
        read["grid"] = _axes(path, "grid", read["grid"], AXES)
    if isinstance(read.get("suites"), Mapping):
        read["suites"] = {
            suite: _axes(path, f"suites.{suite}", changes, (*AXES, "settings", "variants"))
            if isinstance(changes, Mapping)
            else changes
            for suite, changes in read["suites"].items()
        }
    if isinstance(read.get("variants"), list):
        read["variants"] = _variants(path, "variants", read["variants"])
    return read


def _axes(path: Path, where: str, table: Mapping[str, Any], own: Sequence[str]) -> dict[str, Any]:
    # A table `joint` is the section of the settings, not the axis.
    kept = {
        key: value
        for key, value in table.items()
        if key in own and not (key == "joint" and isinstance(value, Mapping))
    }
    if isinstance(kept.get("settings"), Mapping):
        kept["settings"] = _known(path, f"{where}.settings", flat(kept["settings"]))
    if isinstance(kept.get("variants"), list):
        kept["variants"] = _variants(path, f"{where}.variants", kept["variants"])
    axes = flat({key: value for key, value in table.items() if key not in kept})
    for key, values in _known(path, where, axes, own).items():
        if not isinstance(values, list) or not values:
            raise UserError(
                f"{path}: {where}.{key}: an axis is a list of values, as [0.02, 0.05]; "
                f"got {json.dumps(values, default=str)}"
            )
    return {**kept, "axes": axes}


def _variants(path: Path, where: str, variants: Sequence[Any]) -> list[Any]:
    found = []
    for number, each in enumerate(variants):
        if isinstance(each, Mapping) and isinstance(each.get("set"), Mapping):
            each = {**each, "set": _known(path, f"{where}[{number}].set", flat(each["set"]))}
        found.append(each)
    return found


def _known(path: Path, where: str, settings: Settings, own: Sequence[str] = ()) -> Settings:
    """Refuse what is neither a setting nor one of a table's ``own`` keys."""
    for key in settings:
        if key not in known_keys():
            hint = nearest(key, [*own, *known_keys()]) if "." not in key else ""
            hint = hint or nearest(key, known_keys())
            raise UserError(f"{path}: {where}.{key}: no such setting; {hint[:200]}")
        if key in ("methods", "pairs", "collection"):
            raise UserError(f"{path}: {where}.{key}: no setting of a cell; it is an axis of [grid]")
    return settings


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    key = key.lstrip(".").replace(".list[str]", "").replace(".literal['all']", "")
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        known = _fields(first["loc"][:-1])
        return f"{key}: no such key; {nearest(name, known)}"
    if first["type"] == "missing":
        remedy = {
            "tolerance": "an expected score needs one, as tolerance = 0.02",
            "question": 'say in a sentence what is asked, as question = "Does ...?"',
            "grid": "add [grid] with pairs, methods and seeds",
        }
        return f"{key}: missing; {remedy.get(name, 'write it')}"
    if first["type"] == "string_pattern_mismatch":
        return f"{key}: {first['input']!r} is no name for a folder; use letters, digits, -, _ and ."
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]} (got {first['input']!r})"


def _fields(place: Sequence[Any]) -> Iterable[str]:
    """Return the keys that may stand at a place of the file."""
    kinds: dict[str, type[BaseModel]] = {
        "table": TableLayout, "expected": Expected, "variants": Variant, "suites": Changes,
    }  # fmt: skip
    kind = kinds.get(str(place[0])) if place else _File
    return (kind or _File).model_fields


# ------------------------------------------------------------------ checks


def _check(path: Path, read: _File) -> None:
    for suite in read.suites:
        if suite not in suites():
            raise UserError(f"{path}: suites.{suite}: no such suite; {nearest(suite, suites())}")
    for where, part in (("grid", read.grid), *((f"suites.{k}", v) for k, v in read.suites.items())):
        for name in AXES:
            if getattr(part, name) == []:
                raise UserError(
                    f"{path}: {where}.{name}: empty, so the grid has no cell; name at least one, "
                    "or leave the key out"
                )
    if read.variants and len({each.name for each in read.variants}) < len(read.variants):
        raise UserError(f"{path}: variants: two of them have the same name; rename one")
    dimensions = [*DIMENSIONS, *(key for key in known_keys() if "." in key)]
    for where, names_ in (("rows", read.table.rows), ("columns", read.table.columns)):
        for name in names_:
            if name not in dimensions:
                hint = nearest(name, DIMENSIONS)
                raise UserError(f"{path}: table.{where}: no such dimension {name!r}; {hint}")
    measured = _metrics(path, read.metrics)
    for number, each in enumerate(read.expected):
        where = f"expected[{number}]"
        if each.suite not in suites():
            hint = nearest(each.suite, suites())
            raise UserError(f"{path}: {where}.suite: no such suite {each.suite!r}; {hint}")
        if each.metric not in measured:
            hint = nearest(each.metric, measured)
            raise UserError(f"{path}: {where}.metric: not among the metrics {measured}; {hint}")


def _metrics(path: Path, metrics: Sequence[str]) -> list[str]:
    try:
        return parse_metrics(",".join(metrics))
    except UserError as error:
        raise UserError(f"{path}: metrics: {error}") from None
