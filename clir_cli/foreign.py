"""What comes from outside: JSON files of a known type, and libraries that fail at foreign data."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from clir_cli.errors import UserError, first_line
from clir_cli.files import explain_os_error

Value = TypeVar("Value")


class JsonObject(BaseModel):
    """The keys of a foreign JSON object that are read, each with its type; others are ignored."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


def read_json(path: Path, kind: type[Value], remedy: str) -> Value:
    """Return the content of a foreign JSON file as ``kind``, such as a JsonObject or a list of it.

    Raises:
        UserError: It is missing, is no JSON, or is of another type.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; {remedy}")
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        problem = f"{where}: {message}" if where else message
        if first["type"] == "json_invalid":
            problem = f"not readable as JSON ({first['ctx']['error']})"
        raise UserError(f"{path}: {problem}; {remedy}") from None


@contextmanager
def reported(what: str, remedy: str = "") -> Iterator[None]:
    """Report any failure of a library that reads foreign data in one line, as UserError.

    Failures of the system, such as a full memory, pass.

    ``what`` is path and problem; the library's reason and the ``remedy`` follow.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        is_panic = type(error).__name__ == "PanicException"  # of Rust; it is no Exception
        if not is_panic and (not isinstance(error, Exception) or _is_of_system(error)):
            raise
        reason = f"{what}: {first_line(error)}"
        raise UserError(f"{reason}; {remedy}" if remedy else reason) from None


def _is_of_system(error: Exception) -> bool:
    """Return True for a full memory or disk, and the like; a missing file is foreign data's."""
    return bool(explain_os_error(error)) and getattr(error, "errno", 0) not in (None, ENOENT)
