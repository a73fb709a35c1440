"""English tokens of new words found in the space of a multilingual encoder, not in the bitext.

A word that the bitext shows once or twice has a poor lexicon entry; an encoder that knows the
language knows the word. Words, pieces and the whole English words of the teacher's vocabulary are
encoded alone; each word gets the English tokens with the highest cosines.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from clir_cli.retrieval.encoder import Encoder
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.extend import SPACE, is_unigram

TEMPERATURE = 0.05  # of the softmax over the cosines of a word's tokens
CHUNK = 1024  # words whose cosines are held at once
LONGEST = 32  # tokens of a word
PIECE = "##"  # WordPiece, within words


def in_space(
    lexicons: Sequence[Lexicon],
    encoder: Encoder,
    tokenizer: PreTrainedTokenizerBase,
    neighbours: int,
) -> list[Lexicon]:
    """Return the lexicons with tokens and strengths from the space of a multilingual encoder.

    Words and pieces of the lexicons are kept; whole words of two letters and more of the teacher's
    ``tokenizer`` are the candidates. The vector of a word is the mean of its token embeddings, less
    the mean of all words of its side, for a language has a direction of its own. The strengths of
    its k ``neighbours`` sum to 1.
    """
    english = _whole_words(tokenizer)
    words = sorted({word for lexicon in lexicons for word in lexicon.words})
    if not words or not english:
        return list(lexicons)
    targets = _vectors(encoder, list(english))
    sources = _vectors(encoder, [word.removeprefix(PIECE).lstrip(SPACE) for word in words])
    ids = torch.tensor(list(english.values()))
    k = min(neighbours, len(ids))
    parts = [(chunk @ targets.T).topk(k) for chunk in sources.split(CHUNK)]
    cosines = torch.cat([part.values for part in parts]).cpu()
    tokens = ids[torch.cat([part.indices for part in parts]).cpu()]
    strengths = torch.softmax(cosines / TEMPERATURE, dim=1)
    row_of = {word: row for row, word in enumerate(words)}
    rows = [[row_of[word] for word in lexicon.words] for lexicon in lexicons]
    return [
        Lexicon(lexicon.words, tokens[own], strengths[own])
        for lexicon, own in zip(lexicons, rows, strict=True)
    ]


def _whole_words(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    special = set(tokenizer.all_special_tokens)
    mark = SPACE if is_unigram(tokenizer) else ""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = {
        token.removeprefix(mark): number
        for token, number in vocabulary
        if token not in special and token.startswith(mark)
    }
    return {
        word: number
        for word, number in tokens.items()
        if len(word) > 1 and word.isascii() and word.isalpha()
    }


def _vectors(encoder: Encoder, words: list[str]) -> Tensor:
    packed = encoder.encode(words, LONGEST, kind="sentence")
    sizes = packed.offsets.diff()
    row = torch.arange(len(words)).repeat_interleave(sizes)
    total = torch.zeros(len(words), encoder.dimensions).index_add_(0, row, packed.vectors)
    means = functional.normalize(total / sizes[:, None], dim=1)
    return functional.normalize(means - means.mean(dim=0), dim=1).to(encoder.device)
