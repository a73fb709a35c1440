import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from clir_cli.errors import UserError
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store import clusters
from clir_cli.retrieval.store import codec as codecs
from clir_cli.settings import IndexSettings

BITS = {"residual1": 1, "residual2": 2, "residual4": 4}


def packed(lengths: list[int], dimensions: int = 24, seed: int = 0, senses: int = 12) -> Packed:
    """Unit vectors in clusters, as token embeddings are."""
    chance = torch.Generator().manual_seed(seed)
    sense = torch.randn(senses, dimensions, generator=chance)
    tokens = sum(lengths)
    of = torch.randint(0, senses, (tokens,), generator=chance)
    vectors = sense[of] + 0.4 * torch.randn(tokens, dimensions, generator=chance)
    return Packed(normalize(vectors, dim=-1), torch.tensor([0, *lengths]).cumsum(0))


def stored(folder, documents: Packed, name: str, lists: bool = False) -> store.Shard:
    codec = store.train_codec(IndexSettings(format=name, lists=lists), documents)
    store.save_codec(folder, codec)
    store.write_shard(folder, 0, documents, codec)
    return store.read_shard(folder, 0)


def test_shards_come_back_as_they_were_written(tmp_path):
    shards = []
    for number, lengths in enumerate([[3, 1], [2], [5, 4, 1]]):
        documents = packed(lengths, 4, seed=number)
        shards.append(Packed(documents.vectors.half(), documents.offsets))
        store.write_shard(tmp_path, number, shards[-1])
    for before, after in zip(shards, store.read_shards(tmp_path), strict=True):
        assert torch.equal(before.vectors, after.vectors)
        assert torch.equal(before.offsets, after.offsets)
        assert torch.equal(before[0].float(), after[0])


def test_a_shard_without_offsets_does_not_count(tmp_path):
    store.write_shard(tmp_path, 0, Packed(torch.ones(2, 3), torch.tensor([0, 2])))
    assert store.has_shard(tmp_path, 0)
    store.shard_path(tmp_path, 0, "offsets").unlink()
    assert not store.has_shard(tmp_path, 0)
    assert list(store.read_shards(tmp_path)) == []


@pytest.mark.parametrize("name", store.FORMATS)
@pytest.mark.parametrize("dimensions", [24, 13])
def test_every_format_comes_back_from_disk_as_it_was_encoded(tmp_path, name, dimensions):
    documents = packed([9, 1, 30, 7, 20, 41], dimensions)
    codec = store.train_codec(IndexSettings(format=name), documents)
    store.save_codec(tmp_path, codec)
    store.write_shard(tmp_path, 0, documents, codec)
    assert (tmp_path / "shard-00000.offsets.npy").exists()
    shard = store.read_shard(tmp_path, 0)
    assert shard.vectors.shape == documents.vectors.shape
    # what was read from disk with the codec from disk is what the codec in memory makes of it
    nearest = codec.clusters.nearest(documents.vectors) if codec.has_lists else None
    arrays = codecs.FORMATS[name].encode(codec, documents.vectors, nearest)
    if nearest is not None:
        arrays["nearest"] = nearest
    assert torch.equal(shard.vectors.float(), codecs.FORMATS[name].decode(codec, arrays))
    for number in range(len(documents)):
        assert shard[number].shape == documents[number].shape
    rows = torch.tensor([5, 0, 5])
    assert torch.equal(shard.decode(rows), shard.vectors.float()[rows])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 17), st.integers(0, 100), st.floats(1e-6, 1e3))
def test_int8_is_off_by_at_most_half_a_step_of_its_token(tokens, dimensions, seed, size):
    vectors = size * torch.randn(tokens, dimensions, generator=torch.Generator().manual_seed(seed))
    vectors[0] = 0  # nothing to divide by
    codes, scales = codecs.quantise(vectors)
    error = (codes.float() * scales[:, None] - vectors).abs()
    assert (error <= 0.5001 * scales[:, None]).all()
    assert codes.abs().max() <= 127


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.sampled_from([1, 2, 4]), st.integers(1, 6), st.integers(1, 21), st.integers(0, 99))
def test_packed_buckets_are_unpacked_again(bits, tokens, dimensions, seed):
    chance = torch.Generator().manual_seed(seed)
    buckets = torch.randint(0, 2**bits, (tokens, dimensions), generator=chance)
    found = codecs.pack(buckets, bits)
    assert found.shape == (tokens, math.ceil(dimensions * bits / 8))
    table = codecs.unpacking(torch.arange(2**bits).float(), bits, 1)
    assert torch.equal(table[found.long()].view(tokens, -1)[:, :dimensions], buckets.float())
    if found.shape[1] % 2 == 0:  # two bytes at once are the same two
        pairs = found.contiguous().view(torch.int16).int() & 0xFFFF
        table = codecs.unpacking(torch.arange(2**bits).float(), bits, 2)
        assert torch.equal(table[pairs.long()].view(tokens, -1)[:, :dimensions], buckets.float())


def test_more_bits_bring_a_vector_back_more_closely(tmp_path):
    documents = packed([40] * 50)
    cosines = []
    for name in ("residual1", "residual2", "residual4", "int8"):
        folder = tmp_path / name
        folder.mkdir()
        found = stored(folder, documents, name).vectors
        cosines.append((found * documents.vectors).sum(1).mean().item())
    assert cosines == sorted(cosines)
    assert cosines[0] > 0.9 and cosines[-1] > 0.9999


@pytest.mark.parametrize(("name", "bits"), BITS.items())
def test_a_residual_token_takes_its_bits_and_the_number_of_its_centroid(tmp_path, name, bits):
    documents = packed([20] * 30, dimensions=32)
    shard = stored(tmp_path, documents, name)
    sizes = {part: array.nbytes / 600 for part, array in shard.arrays.items()}
    assert sizes == {"nearest": 2, "residuals": 32 * bits / 8}


@pytest.mark.parametrize("bits", BITS.values())
def test_cutoffs_part_what_is_left_evenly_and_weights_are_means(bits):
    documents = packed([50] * 40)
    codec = store.train_codec(IndexSettings(format=f"residual{bits}"), documents)
    nearest = codec.clusters.nearest(documents.vectors)
    left = (documents.vectors - codec.centroids[nearest]).flatten()
    buckets = torch.bucketize(left, codec.cutoffs)
    shares = torch.bincount(buckets, minlength=2**bits) / len(left)
    assert (shares - 2.0**-bits).abs().max() < 0.01
    means = torch.stack([left[buckets == number].mean() for number in range(2**bits)])
    torch.testing.assert_close(codec.weights, means, atol=2e-3, rtol=0)


def test_the_same_sample_gives_the_same_codec_and_the_rule_its_size():
    documents = packed([50] * 40)
    one, two = (
        store.train_codec(IndexSettings(format="residual2"), documents, documents=1000)
        for _ in range(2)
    )
    assert torch.equal(one.centroids, two.centroids) and torch.equal(one.cutoffs, two.cutoffs)
    assert len(one.centroids) == clusters.centroid_count(50 * 1000) == 1024
    assert torch.equal(one.centroids, one.centroids.half().float())  # as they will be read
    tokens = [10, 1_000, 10**5, 10**8]
    counts = [clusters.centroid_count(each) for each in tokens]
    assert all(4 * sqrt <= count <= 8 * sqrt for count, sqrt in zip(
        counts, (math.sqrt(each) for each in tokens), strict=True
    ))  # fmt: skip


def test_grouped_search_for_the_nearest_centroid_is_nearly_always_right(monkeypatch):
    vectors = packed([100] * 40, senses=200).vectors
    found = clusters.Clusters(clusters.kmeans(vectors, 256, seed=0, rounds=2))
    whole = found.nearest(vectors)
    expected = torch.cdist(vectors, found.centroids).argmin(dim=1)
    assert (whole == expected).float().mean() > 0.999
    monkeypatch.setattr(clusters, "GROUPED_FROM", 100)
    grouped = found.nearest(vectors)
    assert (grouped == expected).float().mean() > 0.95
    distance = (vectors - found.centroids[grouped]).norm(dim=1).mean()
    assert distance < 1.01 * (vectors - found.centroids[expected]).norm(dim=1).mean()


def test_lists_name_each_document_once_under_each_of_its_centroids(tmp_path):
    documents = packed([9, 4, 30, 7, 20])
    shard = stored(tmp_path, documents, "residual1")
    nearest = shard.arrays["nearest"]
    for number in range(len(shard.codec.centroids)):
        low, high = shard.lists.starts[number : number + 2]
        expected = [
            place
            for place in range(5)
            if number in nearest[shard.offsets[place] : shard.offsets[place + 1]]
        ]
        assert shard.lists.postings[low:high].tolist() == expected


def test_lists_beside_plain_vectors_change_nothing_in_them(tmp_path):
    documents = packed([9, 4, 30])
    shard = stored(tmp_path, documents, "dense", lists=True)
    assert torch.equal(shard.vectors, documents.vectors)
    assert shard.lists is not None and len(shard.lists.postings)


def test_a_codec_that_must_learn_says_so():
    assert not store.is_trained(IndexSettings(format="int8"))
    assert store.is_trained(IndexSettings(format="int8", lists=True))
    with pytest.raises(ValueError, match="sample"):
        store.train_codec(IndexSettings(format="residual2"))


def test_a_plain_index_has_the_files_that_it_always_had(tmp_path):
    store.save_codec(tmp_path, store.train_codec(IndexSettings()))
    store.write_shard(tmp_path, 0, packed([3, 2]), store.train_codec(IndexSettings()))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["shard-00000.offsets.npy", "shard-00000.vectors.npy"]


# ------------------------------------------------------------------ damage


def missing(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def empty(path):
    path.write_bytes(b"")


def other(path):
    np.save(path, np.zeros((2, 2), dtype=np.int8))


@pytest.mark.parametrize("harm", [missing, cut, empty, other])
@pytest.mark.parametrize("part", ["codes", "scales"])
def test_a_damaged_part_is_refused_by_name(tmp_path, harm, part):
    stored(tmp_path, packed([9, 4, 30]), "int8")
    harm(store.shard_path(tmp_path, 0, part))
    with pytest.raises(UserError, match=f"shard-00000.{part}.npy"):
        store.read_shard(tmp_path, 0)


@pytest.mark.parametrize("harm", [cut, empty])
def test_a_damaged_codec_is_refused_by_name(tmp_path, harm):
    stored(tmp_path, packed([9, 4, 30]), "residual2")
    harm(tmp_path / store.CODEC)
    with pytest.raises(UserError, match=r"codec\.safetensors: damaged"):
        store.read_codec(tmp_path)


def test_a_format_of_another_version_is_refused_by_name(tmp_path):
    store.save_codec(tmp_path, store.Codec("residual9"))
    with pytest.raises(UserError, match="residual9"):
        store.read_codec(tmp_path)


@pytest.mark.parametrize("name", store.FORMATS)
def test_documents_gathered_from_shards_are_what_they_were(tmp_path, name):
    parts = [packed([3, 9, 1], seed=1), packed([7], seed=2), packed([5, 2, 8, 4], seed=3)]
    codec = store.train_codec(IndexSettings(format=name), parts[2])
    store.save_codec(tmp_path, codec)
    for number, part in enumerate(parts):
        store.write_shard(tmp_path, number, part, codec)
    shards = list(store.read_shards(tmp_path))
    every = [shard[number] for shard in shards for number in range(len(shard))]
    for chosen in ([0], [1, 2, 4, 7], [3], list(range(8))):
        found = store.gather(shards, torch.tensor(chosen))
        assert len(found) == len(chosen)
        for place, number in enumerate(chosen):
            assert torch.equal(found[place], every[number])


@pytest.fixture
def few_descriptors():
    """Let this process open 40 files more than it has open now."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 40, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("name", ["dense", "residual2"])
def test_an_index_of_many_shards_needs_few_descriptors(tmp_path, name, few_descriptors):
    part = packed([3, 1])
    codec = store.train_codec(IndexSettings(format=name), part)
    store.save_codec(tmp_path, codec)
    for number in range(300):
        store.write_shard(tmp_path, number, part, codec)
    shards = list(store.read_shards(tmp_path))
    assert len(shards) == 300
    first = shards[0].vectors.float()
    for shard in shards:
        shard.release()  # what was returned to the system is read again
        assert torch.equal(shard.vectors.float(), first)
    chosen = store.gather(shards, torch.tensor([0, 599]), release=True)
    assert torch.equal(chosen[1], shards[0][1])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", store.FORMATS)
def test_embeddings_that_are_no_numbers_are_not_stored(tmp_path, name, bad):
    documents = packed([5, 3])
    codec = store.train_codec(IndexSettings(format=name), documents)
    documents.vectors[4, 2] = bad
    with pytest.raises(UserError, match=r"shard 7 of .* not finite"):
        store.write_shard(tmp_path, 7, documents, codec)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BITS)
def test_residual_vectors_are_decoded_to_unit_length(tmp_path, name):
    found = stored(tmp_path, packed([9, 30, 7, 41]), name).vectors
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)), atol=1e-6, rtol=0)


def test_the_largest_entry_of_an_int8_vector_takes_the_whole_range():
    vectors = packed([9, 30]).vectors
    codes, scales = codecs.quantise(vectors)
    assert (codes.int().abs().amax(dim=1) == 127).all()
    torch.testing.assert_close(scales, vectors.abs().amax(dim=1) / 127)
