"""Which settings a command runs with: the defaults, the suite's TOML, the user's and ``--set``.

Each is laid over those before it; an unknown key is refused with the nearest right one. Suites,
experiments and the catalogue are the package's, and those in a folder of the user's own.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from shutil import copyfile, copytree
from tempfile import TemporaryDirectory
from typing import Any, Literal, ParamSpec, TypeGuard, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings

PACKAGE = Path(__file__).resolve().parent
CATALOGUE = "CLIR_CATALOGUE"  # of the environment: the user's folder, as --catalogue names it
FOLDERS = ("suites", "experiments")
ENTRIES = ("languages", "bitext", "dictionaries", "collections", "models")
USED = ("models", "downloads")  # folders beside those of suites

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
_loaded: dict[tuple[object, ...], Any] = {}


def once(function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
    """Return a function that is called once for the same arguments and catalogue of the user."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        own = os.environ.get(CATALOGUE, "")
        key = (function, own and Path(own).absolute(), args, *kwargs.items())
        if key not in _loaded:
            _loaded[key] = function(*args, **kwargs)
        found: Value = _loaded[key]
        return found

    return call


def bundled(folder: Literal["data", "experiments"]) -> Path:
    """Return the folder that travels with the package: inside a wheel, or beside a checkout."""
    installed = PACKAGE / f"_{folder}"
    return installed if installed.is_dir() else PACKAGE.parent / folder


def use_catalogue(folder: Path | None) -> None:
    """Take a folder of the user's beside the built-in catalogue, also in processes that follow."""
    if folder is not None:
        os.environ[CATALOGUE] = str(folder.absolute())


def write_catalogue(folder: Path) -> None:
    """Write a folder of the user's own entries, with examples.

    Raises:
        UserError: Something is there.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there, and not empty; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as draft:
        # Without the modes of the package's files, which may be read-only.
        copytree(bundled("data") / "init", Path(draft) / "new", copy_function=copyfile)
        (Path(draft) / "new").replace(folder)


def own_catalogue() -> Path | None:
    """Return the folder of the user's own entries, if one is named.

    Raises:
        UserError: It is not there, or has a file that no catalogue has.
    """
    if not (name := os.environ.get(CATALOGUE, "")):
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder (--catalogue or {CATALOGUE}); make one with clir init DIR"
        )
    for file in sorted(folder.glob("*.toml")):
        if file.stem not in ENTRIES:
            known = [f"{each}.toml" for each in ENTRIES]
            raise UserError(f"{file}: no file of a catalogue; {nearest(file.name, known)}")
    return folder


def toml_files(kind: Literal["suites", "experiments"]) -> dict[str, Path]:
    """Return the files of suites or experiments by name: the package's, then the user's.

    Raises:
        UserError: One of the user's has a name that is taken, or that is no name of a folder.
    """
    folder = bundled("experiments")
    files = sorted((folder / "suites" if kind == "suites" else folder).glob("*.toml"))
    found = {path.stem: path for path in files}
    own = own_catalogue()
    for path in sorted((own / kind).glob("*.toml")) if own else ():
        taken = {*found, *USED} if kind == "suites" else found.keys()
        if path.stem.lower() in taken:
            raise UserError(f"{path}: clir has {path.stem} among its {kind}; rename the file")
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", path.stem, re.ASCII):
            raise UserError(f"{path}: a name of {kind} has letters, digits, - and _; rename it")
        found[path.stem] = path
    return found


def suites() -> list[str]:
    """Return the names of the suites of the package, and of the user's catalogue."""
    return list(toml_files("suites"))


def load_settings(
    suite: str, config: Path | None = None, assignments: Sequence[str] = ()
) -> Settings:
    """Return the settings of a suite with the user's changes on top.

    ``config`` is the user's TOML file (``--config``); ``assignments`` are ``section.key=value``
    (``--set``), whose values are TOML, or plain text.

    Raises:
        UserError: An unknown suite or key, a value of the wrong kind, or an unreadable file.
    """
    files = toml_files("suites")
    if suite not in files:
        raise UserError(f"unknown suite {suite!r}: {nearest(suite, files)}")
    values = read_toml(files[suite])
    if files[suite].parent.parent != bundled("experiments"):
        _settings(suite, values, f"{files[suite]}: ")
    if config is not None:
        _merge(values, read_toml(config), str(config))
    for assignment in assignments:
        _assign(values, assignment)
    return _settings(suite, values)


def _settings(suite: str, values: Mapping[str, Any], where: str = "") -> Settings:
    if "suite" in values:
        raise UserError(f"{where}the suite is not a setting; choose it with --suite")
    try:
        return Settings(suite=suite, **values)
    except ValidationError as error:
        raise UserError(f"{where}{_explain(error)}") from None


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
            _put(values, key, value)


def _put(section: dict[str, Any], name: str, value: Any) -> None:
    """Set a value. A batch size ``auto`` stays what it is, and is computed as memory allows."""
    if (name, value) == ("batch_size", "auto"):
        name, value = "halve", True
    section[name] = value


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
        _put(values, name, value_in(text))
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


@once
def suite_settings(suite: str) -> Settings:
    """Return the settings of a suite without any change; read once."""
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
    if first["type"] == "missing":
        return f"setting {key} is missing; add it"
    got = f"(got {shortened(first['input'])})"
    if first["type"] == "tuple_type":
        return f'setting {key}: it is a list, write {key}=["a", "b"] {got}'
    if first["type"] == "model_type":
        return f"setting {key}: it is a section, write {key}.name=value {got}"
    return f"setting {key}: {first['msg'][0].lower()}{first['msg'][1:]} {got}"
