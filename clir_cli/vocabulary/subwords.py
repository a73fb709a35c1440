"""Subwords of the query language, learned from the words of the bitext.

The teacher's subwords are made for English; they keep nothing of a word that the bitext never
showed. Subwords of the language itself (stems, endings, parts of compounds) occur again in unseen
words.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer

UNKNOWN = "[UNK]"


def learn_subwords(
    sentences: Iterable[Sequence[str]], count: int
) -> Callable[[str], tuple[str, ...]]:
    """Learn subwords from words; return a function that splits a word into them.

    Merges by frequency, as in WordPiece and BPE (Sennrich, Haddow and Birch, ACL 2016); the longest
    subword first when a word is split. Subwords within a word begin with ``##``.

    The words are normalised; ``count`` includes letters: a language of many letters has more.
    """
    texts: list[str] = []
    known: set[str] = set()
    for words in sentences:
        texts.append(" ".join(words))
        known.update(words)
    # Letters, within words too, are numbered in order: the trainer itself numbers these as a hash
    # table yields them, and breaks ties by number, differently in each run.
    letters = sorted({f"##{letter}" for word in known for letter in word[1:]})
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=count, min_frequency=2, special_tokens=[UNKNOWN, *letters], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)

    @cache
    def split(word: str) -> tuple[str, ...]:
        return tuple(part for part in tokenizer.encode(word).tokens if part != UNKNOWN)

    return split
