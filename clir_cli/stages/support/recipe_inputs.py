"""What the recipes of ``clir train`` are made from: settings, inputs, and the command for each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import Input, Ref
from clir_cli.corpus import dictionaries
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.files import file_digest
from clir_cli.settings import Settings
from clir_cli.stages.support import lexicons, sources, used_models
from clir_cli.stages.support.recipes import BACK, RECIPES
from clir_cli.stages.support.workspace import Workspace


def recipe_settings(ref: Ref) -> dict[str, str]:
    """Return the settings that reach what a recipe makes, as ``ArtifactSpec.settings``."""
    recipe = RECIPES[ref.cell.method]
    names = [*recipe.settings, *(["joint"] if ref.cell.joint else [])]
    if recipe.leaves == "teacher" and ref.settings.contrastive.collection:  # no bitext is read
        names = ["bitext.held_out" if name == "bitext" else name for name in names]
    if recipe.leaves == "translator" and not ref.settings.translator.dictionary:
        names = [name for name in names if not name.startswith("dictionary.")]
    return {name: name for name in names}


def recipe_identity(ref: Ref) -> dict[str, Any]:
    """Return what no setting says of what a recipe makes."""
    pairs = [str(pair) for pair in ref.pairs]
    return {"recipe": ref.cell.method, "pairs": pairs, "seed": ref.cell.seed}


def recipe_inputs(ref: Ref) -> list[Input]:
    """Return what a recipe trains on, and what it starts from."""
    recipe, settings = RECIPES[ref.cell.method], ref.settings
    inputs = sources.bitext_inputs(settings, ref.pairs, named=True)
    if recipe.leaves == "translator":
        back = used_models.back_translator_of(ref)
        inputs += [back.as_input(BACK)] if back else []
        return [*inputs, *_added_inputs(settings, ref.pair)]
    if recipe.name == "code-switch":
        for pair in lexicons.switching_pairs(settings, ref.pairs):
            inputs += _lexicon_inputs(settings, pair)
    if recipe.name == "augment":
        inputs.append(Input(_augment_digests))
    else:
        crossing = [pair.query for pair in ref.pairs] if recipe.name == "hybrid" else []
        inputs += sources.training_inputs(settings, ["en", *crossing])
    teacher = used_models.teacher_of(settings)
    if recipe.leaves == "teacher":
        return [*inputs, teacher.as_input("initial model")]
    initial = used_models.initial_of(settings, ref.cell.only(ref.pair))
    space = used_models.space_of(settings)
    inputs += [space.as_input("space model")] if space else []
    return [*inputs, initial.as_input("initial model"), teacher.as_input("teacher")]


def _added_inputs(settings: Settings, pair: Pair) -> list[Input]:
    """Return what a translator trains on beside the bitext."""
    if not settings.translator.dictionary:
        return []
    if not dictionaries.is_given(settings.dictionary):
        raise UserError(
            f"translator.dictionary: no dictionary for {pair}; name one with dictionary.sources or "
            ".files"
        )
    return [sources.dictionary_input(settings, pair, f"{pair} ")]


def _augment_digests(workspace: Workspace) -> Mapping[str, str]:
    names = workspace.settings.augment.files
    for name in names:
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file (augment.files)")
    return {name: file_digest(Path(name)) for name in names}


def _lexicon_inputs(settings: Settings, pair: Pair) -> list[Input]:
    given, lexicon = settings.dictionary, settings.contrastive.lexicon
    inputs = []
    if dictionaries.is_given(given):
        inputs.append(sources.dictionary_input(settings, pair, f"{pair} "))
    elif lexicon == "given":
        raise UserError(
            f"no dictionary for {pair}; name one with dictionary.sources or .files, or take "
            "contrastive.lexicon=dice"
        )
    if lexicon == "dice":
        inputs += sources.bitext_inputs(settings, [pair], named=True)
    if lexicon == "plans":
        plans = lexicons.lexicon_plans(settings, pair)
        inputs.append(graph.as_input(plans, f"{pair} dictionary", current=True))
    return inputs


def recipe_command(ref: Ref) -> Command:
    """Return the command that trains by a recipe."""
    left_out = ["--method"]
    left_out += ["--lang"] if RECIPES[ref.cell.method].leaves == "teacher" else []
    options = [option for option in ref.cell.options(*ref.pairs) if option[0] not in left_out]
    return Command("train", (("--recipe", ref.cell.method), *options))
