"""From the words of the command line to pairs, cells and plans."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from clir_cli.errors import UserError
from clir_cli.options import Common

if TYPE_CHECKING:
    from clir_cli.artifacts import Plan
    from clir_cli.corpus.records import Pair
    from clir_cli.stages.workspace import Cell, Workspace


def pairs_of(workspace: "Workspace", text: str) -> "list[Pair]":
    """Return the pairs that ``--lang`` names: several with commas, or all of the suite."""
    from clir_cli.corpus.catalogue import languages
    from clir_cli.corpus.records import parse_pair

    words = [word for word in text.split(",") if word.strip()]
    if text.strip().lower() == "all":
        words = list(workspace.settings.pairs)
    return list(dict.fromkeys(parse_pair(word, languages()) for word in words)) or _no_pair()


def _no_pair() -> NoReturn:
    raise UserError("--lang is empty; give a pair such as sw-en, or all")


def cells_of(workspace: "Workspace", methods: str, seed: int, variant: str) -> "list[Cell]":
    """Return the cells that ``--method``, ``--seed`` and ``--variant`` name."""
    from clir_cli.stages.methods import parse_methods
    from clir_cli.stages.workspace import Cell

    if variant and not variant.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"--variant {variant!r}: use letters, digits, - and _")
    chosen = parse_methods(methods, workspace.settings.methods)
    # Seed and variant belong to training; there is one zero-shot and one ceiling.
    return [
        Cell(method.name, variant, seed) if method.has_seeds else Cell(method.name)
        for method in chosen
    ]


def with_setting(common: Common, assignment: str) -> Common:
    """Return the common options with one more ``--set``."""
    from dataclasses import replace

    return replace(common, assign=[*common.assign, assignment])


def make_all(
    common: Common, make: Callable[..., Path], wanted: "Sequence[tuple[Workspace, Pair, Cell]]"
) -> None:
    """Make each wanted artifact, unless the user only wants to know."""
    if not common.dry_run:
        for each in wanted:
            make(*each)


def tell_plans(common: Common, plans: "Sequence[Plan]") -> None:
    """Tell what was made, or would be."""
    from clir_cli import display

    rows = display.plan_rows(plans)
    if common.as_json:
        display.print_json(rows)
    elif common.dry_run:
        display.show_rows("what would be made", rows)
