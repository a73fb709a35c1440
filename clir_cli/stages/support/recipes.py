"""The recipes of ``clir train``: what each makes, and the settings that reach it."""

from dataclasses import dataclass
from typing import Literal

from clir_cli.artifacts.cell import Cell
from clir_cli.errors import UserError, nearest


@dataclass(frozen=True)
class Recipe:
    """A way to train a model; ``name`` is for ``--recipe`` and folders.

    It leaves a ``teacher`` of English, which replaces the suite's; a ``student`` for the method of
    the same name; an ``initial`` student, which is distilled or trained next; or a ``translator``
    of queries. ``settings`` reach it, in the order of the manifest, but for those ``excluded``,
    since the recipe has its own.
    """

    name: str
    summary: str
    leaves: Literal["teacher", "student", "initial", "translator"]
    settings: tuple[str, ...]
    excluded: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """Return the name of the section of its own settings, if there is one."""
        return self.name.replace("-", "_")


_LENGTHS = ("document_tokens", "query_tokens", "sentence_tokens", "own_lengths")
_SHARED = (
    *(f"teacher.{key}" for key in ("model", *_LENGTHS, "centre")),
    "bitext",
    "training",
)
_DATA = tuple(
    f"contrastive.{key}"
    for key in ("collection", "queries", "sentences", "temperature", "negatives")
)
_SWITCHING = tuple(f"contrastive.{key}" for key in ("share", "switching", "lexicon", "least_dice"))
_GIVEN = tuple(f"dictionary.{key}" for key in ("sources", "files", "on_error", "least_score"))
_OPTIMISER = tuple(f"training.{key}" for key in ("warmup", "weight_decay", "clip", "precision"))
_OWN_LOOP = ("training.epochs", "training.learning_rate")
_TRANSLATOR = ("bitext", *_OPTIMISER, "translator", *_GIVEN[:3])
BACK = "back-translator"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "monolingual",
            "an English teacher, from questions and passages, or from spans and their sentences",
            "teacher",
            (*_SHARED, *_DATA, "monolingual"),
            _OWN_LOOP,
        ),
        Recipe(
            "late-interaction",
            "an English teacher of tokens, with large batches and mined hard negatives",
            "teacher",
            (*_SHARED, *_DATA, "late_interaction"),
            (*_OWN_LOOP, "training.batch_size"),
        ),
        Recipe(
            "code-switch",
            "a student, from English queries with a share of their words translated",
            "student",
            (*_SHARED, "student", *_DATA, *_SWITCHING, *_GIVEN),
        ),
        Recipe(
            "hybrid",
            "a student, from batches in English (with probability alpha) or of the bitext",
            "student",
            (*_SHARED, "student", *_DATA, "contrastive.alpha"),
        ),
        Recipe(
            "augment",
            "an initial student with continued masked-LM pre-training on the query language",
            "initial",
            (*_SHARED, "student", "augment"),
            _OWN_LOOP,
        ),
        Recipe(
            "translator",
            "a translation model for nmt and nmt-bm25, from scratch, from the pair's bitext alone",
            "translator",
            _TRANSLATOR,
        ),
        Recipe(
            BACK,
            "a translation model from English, which makes more pairs for the recipe translator",
            "translator",
            _TRANSLATOR,
            ("translator.back_sentences",),
        ),
    )
}


def parse_recipe(name: str) -> Recipe:
    """Return the recipe that ``--recipe`` names.

    Raises:
        UserError: There is no such recipe; the message has the nearest name.
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]


def trained_cell(label: str) -> Cell | None:
    """Return the cell of a trained teacher's or initial student's label; None for another model.

    >>> trained_cell("monolingual.small.seed1")
    Cell(method='monolingual', variant='small', seed=1, joint=())
    """
    recipe = RECIPES.get(label.partition(".")[0])
    return Cell.parse(label) if recipe and recipe.leaves in ("teacher", "initial") else None
