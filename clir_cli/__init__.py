"""clir: a command-line experiment runner for cross-lingual retrieval."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clir_cli.api import (
        compare,
        encode,
        load_bitext,
        load_collection,
        load_encoder,
        load_settings,
        maxsim,
        read_run,
        score,
        transport_plan,
    )

    __version__: str

__all__ = [
    "compare",
    "encode",
    "load_bitext",
    "load_collection",
    "load_encoder",
    "load_settings",
    "maxsim",
    "read_run",
    "score",
    "transport_plan",
]


if not TYPE_CHECKING:  # a checker would take every name for one of these

    def __getattr__(name: str) -> object:
        """Import what is used when it is used (PEP 562), so that commands start at once."""
        if name == "__version__":
            from importlib.metadata import version

            return version("clir-cli")
        if name in __all__:
            from clir_cli import api

            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__, "__version__"]
