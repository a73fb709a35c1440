import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.training.batches import BUCKET, epoch_batches, pad_vectors

lengths_of = st.lists(st.integers(2, 200), min_size=1, max_size=300)


@settings(derandomize=True, deadline=None)
@given(lengths_of, st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_every_pair_is_seen_once_an_epoch(lengths, size, seed, epoch):
    batches = epoch_batches(lengths, size, seed=seed, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    assert batches == epoch_batches(lengths, size, seed=seed, epoch=epoch)


@settings(derandomize=True, deadline=None)
@given(lengths_of, st.integers(1, 40), st.integers(1, 400))
def test_an_epoch_draws_so_many_and_none_twice(lengths, size, most):
    batches = epoch_batches(lengths, size, seed=3, epoch=1, most=most)
    drawn = [index for batch in batches for index in batch]
    assert len(drawn) == len(set(drawn)) == min(most, len(lengths))
    assert set(drawn) <= set(range(len(lengths)))


def test_every_epoch_draws_others():
    first, second = (epoch_batches([9] * 500, 10, seed=0, epoch=e, most=100) for e in (0, 1))
    assert {n for batch in first for n in batch} != {n for batch in second for n in batch}


def test_epochs_and_seeds_differ_and_batches_are_of_like_length():
    chance = torch.Generator().manual_seed(1)
    lengths = torch.randint(4, 120, (2000,), generator=chance).tolist()
    first = epoch_batches(lengths, 20, seed=0, epoch=0)
    assert first != epoch_batches(lengths, 20, seed=0, epoch=1)
    assert first != epoch_batches(lengths, 20, seed=1, epoch=0)
    padded = sum(max(lengths[index] for index in batch) * len(batch) for batch in first)
    assert padded < 1.1 * sum(lengths)  # unsorted batches of 20 would be about twice the sum
    assert len(lengths) > BUCKET * 20  # so that more than one bucket was sorted


def test_padding_is_zero_and_masked():
    vectors, mask = pad_vectors([torch.ones(2, 3), torch.ones(4, 3).half()], torch.device("cpu"))
    assert vectors.dtype == torch.float32
    assert mask.sum(dim=1).tolist() == [2, 4]
    assert vectors[~mask].abs().sum() == 0
