"""Options of the command line: the ones of every stage, and the ones that some share."""

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clir_cli.cluster.connection import EngineOptions
    from clir_cli.stages.support.workspace import Workspace

EVERY_STAGE = {
    "suite": (str, typer.Option(help="Data, models and budget: sample, open, paper."), "sample"),
    "config": (Path | None, typer.Option(help="TOML file that overrides the suite."), None),
    "assign": (
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as transport.eps=0.1."),
        (),
    ),
    "home": (Path, typer.Option(help="Folder for artifacts.", envvar="CLIR_HOME"), "artifacts"),
    "device": (str, typer.Option(help="Device: auto, cpu, cuda or mps."), "auto"),
    "force": (bool, typer.Option("--force", help="Replace existing artifacts."), False),
    "dry_run": (bool, typer.Option("--dry-run", help="Print the plan and exit."), False),
    "as_json": (bool, typer.Option("--json", help="Print the result as JSON."), False),
    "quiet": (bool, typer.Option("--quiet", "-q", help="Print no progress and no log."), False),
}

Lang = Annotated[
    str, typer.Option(help="A pair such as sw-en, several with commas, or all.", metavar="PAIRS")
]
OneMethod = Annotated[str, typer.Option(help="Training method. See clir ls methods.")]
Methods = Annotated[
    str, typer.Option(help="Methods with commas (default: the suite's). See clir ls methods.")
]
Variant = Annotated[str, typer.Option(help="A name that keeps these settings apart from others.")]
Joint = Annotated[
    bool, typer.Option("--joint", help="One student for all pairs of --lang, not one per pair.")
]
Seed = Annotated[int, typer.Option(help="Seed of batches and dropout.", min=0, max=2**63 - 1)]
OneCollection = Annotated[
    str, typer.Option(help="A name (clir ls collections), irds:ID, or your folder (BEIR or TREC).")
]

Engine = Annotated[
    str, typer.Option(help="Where the work runs: local (this machine), or ray (Ray workers).")
]
Address = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="Ray cluster, or auto (default: Ray on this machine)."),
]
Jobs = Annotated[int, typer.Option(help="Number of Ray workers (default: as many as fit).", min=0)]


@dataclass(frozen=True)
class Common:
    """The options that every stage has."""

    suite: str
    config: Path | None
    assign: Sequence[str]
    home: Path
    device: str
    force: bool
    dry_run: bool
    as_json: bool
    quiet: bool

    def workspace(
        self, collection: str = "", engine: "EngineOptions | None" = None, mirror: str = ""
    ) -> "Workspace":
        """Resolve the settings and return what the stages work with."""
        from clir_cli.cluster.connection import EngineOptions
        from clir_cli.console import Talk
        from clir_cli.runtime import check_device_name
        from clir_cli.stages.support.workspace import Workspace
        from clir_cli.suites import load_settings
        from clir_cli.training.process_group import current

        check_device_name(self.device)
        settings = load_settings(self.suite, self.config, self.assign)
        if collection:
            settings = settings.model_copy(update={"collection": collection})
        return Workspace(
            settings=settings,
            home=self.home,
            device=self.device,
            force=self.force,
            dry_run=self.dry_run,
            talk=Talk(self.quiet or not current().is_main),
            mirror=mirror,
            config=self.config,
            shown=self.shown,
            engine=engine or EngineOptions(),
        )

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """Return the options that other commands must repeat to see the same place."""
        own_home = str(self.home) in (EVERY_STAGE["home"][2], os.environ.get("CLIR_HOME"))
        home = () if own_home else (("--home", str(self.home)),)
        config = () if self.config is None else (("--config", str(self.config)),)
        return home + config


def takes_common(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every stage beside its own; it gets them as ``common``."""
    own = [
        each for each in inspect.signature(function).parameters.values() if each.name != "common"
    ]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option, default) in EVERY_STAGE.items()
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        common = Common(**{name: given.pop(name) for name in EVERY_STAGE})
        function(common=common, **given)

    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    command.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in [*own, *shared]}
    return command
