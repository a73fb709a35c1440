"""Cross-fitted rows: a training sentence is read with rows that know nothing of its translation.

The rows of new words come from the bitext that the student is then trained on, so on a training
sentence they are better than they will be on a query: a word that is seen once has been read off
the very translation that is to be met. A student that learns to read such rows learns to trust
them. So the bitext is cut into folds, and the sentences of a fold are read with the vocabulary and
the rows of all the others, as a query will be; what is learned is the body that reads them. In the
end it gets the rows of the whole bitext. (Cross-fitting, after Chernozhukov et al., Double/debiased
machine learning, 2018, section 2.)
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.records import SentencePair
from clir_cli.retrieval.encoder import Encoder
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.extend import new_rows, with_words

Ids = list[list[int]]


@dataclass(frozen=True)
class Initial:
    """The vocabulary that a student had at first: tokenizer and input embeddings (T, d)."""

    tokenizer: PreTrainedTokenizerBase
    rows: Tensor


@dataclass(frozen=True)
class CrossFitted:
    """A student in training, and the token ids of each bitext's training sentences.

    Its embedding table has ``own_rows`` rows of its tokenizer, and behind them those of the folds,
    which the ids point to; all of them are frozen.
    """

    student: Encoder
    ids: list[Ids]
    own_rows: int


def folds_of(bitext: Sequence[SentencePair], count: int) -> list[list[int]]:
    """Return the numbers of the pairs of each fold; those with one English side share a fold."""
    found: list[list[int]] = [[] for _ in range(count)]
    for number, pair in enumerate(bitext):
        found[zlib.crc32(pair.english.encode()) % count].append(number)
    return found


def cross_fit(
    student: Encoder,
    initial: Initial,
    bitexts: Sequence[Sequence[SentencePair]],
    folds: Sequence[Sequence[Sequence[int]]],
    lexicons: Sequence[Lexicon],
    *,
    max_tokens: int,
) -> CrossFitted:
    """Return the student with the rows of each fold behind its own, in place.

    Args:
        student: With the rows of the whole bitext.
        initial: What it had before them.
        bitexts: The training pairs of each language.
        folds: Of each bitext the numbers of the pairs of each fold.
        lexicons: For each fold, that of all pairs but its own.
        max_tokens: Longest sentence, in tokens.
    """
    table = student.model.get_input_embeddings().weight.detach()
    first = initial.rows.to(table)
    found: list[Ids] = [[[] for _ in bitext] for bitext in bitexts]
    # The pieces of the initial vocabulary that the whole bitext gave another row.
    changed = (table[: len(first)] != first[: len(table)]).any(dim=1).nonzero().ravel()
    parts, size = [table, first[changed]], len(table) + len(changed)
    as_before = {old: len(table) + place for place, old in enumerate(changed.tolist())}
    for fold, lexicon in enumerate(lexicons):
        reader = replace(student, tokenizer=with_words(initial.tokenizer, lexicon.words))
        words = reader.tokenizer.convert_tokens_to_ids(lexicon.words)
        moved = as_before | {old: size + place for place, old in enumerate(words)}
        for bitext, own, ids in zip(bitexts, folds, found, strict=True):
            read = reader.tokenize([bitext[number].query for number in own[fold]], max_tokens)
            for number, row in zip(own[fold], read, strict=True):
                ids[number] = [moved.get(each, each) for each in row]
        parts.append(new_rows(first, lexicon).to(table))
        size += len(words)
    student.model.resize_token_embeddings(size, mean_resizing=False)
    embeddings = student.model.get_input_embeddings()
    with torch.no_grad():
        embeddings.weight.copy_(torch.cat(parts))
    embeddings.weight.requires_grad_(False)
    return CrossFitted(student, found, len(table))
