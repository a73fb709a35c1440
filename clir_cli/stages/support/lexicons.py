"""Translations as methods use them: given and induced dictionaries, machine translations."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.own_files import pair_of
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.settings import Settings
from clir_cli.stages.support.sources import load_bitext, load_given_dictionary
from clir_cli.stages.support.workspace import Workspace

TABLE = "dictionary.tsv"


def dictionary_of(ref: Ref) -> Ref:
    """Return the dictionary that the plans of ``ot`` induce, for a run that translates by word."""
    return ref.other("dictionary", cell=replace(ref.cell, method="ot"))


def translations_of(ref: Ref) -> Ref:
    """Return the machine translations of a run's queries; all methods share them."""
    return ref.other("translations", cell=Cell("nmt", ref.cell.variant))


def lexicon_plans(settings: Settings, pair: Pair) -> Ref:
    """Return the induced dictionary for code-switching: that of the student without a variant."""
    return Ref("dictionary", settings, (pair,), Cell("ot"))


def switching_pairs(settings: Settings, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose dictionaries switch words: the given ones, or all of the suite."""
    if settings.contrastive.switching == "bilingual":
        return list(pairs)
    of_suite = (pair_of(name, settings) for name in settings.pairs)
    return list(dict.fromkeys((*pairs, *of_suite)))


def _read_induced(path: Path, least: float) -> Dictionary:
    entries: dict[str, list[str]] = {}
    with (path / TABLE).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if float(row["score"]) >= least:
                entries.setdefault(row["word"], []).append(row["english"])
    return {word: tuple(english) for word, english in entries.items()}


def _merged(first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]) -> Dictionary:
    return {
        word: tuple(dict.fromkeys((*first.get(word, ()), *second.get(word, ()))))
        for word in {**first, **second}
    }


def query_dictionary(workspace: Workspace, run: Ref) -> Dictionary:
    """Return the dictionary that translates the queries of a run: given, then induced entries.

    Raises:
        MissingInput: The induced one has not been made, or a given one not fetched.
        UserError: The settings name no dictionary at all.
    """
    settings = workspace.settings.dictionary
    given = load_given_dictionary(workspace, run.pair)
    if not settings.induced:
        if not given:
            raise UserError(
                f"no dictionary for {run.pair}; name one with dictionary.sources or .files"
            )
        return given
    induced = graph.require_current(workspace, dictionary_of(run))
    return _merged(given, _read_induced(induced.path, settings.least_score))


def english_lexicon(workspace: Workspace, pair: Pair, bitext: Bitext | None) -> Dictionary:
    """Return English words with their translations, for code-switching: given ones first.

    ``bitext`` is the pair's if it has been read already.

    Raises:
        MissingInput: A dictionary or the bitext is missing.
        UserError: A fault in a file, or no dictionary for the pair.
    """
    from clir_cli.corpus.codeswitch import induced_dictionary, inverted  # scipy

    settings = workspace.settings
    given = inverted(load_given_dictionary(workspace, pair))
    if settings.contrastive.lexicon == "given":
        return given
    if settings.contrastive.lexicon == "plans":
        plans = graph.require_current(workspace, lexicon_plans(settings, pair))
        return _merged(given, inverted(_read_induced(plans.path, settings.dictionary.least_score)))
    bitext = bitext or load_bitext(workspace, pair)
    return _merged(given, induced_dictionary(bitext.train, settings.contrastive.least_dice))
