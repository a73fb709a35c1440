"""Word rows from the bitext: a bilingual lexicon put into the student's embedding table.

A student that starts from the English teacher cuts a foreign word into pieces that mean nothing.
Each word that the bitext shows often enough gets a row of its own; the row starts as the weighted
mean of the teacher's input embeddings of the English tokens it occurs with most (Dice coefficient;
Dice, 1945). Distillation then does the rest in context. Words that stand unchanged in the English
side are names and keep the teacher's pieces, so they still match.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clir_cli.corpus.lexicon import best_columns, dice_matrix, incidence
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError


@dataclass(frozen=True)
class Lexicon:
    """Query-language words with the English tokens they go with.

    ``tokens`` (W, k) are ids of the teacher's vocabulary, best first; ``dice`` (W, k) their Dice
    coefficients, 0 where a word has fewer than k companions.
    """

    words: list[str]
    tokens: Tensor
    dice: Tensor


def induce_lexicon(
    bitext: Sequence[SentencePair],
    tokenizer: PreTrainedTokenizerBase,
    *,
    min_count: int = 2,
    neighbours: int = 5,
) -> Lexicon:
    """Count which English tokens each query-language word occurs with.

    Dice(w, t) = 2 c(w, t) / (c(w) + c(t)), where c counts sentence pairs. Words are those of the
    tokenizer's own normalisation and splitting. A word seen in fewer than ``min_count`` pairs is
    left out, and so is one that stands unchanged in the English side of more than half its pairs.
    """
    words_of = _word_splitter(tokenizer)
    foreign = [words_of(pair.query) for pair in bitext]
    english = [words_of(pair.english) for pair in bitext]
    seen = Counter(word for words in foreign for word in words)
    shared = Counter(
        word for ours, theirs in zip(foreign, english, strict=True) for word in ours & theirs
    )
    words = sorted(
        word for word, count in seen.items() if count >= min_count and 2 * shared[word] <= count
    )
    number = {word: index for index, word in enumerate(words)}
    special = set(tokenizer.all_special_ids)
    encoded = tokenizer([pair.english for pair in bitext], add_special_tokens=False)["input_ids"]
    has_word = incidence(
        ([number[word] for word in each if word in number] for each in foreign), len(words)
    )
    has_token = incidence((set(each) - special for each in encoded), len(tokenizer))
    tokens, dice = best_columns(dice_matrix(has_word, has_token), neighbours)
    return Lexicon(words, torch.from_numpy(tokens), torch.from_numpy(dice))


def _word_splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], set[str]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or json.loads(backend.to_str())["model"]["type"] != "WordPiece":
        raise UserError(
            "student.vocabulary=extended needs a WordPiece tokenizer, as BERT and MiniLM have; "
            "use --set student.vocabulary=initial"
        )

    def words_of(text: str) -> set[str]:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        split = backend.pre_tokenizer.pre_tokenize_str(normal)
        return {word for word, _ in split if any(mark.isalpha() for mark in word)}

    return words_of


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, lexicon: Lexicon
) -> PreTrainedTokenizerFast:
    """Give each word of the lexicon a row of the model's embedding table, in place.

    row(w) = sum_t Dice(w, t)^2 E(t) / sum_t Dice(w, t)^2 over the word's English tokens t, with E
    the initial input embeddings. The words become whole pieces of the WordPiece vocabulary: longest
    match first, so an unseen inflection of a word starts with that word. A word that the initial
    vocabulary has already keeps its place and gets the new row.

    Returns:
        The tokenizer with the new words; it saves and loads as any other.
    """
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = layout["model"]["vocab"]
    for token, place in tokenizer.get_added_vocab().items():  # markers of a teacher, say
        vocabulary.setdefault(token, place)
    for word in lexicon.words:
        vocabulary.setdefault(word, len(vocabulary))
    extended = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
    initial = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    weights = lexicon.dice.square().unsqueeze(-1)
    rows = (initial[lexicon.tokens] * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
    places = torch.tensor([vocabulary[word] for word in lexicon.words], dtype=torch.long)
    with torch.no_grad():
        model.get_input_embeddings().weight[places] = rows
    return extended
