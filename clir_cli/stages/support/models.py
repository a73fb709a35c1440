"""The models that a pair and its settings use: teacher, initial student, student of a method.

For each there is its artifact (``Ref``, None for a folder of the user's), its folder, and its
``Input`` for the declarations (``stages/kinds.py``).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Input, Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import collection_label
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.retrieval import models
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES, trained_cell
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import suite_settings

# ------------------------------------------------------------------ artifacts


def teacher_of(settings: Settings) -> Ref | None:
    """Return the teacher as an artifact; None for a folder of the user's."""
    name = settings.teacher.model
    cell = _trained(name)
    if cell is None:
        return model_ref(settings, name)
    if RECIPES[cell.method].leaves != "teacher":
        raise UserError(f"teacher.model={name}: that recipe trains initial students, not teachers")
    return _trained_teacher(graph.reset(settings, "teacher.model"), cell)


def _trained(name: str) -> Cell | None:
    """Return the cell of a model that ``clir train`` makes; None for another model."""
    return None if Path(name).is_dir() else trained_cell(name)


def _trained_teacher(settings: Settings, cell: Cell, pairs: Sequence[Pair] = ()) -> Ref:
    """Return a teacher trained on a collection, or on the English of pairs: all by default."""
    if settings.contrastive.collection:
        return Ref("teacher", settings, (), cell)
    pairs = pairs or [parse_pair(name, catalogue.languages()) for name in settings.pairs]
    return Ref("teacher", settings, tuple(sorted(set(pairs))), cell)


def initial_of(settings: Settings, pair: Pair | None) -> Ref | None:
    """Return the initial student as an artifact; None for a folder of the user's.

    Raises:
        UserError: It is trained for one pair, and the student is of several.
    """
    name = settings.student.model
    if name == "teacher":
        return teacher_of(settings)
    cell = _trained(name)
    if cell is None:
        return model_ref(settings, name)
    settings = graph.reset(settings, "student.model")
    if RECIPES[cell.method].leaves == "teacher":
        return _trained_teacher(settings, cell)
    if pair is None:
        raise UserError(f"student.model={name} is of one pair; train each pair on its own")
    return Ref("initial", settings, (pair,), cell)


def model_ref(settings: Settings, name: str) -> Ref | None:
    """Return a model that is fetched as an artifact; None for a folder of the user's."""
    return None if models.is_folder(name) else Ref("model", settings, name=name)


def student_of(settings: Settings, pair: Pair, cell: Cell) -> Ref:
    """Return the student that encodes the queries of a method."""
    cell = replace(cell, method=METHODS[cell.method].whose or cell.method)
    return Ref("student", settings, cell.joint or (pair,), cell)


def distilled_refs(workspace: Workspace, pairs: Sequence[Pair], cells: Sequence[Cell]) -> list[Ref]:
    """Return the students that ``clir distill`` makes for pairs, or one of all for joint cells.

    Raises:
        UserError: ``clir train`` makes the student of a method.
    """
    joint = any(cell.joint for cell in cells)
    groups = [tuple(pairs)] if joint else [(pair,) for pair in pairs]
    refs = [
        workspace.ref("student", cell.joint or group, cell) for group in groups for cell in cells
    ]
    for ref in refs:
        if METHODS[ref.cell.method].encoder == "trained":
            command = graph.command(workspace, ref)
            raise UserError(f"method {ref.cell.method} is not distilled; make it with: {command}")
    return refs


def trained_refs(settings: Settings, pairs: Sequence[Pair], cell: Cell) -> list[Ref]:
    """Return the models that ``clir train`` makes by a recipe: one a pair, or one of all.

    Raises:
        UserError: Joint training of what is of one pair.
    """
    leaves = RECIPES[cell.method].leaves
    if cell.joint and leaves != "student":
        raise UserError(f"--joint is for students; recipe {cell.method} trains none")
    if leaves == "teacher":
        return [_trained_teacher(settings, cell, pairs)]
    groups = [cell.joint] if cell.joint else [(pair,) for pair in pairs]
    return [Ref(leaves, settings, group, cell) for group in groups]


def first_pass(ref: Ref) -> Ref | None:
    """Return the student whose plans give this one its new token embeddings, if there is one.

    Raises:
        UserError: It would be the student itself, or this one is joint.
    """
    settings = ref.settings
    if settings.student.rows != "plans":
        return None
    if ref.cell.joint:
        raise UserError("student.rows=plans works for one pair; a joint student needs ibm1")
    first = Cell("ot", seed=ref.cell.seed)
    if ref.cell == first:
        raise UserError(
            "student.rows=plans uses the plans of the student ot, so it cannot make that "
            "one; give it a name of its own with --variant"
        )
    rows = suite_settings(settings.suite).student.rows
    section = settings.student.model_copy(update={"rows": "ibm1" if rows == "plans" else rows})
    settings = settings.model_copy(update={"student": section})
    return ref.other("student", settings=settings, cell=first)


# ------------------------------------------------------------------ folders


def teacher_folder(workspace: Workspace) -> Path:
    """Return the teacher's folder, or say which command fetches or trains it."""
    return _folder(workspace, workspace.settings.teacher.model, teacher_of(workspace.settings))


def initial_folder(workspace: Workspace, pair: Pair | None) -> Path:
    """Return the initial student's folder, or say which command fetches or trains it."""
    name = workspace.settings.student.model
    if name == "teacher":
        return teacher_folder(workspace)
    return _folder(workspace, name, initial_of(workspace.settings, pair))


def fetched_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder of a model that is fetched or the user's, or say how to fetch it."""
    return _folder(workspace, name, model_ref(workspace.settings, name))


def _folder(workspace: Workspace, name: str, ref: Ref | None) -> Path:
    if ref is not None and ref.kind != "model":
        return graph.require(workspace, ref, deep=False)
    folder = models.model_folder(name, workspace.home, workspace.settings.models.allow_pickle)
    with graph.making(workspace, ref):
        if not (folder / "config.json").is_file():
            raise MissingInput(f"model {folder} is missing")
    return folder


def encoder_folder(workspace: Workspace, pair: Pair, cell: Cell, *, deep: bool = True) -> Path:
    """Return the folder of the encoder of a method's queries; ``deep`` if it will be loaded.

    Raises:
        MissingInput: It is missing; the message has the command that makes it.
    """
    encoder = METHODS[cell.method].encoder
    if encoder == "teacher":
        return teacher_folder(workspace)
    if encoder == "initial":
        return initial_folder(workspace, pair)
    return graph.require(workspace, student_of(workspace.settings, pair, cell), deep=deep)


# ------------------------------------------------------------------ inputs


def teacher_input(settings: Settings, name: str = "teacher") -> Input:
    """Return the teacher as an input called ``name``."""
    return Input(
        lambda workspace: {name: models.model_digest(teacher_folder(workspace))},
        teacher_of(settings),
        ("teacher.model",),
    )


def initial_input(settings: Settings, pair: Pair | None, name: str) -> Input:
    """Return the initial student as an input called ``name``."""
    teacher = settings.student.model == "teacher"
    return Input(
        lambda workspace: {name: models.model_digest(initial_folder(workspace, pair))},
        initial_of(settings, pair),
        ("student.model", "teacher.model") if teacher else ("student.model",),
    )


def student_input(ref: Ref, name: str, *, deep: bool = False) -> Input:
    """Return a student as an input called ``name``."""
    return Input(
        lambda workspace: {name: models.model_digest(graph.require(workspace, ref, deep=deep))}, ref
    )


def encoder_input(ref: Ref) -> Input:
    """Return the encoder of a run's queries as an input.

    Its digest raises UserError if it or its teacher was trained on the collection to search.
    """
    encoder = METHODS[ref.cell.method].encoder

    def digests(workspace: Workspace) -> dict[str, str]:
        folder = encoder_folder(workspace, ref.pair, ref.cell, deep=False)
        for tested in (folder, teacher_folder(workspace)):
            _refuse_seen(tested, collection_label(ref.settings.collection))
        return {"encoder": models.model_digest(folder)}

    if encoder == "teacher":
        model = teacher_input(ref.settings)
    elif encoder == "initial":
        model = initial_input(ref.settings, ref.pair, "encoder")
    else:
        model = student_input(student_of(ref.settings, ref.pair, ref.cell), "encoder")
    return replace(model, digests=digests)


def _refuse_seen(folder: Path, collection: str) -> None:
    """Refuse to test a model on the collection that it was trained on by ``clir train``.

    A collection that is made of another begins with the other's name: xquad-r of xquad.
    """
    if not (folder / store.MANIFEST).is_file():
        return
    config = store.read_manifest(folder)["config"]
    seen = config.get("contrastive", {}).get("collection", "") if "recipe" in config else ""
    label = collection_label(seen) if seen else ""
    if label and (collection == label or collection.startswith(f"{label}-")):
        raise UserError(
            f"{folder} was trained on {label}, so {collection} cannot test it; choose another "
            "--collection"
        )
