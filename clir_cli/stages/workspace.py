"""What every stage is told, and where its artifacts lie."""

from dataclasses import dataclass, field
from pathlib import Path

from clir_cli.console import Talk
from clir_cli.corpus.collections import collection_label
from clir_cli.corpus.records import Pair
from clir_cli.settings import Settings


@dataclass(frozen=True)
class Workspace:
    """The settings of a run, the folder for artifacts, and how the stage is to behave.

    ``typed`` are the options that another command must repeat to see the same settings and folder.
    """

    settings: Settings
    home: Path
    device: str = "auto"
    force: bool = False
    dry_run: bool = False
    talk: Talk = field(default_factory=Talk)
    typed: tuple[str, ...] = ()

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.settings.suite

    @property
    def downloads(self) -> Path:
        """Return where downloaded files lie, each under its URL."""
        return self.home / "downloads"

    def teacher_embeddings(self, pair: Pair) -> Path:
        """Return where the teacher's embeddings of a pair's English sentences lie."""
        return self.home / self.suite / str(pair) / "teacher"

    def student(self, pair: Pair, cell: "Cell") -> Path:
        """Return where a distilled student lies."""
        return self.home / self.suite / str(pair) / cell.label / "student"

    def dictionary(self, pair: Pair, cell: "Cell") -> Path:
        """Return where the dictionary that a student's plans induce lies."""
        return self.home / self.suite / str(pair) / cell.label / "dictionary"

    def translations(self, pair: Pair, collection: str) -> Path:
        """Return where the machine translations of a collection's queries lie."""
        return self.home / self.suite / str(pair) / "nmt" / collection_label(collection)

    def index(self, collection: str) -> Path:
        """Return where the documents' token embeddings lie."""
        return self.home / self.suite / "index" / collection_label(collection)

    def run(self, pair: Pair, cell: "Cell", collection: str) -> Path:
        """Return where the run of a method over a collection lies."""
        folder = self.home / self.suite / str(pair) / cell.label / "runs"
        return folder / collection_label(collection)

    def command(self, verb: str, *words: str) -> str:
        """Return what a person types for a stage of this suite."""
        return " ".join(["clir", verb, *words, f"--suite {self.suite}", *self.typed])


@dataclass(frozen=True)
class Cell:
    """A method with the variant of its settings and the seed: one column of a table."""

    method: str
    variant: str = ""
    seed: int = 0

    @property
    def label(self) -> str:
        """Return the folder name: ``ot``, ``ot.plain``, ``ot.plain.seed1``."""
        parts = [self.method]
        parts += [self.variant] if self.variant else []
        parts += [f"seed{self.seed}"] if self.seed else []
        return ".".join(parts)

    @property
    def words(self) -> list[str]:
        """Return the options that name this cell on the command line."""
        words = [f"--method {self.method}"]
        words += [f"--variant {self.variant}"] if self.variant else []
        words += [f"--seed {self.seed}"] if self.seed else []
        return words
