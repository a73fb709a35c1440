"""Where artifacts lie below the folder for artifacts, with names that a person can read."""

from pathlib import Path

from clir_cli.artifacts.cell import Cell, group_name
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.collections import collection_label
from clir_cli.files import digest
from clir_cli.settings import Settings
from clir_cli.stages.support.recipes import RECIPES, trained_cell
from clir_cli.suites import suite_settings


def teacher_label(settings: Settings) -> str:
    """Return the name of a teacher that has folders of its own; empty for the suite's own teacher.

    It is one that ``clir train`` made, or one that is centred where the suite's is not.
    """
    centre = settings.teacher.centre
    is_suites = centre == suite_settings(settings.suite).teacher.centre
    other = "" if is_suites else "centred" if centre else "uncentred"
    return ".".join(part for part in (_trained_label(settings), other) if part)


def shown(ref: Ref) -> tuple[str, ...]:
    """Return the settings that decide the folder of a run, even if no teacher ranks."""
    return ("teacher.model", "teacher.centre") if teacher_label(ref.settings) else ()


def _trained_label(settings: Settings) -> str:
    folder = Path(settings.teacher.model)
    inside = folder.name == "model" and folder.parent.parent.name == "en"
    label = folder.parent.name if inside else settings.teacher.model
    cell = trained_cell(label)
    return label if cell and RECIPES[cell.method].leaves == "teacher" else ""


def root(ref: Ref) -> Path:
    """Return the folder of all that depends on the teacher; one with a label has its own."""
    label = teacher_label(ref.settings)
    return Path(ref.suite, "teachers", label) if label else Path(ref.suite)


def column_variant(settings: Settings, cell: Cell) -> str:
    """Return the variant as score tables show it, with the teacher's label before it."""
    return ".".join(part for part in (teacher_label(settings), cell.column_variant) if part)


def cell_folder(ref: Ref) -> Path:
    """Return the folder of what a method makes for a pair."""
    return root(ref) / str(ref.pair) / ref.cell.label


def embeddings_folder(ref: Ref) -> Path:
    """Return where the teacher's embeddings of a pair's English sentences lie."""
    bitext, name = ref.settings.bitext, "teacher"
    if bitext != suite_settings(ref.suite).bitext:
        name += f".{digest(bitext.model_dump(mode='json'))[:8]}"
    return root(ref) / str(ref.pair) / ".".join(part for part in (name, ref.name) if part)


def bitext_folder(part: str, ref: Ref) -> Path:
    """Return where a part made of the bitext of pairs lies, by digest of what it is made from."""
    return root(ref) / group_name(ref.pairs) / part / ref.name


def trained_folder(ref: Ref) -> Path:
    """Return where ``clir train`` leaves a teacher or an initial student."""
    leaves = RECIPES[ref.cell.method].leaves
    if leaves == "teacher":
        return Path(ref.suite, "en", ref.cell.label, "model")
    return root(ref) / str(ref.pair) / ref.cell.label / "model"


def translator_folder(ref: Ref) -> Path:
    """Return where a translator lies; it depends on no teacher."""
    return Path(ref.suite, str(ref.pair), ref.cell.label, "model")


def student_folder(ref: Ref) -> Path:
    """Return where a student lies; a joint one is in a folder named after its pairs."""
    pairs = group_name(ref.cell.joint) if ref.cell.joint else str(ref.pair)
    return root(ref) / pairs / ref.cell.own_label / "student"


def collection(ref: Ref) -> str:
    """Return the name of the folder of what is made of the collection to search."""
    return collection_label(ref.settings.collection)
