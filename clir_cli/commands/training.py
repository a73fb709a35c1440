"""train: contrastive training, augmentation and translators, by recipe."""

from typing import Annotated

import typer

from clir_cli.commands.cells import group_of, make_all, pairs_of, print_artifacts, variant_of
from clir_cli.options import Common, Joint, Lang, Seed, Variant, with_options


@with_options
def train(
    common: Common,
    recipe: Annotated[
        str, typer.Option(help="monolingual, late-interaction, ... See clir ls recipes.")
    ],
    lang: Lang = "all",
    seed: Seed = 0,
    variant: Variant = "",
    joint: Joint = False,
) -> None:
    """Train a teacher, a student, an initial student or a translator, without distillation.

    Example: clir train --recipe code-switch --lang sw-en
    Example: clir train --recipe hybrid --lang sw-en,so-en --joint --set contrastive.alpha=0.3
    Example: clir train --recipe late-interaction --suite open
    Example: clir train --recipe translator --lang sw-en
    """
    from clir_cli.artifacts.cell import Cell
    from clir_cli.stages.support.recipes import parse_recipe
    from clir_cli.stages.support.used_models import trained_refs

    method = parse_recipe(recipe).name
    workspace = common.workspace()
    pairs = pairs_of(workspace, lang)
    cell = Cell(method, variant_of(variant), seed, group_of(pairs, joint))
    refs = trained_refs(workspace.settings, pairs, cell)
    print_artifacts(common, make_all(common, workspace, refs))
