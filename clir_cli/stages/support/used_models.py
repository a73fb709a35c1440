"""The models that a pair and its settings use: teacher, initial student, student of a method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Input, Ref
from clir_cli.corpus.collections import collection_name, collection_names
from clir_cli.corpus.own_files import pair_of
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.retrieval import models
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import BACK, RECIPES, trained_cell
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import suite_settings, value_of

TRAINED = "trained"  # nmt.model: the translator that clir train makes of the pair's bitext


@dataclass(frozen=True)
class UsedModel:
    """A model that is fetched, trained, or a folder of the user's.

    ``ref`` is its artifact, None for a folder of the user's; ``settings`` give its ``name``.
    """

    ref: Ref | None
    settings: tuple[str, ...] = ()
    name: str = ""

    def path(self, workspace: Workspace) -> Path:
        """Return where it lies, or will lie."""
        if self.ref is not None:
            return graph.path_of(workspace, self.ref)
        pickled = workspace.settings.models.allow_pickle
        return models.model_folder(self.name, workspace.home, pickled)

    def folder(self, workspace: Workspace) -> Path:
        """Return its folder.

        A variant names its settings, so that they need not be repeated where it is used; its
        teacher must be the one of the documents. What a teacher or an initial student was trained
        from has no setting where it is used.

        Raises:
            MissingInput: It is missing; the message has the command that fetches or trains it.
            UserError: It is of another pair or method, or was made with other settings.
        """
        if self.ref is None:
            return self.path(workspace)
        own = () if self.ref.kind == "student" else ("initial model",)
        known = partial(self._teacher, workspace) if self.ref.cell.variant else None
        ref = _as_trained(workspace, self.ref)
        if ref.kind == "model":  # the data of one pair are fetched with it, not those of all
            ref = replace(ref, pairs=workspace.pairs)
        return graph.require_model(workspace, ref, known, own)

    def _teacher(self, workspace: Workspace) -> dict[str, str]:
        if self.ref is None or self.ref.kind in ("teacher", "translator"):
            return {}
        return {"teacher": models.model_digest(teacher_of(self.ref.settings).folder(workspace))}

    def as_input(self, name: str) -> Input:
        """Return it as an input called ``name``."""
        return Input(
            lambda workspace: {name: models.model_digest(self.folder(workspace))},
            self.ref,
            self.settings,
        )


def _as_trained(workspace: Workspace, ref: Ref) -> Ref:
    """Return a trained teacher with the pairs whose English it was trained on."""
    folder = graph.path_of(workspace, ref)
    if ref.kind != "teacher" or not ref.pairs or not store.is_readable(folder):
        return ref
    names = store.read_manifest(folder)["config"].get("pairs", ())
    return replace(ref, pairs=tuple(Pair(*name.split("-")) for name in names))


def fetched(settings: Settings, name: str, key: str) -> UsedModel:
    """Return a model of the catalogue or the hub, or a folder, that the setting ``key`` names."""
    ref = None if models.is_folder(name) else Ref("model", settings, name=name)
    return UsedModel(ref, (key,), name)


def teacher_of(settings: Settings) -> UsedModel:
    """Return the teacher; UserError if it is trained by a recipe for initial students."""
    key, name = "teacher.model", settings.teacher.model
    cell = _trained(name)
    if cell is None:
        teacher = fetched(settings, name, key)
    elif RECIPES[cell.method].leaves == "teacher":
        teacher = UsedModel(_trained_teacher(graph.reset(settings, key), cell))
    else:
        raise UserError(f"teacher.model={name}: that recipe trains initial students, not teachers")
    return replace(teacher, settings=(key, "teacher.centre"))


def _trained(name: str) -> Cell | None:
    """Return the cell of a model that ``clir train`` makes; None for another model."""
    return None if Path(name).is_dir() else trained_cell(name)


def _trained_teacher(settings: Settings, cell: Cell, pairs: Sequence[Pair] = ()) -> Ref:
    """Return a teacher trained on a collection, or on the English of pairs: all by default."""
    if settings.contrastive.collection:
        return Ref("teacher", settings, (), cell)
    pairs = pairs or [pair_of(name, settings) for name in settings.pairs]
    return Ref("teacher", settings, tuple(sorted(set(pairs))), cell)


def initial_of(settings: Settings, pair: Pair | None) -> UsedModel:
    """Return the initial student.

    Raises:
        UserError: It is trained for one pair, and the student is of several.
    """
    key, name = "student.model", settings.student.model
    if name == "teacher":
        teacher = teacher_of(settings)
        return replace(teacher, settings=(key, *teacher.settings))
    cell = _trained(name)
    if cell is None:
        return fetched(settings, name, key)
    settings = graph.reset(settings, key)
    if RECIPES[cell.method].leaves == "teacher":
        return UsedModel(_trained_teacher(settings, cell), (key,))
    if pair is None:
        raise UserError(f"student.model={name} is of one pair; train each pair on its own")
    return UsedModel(Ref("initial", settings, (pair,), cell), (key,))


def translator_of(ref: Ref) -> UsedModel:
    """Return the model that translates the queries of a run.

    Raises:
        UserError: The settings name none.
    """
    settings, key = ref.settings, "nmt.model"
    if settings.nmt.model == TRAINED:
        cell = Cell("translator", ref.cell.variant)
        return UsedModel(Ref("translator", settings, (ref.pair,), cell), (key,))
    if not settings.nmt.model:
        raise UserError(
            "method nmt needs a translation model; train one (clir train --recipe translator) and "
            "use it with --set nmt.model=trained, or name one: a folder, or its name on the hub "
            "(NLLB-200, M2M-100, mBART-50, MADLAD-400 and OPUS-MT are known)"
        )
    return fetched(settings, settings.nmt.model, key)


def back_translator_of(ref: Ref) -> UsedModel | None:
    """Return the model from English that makes pairs for a translator, if there is one."""
    if ref.cell.method == BACK or not ref.settings.translator.back_sentences:
        return None
    return UsedModel(ref.other("translator", cell=replace(ref.cell, method=BACK)))


def encoder_of(ref: Ref) -> UsedModel:
    """Return the encoder of a run's queries."""
    encoder = METHODS[ref.cell.method].encoder
    if encoder == "teacher":
        return teacher_of(ref.settings)
    if encoder == "initial":
        return initial_of(ref.settings, ref.pair)
    return UsedModel(student_of(ref.settings, ref.pair, ref.cell))


def teacher_folder(workspace: Workspace) -> Path:
    """Return the teacher's folder, or report which command fetches or trains it."""
    return teacher_of(workspace.settings).folder(workspace)


def initial_folder(workspace: Workspace, pair: Pair | None) -> Path:
    """Return the initial student's folder, or report which command fetches or trains it."""
    return initial_of(workspace.settings, pair).folder(workspace)


def encoder_input(ref: Ref) -> Input:
    """Return the encoder of a run's queries as an input.

    Its digest raises UserError if it or its teacher was trained on the collection to search.
    """
    model = encoder_of(ref)

    def digests(workspace: Workspace) -> dict[str, str]:
        for tested in (model, teacher_of(ref.settings)):
            _refuse_seen(tested.path(workspace), collection_name(ref.settings.collection))
        return {"encoder": models.model_digest(model.folder(workspace))}

    return Input(digests, model.ref, model.settings)


def _refuse_seen(folder: Path, collection: str) -> None:
    """Refuse to test a model on the collection that it was trained on by ``clir train``.

    A collection that is made of another begins with the other's name: xquad-r of xquad.
    """
    if not (folder / store.MANIFEST).is_file():
        return
    config = store.read_manifest(folder)["config"]
    seen = config.get("contrastive", {}).get("collection", "") if "recipe" in config else ""
    for label in map(collection_name, collection_names(seen)):
        if collection == label or collection.startswith(f"{label}-"):
            raise UserError(
                f"{folder} was trained on {label}, so {collection} cannot test it; choose another "
                "--collection"
            )


# ------------------------------------------------------------------ students


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

    A teacher or an initial student that the settings use already is trained from the suite's own
    one, so that all commands can have the same settings.

    Raises:
        UserError: Joint training of what is of one pair.
    """
    leaves = RECIPES[cell.method].leaves
    for kind, key in (("teacher", "teacher.model"), ("initial", "student.model")):
        if leaves == kind and _trained(str(value_of(settings, key))) == cell:
            settings = graph.reset(settings, key)
    if cell.joint and leaves != "student":
        raise UserError(f"--joint is for students; recipe {cell.method} trains none")
    if leaves == "teacher":
        return [_trained_teacher(settings, cell, pairs)]
    groups = [cell.joint] if cell.joint else [(pair,) for pair in pairs]
    return [Ref(leaves, settings, group, cell) for group in groups]


def space_of(settings: Settings) -> UsedModel | None:
    """Return the encoder in whose space new tokens find their English ones, if there is one."""
    student = settings.student
    if student.vocabulary == "initial" or not student.rows.endswith("space"):
        return None
    return fetched(settings, student.space_model, "student.space_model")


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
