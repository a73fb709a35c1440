"""What every stage gets: where artifacts lie, and how it is to behave."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.artifacts.command import Command, Option
from clir_cli.artifacts.spec import Context, Ref
from clir_cli.cluster.connection import EngineOptions
from clir_cli.console import Talk
from clir_cli.training.process_group import ProcessGroup, current


@dataclass(frozen=True)
class Workspace(Context):
    """The settings of a command, the folder for artifacts, and how stages are to behave.

    ``mirror`` is a folder or http(s) base that has each file under ``<host>/<path>`` of its URL.
    """

    device: str = "auto"
    force: bool = False
    dry_run: bool = False
    talk: Talk = field(default_factory=Talk)
    mirror: str = ""
    group: ProcessGroup = field(default_factory=current)
    engine: EngineOptions = field(default_factory=EngineOptions)

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.settings.suite

    @property
    def downloads(self) -> Path:
        """Return the folder of downloaded files, each under its URL."""
        return self.home / "downloads"

    def ref(self, kind: str, *args: Any, **kwargs: Any) -> Ref:
        """Return an artifact of a kind, with the settings of this command."""
        return Ref(kind, self.settings, *args, **kwargs)

    def command(self, verb: str, *options: Option) -> Command:
        """Return a command for this suite and place, without any setting."""
        return Command(verb, (*options, ("--suite", self.suite), *self.shown))
