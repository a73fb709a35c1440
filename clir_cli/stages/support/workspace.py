"""What every stage gets: the place of the artifacts, and how it is to behave."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clir_cli.artifacts.command import Command, Option
from clir_cli.artifacts.spec import Ref
from clir_cli.cluster.connection import EngineOptions
from clir_cli.console import Talk
from clir_cli.settings import Settings
from clir_cli.training.process_group import ProcessGroup, current


@dataclass(frozen=True)
class Workspace:
    """The settings of a command, the folder for artifacts, and how stages are to behave.

    ``mirror`` is a folder or http(s) base that has each file under ``<host>/<path>`` of its URL;
    ``config`` is the file of ``--config``; ``shown`` are the options that every command must
    repeat to see the same folder and file; ``cache`` holds what was read and is needed again.
    """

    settings: Settings
    home: Path
    device: str = "auto"
    force: bool = False
    dry_run: bool = False
    talk: Talk = field(default_factory=Talk)
    mirror: str = ""
    config: Path | None = None
    shown: Sequence[Option] = ()
    group: ProcessGroup = field(default_factory=current)
    engine: EngineOptions = field(default_factory=EngineOptions)
    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.settings.suite

    @property
    def downloads(self) -> Path:
        """Return where downloaded files lie, each under its URL."""
        return self.home / "downloads"

    def using(self, settings: Settings) -> "Workspace":
        """Return the same place and behaviour with other settings."""
        return self if settings is self.settings else replace(self, settings=settings)

    def ref(self, kind: str, *args: Any, **kwargs: Any) -> Ref:
        """Return an artifact of a kind, with the settings of this command."""
        return Ref(kind, self.settings, *args, **kwargs)

    def command(self, verb: str, *options: Option) -> Command:
        """Return a command for this suite and place, without any setting."""
        return Command(verb, (*options, ("--suite", self.suite), *self.shown))
