"""train: contrastive training and augmentation, by recipe."""

from typing import Annotated

import typer

from clir_cli.commands.words import group_of, pairs_of, tell_plans, variant_of
from clir_cli.options import Common, Joint, Lang, Seed, Variant, takes_common


@takes_common
def train(
    common: Common,
    recipe: Annotated[
        str, typer.Option(help="monolingual, code-switch, hybrid or augment. See clir ls recipes.")
    ],
    lang: Lang = "all",
    seed: Seed = 0,
    variant: Variant = "",
    joint: Joint = False,
) -> None:
    """Train a teacher, a student or an initial student without distillation.

    Example: clir train --recipe code-switch --lang sw-en
    Example: clir train --recipe hybrid --lang sw-en,so-en --joint --set contrastive.alpha=0.3
    Example: clir train --recipe monolingual --suite open
    """
    from clir_cli.stages.support.recipes import parse_recipe
    from clir_cli.stages.support.workspace import Cell

    chosen = parse_recipe(recipe)
    workspace = common.workspace()
    pairs = pairs_of(workspace, lang)
    cell = Cell(chosen.name, variant_of(variant), seed, group_of(pairs, joint))

    from clir_cli.stages.support import jobs
    from clir_cli.stages.train import train as make

    wanted = jobs.jobs(workspace, chosen, pairs, cell)
    plans = [job.plan() for job in wanted]
    if not common.dry_run:
        for job in wanted:
            make(job)
    tell_plans(common, plans)
