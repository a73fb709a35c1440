"""Subword pieces of the query language, learned from the bitext's own words.

The teacher's pieces are cut for English; of a word that the bitext never showed they keep nothing.
Pieces of the language itself (stems, endings, parts of compounds) are met again in unseen words.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer

UNKNOWN = "[UNK]"


def learn_pieces(
    sentences: Iterable[Sequence[str]], count: int
) -> Callable[[str], tuple[str, ...]]:
    """Learn pieces from words; return a function that cuts a word into them.

    Merges by frequency, as in WordPiece and BPE (Sennrich, Haddow and Birch, ACL 2016); the longest
    piece first when a word is cut. Pieces within a word begin with ``##``.

    Args:
        sentences: The words of each sentence, normalised.
        count: Pieces to learn; letters are among them, so a language of many letters has more.
    """
    texts = [" ".join(words) for words in sentences]
    # Numbered in order, letters within words too: left to itself the trainer numbers these as a
    # hash table yields them, and breaks ties by number, another way in each run.
    letters = sorted(
        {f"##{letter}" for text in texts for word in text.split() for letter in word[1:]}
    )
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=count, min_frequency=2, special_tokens=[UNKNOWN, *letters], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)

    @cache
    def cut(word: str) -> tuple[str, ...]:
        return tuple(piece for piece in tokenizer.encode(word).tokens if piece != UNKNOWN)

    return cut
