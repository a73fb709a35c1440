"""What ``clir train`` is to make: the recipe, whose data it reads, and what decides its content."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clir_cli import files
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError
from clir_cli.retrieval import models
from clir_cli.settings import Settings, TrainingSettings
from clir_cli.stages.support.inputs import bitext_inputs, initial_folder, teacher_folder
from clir_cli.stages.support.lexicons import lexicon_inputs, switching_pairs
from clir_cli.stages.support.recipes import Recipe, command, made_folder, resolved
from clir_cli.stages.support.training_data import collection_inputs, training_collection
from clir_cli.stages.support.workspace import Cell, Workspace, group_name


@dataclass(frozen=True)
class Job:
    """One model to train: the recipe, the pairs whose bitext it reads, variant and seed."""

    workspace: Workspace
    recipe: Recipe
    pairs: tuple[Pair, ...]
    cell: Cell

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self.workspace.settings

    @property
    def name(self) -> str:
        """Return what the training is called: the pairs and the column."""
        of = "en" if self.recipe.leaves == "teacher" else group_name(self.pairs)
        return f"{of} {self.cell.own_label}"

    @property
    def loop(self) -> TrainingSettings:
        """Return the training loop's settings, with those that the recipe has of its own."""
        own = getattr(self.settings, self.recipe.name, None)
        if own is None:
            return self.settings.training
        told = {"epochs": own.epochs, "learning_rate": own.learning_rate}
        return self.settings.training.model_copy(update=told)

    @property
    def folder(self) -> Path:
        """Return the folder of the encoder that is trained, as it is before."""
        if self.recipe.leaves == "teacher":
            return teacher_folder(self.workspace)
        return initial_folder(self.workspace, self.only)

    @property
    def only(self) -> Pair | None:
        """Return the pair of a student that is of no other, or None."""
        return self.cell.only(self.pairs[0]) if self.pairs else None

    @cached_property
    def bitexts(self) -> dict[Pair, Bitext]:
        """Return the bitexts of the pairs; read once."""
        settings, downloads = self.settings.bitext, self.workspace.downloads
        return {pair: corpus.load_bitext(settings, pair, downloads) for pair in self.pairs}

    @cached_property
    def english(self) -> Collection | None:
        """Return the collection to train on with its English queries, if one is named."""
        return training_collection(self.workspace, "en")

    def plan(self) -> Plan:
        """Return what the model will be made from.

        Raises:
            UserError: An input is missing, or the recipe has no data for a pair.
        """
        first = self.pairs[0] if self.pairs else None
        inputs = {
            f"{pair} {name}": value
            for pair in self.pairs
            for name, value in bitext_inputs(self.workspace, pair).items()
        }
        config = {
            "recipe": self.recipe.name,
            "pairs": [str(pair) for pair in self.pairs],
            "seed": self.cell.seed,
            **resolved(self.recipe, self.settings),
        }
        if self.cell.joint:
            config["joint"] = self.settings.joint.model_dump(mode="json")
        inputs |= INPUTS[self.recipe.name](self)
        inputs["initial model"] = models.model_digest(self.folder)
        if self.recipe.leaves != "teacher":
            inputs["teacher"] = models.model_digest(teacher_folder(self.workspace))
        return Plan(
            path=made_folder(self.workspace, self.recipe, first, self.cell),
            kind=self.recipe.leaves,
            config=config,
            inputs=inputs,
            command=command(self.workspace, self.recipe, self.pairs, self.cell),
        )


def jobs(workspace: Workspace, recipe: Recipe, pairs: Sequence[Pair], cell: Cell) -> list[Job]:
    """Return the models that a command is to train: one a pair, or one of all.

    A teacher reads a collection, or where none is named the English sides of all pairs; a joint
    student reads the bitexts of all.

    Raises:
        UserError: Joint training of what is of one pair.
    """
    if cell.joint and recipe.leaves != "student":
        raise UserError(f"--joint is for students; recipe {recipe.name} trains none")
    if recipe.leaves == "teacher":
        read = () if workspace.settings.contrastive.collection else tuple(sorted(set(pairs)))
        return [Job(workspace, recipe, read, cell)]
    if cell.joint:
        return [Job(workspace, recipe, cell.joint, cell)]
    return [Job(workspace, recipe, (pair,), cell) for pair in pairs]


def _english_inputs(job: Job) -> dict[str, str]:
    return collection_inputs(job.workspace, "en")


def _switched_inputs(job: Job) -> dict[str, str]:
    found = {
        f"{pair} {name}": value
        for pair in switching_pairs(job.workspace, job.pairs)
        for name, value in lexicon_inputs(job.workspace, pair).items()
    }
    return found | _english_inputs(job)


def _hybrid_inputs(job: Job) -> dict[str, str]:
    found = _english_inputs(job)
    for pair in job.pairs:
        found |= collection_inputs(job.workspace, pair.query)
    return found


def _augment_inputs(job: Job) -> dict[str, str]:
    names = job.settings.augment.files
    for name in names:
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file (augment.files)")
    return {name: files.file_digest(Path(name)) for name in names}


INPUTS: Mapping[str, Callable[[Job], dict[str, str]]] = {
    "monolingual": _english_inputs,
    "code-switch": _switched_inputs,
    "hybrid": _hybrid_inputs,
    "augment": _augment_inputs,
}
