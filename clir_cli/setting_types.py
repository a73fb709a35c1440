"""What the sections of settings are made of: their base class, their types of numbers, sizes."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

LARGEST_SEED = 2**63 - 1
MANY = 10**12  # more of anything than there is
Count = Annotated[int, Field(ge=0, le=MANY)]
AtLeastOne = Annotated[int, Field(ge=1, le=MANY)]
UpToThousand = Annotated[int, Field(ge=1, le=1000)]
UpToMillion = Annotated[int, Field(ge=1, le=1_000_000)]
SeedNumber = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Amount = Annotated[float, Field(ge=0, le=MANY)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=1e-30, le=MANY)]  # float32 holds it
# What cosines, or costs made of cosines, are divided by: float32 has 7 digits of them. Below the
# first bound fewer than 3 are left in the quotient, above the second none of the differences.
Divisor = Annotated[float, Field(ge=1e-4, le=1e3)]


class Section(BaseModel):
    """A table of settings: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Settings added later: serialised only if they differ from their default, so that artifacts
    # made before they existed stay current.
    later: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*")
    @classmethod
    def _has_no_zero_byte(cls, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else [value]:
            if isinstance(text, str) and "\0" in text:  # no name of a file has one
                raise PydanticCustomError("zero", "it has a zero byte, remove it")
        return value

    @model_serializer(mode="wrap")
    def _without_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = write(self)
        defaults = {name: type(self).model_fields[name].default for name in self.later}
        return {
            name: value
            for name, value in values.items()
            if name not in defaults or getattr(self, name) != defaults[name]
        }


def parse_size(text: str) -> int | None:
    """Return a size such as ``2GB``, ``512 MiB`` or ``1e9`` in bytes.

    Returns:
        None for an empty text.

    Raises:
        PydanticCustomError: It is no size above 0.
    """
    if not text.strip():
        return None
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
    units |= {f"{unit}i": 1024.0**power for power, unit in enumerate("kmgt", start=1)}
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?", text.strip().lower())
    try:
        size = float(match[1]) * units[match[2]] if match else 0.0
    except (ValueError, KeyError):
        size = 0.0
    if not 1 <= size <= 1e18:
        raise PydanticCustomError("size", "it is a size, write it as 2GB or 512MiB")
    return int(size)
