"""The recipes of ``clir train``: what each leaves, where it lies, and what decides its content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from clir_cli import artifacts
from clir_cli.corpus.collections import collection_label
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings
from clir_cli.stages.support.workspace import Cell, Workspace


@dataclass(frozen=True)
class Recipe:
    """A way to train an encoder.

    Attributes:
        name: What ``--recipe`` takes; the first part of the artifact's folder name.
        summary: What it does, in a line.
        leaves: A ``teacher`` of English, which takes the place of the suite's; a ``student``,
            which a method of the same name searches with; or an ``initial`` student, which is
            distilled or trained next.
        sections: Sections of the settings that decide its content, with the settings of each, all
            where none are named.
    """

    name: str
    summary: str
    leaves: Literal["teacher", "student", "initial"]
    sections: Mapping[str, Sequence[str]]


DATA = ("collection", "queries", "sentences", "temperature", "negatives")
TEACHER = {"teacher": ("model", "document_tokens", "query_tokens"), "bitext": (), "training": ()}
SWITCHING = ("share", "switching", "lexicon", "least_dice")

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "monolingual",
            "an English teacher, from questions and passages, or from spans and their sentences",
            "teacher",
            {**TEACHER, "contrastive": DATA, "monolingual": ()},
        ),
        Recipe(
            "code-switch",
            "a student, from English queries with a share of their words translated",
            "student",
            {
                **TEACHER,
                "student": (),
                "contrastive": (*DATA, *SWITCHING),
                "dictionary": ("sources", "files", "on_error", "least_score"),
            },
        ),
        Recipe(
            "hybrid",
            "a student, from batches in English (with probability alpha) or of the bitext",
            "student",
            {**TEACHER, "student": (), "contrastive": (*DATA, "alpha")},
        ),
        Recipe(
            "augment",
            "an initial student with continued masked-LM pre-training on the query language",
            "initial",
            {**TEACHER, "student": (), "augment": ()},
        ),
    )
}
# How often one saves, what one computes twice, and where, changes nothing that is saved.
NOT_KEPT = ("checkpoint_steps", "gradient_checkpointing", "shard")
# What recipes have settings of their own for.
OWN_LOOP = {"monolingual": ("epochs", "learning_rate"), "augment": ("epochs", "learning_rate")}


def parse_recipe(name: str) -> Recipe:
    """Return the recipe that ``--recipe`` names.

    Raises:
        UserError: There is no such recipe; the nearest name is told.
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]


def resolved(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """Return the settings that decide what a recipe leaves, by section."""
    config: dict[str, Any] = {}
    for section, names in recipe.sections.items():
        values = getattr(settings, section).model_dump(mode="json")
        config[section] = {n: v for n, v in values.items() if not names or n in names}
    if recipe.leaves == "teacher" and settings.contrastive.collection:  # no bitext is read
        config["bitext"] = {"held_out": settings.bitext.held_out}
    ignored = [*NOT_KEPT, *OWN_LOOP.get(recipe.name, ())]
    if not config["training"].get("lora_rank"):
        ignored.append("lora_rank")
    config["training"] = {n: v for n, v in config["training"].items() if n not in ignored}
    for section in ("teacher", "student"):  # by content, not by place
        if section in config:
            config[section]["model"] = Path(config[section]["model"]).name
    return config


def made_folder(workspace: Workspace, recipe: Recipe, pair: Pair | None, cell: Cell) -> Path:
    """Return where a recipe leaves its model."""
    if recipe.leaves == "teacher":
        return workspace.trained_teacher(cell.label)
    if pair is None:
        raise ValueError(f"recipe {recipe.name} trains for a pair")
    if recipe.leaves == "student":
        return workspace.student(pair, cell)
    return workspace.trained_initial(pair, cell.label)


def cell_of(label: str) -> Cell | None:
    """Return the cell of a trained model's name, or None for the name of another model.

    >>> cell_of("monolingual.small.seed1")
    Cell(method='monolingual', variant='small', seed=1)
    """
    recipe, *rest = label.split(".")
    if recipe not in RECIPES or RECIPES[recipe].leaves == "student":
        return None
    seed = 0
    if rest and rest[-1].startswith("seed") and rest[-1].removeprefix("seed").isdecimal():
        seed = int(rest.pop().removeprefix("seed"))
    return Cell(recipe, ".".join(rest), seed)


def trained_model(
    workspace: Workspace, name: str, pair: Pair | None, leaves: Literal["teacher", "initial"]
) -> Path | None:
    """Return the folder of a model that ``clir train`` made, or None for any other name.

    Args:
        workspace: Where models lie.
        name: The recipe, with variant and seed behind it: ``monolingual``, ``augment.long.seed1``.
        pair: The pair, for an initial student.
        leaves: What the model is to be used as.

    Raises:
        MissingInput: It has not been trained; the command is told.
        UserError: It is no such model, or no pair is told.
    """
    cell = None if Path(name).is_dir() else cell_of(name)
    if cell is None:
        return None
    recipe = RECIPES[cell.method]
    if recipe.leaves == "initial" and leaves == "teacher":
        raise UserError(f"teacher.model={name}: that recipe trains initial students, not teachers")
    if recipe.leaves == "initial" and pair is None:
        raise UserError(f"student.model={name} is of one pair; train each pair on its own")
    folder = made_folder(workspace, recipe, pair, cell)
    # It is not made from itself, which the command would say.
    itself = [f"--set {side}.model={name}" for side in ("teacher", "student")]
    others = tuple(each for each in workspace.typed if each not in itself)
    made_by = command(replace(workspace, typed=others), recipe, [pair] if pair else [], cell)
    artifacts.require(folder, made_by, deep=False)
    return folder


def refuse_seen(folder: Path, collection: str) -> None:
    """Refuse to test a model on what it was trained on.

    Args:
        folder: A model's; only what ``clir train`` made tells.
        collection: Name of the collection that tests. Those that are made of another one have its
            name before their own: xquad-r of xquad.

    Raises:
        UserError: It was trained on that collection.
    """
    if not (folder / artifacts.MANIFEST).is_file():
        return
    config = artifacts.read_manifest(folder)["config"]
    seen = config.get("contrastive", {}).get("collection", "") if "recipe" in config else ""
    label = collection_label(seen) if seen else ""
    if label and (collection == label or collection.startswith(f"{label}-")):
        raise UserError(
            f"{folder} was trained on {label}, so {collection} cannot test it; choose another "
            "--collection"
        )


def student_command(workspace: Workspace, pair: Pair, cell: Cell) -> str:
    """Return what a person types to make the student of a method."""
    if cell.method in RECIPES:
        return command(workspace, RECIPES[cell.method], cell.joint or (pair,), cell)
    return workspace.command("distill", *cell.words_for(pair))


def command(workspace: Workspace, recipe: Recipe, pairs: Sequence[Pair], cell: Cell) -> str:
    """Return what a person types to train a model."""
    words = [f"--recipe {recipe.name}"]
    if pairs and recipe.leaves != "teacher":
        words.append(f"--lang {','.join(map(str, pairs))}")
    words += ["--joint"] if cell.joint else []
    words += [f"--variant {cell.variant}"] if cell.variant else []
    words += [f"--seed {cell.seed}"] if cell.seed else []
    return workspace.command("train", *words)
