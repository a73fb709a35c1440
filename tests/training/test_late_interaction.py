"""A teacher of tokens: gradients in chunks, mined negatives, distillation, and resumption."""

import itertools
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
import torch
from tiny_encoders import tiny_bert
from torch.nn import functional

from clir_cli.retrieval.encoder import Encoder, Packed, load_encoder
from clir_cli.suites import load_settings
from clir_cli.training import mining
from clir_cli.training.chunks import embed_chunks, packed_chunks, score_chunks
from clir_cli.training.contrastive import Contrastive, QuerySource
from clir_cli.training.late_interaction import LateInteraction, Mining
from clir_cli.training.loop import Training

CPU = torch.device("cpu")
NONE = mining.NONE
TOPICS = ["water", "maize", "school", "market", "road", "rain", "goat", "doctor"]
DOCUMENTS = [f"all about {topic} {'and more of it ' * row}" for row, topic in enumerate(TOPICS)]


class Exact(Encoder):
    """An encoder that computes in float64."""

    def states(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"), models)


@pytest.fixture
def exact(folder) -> Exact:
    plain = load_encoder(folder, CPU)
    plain.model.double()
    return Exact(**{each.name: getattr(plain, each.name) for each in fields(Encoder)})


def source(**changes) -> QuerySource:
    return QuerySource("one", TOPICS, DOCUMENTS, [[row] for row in range(8)], **changes)


def task(one: QuerySource, **changes) -> LateInteraction:
    kept = {
        "batch_size": 4, "temperature": 0.05, "negatives": 0, "seed": 3, "distillation": 0.0,
        "mining": Mining(1, 3, 1, 0.0),
    }  # fmt: skip
    return LateInteraction([one], [one], "sentence", 32, 64, **(kept | changes))


def gradients(encoder, made: LateInteraction, seed=0) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(seed)
    encoder.model.zero_grad()
    value = made.loss(encoder, made.batches(0)[0]).value
    value.backward()
    found = [each.grad.clone() for each in encoder.model.parameters() if each.grad is not None]
    return value.item(), found


# ------------------------------------------------------------------ gradient caching


@pytest.mark.parametrize("tokens", [20, 64])
def test_chunks_have_the_loss_and_the_gradients_of_the_whole_batch(exact, tokens):
    exact.model.eval()
    forwards = []
    exact.model.register_forward_hook(lambda *_: forwards.append(1))
    whole = gradients(exact, task(source()))
    assert len(forwards) == 2  # queries and documents
    parts = gradients(exact, task(source(), chunk_tokens=tokens))
    assert len(forwards) > 2 + 3, "several chunks, each encoded twice"
    assert parts[0] == pytest.approx(whole[0], abs=1e-12)
    for one, other in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)


def test_a_chunk_has_the_same_dropout_both_times(exact, monkeypatch):
    exact.model.train()
    cached = gradients(exact, task(source(), chunk_tokens=20), seed=1)
    monkeypatch.setattr(Exact, "recomputed", Encoder.embed)
    kept = gradients(exact, task(source(), chunk_tokens=20), seed=1)
    other = gradients(exact, task(source(), chunk_tokens=20), seed=2)
    assert cached[0] == kept[0] != other[0]
    for one, another in zip(cached[1], kept[1], strict=True):
        torch.testing.assert_close(one, another, atol=1e-12, rtol=1e-9)


def test_scores_of_chunks_are_in_the_order_of_the_texts(folder):
    encoder = load_encoder(folder, CPU)
    asked, told = (encoder.inputs(texts, 64, "sentence") for texts in (TOPICS, DOCUMENTS))
    with torch.no_grad():
        whole = score_chunks(
            embed_chunks(encoder, asked, "sentence", 0), embed_chunks(encoder, told, "sentence", 0)
        )
        parts = score_chunks(
            embed_chunks(encoder, asked, "sentence", 8), embed_chunks(encoder, told, "sentence", 30)
        )
    fixed = score_chunks(
        packed_chunks(encoder.encode(TOPICS, 64), range(8), 9, CPU),
        packed_chunks(encoder.encode(DOCUMENTS, 64), [5, 0, 7], 30, CPU),
    )
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(fixed, whole[:, [5, 0, 7]], atol=1e-5, rtol=0)


# ------------------------------------------------------------------ mining


def unit(*rows: tuple[float, ...]) -> torch.Tensor:
    return functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def random_texts(count: int, seed: int) -> Packed:
    chance = torch.Generator().manual_seed(seed)
    sizes = [1 + (7 * index + seed) % 5 for index in range(count)]
    rows = [torch.randn(size, 6, generator=chance) for size in sizes]
    return Packed.of([functional.normalize(each, dim=1) for each in rows])


def score(query: torch.Tensor, document: torch.Tensor) -> float:
    return float((query @ document.T).amax(dim=1).mean())


def test_bm25_ranks_without_the_answers_and_what_shares_no_word():
    documents = ["red goat", "red goat red goat red", "a goat", "a school", "red school"]
    found = mining.lexical(["red goat", "school", "rain"], documents, [[1], [4, 3], [0]], 3)
    assert found.tolist() == [[0, 2, 4], [NONE] * 3, [NONE] * 3]


def test_candidates_are_scored_by_maxsim_and_ranked(monkeypatch):
    queries, documents = random_texts(9, 1), random_texts(12, 2)
    table = [[score(queries[row], documents[column]) for column in range(12)] for row in range(9)]
    monkeypatch.setattr(mining, "CPU_CELLS", 500)  # several blocks
    monkeypatch.setattr(mining, "QUERIES", 4)
    every = torch.arange(12).repeat(9, 1)
    every[0, 0] = NONE
    found = mining.candidate_scores(queries, documents, every, CPU)
    assert found[0, 0] == -torch.inf
    torch.testing.assert_close(found[1:], torch.tensor(table)[1:], atol=1e-6, rtol=0)
    answers = [[row, row + 1] for row in range(9)]
    ranked = mining.nearest(queries, documents, answers, 3, CPU)
    for row in range(9):
        wrong = [each for each in range(12) if each not in answers[row]]
        assert ranked[row].tolist() == sorted(wrong, key=lambda each: -table[row][each])[:3]
    few = mining.nearest(queries, documents, [list(range(11))] * 9, 3, CPU)
    assert few.tolist() == [[11, NONE, NONE]] * 9


def test_what_is_nearly_as_good_as_the_answer_is_no_negative():
    queries = Packed.of([unit((1, 0)), unit((0, 1))])
    documents = Packed.of([unit((1, 0)), unit((1, 0.3)), unit((1, 1)), unit((0.1, 1))])
    # Cosines with (1, 0): 1, .96, .71, .10; with (0, 1): 0, .29, .71, .995.
    ranked, answers = torch.tensor([[1, 2, 3], [2, 1, NONE]]), [[0, 3], [3]]
    found = mining.unlike(ranked, answers, queries, documents, 0.95, CPU)
    assert found.tolist() == [[NONE, 2, 3], [2, 1, NONE]]
    found = mining.unlike(ranked, answers, queries, documents, 0.5, CPU)
    assert found.tolist() == [[NONE, NONE, 3], [NONE, 1, NONE]]


def test_negatives_are_drawn_from_what_is_left():
    ranked = torch.tensor([[4, 5, 6, 7]] * 300 + [[NONE, 8, NONE, NONE], [NONE] * 4])
    found = mining.drawn(ranked, 2, seed=1)
    assert torch.equal(found, mining.drawn(ranked, 2, seed=1))
    assert not torch.equal(found, mining.drawn(ranked, 2, seed=2))
    assert all(len(set(row)) == 2 and set(row) <= {4, 5, 6, 7} for row in found[:300].tolist())
    assert all(110 < int((found[:300] == each).sum()) < 190 for each in (4, 5, 6, 7))
    assert found[300:].tolist() == [[8, NONE], [NONE, NONE]]


def test_the_first_epochs_have_the_ranks_of_bm25_and_the_later_ones_the_models(folder):
    encoder = load_encoder(folder, CPU)
    texts = ["goat water", "maize rain", "school", "road"]
    documents = ["goat", "water goat", "rain maize", "school road", "road school", "maize"]
    one = QuerySource("one", texts, documents, [[1], [2], [3], [4]])
    made = task(one, mining=Mining(5, 5, 1, 0.0))
    made.begin(encoder, 0)
    first = [{each for each in row if each != NONE} for row in made.kept["0"].tolist()]
    assert first == [{0}, {5}, {4}, {3}]
    mined = {
        row: each
        for batch in made.batches(0)
        for row, each in zip(batch.rows, batch.mined, strict=True)
    }
    assert mined == {0: [0], 1: [5], 2: [4], 3: [3]}
    made.begin(encoder, 1)
    every = [set(range(6)) - {1 + row} for row in range(4)]
    assert [set(row) for row in made.kept["0"].tolist()] == every
    guarded = task(one, mining=Mining(5, 5, 1, 1e-6))
    guarded.start(encoder)
    guarded.begin(encoder, 1)
    assert (guarded.kept["0"] == NONE).float().mean() > 0.5


# ------------------------------------------------------------------ the loss


def test_mined_negatives_and_the_initial_models_scores_are_in_the_loss(folder):
    encoder = load_encoder(folder, CPU)
    made = task(source(), distillation=0.7, mining=Mining(2, 4, 0, 0.0), chunk_tokens=40)
    made.start(encoder)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in encoder.model.parameters():  # it has learned something since
            weight.add_(torch.randn(weight.shape, generator=chance), alpha=0.1)
    made.begin(encoder, 0)
    batch = made.batches(0)[0]
    rivals = [each for mined in batch.mined for each in mined]
    documents = list(dict.fromkeys([*batch.rows, *rivals]))
    assert len(batch.mined[0]) == 2 and len(documents) > len(batch.rows)

    def logits(encode) -> torch.Tensor:
        queries, told = encode("queries"), encode("documents")
        rows = [[score(queries[row], told[each]) for each in documents] for row in batch.rows]
        return torch.tensor(rows) / 0.05

    sides = {"queries": (TOPICS, "sentence", 32), "documents": (DOCUMENTS, "document", 64)}
    now = logits(lambda s: encoder.encode(sides[s][0], sides[s][2], kind=sides[s][1]))
    initial = load_encoder(folder, CPU)
    before = logits(lambda s: initial.encode(sides[s][0], sides[s][2], kind=sides[s][1]))
    wanted, log = before.softmax(dim=1), now.log_softmax(dim=1)
    divergence = (wanted * (wanted.log() - log)).sum(dim=1).mean()
    right = functional.cross_entropy(now, torch.arange(len(batch.rows))) + 0.7 * divergence
    encoder.model.eval()
    with torch.no_grad():
        assert made.loss(encoder, batch).value.item() == pytest.approx(right.item(), abs=2e-2)
    assert float(divergence) > 0.1, "it would be seen if it were missing"


def test_without_its_options_it_is_the_contrastive_task(folder):
    encoder = load_encoder(folder, CPU)
    bare = task(source(), mining=Mining(0, 3, 1, 0.95))
    bare.start(encoder)
    bare.begin(encoder, 0)
    assert not bare.initial and not bare.kept
    plain = Contrastive(**{each.name: getattr(bare, each.name) for each in fields(Contrastive)})
    with torch.no_grad():
        for one, other in zip(bare.batches(0), plain.batches(0), strict=True):
            assert torch.equal(bare.loss(encoder, one).value, plain.loss(encoder, other).value)
        assert bare.validate(encoder) == plain.validate(encoder)


# ------------------------------------------------------------------ training


def test_a_run_that_was_cut_has_the_negatives_that_it_had_mined(folder):
    chosen = load_settings("sample", None, ["training.epochs=3", "training.learning_rate=0.003"])

    def fresh() -> Training:
        encoder = load_encoder(folder, CPU)
        made = task(source(), mining=Mining(1, 4, 1, 0.99), distillation=0.2, chunk_tokens=40)
        made.start(encoder)
        return Training(encoder, made, chosen.training, seed=3)

    whole = fresh()
    losses = [step.loss for step in whole.run()]
    assert len(losses) == 6
    for cut in (1, 2, 3, 5):  # within an epoch and between two
        first = fresh()
        for _ in itertools.islice(first.run(), cut):
            pass
        tensors, told = first.state()
        second = fresh()
        second.restore({name: value.clone() for name, value in tensors.items()}, told)
        assert [step.loss for step in second.run()] == losses[cut:], cut
        for one, other in zip(
            whole.encoder.model.parameters(), second.encoder.model.parameters(), strict=True
        ):
            assert torch.equal(one, other)


def test_the_best_epoch_is_that_of_the_best_mrr(folder):
    figures = iter([(1.0, 0.5), (2.0, 0.9), (0.5, 0.7), (1.5, 0.9)])

    class Scripted(LateInteraction):
        def validate(self, encoder):
            return next(figures)

    one = task(source(), mining=Mining(0, 1, 0, 0.0))
    made = Scripted(**{each.name: getattr(one, each.name) for each in fields(LateInteraction)})
    chosen = load_settings("sample", None, ["training.epochs=4"]).training
    steps = list(Training(load_encoder(folder, CPU), made, chosen, seed=3).run())
    assert [step.improved for step in steps if step.held_out_score] == [True, True, False, True]


def test_each_text_is_tokenised_once(folder, monkeypatch):
    encoder, seen = load_encoder(folder, CPU), []
    tokenize = Encoder._tokenized

    def counted(self, texts, *words):
        seen.extend(texts)
        return tokenize(self, texts, *words)

    monkeypatch.setattr(Encoder, "_tokenized", counted)
    made = task(source(), mining=Mining(1, 3, 0, 0.95))
    made.start(encoder)
    made.begin(encoder, 0)
    for batch in made.batches(0):
        made.loss(encoder, batch)
    made.validate(encoder)
    assert sorted(seen) == sorted([*TOPICS, *DOCUMENTS])


def test_the_score_of_a_document_that_does_not_count_teaches_nothing(folder):
    encoder = load_encoder(folder, CPU)
    alike = source(neutral=[[other for other in range(8) if other != row] for row in range(8)])
    made = task(alike, distillation=1.0, mining=Mining(0, 1, 0, 0.0))
    made.start(encoder)
    with torch.no_grad():
        assert made.loss(encoder, made.batches(0)[0]).value.item() == 0.0
    assert replace(made, distillation=0.0).initial is made.initial


# ------------------------------------------------------------------ progress


def test_the_progress_of_mining_ends_at_its_total(folder):
    done: dict[str, list[int]] = {}

    @contextmanager
    def counting(title, total):
        done[title] = [total, 0]

        def advance(count):
            done[title][1] += count

        yield advance

    encoder = load_encoder(folder, CPU)
    made = task(source(), counting=counting, mining=Mining(1, 3, 1, 0.9))
    made.start(encoder)
    made.begin(encoder, 0)
    texts = len(TOPICS) + len(DOCUMENTS)
    assert done == {"encode one": [texts, texts], "BM25 of one": [len(TOPICS)] * 2}
