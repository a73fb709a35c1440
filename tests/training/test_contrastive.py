"""InfoNCE over late interaction: closed forms, batches, and an encoder that learns."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert

from clir_cli.retrieval.checkpoints import Expansion, TextFormat
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.maxsim import mean_maxsim
from clir_cli.suites import load_settings
from clir_cli.training.chunks import embed_chunks
from clir_cli.training.contrastive import (
    Contrastive,
    QuerySource,
    batches_in,
    info_nce,
    shares,
)
from clir_cli.training.loop import Training

CPU = torch.device("cpu")
FORMAT = ("sentence", 32, 64)
TOPICS = ["water", "maize", "school", "market", "road", "rain", "goat", "doctor"]
steady = settings(derandomize=True, deadline=None, max_examples=40)


@pytest.fixture(scope="module")
def tiny(models, tmp_path_factory):
    return load_encoder(tiny_bert(tmp_path_factory.mktemp("tiny"), models), CPU)


def source(name="one", rows=8, **changes) -> QuerySource:
    documents = [f"all about {topic} and nothing else" for topic in TOPICS[:rows]]
    return QuerySource(name, TOPICS[:rows], documents, [[row] for row in range(rows)], **changes)


def task(*sources, size=4, **changes) -> Contrastive:
    kept = {"temperature": 0.05, "negatives": 1, "seed": 3} | changes
    return Contrastive(sources, sources, *FORMAT, size, **kept)


def none(rows: int, columns: int) -> torch.Tensor:
    return torch.zeros(rows, columns, dtype=torch.bool)


def test_equal_scores_cost_the_logarithm_of_the_documents():
    scores, positive = torch.full((3, 7), 0.4), torch.tensor([0, 3, 6])
    assert info_nce(scores, positive, none(3, 7), 0.05).value.item() == pytest.approx(math.log(7))
    ignored = none(3, 7)
    ignored[:, 1:3] = True
    assert info_nce(scores, positive, ignored, 0.05).value.item() == pytest.approx(math.log(5))


@steady
@given(st.integers(0, 10**6), st.floats(0.02, 2))
def test_it_is_the_negative_logarithm_of_the_softmax(seed, temperature):
    scores = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed)).double()
    positive = torch.tensor([0, 1, 5, 5])
    found = info_nce(scores, positive, none(4, 6), temperature)
    shared = torch.exp((scores - scores.max()) / temperature)
    right = shared[torch.arange(4), positive] / shared.sum(dim=1)
    torch.testing.assert_close(found.value, -right.log().mean())
    assert found.metrics["first"] == (scores.argmax(dim=1) == positive).double().mean().item()


def test_late_interaction_sees_no_padding_even_where_all_is_negative():
    chance = torch.Generator().manual_seed(1)
    queries = -torch.rand(2, 3, 4, generator=chance)
    documents = torch.rand(3, 5, 4, generator=chance)
    asked = torch.tensor([[True, True, True], [True, False, False]])
    there = torch.tensor([[True] * 5, [True, True, False, False, False], [True] + [False] * 4])
    found = mean_maxsim(queries, asked, documents, there)
    for row, column in itertools.product(range(2), range(3)):
        table = queries[row][asked[row]] @ documents[column][there[column]].T
        torch.testing.assert_close(found[row, column], table.amax(dim=1).mean())
    assert (found < 0).all()


def test_a_text_is_read_as_the_index_and_the_search_read_it(tiny):
    text_format = TextFormat(
        query_prefix="[unused0] ", document_prefix="[unused1] ", expansion=Expansion(12),
        skipped=(".", ","), document_length=9,
    )  # fmt: skip
    encoder = replace(tiny, text_format=text_format)
    texts = ["clean water, here.", "a longer text, with more of the words. and more, and more."]
    for kind in ("query", "document", "sentence"):
        packed = encoder.encode(texts, 32, kind=kind)
        with torch.no_grad():
            (chunk,) = embed_chunks(encoder, encoder.inputs(texts, 32, kind), kind, 0)
        for row in range(2):
            torch.testing.assert_close(
                chunk.embeddings[row][chunk.mask[row]], packed[row], atol=1e-5, rtol=0
            )


@steady
@given(st.lists(st.integers(2, 8), min_size=1, max_size=3), st.integers(2, 5), st.integers(0, 3))
def test_an_epoch_has_each_row_of_each_source_once_but_for_a_row_alone(sizes, size, epoch):
    made = task(*(source(str(rows), rows) for rows in sizes), size=size)
    batches = made.batches(epoch)
    assert len(batches) == made.steps_per_epoch == sum(batches_in(rows, size) for rows in sizes)
    seen = Counter((batch.source, row) for batch in batches for row in batch.rows)
    assert set(seen.values()) <= {1}
    assert len(seen) == sum(rows - (rows % size == 1) for rows in sizes)
    assert batches == made.batches(epoch)
    assert all(len(batch) > 1 for batch in batches)


def test_a_share_of_the_batches_is_of_each_source():
    weights = [*shares([8, 8], 0.5), *shares([8], 0.5)]
    assert weights == [0.25, 0.25, 0.5]
    made = task(source(), source(), source(), weights=weights, steps=2000)
    batches = made.batches(0)
    assert len(batches) == made.steps_per_epoch == 2000
    found = Counter(batch.source for batch in batches)
    assert found[2] / 2000 == pytest.approx(0.5, abs=0.04)
    assert found[0] / 2000 == pytest.approx(0.25, abs=0.04)
    assert [b.source for b in batches] != [b.source for b in made.batches(1)]
    alone = task(source(), source(), weights=[1.0, 0.0], steps=50)
    assert {batch.source for batch in alone.batches(0)} == {0}


def test_a_document_of_two_queries_stands_once_and_other_answers_are_not_wrong(tiny):
    documents = ["the river", "the lake", "the hill"]
    queries = [f"query {row}" for row in range(4)]
    one = QuerySource("one", queries, documents, [[0], [0], [1, 0], [2]])
    with torch.no_grad():
        found = task(one).loss(tiny, task(one).batches(0)[0]).value
        table = torch.stack([
            torch.stack([
                (tiny.encode([f"query {row}"], 32)[0] @ tiny.encode([text], 64)[0].T)
                .amax(dim=1).mean() for text in documents
            ]) for row in range(4)
        ]) / 0.05  # fmt: skip
    epoch_zero = [0, 0, 1, 2]  # of the two answers of the third row, the first
    table[2, 0] = -torch.inf
    wanted = torch.nn.functional.cross_entropy(table, torch.tensor(epoch_zero))
    assert found.item() == pytest.approx(wanted.item(), abs=1e-4)


def test_given_negatives_join_the_batch_and_take_turns(tiny):
    documents = [*TOPICS[:4], "water water", "water again", "maize maize"]
    rows = [[row] for row in range(4)]
    bare = QuerySource("bare", TOPICS[:4], documents, rows)
    hard = replace(bare, negatives=[[4, 5], [6], [], []])
    assert hard.negatives_in(0, 0, 1) == [4]
    assert hard.negatives_in(0, 1, 1) == [5]
    assert hard.negatives_in(0, 0, 9) == [4, 5]
    assert list(hard.negatives_in(2, 0, 1)) == list(bare.negatives_in(0, 0, 1)) == []
    with torch.no_grad():
        losses = [
            task(each, negatives=most).loss(tiny, task(each).batches(0)[0]).value.item()
            for each, most in ((bare, 1), (hard, 0), (hard, 1), (hard, 2))
        ]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[1] < losses[2] < losses[3]


def test_what_is_neither_right_nor_wrong_counts_as_neither(tiny):
    bare = source(rows=4)
    alike = replace(bare, neutral=[[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    assert alike.not_negative(1) == [1, 0, 2, 3]
    assert task(alike).validate(tiny) == (0.0, 1.0)
    assert task(bare).validate(tiny)[0] > 0.1


def test_an_encoder_learns_to_find_the_document_with_a_fixed_teacher_or_without(models, tmp_path):
    chosen = load_settings(
        "sample", None, ["training.epochs=6", "training.learning_rate=0.003"]
    ).training
    folder = tiny_bert(tmp_path / "tiny", models)
    answers = load_encoder(folder, CPU).encode(source().documents, 64, kind="document")
    for sources in ([source()], [source(embeddings=answers)]):
        encoder = load_encoder(folder, CPU)
        run = Training(encoder, task(*sources), chosen, seed=3)
        before = run.validate()
        losses = [step.loss for step in run.run()]
        after = run.validate()
        assert after[0] < 0.7 * before[0]
        assert after[1] >= before[1]
        again = Training(load_encoder(folder, CPU), task(*sources), chosen, seed=3)
        assert [step.loss for step in again.run()] == losses


def test_a_run_that_was_cut_ends_in_the_same_weights(models, tmp_path):
    chosen = load_settings("sample", None, ["training.epochs=2"]).training
    folder = tiny_bert(tmp_path / "tiny", models)
    mixed = task(source(), source("two"), weights=[0.5, 0.5], steps=4)

    def fresh() -> Training:
        return Training(load_encoder(folder, CPU), mixed, chosen, seed=3)

    whole = fresh()
    losses = [step.loss for step in whole.run()]
    first = fresh()
    for _ in itertools.islice(first.run(), 3):
        pass
    tensors, told = first.state()
    second = fresh()
    second.restore({name: value.clone() for name, value in tensors.items()}, told)
    assert [step.loss for step in second.run()] == losses[3:]


def test_the_held_out_figures_are_weighted_as_the_batches_are(tiny):
    easy = source("easy", rows=1)
    hard = source("hard")
    alone = [task(each).validate(tiny) for each in (easy, hard)]
    assert alone[0] == (0.0, 1.0)
    by_size = task(easy, hard).validate(tiny)
    assert by_size[0] == pytest.approx(alone[1][0] * 8 / 9)
    by_weight = task(easy, hard, weights=[0.75, 0.25], steps=4).validate(tiny)
    assert by_weight[0] == pytest.approx(alone[1][0] / 4)
    assert by_weight[1] == pytest.approx(0.75 + alone[1][1] / 4)
