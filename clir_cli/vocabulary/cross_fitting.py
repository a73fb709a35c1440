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

import numpy as np
from torch import Tensor

from clir_cli.corpus.records import SentencePair
from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table, replace_table
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.extend import new_embeddings, with_words


class FoldTokens(NamedTuple):
    """The token ids of each bitext's sentences, and those of each fold's words.

    Both are in the numbering of the fold's own tokenizer.
    """

    ids: list[Ragged]
    words: Ragged


@dataclass(frozen=True)
class CrossFitted:
    """A student in training, and the token ids of each bitext's training sentences.

    Its embedding table has ``own_rows`` rows of its tokenizer, followed by those of the folds,
    which the ids point to; all of them are frozen.
    """

    student: Encoder
    ids: list[Ragged]
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
    words, parts = [], list[list[Ragged]]([] for _ in bitexts)
    for fold, lexicon in enumerate(lexicons):
        encoder = replace(student, tokenizer=with_words(student.tokenizer, lexicon.words))
        words.append(cast(list[int], encoder.tokenizer.convert_tokens_to_ids(lexicon.words)))
        for bitext, own_folds, of_bitext in zip(bitexts, folds, parts, strict=True):
            sentences = [bitext[index].query for index in own_folds[fold]]
            of_bitext.append(encoder.token_ids(sentences, max_tokens))
    return FoldTokens(list(map(_in_order, parts, folds)), Ragged.of(words))


def _in_order(parts: Sequence[Ragged], folds: Sequence[Sequence[int]]) -> Ragged:
    """Return the sentences of folds in the order of their bitext."""
    together = Ragged.of_parts(parts)
    return together.select(np.argsort(np.concatenate([np.asarray(fold, int) for fold in folds])))


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
    first, rows = initial.to(table), len(table)
    # The tokens of the initial vocabulary to which the whole bitext gave another embedding.
    changed = (table[: len(first)] != first[:rows]).any(dim=1).nonzero().ravel()
    starts = np.cumsum([rows, len(changed), *tokens.words.lengths])
    weight = table.new_empty(int(starts[-1]), table.shape[1])  # the folds' own are most of it
    weight[:rows], weight[rows : starts[1]] = table, first[changed]
    ids = [Ragged(of_bitext.values.copy(), of_bitext.offsets) for of_bitext in tokens.ids]
    fold_of_each = list(map(_fold_of_each, tokens.ids, folds))
    unchanged = np.arange(max(rows, int(tokens.words.values.max(initial=0)) + 1))
    unchanged[changed.cpu()] = np.arange(rows, starts[1])
    for fold, lexicon in enumerate(lexicons):
        start, stop = starts[fold + 1 : fold + 3]
        weight[start:stop] = new_embeddings(first, lexicon)
        moved = unchanged.copy()
        moved[tokens.words[fold]] = np.arange(start, stop)
        for of_bitext, fold_of in zip(ids, fold_of_each, strict=True):
            of_bitext.values[fold_of == fold] = moved[of_bitext.values[fold_of == fold]]
    replace_table(student.model, weight)
    embedding_table(student.model).weight.requires_grad_(False)
    return CrossFitted(student, ids, rows)


def _fold_of_each(ids: Ragged, folds: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the fold of the sentence of each token (tokens,)."""
    fold_of = np.zeros(len(ids), np.int16)
    for fold, rows in enumerate(folds):
        fold_of[rows] = fold
    return np.repeat(fold_of, ids.lengths)
