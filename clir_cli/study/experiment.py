"""Experiments as TOML: a question, a grid, what each suite changes, the table, expected scores.

An error in a file is reported before any work starts, in one line: which file, which key, what to
write instead.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from clir_cli.artifacts.cell import is_variant
from clir_cli.errors import UserError, nearest
from clir_cli.evaluation.gaps import parse_metrics
from clir_cli.setting_types import SeedNumber
from clir_cli.suites import bundled, flat, known_keys, read_toml, shortened, suites, toml_files

RESERVED = ("scores", "per_query")  # tables that are no experiment's
AXES = ("pairs", "methods", "seeds", "collections", "joint")
# What a table's rows and columns may be, beside the dotted name of a setting.
DIMENSIONS = ("pair", "method", "variant", "seed", "collection", "metric")


def _fault(message: str, key: str = "") -> PydanticCustomError:
    """Return an error at the validated place, or at a key below it."""
    return PydanticCustomError("fault", "{message}", {"message": message, "key": key})


def _only_settings(settings: dict[str, Any], keys: Sequence[str] = ()) -> dict[str, Any]:
    """Refuse what is neither a setting nor one of the table's own keys."""
    for key in settings:
        if key not in known_keys():
            hint = nearest(key, known_keys() if "." in key else [*keys, *known_keys()])
            raise _fault(f"no such setting; {hint[:200]}", key)
        if key in ("methods", "pairs", "collection"):
            raise _fault("no setting of a cell; it is an axis of [grid]", key)
    return settings


def _only_suite(name: str) -> str:
    if name not in suites():
        raise _fault(f"no such suite {name!r}; {nearest(name, suites())}")
    return name


def _only_variants(name: str) -> str:
    if not is_variant(name):
        hint = "use letters, digits, -, _ and .; seed1 is a seed"
        raise _fault(f"{name!r} is no name for a folder; {hint}")
    return name


def _only_dimensions(names: list[str]) -> list[str]:
    for name in names:
        if name not in DIMENSIONS and not ("." in name and name in known_keys()):
            raise _fault(f"no such dimension {name!r}; {nearest(name, DIMENSIONS)}")
    return names


# Dotted names and values of settings; sections may be written as tables.
Changed = Annotated[
    dict[str, Any],
    AfterValidator(_only_settings),
    BeforeValidator(lambda table: flat(table) if isinstance(table, Mapping) else table),
]
Suite = Annotated[str, AfterValidator(_only_suite)]
VariantName = Annotated[str, AfterValidator(_only_variants)]
Dimensions = Annotated[list[str], AfterValidator(_only_dimensions)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Variant(_Part):
    """Settings under a name, in the place of an axis; ``methods`` limits it to some of them."""

    name: VariantName
    set: Changed
    methods: list[str] = Field(default_factory=list)


class Axes(_Part):
    """Axes of a grid; an axis without values is taken from the suite, or from the grid.

    ``pairs`` may be all of the suite; ``joint = [false, true]`` asks for one student of all pairs
    beside one for each. Axes over settings are in ``axes``.
    """

    pairs: Literal["all"] | list[str] | None = None
    methods: list[str] | None = None
    seeds: list[SeedNumber] | None = None
    collections: list[str] | None = None
    joint: list[bool] | None = None
    axes: dict[str, list[Any]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_axes(cls, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        fields = [name for name in cls.model_fields if name != "axes"]
        # A table `joint` is the section of the settings, not the axis.
        own = {
            key: value
            for key, value in table.items()
            if key in fields and not (key == "joint" and isinstance(value, Mapping))
        }
        axes = flat({key: value for key, value in table.items() if key not in own})
        for key, values in _only_settings(axes, fields).items():
            if not isinstance(values, list) or not values:
                got = json.dumps(values, default=str)
                raise _fault(f"an axis is a list of values, as [0.02, 0.05]; got {got}", key)
        return {**own, "axes": axes}

    @field_validator(*AXES)
    @classmethod
    def _not_empty(cls, values: Any) -> Any:
        if values == []:
            message = "empty, so the grid has no cell; name at least one, or leave the key out"
            raise _fault(message)
        return values


class Changes(Axes):
    """What a suite changes in the grid, and settings that hold for all of its cells."""

    settings: Changed = Field(default_factory=dict)
    variants: list[Variant] | None = None


class TableLayout(_Part):
    """The dimensions in the rows and in the columns of the printed table."""

    rows: Dimensions = Field(default_factory=lambda: ["pair"])
    columns: Dimensions = Field(default_factory=lambda: ["method", "variant"])


class Expected(_Part):
    """An expected score, and how far off it may be."""

    suite: Suite
    pair: str
    method: str
    metric: str
    value: float = Field(strict=False)
    tolerance: float = Field(strict=False, gt=0)
    variant: str = ""
    seed: SeedNumber | None = None
    collection: str | None = None


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


class Experiment(_Part):
    """One experiment; ``path`` is its file, ``metrics[0]`` the leading metric."""

    path: Path
    title: str
    question: str
    metrics: tuple[str, ...] = Field(strict=False, min_length=1)
    baseline: str = ""
    grid: Axes
    variants: list[Variant] = Field(default_factory=list)
    suites: dict[Suite, Changes] = Field(default_factory=dict)
    table: TableLayout = TableLayout()
    expected: list[Expected] = Field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.path.stem

    @property
    def argument(self) -> str:
        """Return what ``clir reproduce`` takes for it."""
        return self.name if self.path == _files().get(self.name) else str(self.path)

    @property
    def source(self) -> str:
        """Return the path of the file; empty for an experiment of clir.

        The path distinguishes two files of one name. No other file may have the name of an
        experiment of clir, and its path changes with the checkout.
        """
        is_own = self.path.resolve().parent == bundled("experiments").resolve()
        return "" if is_own else str(self.path.resolve())

    @field_validator("metrics")
    @classmethod
    def _parsed(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(parse_metrics(",".join(metrics)))
        except UserError as error:
            raise _fault(str(error)) from None

    @field_validator("variants")
    @classmethod
    def _unique(cls, variants: list[Variant]) -> list[Variant]:
        if len({variant.name for variant in variants}) < len(variants):
            raise _fault("two of them have the same name; rename one")
        return variants

    @model_validator(mode="after")
    def _measured(self) -> "Experiment":
        for number, score in enumerate(self.expected):
            if score.metric not in self.metrics:
                hint = nearest(score.metric, self.metrics)
                message = f"not among the metrics {list(self.metrics)}; {hint}"
                raise _fault(message, f"expected[{number}].metric")
        return self

    def grid_for(self, suite: str) -> Grid:
        """Return the grid with what a suite changes in it."""
        changes = self.suites.get(suite, Changes())
        axes: dict[str, Any] = {}
        for part in (self.grid, changes):
            given = {name: getattr(part, name) for name in AXES}
            axes |= {
                name: () if values == "all" else tuple(values)
                for name, values in given.items()
                if values is not None
            }
        return Grid(
            **axes,
            axes={**self.grid.axes, **changes.axes},
            variants=tuple(self.variants if changes.variants is None else changes.variants),
            settings=changes.settings,
        )


def _files() -> dict[str, Path]:
    return toml_files("experiments")


def names() -> list[str]:
    """Return the names of the experiments of the package, and of the user's catalogue."""
    return list(_files())


def load(name: str) -> Experiment:
    """Read an experiment: by its name in the package or the user's catalogue, or a TOML file.

    Raises:
        UserError: No experiment has that name, or the file has an error; the message names file
            and key, and says what to write instead.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in _files():
            hint = nearest(name, names())
            raise UserError(f"unknown experiment {name!r}: {hint}, or give a file (.toml)")
        path = _files()[name]
    _refuse_reserved(path)
    try:
        return Experiment.model_validate({"path": path, **read_toml(path)})
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None


def _refuse_reserved(path: Path) -> None:
    """Refuse a file whose table would have the name of another, in whatever case of letters."""
    name, files = path.stem.lower(), _files()
    is_taken = name in files and path.resolve() != files[name].resolve()
    if name in RESERVED or name.startswith(".") or is_taken:
        table = "an experiment of clir has" if is_taken else "another table has"
        raise UserError(f"{path}: {table} the name {path.stem!r}; rename the file")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    parts = [*first["loc"], first.get("ctx", {}).get("key", "")]
    key = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts if part != ""
    )
    for noise in (".list[str]", ".literal['all']", ".[key]"):
        key = key.replace(noise, "")
    key, name = key.lstrip("."), str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "fault":
        return f"{key}: {first['msg']}"
    if first["type"] == "extra_forbidden":
        tables: dict[Any, type[BaseModel]] = {
            "table": TableLayout,
            "expected": Expected,
            "variants": Variant,
        }
        inner = [tables[part] for part in first["loc"][:-1] if part in tables]
        fields = (inner or [Experiment])[-1].model_fields
        return f"{key}: no such key; {nearest(name, [key for key in fields if key != 'path'])}"
    if first["type"] == "missing":
        remedy = {
            "tolerance": "an expected score needs one, as tolerance = 0.02",
            "question": 'one sentence that ends in ?, such as question = "Does ...?"',
            "grid": "add [grid] with pairs, methods and seeds",
        }
        return f"{key}: missing; {remedy.get(name, 'write it')}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]} (got {shortened(first['input'])})"
