"""train --recipe translator, back-translator: from the bitext of a pair to a translation model."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from clir_cli import runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.sampling import sampled
from clir_cli.errors import UserError
from clir_cli.evaluation.translation import bleu, chrf
from clir_cli.retrieval.memory import Estimate, Load, ModelSize
from clir_cli.retrieval.nmt import load_translator
from clir_cli.settings import TranslatorSettings
from clir_cli.stages.support.checkpointing import Prepared, make_trained
from clir_cli.stages.support.fitting import require_translator
from clir_cli.stages.support.recipes import BACK
from clir_cli.stages.support.sources import load_bitext, load_given_dictionary
from clir_cli.stages.support.used_models import back_translator_of
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.loop import Task
from clir_cli.training.translation import Example, Translation
from clir_cli.training.translator import Translating, learn_vocabulary, new_translator

Notes = dict[str, object]


def train_translator(workspace: Workspace, ref: Ref) -> Path:
    """Train the translator of a pair, or the one back, from its bitext; return its folder.

    The folder is an ordinary model and tokenizer of transformers, with ``training.csv`` beside it;
    ``notes`` in the manifest has BLEU and chrF of the held-out pairs with sacrebleu's signatures.
    An interrupted run resumes from its last checkpoint and ends in the same model.

    Raises:
        UserError: A missing input, a fault in the bitext, or a model that was made from something
            else.
    """
    own, artifact = ref.settings.translator, graph.resolve(workspace, ref)
    if workspace.group.several and ref.settings.training.shard:
        raise UserError("recipe translator needs whole weights; start it without training.shard")
    changes = {name: getattr(own, name) for name in ("epochs", "learning_rate", "batch_size")}
    # A model that is trained from scratch is trained as a whole.
    changes |= {"lora_rank": 0, "freeze": "", "gradient_checkpointing": False}
    loop = ref.settings.training.model_copy(update=changes)

    def prepare(device: torch.device, precision: torch.dtype) -> Prepared:
        train, held_out, notes = _pairs(workspace, ref, device)
        tokenizer = learn_vocabulary((side for row in train for side in row), own.vocabulary_size)
        needed = _require_memory(own, len(tokenizer), device, precision)
        runtime.seed_everything(ref.cell.seed)
        model = new_translator(own, tokenizer, _languages(ref), device, precision)
        task, counts = _task(own, model, train, held_out, ref)
        notes |= counts | {"vocabulary": len(tokenizer), "parameters": _parameters(model)}

        def noted() -> Notes:
            return {**notes, **_quality(own, model, task)}

        # The loop's type says Encoder; this task trains a translator instead.
        return Prepared(model, cast(Task, task), noted, needed, adapted=False)

    title = f"train {ref.pair} {ref.cell.own_label}"
    return make_trained(workspace, artifact, prepare, loop=loop, seed=ref.cell.seed, title=title)


def _languages(ref: Ref) -> tuple[str, str]:
    """Return the languages that it translates from and to: to English, but for the one back."""
    query, document = ref.pair
    return (document, query) if ref.cell.method == BACK else (query, document)


def _pairs(
    workspace: Workspace, ref: Ref, device: torch.device
) -> tuple[list[SentencePair], list[SentencePair], Notes]:
    """Return pairs to train on and held out, the source language first, and their counts.

    Those to train on are of the bitext, and what the settings add.
    """
    bitext = load_bitext(workspace, ref.pair)
    parts = {
        "bitext_pairs": bitext.train,
        "dictionary_pairs": _dictionary_pairs(workspace, ref, bitext),
        "back_translated_pairs": _back_translated(workspace, ref, bitext, device),
    }
    train, held_out = [row for rows in parts.values() for row in rows], bitext.held_out
    if ref.cell.method == BACK:
        train, held_out = (
            [SentencePair(row.english, row.query) for row in rows] for rows in (train, held_out)
        )
    copies = _copies(train[: len(bitext.train)], ref.settings.translator.copies)
    counts: Notes = {name: len(rows) for name, rows in parts.items()}
    return [*train, *copies], held_out, {**counts, "copied_pairs": len(copies)}


def _copies(rows: Sequence[SentencePair], most: int) -> list[SentencePair]:
    """Return sentences of the target side as their own translations, which teaches to copy names.

    Currey, Miceli Barone and Heafield, Copied Monolingual Data Improves Low-Resource Neural Machine
    Translation (WMT 2017).
    """
    targets = list(dict.fromkeys(target for _, target in rows)) if most else []
    return [SentencePair(text, text) for text in sampled(targets, most, "copies")]


def _dictionary_pairs(workspace: Workspace, ref: Ref, bitext: Bitext) -> list[SentencePair]:
    """Return the entries of the given dictionary as pairs, without those that are held out."""
    if not ref.settings.translator.dictionary:
        return []
    held_out = {row.query.casefold() for row in bitext.held_out}
    return [
        SentencePair(word, english)
        for word, translations in load_given_dictionary(workspace, ref.pair).items()
        for english in translations
        if word not in held_out
    ]


def _back_translated(
    workspace: Workspace, ref: Ref, bitext: Bitext, device: torch.device
) -> list[SentencePair]:
    """Return English training sentences with translations by the model from English.

    Sennrich, Haddow and Birch, Improving Neural Machine Translation Models with Monolingual Data
    (ACL 2016).
    """
    own, back = ref.settings.translator, back_translator_of(ref)
    if back is None:
        return []
    sentences = list(dict.fromkeys(row.english for row in bitext.train))
    sentences = sampled(sentences, own.back_sentences, "back-translation")
    translator = load_translator(back.folder(workspace), ["en"], device, ref.pair.query)
    title = f"translate back {ref.pair}"
    with workspace.talk.counting(title, len(sentences), unit="sentences") as advance:
        translations = translator.translate(
            sentences, beams=1, max_tokens=own.max_length, advance=advance
        )
    rows = map(SentencePair, translations, sentences)
    known = set(bitext.train)
    return [row for row in rows if row.query and row not in known]


def _task(
    own: TranslatorSettings,
    model: Translating,
    train: Sequence[SentencePair],
    held_out: Sequence[SentencePair],
    ref: Ref,
) -> tuple[Translation, Notes]:
    """Return the training task, and how many pairs it has."""

    def examples(rows: Sequence[SentencePair]) -> list[Example]:
        sides = [model.tokenizer(list(side))["input_ids"] for side in zip(*rows, strict=True)]
        return [Example(*both) for both in zip(*sides, strict=True)]

    every = examples(train)
    # A sentence cut short would teach to end too early.
    short = [example for example in every if max(map(len, example)) <= own.max_length]
    if not short:
        raise UserError(
            f"translator.max_length is {own.max_length} and all pairs of {ref.pair} are longer; "
            "choose more"
        )
    task = Translation(
        train=short,
        held_out=[
            Example(source[: own.max_length], target[: own.max_length])
            for source, target in examples(held_out)
        ],
        sources=[row.query for row in held_out],
        references=[row.english for row in held_out],
        batch_size=own.batch_size,
        least_pairs=own.least_pairs,
        smoothing=own.smoothing,
        max_tokens=own.max_length,
        seed=ref.cell.seed,
        patience=own.patience,
        seconds=60 * own.minutes,
    )
    return task, {"train_pairs": len(short), "too_long": len(every) - len(short)}


def _quality(own: TranslatorSettings, model: Translating, task: Translation) -> Notes:
    """Return BLEU and chrF of the held-out translations with all beams."""
    model.model.eval()
    translations = model.translator.translate(
        task.sources, beams=own.held_out_beams, max_tokens=own.max_length
    )
    notes: Notes = {"held_out_pairs": len(task.references), "beams": own.held_out_beams}
    for name, measure in (("bleu", bleu), ("chrf", chrf)):
        score, signature = measure(translations, task.references)
        notes |= {name: round(score, 2), f"{name}_signature": signature}
    return notes


def _parameters(model: Translating) -> int:
    return sum(value.numel() for value in model.model.parameters() if value.requires_grad)


def _require_memory(
    own: TranslatorSettings, vocabulary: int, device: torch.device, precision: torch.dtype
) -> Estimate:
    """Return what training needs; UserError if it does not fit."""
    # Attention has 4 matrices, twice in the decoder; the feed-forward part is twice as wide.
    layers = 8 * own.encoder_layers + 12 * own.decoder_layers
    parameters = (vocabulary + layers * own.width) * own.width
    size = ModelSize(parameters, own.encoder_layers + own.decoder_layers, own.width, vocabulary)
    load = Load(own.batch_size, own.max_length, precision == torch.bfloat16)
    return require_translator(size, load, device)
