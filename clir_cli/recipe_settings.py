"""Settings of the recipes of ``clir train``, each in its section, with its default."""

from typing import Literal

from pydantic import Field

from clir_cli.setting_types import (
    Amount,
    Count,
    Divisor,
    Positive,
    Section,
    Share,
    UpToMillion,
    UpToThousand,
)


class ContrastiveSettings(Section):
    """Contrastive training, ``clir train`` (see training/contrastive.py)."""

    collection: str = Field(
        "",
        description="queries and documents to train on, one collection or several with commas",
    )
    queries: Count = Field(0, description="size of a random sample of each one's queries; 0: all")
    sentences: Count = Field(4000, description="sentences for the inverse cloze task; 0: all")
    temperature: Divisor = Field(0.05, description="softmax temperature of the scores")
    negatives: int = Field(1, ge=0, le=10_000, description="hard negatives per query")
    share: Share = Field(0.5, description="code-switch: share of replaced words")
    switching: Literal["bilingual", "multilingual"] = Field(
        "bilingual", description="code-switch: dictionary of the pair, or of all pairs"
    )
    lexicon: Literal["given", "dice", "plans"] = Field(
        "dice", description="code-switch: given dictionary, or that plus the bitext's or the plans'"
    )
    least_dice: Share = Field(0.3, description="least Dice score of a translation")
    alpha: Share = Field(0.5, description="hybrid: probability of an English batch")


class MonolingualSettings(Section):
    """The recipe ``monolingual``: a teacher trained from a pooled encoder, on little data."""

    dimensions: int = Field(
        0, ge=0, le=100_000, description="dimensions of a token embedding; 0: unchanged"
    )
    passages: bool = Field(True, description="inverse cloze on its documents, too")
    epochs: UpToMillion = Field(2, description="passes over the training data")
    learning_rate: Positive = Field(2e-5, description="in place of training.learning_rate")


class LateInteractionSettings(MonolingualSettings):
    """The recipe ``late-interaction``: a teacher of tokens, trained with mined hard negatives."""

    passages: bool = Field(False, description="inverse cloze on its documents, too")
    epochs: UpToMillion = Field(3, description="passes over the training data")
    batch_size: UpToMillion = Field(128, description="queries per batch")
    negatives: int = Field(1, ge=0, le=1000, description="mined hard negatives per query; 0: none")
    depth: int = Field(30, ge=1, le=10_000, description="ranks that they are drawn from")
    bm25_epochs: int = Field(
        1, ge=0, le=1_000_000, description="epochs with the ranks of BM25; then the model's own"
    )
    alike: Amount = Field(
        0.95,
        description="negatives above this share of the answer's score are not used; 0: all are",
    )
    distillation: Amount = Field(
        0.0, description="weight of the divergence from the initial model's scores"
    )
    chunk_tokens: Count = Field(
        8192, description="tokens with activations in memory; 0: the whole batch's"
    )


class AugmentSettings(Section):
    """The recipe ``augment``: continued masked-LM pre-training before distillation."""

    files: tuple[str, ...] = Field(
        (), description="your own text, one sentence per line (default: the bitext's query side)"
    )
    sentences: Count = Field(0, description="size of a random sample; 0: all")
    share: float = Field(0.15, gt=0, lt=1, description="share of masked tokens")
    epochs: UpToMillion = Field(2, description="passes over the training data")
    learning_rate: Positive = Field(1e-4, description="in place of training.learning_rate")


class TranslatorSettings(Section):
    """The recipe ``translator``: a translation model of a pair, from its bitext alone.

    No setting has the last part of its name in common with one of another section that grids name
    variants by: artifacts of those keep their folders.
    """

    encoder_layers: int = Field(3, ge=1, le=100, description="layers of the encoder")
    decoder_layers: int = Field(3, ge=1, le=100, description="layers of the decoder")
    width: int = Field(256, ge=8, le=16_384, description="dimensions of the hidden states")
    dropout: float = Field(
        0.3, ge=0, lt=1, description="share of states that are dropped in training"
    )
    vocabulary_size: int = Field(
        4000, ge=100, le=1_000_000, description="most subwords, which both languages share"
    )
    dictionary: bool = Field(False, description="add the entries of the given dictionary as pairs")
    back_sentences: Count = Field(
        0, description="English training sentences to add with a translation by back-translator"
    )
    copies: Count = Field(
        0, description="training sentences of the target to add as their own translation"
    )
    epochs: UpToMillion = Field(40, description="most passes over the pairs")
    least_pairs: Count = Field(6000, description="pairs per epoch, at least: fewer are repeated")
    batch_size: UpToMillion = Field(64, description="sentence pairs per step")
    learning_rate: Positive = Field(1e-3, description="in place of training.learning_rate")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")
    patience: Count = Field(8, description="epochs without a better chrF to stop after; 0: never")
    minutes: Amount = Field(
        0, description="time to stop after, at the end of an epoch; 0: no limit"
    )
    max_length: int = Field(
        100, ge=4, le=511, description="longest sentence to train on, and translation, in tokens"
    )
    held_out_beams: UpToThousand = Field(4, description="beams of the last held-out translations")
