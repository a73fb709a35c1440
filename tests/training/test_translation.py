"""Training a translator: its subwords, its loss, its epochs, and when it ends."""

import itertools
import math

import pytest
import torch
from sacrebleu import corpus_bleu, corpus_chrf

from clir_cli.evaluation.translation import bleu, chrf
from clir_cli.settings import TranslatorSettings
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training
from clir_cli.training.translation import Example, Translation
from clir_cli.training.translator import END, PAD, learn_vocabulary, new_translator

CPU = torch.device("cpu")
PAIRS = [
    ("maji safi", "clean water"),
    ("watoto wanakunywa maji", "the children drink water"),
    ("Amina ana watoto 12", "Amina has 12 children"),
    ("maji ya Amina ni safi", "the water of Amina is clean"),
    ("watoto, ni safi", "the children, are clean"),
]
SMALL = TranslatorSettings(
    encoder_layers=1, decoder_layers=1, width=16, dropout=0, vocabulary_size=120, max_length=12
)


@pytest.fixture
def tokenizer():
    return learn_vocabulary([side for pair in PAIRS for side in pair], 120)


@pytest.fixture
def translator(tokenizer):
    torch.manual_seed(0)
    return new_translator(SMALL, tokenizer, ("sw", "en"), CPU, torch.float32)


@pytest.fixture
def task(tokenizer):
    def build(kind=Translation, **changes):
        examples = [Example(*tokenizer(list(pair))["input_ids"]) for pair in PAIRS]
        given = {
            "train": examples, "held_out": examples[3:], "batch_size": 2, "least_pairs": 0,
            "sources": [source for source, _ in PAIRS[3:]], "smoothing": 0.1, "max_tokens": 12,
            "references": [target for _, target in PAIRS[3:]], "seed": 3,
        }  # fmt: skip
        return kind(**{**given, **changes})

    return build


def training(translator, task, **changes):
    changed = {"epochs": 3, "batch_size": 2, "learning_rate": 0.01} | changes
    told = [f"training.{name}={value}" for name, value in changed.items()]
    return Training(translator, task, load_settings("sample", None, told).training, seed=1)


def test_subwords_are_shared_and_give_the_text_back(tokenizer):
    ids = tokenizer([" Amina\tana  watoto 12", "the children of Amina, 2"])["input_ids"]
    assert all(row[-1] == tokenizer.convert_tokens_to_ids(END) for row in ids)
    shared = set(tokenizer("Amina")["input_ids"][:-1])
    assert shared <= set(ids[0]) & set(ids[1]), "a name has the same subwords in both languages"
    said = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert said == ["Amina ana watoto 12", "the children of Amina, 2"]
    assert {"▁", "1", "2"} <= set(tokenizer.convert_ids_to_tokens(ids[0])), "a digit is a token"
    assert len(tokenizer) <= 120


def test_subwords_are_the_same_each_time():
    texts = [f"{a}{b} neno {b}{a}, {a}" for a in "abcdefgh" for b in "ijklmnop"]  # many ties
    learned = {learn_vocabulary(texts, 90).backend_tokenizer.to_str() for _ in range(5)}
    assert len(learned) == 1


def test_the_loss_is_the_smoothed_cross_entropy_of_the_target_tokens(translator, task):
    built = task(smoothing=0.3)
    translator.model.eval()
    batch = built.train[:3]
    total, count = 0.0, 0
    for source, target in batch:  # each alone, so that no padding is involved
        previous = [translator.tokenizer.convert_tokens_to_ids(PAD), *target[:-1]]
        scores = translator.model(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([previous])
        ).logits[0]
        logs = scores.detach().log_softmax(dim=1)
        for row, token in zip(logs, target, strict=True):
            total -= 0.7 * float(row[token]) + 0.3 * float(row.mean())
            count += 1
    assert built.loss(translator, batch).value.item() == pytest.approx(total / count, rel=1e-5)


def test_shares_of_a_batch_have_the_gradient_of_the_whole(translator, task):
    built = task()
    translator.model.eval()
    batch = built.train
    whole = built.loss(translator, batch).value
    parts = [built.share(batch, rank, 2) for rank in range(2)]
    shared = sum(built.loss(translator, part).value * weight for part, weight in parts)
    assert shared.item() == pytest.approx(whole.item(), rel=1e-5)
    assert sum(weight for _, weight in parts) == pytest.approx(1)
    assert built.share(batch[:1], 1, 2)[1] == 0


def test_an_epoch_repeats_what_is_too_little_and_passes_follow_one_another(task):
    built = task(least_pairs=8)  # 5 pairs are 3 batches, 8 are 4
    assert built.steps_per_epoch == 4
    stream = [batch for epoch in range(3) for batch in built.batches(epoch)]
    passes = [stream[start : start + 3] for start in range(0, 12, 3)]
    for chosen in passes:
        assert sorted(itertools.chain(*chosen)) == sorted(built.train), "each pair once in a pass"
    assert passes[0] != passes[1]
    assert task().steps_per_epoch == 3


def test_held_out_quality_is_that_of_sacrebleu(translator, task):
    built = task()
    trained = training(translator, built)
    loss, score = trained.validate()
    said = translator.translator.translate(built.sources, beams=1, max_tokens=12)
    assert score == corpus_chrf(said, [built.references]).score
    plain = task(smoothing=0)
    assert loss == pytest.approx(plain.loss(translator, built.held_out).value.item(), rel=1e-5)
    texts, references = ["the water is clean", "x"], ["the clean water is here now", "y"]
    assert chrf(texts, references).score == corpus_chrf(texts, [references]).score
    assert bleu(texts, references).score == corpus_bleu(texts, [references]).score
    assert "nc:6" in chrf(texts, references).signature
    assert "tok:13a" in bleu(texts, references).signature


def test_five_sentences_are_learned_by_heart(translator, task):
    trained = training(translator, task(smoothing=0), epochs=60)
    steps = list(trained.run())
    assert steps[-1].loss < 0.2
    translator.model.eval()
    said = translator.translator.translate([source for source, _ in PAIRS], beams=3, max_tokens=12)
    assert said == [target for _, target in PAIRS]


class Scripted(Translation):
    """Held-out figures that are given, one epoch after another."""

    def validate(self, encoder):
        return next(self.figures)


def scripted(task, figures, **changes):
    return task(type("Given", (Scripted,), {"figures": iter(figures)}), **changes)


@pytest.mark.parametrize(
    ("scores", "patience", "epochs", "best"),
    [
        ((10, 12, 11, 12, 13), 2, 4, 2),  # the equal one has no lower loss
        ((10, 12, 11, 11.5, 13), 2, 4, 2),
        ((10, 9, 11, 10, 12), 2, 5, 5),
        ((10, 9, 8, 7, 6), 0, 5, 1),
    ],
)
def test_training_ends_when_the_score_no_longer_rises(
    translator, task, scores, patience, epochs, best
):
    figures = tuple((1.0, score) for score in scores)
    trained = training(translator, scripted(task, figures, patience=patience), epochs=5)
    ends = [step for step in trained.run() if step.held_out_score is not None]
    assert len(ends) == epochs
    assert max(step.epoch + 1 for step in ends if step.improved) == best


def test_patience_goes_on_after_an_interruption(translator, task):
    figures = tuple((1.0, score) for score in (10, 9, 8, 12, 13))
    first = training(translator, scripted(task, figures, patience=3), epochs=5)
    for _ in itertools.islice(first.run(), 7):  # within the third epoch
        pass
    tensors, words = first.state()
    second = training(translator, scripted(task, figures[2:], patience=2), epochs=5)
    second.restore({name: value.clone() for name, value in tensors.items()}, words)
    assert second.waited == 1
    assert [step.number for step in second.run()] == [8, 9]


def test_training_ends_after_the_time_that_it_has(translator, task):
    trained = training(translator, task(seconds=1e-6), epochs=5)
    assert [step.number for step in trained.run()] == [1, 2, 3], "at the end of an epoch"
    assert 0 < trained.seconds < math.inf


def test_tied_embeddings_are_saved_once_and_restored_for_all(translator, task):
    first = training(translator, task())
    names = [name for name in first.weights() if "shared" in name or "embed_tokens" in name]
    assert len(names) == 1
    assert "model.lm_head.weight" not in first.weights()
    for _ in itertools.islice(first.run(), 4):
        pass
    tensors, words = first.state()
    saved = {name: value.clone() for name, value in tensors.items()}
    torch.manual_seed(5)
    other = new_translator(SMALL, translator.tokenizer, ("sw", "en"), CPU, torch.float32)
    second = training(other, task())
    second.restore(saved, words)
    assert torch.equal(other.model.lm_head.weight, translator.model.lm_head.weight)
    losses = [[step.loss for step in each.run()] for each in (first, second)]
    assert losses[0] == losses[1] and len(losses[0]) == 5
