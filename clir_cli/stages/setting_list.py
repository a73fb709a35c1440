"""The settings as rows: what each does, its default and a suite's value, and what it may be."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from clir_cli.artifacts.command import assignment
from clir_cli.setting_types import MANY
from clir_cli.settings import Settings
from clir_cli.suites import known_keys, suite_settings, suites, value_of

Row = dict[str, Any]
TYPES = {"int": "integer", "float": "number", "bool": "true or false"}
BOUNDS = {"ge": "least", "gt": "above", "le": "most", "lt": "below"}
LOW = {"least": "from", "above": "above"}
HIGH = {"most": "", "below": "below "}
PAGE = """# Settings

Made from `clir_cli/settings.py` and `clir_cli/recipe_settings.py` by `make docs`.
`clir ls settings` shows the same in the terminal, with the values of a suite (`--suite`);
`clir ls settings WORD` only those with a word in them; `--json` gives them to programs. Set one
with `--set transport.eps=0.1`, or in a TOML file with `--config`.
"""


def rows(suite: str) -> list[Row]:
    """Return a row for each setting: ``default`` is the code's, ``value`` the suite's.

    Raises:
        UserError: There is no such suite.
    """
    settings = suite_settings(suite)
    return [_row(key, settings) for key in known_keys()]


def takes_all(key: str, value: float) -> bool:
    """Return True if a value of a setting means no limit, as its description says.

    >>> takes_all("student.layers", 0), takes_all("student.layers", 3)
    (True, False)
    """
    return value == 0 and (_field(key).description or "").endswith("0: all")


def _field(key: str) -> FieldInfo:
    return _model_of(key).model_fields[key.rpartition(".")[2]]


def _row(key: str, settings: Settings) -> Row:
    field = _field(key)
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    is_list = get_origin(field.annotation) is tuple
    limits = {
        word: int(bound) if bound == int(bound) else bound
        for part in field.metadata
        for name, word in BOUNDS.items()
        if (bound := getattr(part, name, None)) is not None and bound < MANY
    }
    return {
        "setting": key,
        "section": key.rpartition(".")[0],
        "title": field.description or "",
        "type": "list"
        if is_list
        else TYPES.get(str(getattr(field.annotation, "__name__", "")), "text"),
        "choices": list(choices),
        **{word: limits.get(word) for word in BOUNDS.values()},
        "default": None if field.is_required() else _plain(field.default),
        "value": _plain(value_of(settings, key)),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _model_of(key: str) -> type[BaseModel]:
    """Return the section that a setting is in."""
    model: type[BaseModel] = Settings
    for section in key.split(".")[:-1]:
        model = model.model_fields[section].annotation  # type: ignore[assignment]
    return model


def purpose(section: str) -> str:
    """Return what a section of settings is about, from its docstring."""
    if not section:
        return "What a suite is made of."
    text = (_model_of(f"{section}.").__doc__ or "").splitlines()[0]
    return re.sub(r" \(see \S+\)|, ``clir train``|`", "", text)


def values(row: Mapping[str, Any]) -> str:
    """Return in words what a setting may be.

    >>> values({"type": "number", "choices": [], "above": 0, "below": 1})
    'number above 0 to below 1'
    """
    if choices := row["choices"]:
        return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    low = [f"{word} {row[key]}" for key, word in LOW.items() if row.get(key) is not None]
    high = [f"to {word}{row[key]}" for key, word in HIGH.items() if row.get(key) is not None]
    return " ".join([row["type"], *low, *high])


def by_section(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each section with its rows."""
    for section in dict.fromkeys(row["section"] for row in found):
        yield section, [row for row in found if row["section"] == section]


def page() -> str:
    """Return the page of the documentation, in Markdown."""
    loaded = {name: suite_settings(name) for name in suites()}
    lines = [PAGE]
    for section, found in by_section(rows("sample")):
        lines += [f"## {section or 'Of the suite'}\n", f"{purpose(section)}\n"]
        lines += ["| setting | default | values | what it does |", "| --- | --- | --- | --- |"]
        for row in found:
            key, default = row["setting"], row["default"]
            own: dict[str, list[str]] = {}
            for name, settings in loaded.items() if section else ():
                own.setdefault(_code(_plain(value_of(settings, key))), []).append(name)
            shown = [] if default is None else [_code(default)]
            shown += [f"{', '.join(names)}: {v}" for v, names in own.items() if [v] != shown]
            cells = [f"`{key}`", "; ".join(shown), values(row), row["title"]]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _code(value: Any) -> str:
    text = assignment("", value).removeprefix("=")
    return f"`{text}`" if text else "empty"
