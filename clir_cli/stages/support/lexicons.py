"""What code-switching looks words up in: from English to the language of a pair."""

from collections.abc import Sequence

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus import catalogue, dictionaries
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.codeswitch import induced_dictionary, inverted
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.errors import UserError
from clir_cli.stages.dictionary import merged, plan_dictionary, read_induced
from clir_cli.stages.support.inputs import bitext_inputs, download_command, made_by
from clir_cli.stages.support.workspace import Cell, Workspace


def english_lexicon(workspace: Workspace, pair: Pair, bitext: Bitext | None) -> Dictionary:
    """Return English words with their translations: given ones first, then induced ones.

    Args:
        workspace: Settings, folders and behaviour.
        pair: The pair.
        bitext: The pair's, where it has been read already.

    Raises:
        MissingInput: A dictionary or the bitext is missing.
        UserError: A fault in a file, or no dictionary for the pair.
    """
    settings = workspace.settings
    given: Dictionary = {}
    if _given_inputs(workspace, pair):
        with made_by(download_command(workspace, pair.query)):
            given = inverted(
                dictionaries.load_dictionary(settings.dictionary, pair, workspace.downloads)
            )
    chosen = settings.contrastive.lexicon
    if chosen == "given":
        return given
    if chosen == "plans":
        plan = _dictionary_plan(workspace, pair)
        return merged(given, inverted(read_induced(plan.path, settings.dictionary.least_score)))
    rows = bitext or corpus.load_bitext(settings.bitext, pair, workspace.downloads)
    return merged(given, induced_dictionary(rows.train, settings.contrastive.least_dice))


def switching_pairs(workspace: Workspace, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose dictionaries are switched through: the given ones, or the suite's."""
    if workspace.settings.contrastive.switching == "bilingual":
        return list(pairs)
    every = (parse_pair(text, catalogue.languages()) for text in workspace.settings.pairs)
    return list(dict.fromkeys((*pairs, *every)))


def lexicon_inputs(workspace: Workspace, pair: Pair) -> dict[str, str]:
    """Return the fingerprints of what a pair's lexicon is read from.

    Raises:
        MissingInput: Something is missing; the command that makes it is told.
        UserError: There is no dictionary for the pair.
    """
    found = _given_inputs(workspace, pair)
    chosen = workspace.settings.contrastive.lexicon
    if chosen == "given" and not found:
        raise UserError(
            f"no dictionary for {pair}; name one with dictionary.sources or .files, or take "
            "contrastive.lexicon=dice"
        )
    if chosen == "dice":
        return found | bitext_inputs(workspace, pair)
    if chosen == "plans":
        plan = _dictionary_plan(workspace, pair)
        artifacts.require_current(plan)
        found["dictionary"] = plan.fingerprint
    return found


def _given_inputs(workspace: Workspace, pair: Pair) -> dict[str, str]:
    with made_by(download_command(workspace, pair.query)):
        return dictionaries.inputs(workspace.settings.dictionary, pair, workspace.downloads)


def _dictionary_plan(workspace: Workspace, pair: Pair) -> Plan:
    # Of the student without a variant, whatever is trained with it.
    return plan_dictionary(workspace, pair, Cell("ot"))
