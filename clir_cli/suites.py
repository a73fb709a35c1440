"""Which settings a command runs with: the defaults, the suite's TOML, the user's and ``--set``.

Each is laid over those before it; an unknown key is refused with the nearest right one.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_origin

from pydantic import BaseModel, ValidationError

from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings

PACKAGE = Path(__file__).resolve().parent


def bundled(folder: Literal["data", "experiments"]) -> Path:
    """Return the folder that travels with the package: inside a wheel, or beside a checkout."""
    installed = PACKAGE / f"_{folder}"
    return installed if installed.is_dir() else PACKAGE.parent / folder


def suites() -> list[str]:
    """Return the names of the suites that travel with the package."""
    return sorted(path.stem for path in (bundled("experiments") / "suites").glob("*.toml"))


def load_settings(
    suite: str, config: Path | None = None, assignments: Sequence[str] = ()
) -> Settings:
    """Return the settings of a suite with the user's changes on top.

    ``config`` is the user's TOML file (``--config``); ``assignments`` are ``section.key=value``
    (``--set``), whose values are TOML, or plain text.

    Raises:
        UserError: An unknown suite or key, a value of the wrong kind, or an unreadable file.
    """
    if suite not in suites():
        raise UserError(f"unknown suite {suite!r}: {nearest(suite, suites())}")
    values = read_toml(bundled("experiments") / "suites" / f"{suite}.toml")
    if config is not None:
        _merge(values, read_toml(config), str(config))
    for assignment in assignments:
        _assign(values, assignment)
    if "suite" in values:
        raise UserError("the suite is not a setting; choose it with --suite")
    try:
        return Settings(suite=suite, **values)
    except ValidationError as error:
        raise UserError(_explain(error)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        UserError: It is missing, cannot be read, or is not valid TOML; the file is named.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a text in TOML says.

    Raises:
        ValueError: It is not valid, has an integer of thousands of digits, or is nested deeply.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        values = {}
        is_deep = True
    else:
        is_deep = _is_deep(values, 16)
    if is_deep:
        raise ValueError("tables or lists in one another, too deeply")
    return values


def _is_deep(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(part, levels - 1) for part in inner)


def _merge(values: dict[str, Any], changes: Mapping[str, Any], where: str) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(values.setdefault(key, {}), dict):
            _merge(values[key], value, where)
        else:
            values[key] = value


def _assign(values: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {assignment!r}: write it as section.key=value")
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {key}: {section} is a setting, not a section")
    try:
        values[name] = value_in(text)
    except ValueError as error:
        raise UserError(f"--set {key}={shortened(text)}: {error}; put text in quotes") from None


def value_in(text: str) -> Any:
    """Return the value that a text in TOML is, or else the text; ValueError for half a value.

    >>> value_in("[1, 2]"), value_in("initial"), value_in("3#a")
    ([1, 2], 'initial', '3#a')
    """
    try:
        # In a list, so that a comment or a second line of TOML is not dropped.
        value, *more = parse_toml(f"value = [{text}, 0]")["value"]
    except ValueError as error:
        value, more = error, []
    if more == [0]:
        return value
    if text.strip().startswith(("[", "{", '"', "'")):
        raise ValueError("not valid TOML")
    return text.strip()


def shortened(value: Any) -> str:
    """Return a value for a message, cut if it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a long number"
    return text if len(text) <= 100 else f"{text[:100]}..."


@cache
def suite_settings(suite: str) -> Settings:
    """Return the settings of a suite of the package without any change; read once."""
    return load_settings(suite)


def matches(key: str, prefixes: Iterable[str]) -> bool:
    """Return True if a setting is one of those, or in one of those sections."""
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def value_of(settings: Settings, key: str) -> Any:
    """Return a setting by its dotted name."""
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table under dotted names: ``transport.eps`` may be written with quotes or without.

    >>> flat({"transport": {"eps": 0.1}, "student.layers": 2})
    {'transport.eps': 0.1, 'student.layers': 2}
    """
    dotted: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        dotted |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return dotted


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Return the dotted names of all settings that a user may change."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            keys += known_keys(field.annotation, f"{prefix}{name}.")
        elif prefix or name != "suite":
            keys.append(prefix + name)
    return keys


def _is_section(kind: object) -> TypeGuard[type[BaseModel]]:
    return get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def _nearest_setting(key: str) -> str:
    """Return a hint on the setting that is meant: in its section, if it names one, else in any."""
    section, dot, name = key.rpartition(".")
    known = [each for each in known_keys() if each.startswith(f"{section}{dot}")]
    last = {each: each.rpartition(".")[2] for each in known}
    words = dict.fromkeys(last.values())
    close = (
        difflib.get_close_matches(name, words, n=1, cutoff=0.75)
        or [word for word in words if name == "".join(part[0] for part in word.split("_")) != word]
        or [
            word
            for word in words
            if word.startswith(name[:3]) and name.startswith(word[: len(name)])
        ]
        or difflib.get_close_matches(name, words, n=1)
    )
    same = [each for each in known if last[each] in close]
    return f"did you mean {' or '.join(same)}?" if same else "clir ls settings lists them"


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and isinstance(first["input"], Mapping):
        fields = Settings.model_fields.items()
        sections = [name for name, field in fields if _is_section(field.annotation)]
        return f"unknown section {key}: {nearest(key, sections)}"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key}: {_nearest_setting(key)}"
    got = f"(got {shortened(first['input'])})"
    if first["type"] == "tuple_type":
        return f'setting {key}: it is a list, write {key}=["a", "b"] {got}'
    if first["type"] == "model_type":
        return f"setting {key}: it is a section, write {key}.name=value {got}"
    return f"setting {key}: {first['msg'][0].lower()}{first['msg'][1:]} {got}"
