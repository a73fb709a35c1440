"""Options of the command line: those of every command, of cells, and others that some share.

A command takes a group of options as one parameter: a dataclass whose fields are the options.
"""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clir_cli.errors import UserError
from clir_cli.setting_types import LARGEST_SEED

if TYPE_CHECKING:
    from clir_cli.cluster.connection import EngineOptions
    from clir_cli.stages.support.workspace import Workspace

HOME, RESULTS = Path("artifacts"), Path("results")

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
Seed = Annotated[int, typer.Option(help="Seed of batches and dropout.", min=0, max=LARGEST_SEED)]
OneCollection = Annotated[
    str, typer.Option(help="A name (clir ls collections), irds:ID, hf:ORG/NAME, or your folder.")
]

Engine = Annotated[
    str, typer.Option(help="Where the work runs: local (this machine), or ray (Ray workers).")
]
Address = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="Ray cluster, or auto (default: Ray on this machine)."),
]
Jobs = Annotated[
    int, typer.Option(help="Number of Ray workers (default: as many as fit).", min=0, max=10_000)
]


Mirror = Annotated[
    str, typer.Option(help="Folder or URL that holds each file under HOST/PATH of its own URL.")
]
Brought = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PATH",
        help="What you must supply of the collection, such as CLEF's disk: a folder or file to "
        "link to. Repeat it for several.",
    ),
]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        help="Folder of your own languages, sources, models, suites and experiments (clir init), "
        "also CLIR_CATALOGUE."
    ),
]
Results = Annotated[Path, typer.Option(help="Folder for score tables.", envvar="CLIR_RESULTS")]


@dataclass(frozen=True)
class Common:
    """The options of every command; in its help they come last."""

    suite: Annotated[
        str, typer.Option(help="Data, models and budget: sample, open, multilingual or paper.")
    ] = "sample"
    config: Annotated[Path | None, typer.Option(help="TOML file that overrides the suite.")] = None
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as transport.eps=0.1."),
    ] = None
    home: Annotated[Path, typer.Option(help="Folder for artifacts.", envvar="CLIR_HOME")] = HOME
    catalogue: Catalogue = None
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or mps.")] = "auto"
    force: Annotated[bool, typer.Option("--force", help="Replace existing artifacts.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no log.")] = (
        False
    )

    def __post_init__(self) -> None:
        """Take the user's catalogue before anything asks for a name."""
        if self.catalogue is not None:
            from clir_cli.suites import use_catalogue

            use_catalogue(self.catalogue)

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
        settings = load_settings(self.suite, self.config, self.assign or ())
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

    def refuse_making(self, command: str) -> None:
        """Refuse options that are about artifacts, for a command that makes none."""
        for option, given in (("--force", self.force), ("--dry-run", self.dry_run)):
            if given:
                raise UserError(f"{option}: {command} makes nothing; leave it out")

    def refuse_computing(self, command: str, *, makes: bool = True) -> None:
        """Refuse options about models, for a command that runs none, or that ``makes`` nothing."""
        if self.device != "auto":
            raise UserError(f"--device {self.device}: {command} runs no model; leave it out")
        if self.force and not makes:
            raise UserError(f"--force: {command} always writes its result; leave it out")

    def refuse_unused(self, command: str, *, runs_model: bool = False) -> None:
        """Refuse options that a command that writes files for other tools does not use."""
        for option, given in (("--dry-run", self.dry_run), ("--json", self.as_json)):
            if given:
                raise UserError(f"{option}: {command} has nothing to show; leave it out")
        if not runs_model:
            self.refuse_computing(command)

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """Return the options that other commands must repeat to see the same place."""
        own_home = str(self.home) in (str(HOME), os.environ.get("CLIR_HOME"))
        home = () if own_home else (("--home", str(self.home)),)
        others = (("--config", self.config), ("--catalogue", self.catalogue))
        return home + tuple((name, str(path)) for name, path in others if path is not None)


@dataclass(frozen=True)
class OneCell:
    """The options that name one method's student or run, of each pair."""

    lang: Lang
    method: OneMethod = "ot"
    seed: Seed = 0
    variant: Variant = ""
    joint: Joint = False


@dataclass(frozen=True)
class ManyCells(OneCell):
    """The same for several methods; none are the suite's."""

    method: Methods = ""


@dataclass(frozen=True)
class CellsOfAll(ManyCells):
    """The same, for all pairs of the suite unless ``--lang`` names some."""

    lang: Lang = "all"


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the options of a function, with those of its groups."""
    own = inspect.signature(function).parameters
    groups: dict[str, Any] = {
        name: part.annotation for name, part in own.items() if is_dataclass(part.annotation)
    }
    options: dict[str, inspect.Parameter] = {}
    for name in sorted(own, key=lambda name: name == "common"):  # in --help these come last
        group = groups.get(name)
        options |= inspect.signature(group).parameters if group else {name: own[name]}

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{part.name: values.pop(part.name) for part in fields(group)})
        function(**values)

    keyword = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in options.values()]
    command.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    command.__annotations__ = {name: part.annotation for name, part in options.items()}
    return command
