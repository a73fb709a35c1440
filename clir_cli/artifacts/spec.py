"""The declaration of an artifact: written once for each kind, everything else is derived from it.

``clir_cli/stages/kinds.py`` declares the kinds; ``graph.py`` derives fingerprints, commands,
messages, the order of work and what a setting reaches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command, Option
from clir_cli.corpus.records import Pair
from clir_cli.settings import Settings

# Settings that decide how something is computed or saved, and never what.
NEUTRAL = (
    "cluster", "index.batch_tokens", "index.memory", "models", "training.checkpoint_steps",
    "training.gradient_checkpointing", "training.halve", "training.shard",
)  # fmt: skip


@dataclass(frozen=True)
class Context:
    """The settings of a command, and where artifacts lie.

    ``config`` is the file of ``--config``; ``shown`` are the options that every command must
    repeat: ``--home`` and ``--config``; ``cache`` holds what was read and is needed again.
    ``pairs`` are those of the artifact that is being made, for what it needs and has no pair.
    """

    settings: Settings
    home: Path
    config: Path | None = field(default=None, kw_only=True)
    shown: Sequence[Option] = field(default=(), kw_only=True)
    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False, kw_only=True)
    pairs: tuple[Pair, ...] = field(default=(), compare=False, kw_only=True)

    def using(self, settings: Settings) -> Self:
        """Return the same place and behaviour with other settings."""
        return self if settings is self.settings else replace(self, settings=settings)

    def of(self, ref: "Ref") -> Self:
        """Return the same place and behaviour with the settings and pairs of an artifact."""
        return replace(self, settings=ref.settings, pairs=ref.pairs or self.pairs)


@dataclass(frozen=True)
class Ref:
    """One artifact: its kind, and what distinguishes it from others of the kind.

    ``name`` is the model's, the source's or the documents', where pairs and cell do not say it.
    """

    kind: str
    settings: Settings
    pairs: tuple[Pair, ...] = ()
    cell: Cell = field(default_factory=Cell)
    name: str = ""

    @property
    def pair(self) -> Pair:
        """Return the pair, or the first of them."""
        return self.pairs[0]

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.settings.suite

    def other(self, kind: str, **changes: Any) -> "Ref":
        """Return an artifact of another kind for the same pairs, cell and settings."""
        return replace(self, kind=kind, **{"name": "", **changes})


@dataclass(frozen=True)
class Input:
    """Something that an artifact is made from.

    ``digests`` returns the fingerprint of each part, by name, or raises MissingInput. ``of`` is the
    artifact that it is, or is part of (None for a file of the user's), which ``settings`` choose.
    """

    digests: Callable[[Any], Mapping[str, str]]
    of: Ref | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArtifactSpec:
    """One kind of artifact; manifests have its key in ``graph.SPECS``, with hyphens.

    Attributes:
        path: Where it lies below the folder for artifacts; None for files that have no folder.
        identity: Entries of the manifest's configuration that are no settings.
        settings: Settings that reach it: name in the configuration -> setting or section.
        unreached: Sections and settings that were in manifests once and never reached it.
        excluded: Settings of those sections that do not reach it.
        inputs: What it is made from.
        make: Makes it.
        command: Returns the command that makes it, without suite, place and settings.
        shown: Settings that its command repeats although they do not reach it.
        named: True if a variant names its settings, so that commands of what is made from it need
            not repeat them.
        mend: The option that repairs damage, if that is less work than making it again.
        source: Returns the file or folder of the user's that its name stands for, if it is one.
    """

    path: Callable[[Ref], Path | None]
    inputs: Callable[[Ref], Sequence[Input]]
    command: Callable[[Ref], Command]
    make: Callable[[Any, Ref], object]
    identity: Callable[[Ref], Mapping[str, Any]] = lambda _: {}
    settings: Callable[[Ref], Mapping[str, str]] = lambda _: {}
    unreached: Callable[[Ref], Sequence[str]] = lambda _: ()
    excluded: Callable[[Ref], Sequence[str]] = lambda _: ()
    shown: Callable[[Ref], Sequence[str]] = lambda _: ()
    named: bool = False
    mend: str = ""
    source: Callable[[Ref], str] = lambda _: ""
