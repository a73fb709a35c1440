"""One student for several pairs: shares, batches, loss, and the words of several languages."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lexicons import induce_joint_lexicon, induce_lexicon
from tiny_encoders import tiny_bert

from clir_cli.corpus.records import SentencePair
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.joint import JointDistillation, epoch_sample, quotas
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training

CPU = torch.device("cpu")
COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=9)
SWAHILI = [
    ("maji safi ni muhimu", "clean water is important"),
    ("watoto wanakunywa maji", "children drink water"),
    ("shule ina maji kidogo", "the school has little water"),
    ("watoto wanaenda shule", "children go to school"),
    ("data ya shule ni safi", "the data of the school is clean"),
]
GERMAN = [
    ("das wasser ist sauber", "the water is clean"),
    ("kinder trinken wasser", "children drink water"),
    ("die schule hat wenig wasser", "the school has little water"),
    ("da ist die schule", "there is the school"),
]


@settings(derandomize=True, deadline=None)
@given(COUNTS, st.floats(1, 100))
def test_an_epoch_is_as_large_as_all_bitexts_and_each_share_follows_the_formula(counts, heat):
    found = quotas(counts, heat)
    assert sum(found) == sum(counts)
    weights = [count ** (1 / heat) for count in counts]
    for quota, weight in zip(found, weights, strict=True):
        assert abs(quota - sum(counts) * weight / sum(weights)) <= 1


@settings(derandomize=True, deadline=None)
@given(COUNTS)
def test_temperature_one_takes_all_and_a_large_one_takes_equal_shares(counts):
    assert quotas(counts, 1) == counts
    assert max(quotas(counts, 1e9)) - min(quotas(counts, 1e9)) <= 1


@settings(derandomize=True, deadline=None)
@given(COUNTS, st.floats(1, 10), st.floats(0.1, 10))
def test_more_heat_favours_the_smallest(counts, heat, more):
    smallest = counts.index(min(counts))
    assert quotas(counts, heat + more)[smallest] >= quotas(counts, heat)[smallest] - 1


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 100), st.integers(1, 6))
def test_none_comes_again_before_all_have_come(count, quota, epochs):
    stream = [index for epoch in range(epochs) for index in epoch_sample(count, quota, "s", epoch)]
    assert len(stream) == quota * epochs
    for start in range(0, len(stream), count):
        part = stream[start : start + count]
        assert len(set(part)) == len(part)
    seen = Counter(stream)
    assert max(seen.values()) - min([*seen.values(), len(stream) // count]) <= 1


def test_shuffles_differ_by_seed_and_pass():
    assert epoch_sample(30, 30, "a", 0) != epoch_sample(30, 30, "b", 0)
    assert epoch_sample(30, 30, "a", 0) != epoch_sample(30, 30, "a", 1)


# ------------------------------------------------------------------ the task


@pytest.fixture(scope="module")
def encoder(models: Path, tmp_path_factory):
    return load_encoder(tiny_bert(tmp_path_factory.mktemp("tiny"), models), CPU)


@pytest.fixture
def task(encoder):
    def build(heat: float = 1.0, method: str = "ot", *changes: str) -> JointDistillation:
        chosen = load_settings("sample", None, ["training.batch_size=4", *changes])
        parts = {}
        for name, rows in (("sw-en", SWAHILI), ("de-en", GERMAN)):
            data = EncodedBitext(
                encoder.token_ids([query for query, _ in rows], 32),
                encoder.encode([english for _, english in rows], 32),
            )
            parts[name] = Distillation(data, data, OBJECTIVES[method], chosen, seed=1)
        return JointDistillation(parts, heat, seed=1)

    return build


def test_each_sentence_pair_of_each_pair_comes_once_and_batches_mix_the_pairs(task):
    joint = task()
    epochs = [joint.batches(epoch) for epoch in range(4)]
    everything = {("sw-en", place) for place in range(5)} | {("de-en", place) for place in range(4)}
    for batches in epochs:
        assert len(batches) == joint.steps_per_epoch == 3
        assert sorted(itertools.chain(*batches)) == sorted(everything)
    assert any(len({name for name, _ in batch}) == 2 for batch in itertools.chain(*epochs))
    assert epochs[0] != epochs[1]
    assert joint.batches(2) == task().batches(2)  # nothing is remembered


def test_the_loss_of_a_mixed_batch_is_the_mean_of_its_sentence_pairs(task, encoder):
    joint = task()
    encoder.model.eval()
    mixed = [("sw-en", 0), ("de-en", 1), ("sw-en", 3)]
    together = joint.loss(encoder, mixed).value
    apart = [joint.parts[name].loss(encoder, [index]).value for name, index in mixed]
    torch.testing.assert_close(together, torch.stack(apart).mean(), atol=1e-4, rtol=1e-4)


def test_each_pair_counts_the_same_in_the_held_out_figures(task, encoder):
    joint = task()
    found = joint.validate_each(encoder)
    with torch.no_grad():
        apart = [part.validate(encoder) for part in joint.parts.values()]
    assert list(found.values()) == apart
    means = [sum(each) / 2 for each in zip(*apart, strict=True)]
    assert joint.validate(encoder) == pytest.approx(means)


def test_a_joint_run_that_was_cut_goes_on_to_the_same_end(task, models, tmp_path):
    folder = tiny_bert(tmp_path / "tiny", models)

    def training() -> Training:
        joint = task(3.0, "ot", "training.epochs=2")
        loop = next(iter(joint.parts.values())).settings.training
        return Training(load_encoder(folder, CPU), joint, loop, seed=1)

    losses = [step.loss for step in training().run()]
    assert len(losses) == 6
    first = training()
    for _ in itertools.islice(first.run(), 4):
        pass
    tensors, words = first.state()
    saved = {name: value.clone() for name, value in tensors.items()}
    second = training()
    second.restore(saved, words)
    assert [step.loss for step in second.run()] == losses[4:]


# ------------------------------------------------------------------ the words


def pairs(rows: list[tuple[str, str]]) -> list[SentencePair]:
    return [SentencePair(*row) for row in rows]


def rows_of(lexicon) -> dict[str, tuple]:
    cells = zip(lexicon.words, lexicon.tokens.tolist(), lexicon.strengths.tolist(), strict=True)
    return {word: (tokens, dice) for word, tokens, dice in cells}


def test_words_of_one_language_get_the_rows_of_its_own_student(encoder):
    both = rows_of(induce_joint_lexicon([pairs(SWAHILI), pairs(GERMAN)], encoder.tokenizer))
    alone = [rows_of(induce_lexicon(pairs(each), encoder.tokenizer)) for each in (SWAHILI, GERMAN)]
    assert not alone[0].keys() & alone[1].keys()
    assert both == alone[0] | alone[1]
    assert rows_of(induce_joint_lexicon([pairs(SWAHILI)], encoder.tokenizer)) == alone[0]


def test_a_word_of_two_languages_has_one_row_from_both(encoder):
    left = [("da nyumba", "house water"), ("da mbwa", "house dog")]
    right = [("da mann", "there man"), ("da frau", "there woman"), ("mann frau", "man woman")]
    found = rows_of(induce_joint_lexicon([pairs(left), pairs(right)], encoder.tokenizer))
    merged = rows_of(induce_lexicon(pairs(left + right), encoder.tokenizer))
    assert found["da"] == merged["da"]  # of all languages that there are
    house, there = encoder.tokenizer.convert_tokens_to_ids(["house", "there"])
    share = dict(zip(*found["da"], strict=True))
    assert share[house] == share[there] == pytest.approx(2 * 2 / (4 + 2))


def test_a_language_that_hardly_has_a_word_has_no_say_in_its_row(encoder):
    stray = [*GERMAN, ("maji", "children")]
    found = rows_of(induce_joint_lexicon([pairs(SWAHILI), pairs(stray)], encoder.tokenizer))
    alone = rows_of(induce_lexicon(pairs(SWAHILI), encoder.tokenizer))
    assert found["maji"] == alone["maji"]


def test_a_name_in_one_language_is_a_word_in_another(encoder):
    left = [("london data", "london data"), ("london data", "london data")]
    right = [("london safi", "clean place"), ("london safi", "clean place")]
    found = rows_of(induce_joint_lexicon([pairs(left), pairs(right)], encoder.tokenizer))
    assert found["london"] == rows_of(induce_lexicon(pairs(right), encoder.tokenizer))["london"]
    assert "data" not in found
