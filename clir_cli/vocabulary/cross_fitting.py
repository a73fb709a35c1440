"""Cross-fitting: a training sentence is encoded with embeddings that know nothing of it.

The embeddings of new tokens are estimated on the bitext that the student is then trained on, so on
a training sentence they are better than they will be on a query: the embedding of a word that
occurs once comes from the very translation that it is trained towards. A student that sees such
embeddings learns to trust them. So the bitext is cut into folds, and the sentences of a fold are
encoded with the vocabulary and the embeddings of all the others, as a query will be; what is
trained is the body of the encoder. In the end it gets the embeddings of the whole bitext.
(Cross-fitting, after Chernozhukov et al., Double/debiased machine learning, 2018, section 2.)
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from clir_cli.corpus.records import SentencePair
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.extend import new_embeddings, with_words

Ids = list[list[int]]


class FoldTokens(NamedTuple):
    """The token ids of each bitext's sentences, and those of each fold's words.

    Both are in the numbering of the fold's own tokenizer.
    """

    ids: list[Ids]
    words: list[list[int]]


@dataclass(frozen=True)
class CrossFitted:
    """A student in training, and the token ids of each bitext's training sentences.

    Its embedding table has ``own_rows`` rows of its tokenizer, followed by those of the folds,
    which the ids point to; all of them are frozen.
    """

    student: Encoder
    ids: list[Ids]
    own_rows: int


def folds_of(bitext: Sequence[SentencePair], count: int) -> list[list[int]]:
    """Return the indices of the pairs of each fold; pairs with one English side share a fold."""
    folds: list[list[int]] = [[] for _ in range(count)]
    for index, pair in enumerate(bitext):
        folds[zlib.crc32(pair.english.encode()) % count].append(index)
    return folds


def tokenize_folds(
    student: Encoder,
    bitexts: Sequence[Sequence[SentencePair]],
    folds: Sequence[Sequence[Sequence[int]]],
    lexicons: Sequence[Lexicon],
    *,
    max_tokens: int,
) -> FoldTokens:
    """Tokenise each sentence with the words of its fold's lexicon.

    The student's tokenizer is that before its extension. ``folds`` are, for each bitext, the
    indices of the pairs of each fold; ``lexicons`` has, for each fold, the lexicon of all other
    pairs.
    """
    ids: list[Ids] = [[[] for _ in bitext] for bitext in bitexts]
    words = []
    for fold, lexicon in enumerate(lexicons):
        encoder = replace(student, tokenizer=with_words(student.tokenizer, lexicon.words))
        words.append(cast(list[int], encoder.tokenizer.convert_tokens_to_ids(lexicon.words)))
        for bitext, own_folds, of_bitext in zip(bitexts, folds, ids, strict=True):
            sentences = [bitext[index].query for index in own_folds[fold]]
            encoded = encoder.tokenize(sentences, max_tokens)
            for index, tokens in zip(own_folds[fold], encoded, strict=True):
                of_bitext[index] = tokens
    return FoldTokens(ids, words)


def cross_fit(
    student: Encoder,
    initial: Tensor,
    folds: Sequence[Sequence[Sequence[int]]],
    lexicons: Sequence[Lexicon],
    tokens: FoldTokens,
) -> CrossFitted:
    """Append the embeddings of each fold to those of the student, in place.

    The student has the embeddings of the whole bitext; ``initial`` (T, d) are its embeddings before
    the extension. ``folds``, ``lexicons`` and ``tokens`` are as in ``tokenize_folds``.
    """
    table = embedding_table(student.model).weight.detach()
    first = initial.to(table)
    ids: list[Ids] = [[[] for _ in of_bitext] for of_bitext in tokens.ids]
    # The tokens of the initial vocabulary to which the whole bitext gave another embedding.
    changed = (table[: len(first)] != first[: len(table)]).any(dim=1).nonzero().ravel()
    parts, size = [table, first[changed]], len(table) + len(changed)
    unchanged = {token: len(table) + row for row, token in enumerate(changed.tolist())}
    for fold, (lexicon, words) in enumerate(zip(lexicons, tokens.words, strict=True)):
        moved = unchanged | {token: size + row for row, token in enumerate(words)}
        for own_folds, in_fold, of_bitext in zip(folds, tokens.ids, ids, strict=True):
            for index in own_folds[fold]:
                of_bitext[index] = [moved.get(token, token) for token in in_fold[index]]
        parts.append(new_embeddings(first, lexicon).to(table))
        size += len(words)
    student.model.resize_token_embeddings(size, mean_resizing=False)
    embeddings = embedding_table(student.model)
    with torch.no_grad():
        embeddings.weight.copy_(torch.cat(parts))
    embeddings.weight.requires_grad_(False)
    return CrossFitted(student, ids, len(table))
