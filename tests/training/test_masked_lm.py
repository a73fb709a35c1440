"""Masked language modelling: what is hidden, what is learned, and what is left of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training
from clir_cli.training.masked_lm import UNSEEN, MaskedEncoder, MaskedLM, with_head

CPU = torch.device("cpu")
TEXTS = [f"the {thing} of the {place}" for thing in ("water", "road", "goat") for place in
         ("village", "market", "school", "hill")]  # fmt: skip
SPECIAL, MASK = frozenset({0, 101, 102}), 103
steady = settings(derandomize=True, deadline=None, max_examples=60)


def task(train=(), held_out=(), **changes) -> MaskedLM:
    kept = {"share": 0.15, "batch_size": 4, "seed": 3, "vocabulary": 30_522} | changes
    return MaskedLM(train, held_out, SPECIAL, MASK, **kept)


@steady
@given(st.lists(st.integers(1000, 2000), max_size=40), st.floats(0.05, 0.9), st.text(max_size=4))
def test_a_share_of_the_words_is_hidden_and_no_special_token_ever(inner, share, key):
    ids = [101, *inner, 102]
    shown, wanted = task(share=share).hide(ids, key)
    chosen = [place for place, each in enumerate(wanted) if each != UNSEEN]
    assert len(chosen) == (max(1, round(share * len(inner))) if inner else 0)
    assert all(wanted[place] == ids[place] for place in chosen)
    assert not {0, len(ids) - 1} & set(chosen)
    assert [x for place, x in enumerate(shown) if place not in chosen] == [
        x for place, x in enumerate(ids) if place not in chosen
    ]
    assert (shown, wanted) == task(share=share).hide(ids, key)


def test_of_the_hidden_tokens_most_become_the_mask_some_any_and_some_stay():
    ids = [101, *range(1000, 21_000), 102]
    shown, wanted = task(share=0.5).hide(ids, "k")
    chosen = [place for place, each in enumerate(wanted) if each != UNSEEN]
    masked = sum(shown[place] == MASK for place in chosen) / len(chosen)
    stayed = sum(shown[place] == ids[place] for place in chosen) / len(chosen)
    assert masked == pytest.approx(0.8, abs=0.02)
    assert stayed == pytest.approx(0.1, abs=0.02)


def test_what_is_hidden_is_drawn_anew_each_epoch():
    made = task([[101, *range(1000, 1030), 102]] * 6)
    hidden = [
        {(row, tuple(made.hide(ids, key)[1])) for batch in made.batches(epoch)
         for row, (ids, key) in enumerate(batch)}
        for epoch in (0, 0, 1)
    ]  # fmt: skip
    assert hidden[0] == hidden[1] != hidden[2]
    assert len(made.batches(0)) == made.steps_per_epoch == 2


def test_it_learns_to_guess_and_leaves_an_encoder_alone(models, tmp_path):
    chosen = load_settings("sample", None, ["training.epochs=12", "training.learning_rate=0.003"])
    encoder = load_encoder(tiny_bert(tmp_path / "tiny", models), CPU)
    ids = encoder.tokenize(TEXTS, 32)
    table = encoder.model.get_input_embeddings().weight
    before = table.detach().clone()
    reader = with_head(encoder)
    assert isinstance(reader, MaskedEncoder)
    run = Training(reader, task(ids, ids, share=0.3), chosen.training, seed=3)
    first, last = run.validate(), [*run.run()][-1]
    assert last.held_out_loss < 0.8 * first[0]
    assert last.held_out_score > first[1]
    assert not torch.equal(table, before), "the embeddings are trained through both of their ends"
    assert not any("head" in name for name in encoder.model.state_dict())
    assert set(Encoder.trained.fget(reader)) == {"model"}
    state = {name for name in run.state()[0] if name.startswith("head.")}
    assert state, "a run that was cut goes on with the head that it had"


def test_an_encoder_that_cannot_guess_is_refused(models, tmp_path):
    encoder = load_encoder(tiny_bert(tmp_path / "tiny", models), CPU)
    encoder.tokenizer.mask_token = None
    with pytest.raises(UserError, match="has no mask token"):
        with_head(encoder)


def test_sentences_without_words_have_the_loss_zero(models, tmp_path):
    whole = with_head(load_encoder(tiny_bert(tmp_path / "tiny", models), CPU))
    loss = task().loss(whole, [([101, 102], "a"), ([101, 102], "b")]).value
    loss.backward()
    assert loss.item() == 0
