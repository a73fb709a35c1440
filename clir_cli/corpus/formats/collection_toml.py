"""collection.toml, beside the files of a user's collection: how they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clir_cli.errors import UserError, nearest
from clir_cli.suites import read_toml

SETTINGS = "collection.toml"


class Fields(BaseModel):
    """The fields of documents and queries in JSON lines, parquet and tables.

    If a name is empty, the usual ones are read: ``_id`` or ``id``, ``title``, ``text`` or
    ``contents``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field("", strict=True)
    title: str = Field("", strict=True)
    text: str = Field("", strict=True)
    query_id: str = Field("", strict=True)
    query: str = Field("", strict=True)


Model = TypeVar("Model", bound=BaseModel)


def read_settings(folder: Path, model: type[Model], options: Mapping[str, Any]) -> Model:
    """Return what ``collection.toml`` of a folder says, over the options of a catalogue's entry.

    Raises:
        UserError: A key is unknown, the nearest one is named; or its value is of another kind.
    """
    path = folder / SETTINGS
    defaults = {key: value for key, value in options.items() if key in model.model_fields}
    try:
        return model(**{**defaults, **(read_toml(path) if path.is_file() else {})})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        hint = nearest(key, model.model_fields) if key not in model.model_fields else first["msg"]
        raise UserError(f"{path}: {key}: {hint}") from None
