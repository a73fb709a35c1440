"""What every stage is told, and where its artifacts lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clir_cli.cluster.connection import EngineOptions
from clir_cli.console import Talk
from clir_cli.corpus.collections import collection_label
from clir_cli.corpus.records import Pair
from clir_cli.files import digest
from clir_cli.settings import Settings
from clir_cli.suites import load_settings
from clir_cli.training.process_group import ProcessGroup, current

TRAINED_TEACHER = "monolingual"  # the recipe that makes teachers


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
    group: ProcessGroup = field(default_factory=current)
    engine: EngineOptions = field(default_factory=EngineOptions)

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.settings.suite

    @property
    def teacher_label(self) -> str:
        """Return the name of a teacher that ``clir train`` made; empty for any other."""
        name = self.settings.teacher.model
        folder = Path(name)
        if folder.name == "model" and folder.parent.parent.name == "en":
            name = folder.parent.name
        return name if name.split(".")[0] == TRAINED_TEACHER else ""

    @property
    def root(self) -> Path:
        """Return the folder of all that depends on the teacher.

        What a trained teacher leads to lies beside what the suite's own does.
        """
        own = self.home / self.suite
        return own / "teachers" / self.teacher_label if self.teacher_label else own

    @property
    def downloads(self) -> Path:
        """Return where downloaded files lie, each under its URL."""
        return self.home / "downloads"

    def teacher_embeddings(self, pair: Pair) -> Path:
        """Return where the teacher's embeddings of a pair's English sentences lie.

        Those of another bitext than the suite's own lie beside these.
        """
        chosen = self.settings.bitext
        own = chosen == load_settings(self.suite).bitext
        name = "teacher" if own else f"teacher.{digest(chosen.model_dump(mode='json'))[:8]}"
        return self.root / str(pair) / name

    def documents_read(self, name: str) -> Path:
        """Return where the teacher's embeddings of documents to train on lie."""
        return self.root / "documents" / name

    def trained_teacher(self, label: str) -> Path:
        """Return where a teacher that ``clir train`` made lies."""
        return self.home / self.suite / "en" / label / "model"

    def trained_initial(self, pair: Pair, label: str) -> Path:
        """Return where an initial student that ``clir train`` made lies."""
        return self.root / str(pair) / label / "model"

    def student(self, pair: Pair, cell: "Cell") -> Path:
        """Return where a distilled student lies; one of several pairs lies under all of them."""
        name = group_name(cell.joint) if cell.joint else str(pair)
        return self.root / name / cell.own_label / "student"

    def dictionary(self, pair: Pair, cell: "Cell") -> Path:
        """Return where the dictionary that a student's plans induce lies."""
        return self.root / str(pair) / cell.label / "dictionary"

    def translations(self, pair: Pair, collection: str) -> Path:
        """Return where the machine translations of a collection's queries lie."""
        return self.home / self.suite / str(pair) / "nmt" / collection_label(collection)

    def index(self, collection: str) -> Path:
        """Return where the documents' token embeddings lie."""
        return self.root / "index" / collection_label(collection)

    def run(self, pair: Pair, cell: "Cell", collection: str) -> Path:
        """Return where the run of a method over a collection lies."""
        folder = self.root / str(pair) / cell.label / "runs"
        return folder / collection_label(collection)

    def column_variant(self, cell: "Cell") -> str:
        """Return the variant as the score tables have it, with a trained teacher's name before."""
        return ".".join(part for part in (self.teacher_label, cell.column_variant) if part)

    def command(self, verb: str, *words: str) -> str:
        """Return what a person types for a stage of this suite."""
        return " ".join(["clir", verb, *words, f"--suite {self.suite}", *self.typed])


def group_name(pairs: Sequence[Pair]) -> str:
    """Return the name of several pairs: ``so+sw+tl-en``."""
    return "+".join(pair.query for pair in pairs) + f"-{pairs[0].document}"


@dataclass(frozen=True)
class Cell:
    """A method with the variant of its settings and the seed: one column of a table.

    ``joint`` are the pairs of one student for several, in order of the alphabet; it is empty for a
    student of its own pair. What a student of several pairs leads to lies with each pair, under a
    name that holds all of them, so that those of two groups are never taken for each other.
    """

    method: str
    variant: str = ""
    seed: int = 0
    joint: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint", tuple(sorted(set(self.joint))))

    @property
    def label(self) -> str:
        """Return the folder name: ``ot``, ``ot.plain.seed1``, ``ot.joint-so+sw-en.plain``."""
        seed = f"seed{self.seed}" if self.seed else ""
        return ".".join(part for part in (self.method, self.column_variant, seed) if part)

    @property
    def own_label(self) -> str:
        """Return the folder name of the student, which lies in the folder of its pairs already."""
        return replace(self, joint=()).label

    @property
    def column_variant(self) -> str:
        """Return the variant as the score tables have it: the pairs of a joint student first.

        No ``--variant`` holds a plus, so it cannot be mistaken for one.
        """
        group = f"joint-{group_name(self.joint)}" if self.joint else ""
        return ".".join(part for part in (group, self.variant) if part)

    def only(self, pair: Pair) -> Pair | None:
        """Return the pair of a student that is of no other, or None."""
        return None if self.joint else pair

    def words_for(self, pair: Pair) -> list[str]:
        """Return the options that name this cell of a pair on the command line."""
        pairs = ",".join(map(str, self.joint or (pair,)))
        words = [f"--lang {pairs}", *(["--joint"] if self.joint else []), f"--method {self.method}"]
        words += [f"--variant {self.variant}"] if self.variant else []
        words += [f"--seed {self.seed}"] if self.seed else []
        return words
