"""Shards that stay in a device's memory: the same scores, as many as there is room for."""

import numpy as np
import pytest
import torch

from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim_batch
from clir_cli.retrieval.store.clusters import Clusters
from clir_cli.settings import IndexSettings

CPU = torch.device("cpu")


def packed(documents: int = 40, dimensions: int = 16) -> Packed:
    chance = torch.Generator().manual_seed(2)
    sizes = torch.randint(1, 9, (documents,), generator=chance)
    vectors = torch.randn(int(sizes.sum()), dimensions, generator=chance)
    return Packed(
        torch.nn.functional.normalize(vectors, dim=-1),
        torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)]),
    )


@pytest.mark.parametrize("form", ["dense", "int8", "residual2", "residual4"])
def test_resident_shards_have_the_scores_of_the_files(tmp_path, form):
    documents, codec = packed(), store.Codec()
    settings = IndexSettings(format=form)
    codec = store.train_codec(settings, documents if store.is_trained(settings) else None)
    store.save_codec(tmp_path, codec)
    for number in range(3):
        store.write_shard(tmp_path, number, documents, codec)
    shards = list(store.read_shards(tmp_path))
    a_shard = sum(array.nbytes for array in shards[0].arrays.values())
    kept = store.resident(shards, CPU, 2 * a_shard)
    assert [bool(shard.resident) for shard in kept] == [True, True, False]
    assert not any(shard.resident for shard in store.resident(shards, CPU, a_shard - 1))
    queries = Packed.of([documents[3], documents[7]])
    for before, after in zip(shards, kept, strict=True):
        rows = torch.tensor([0, 5, 17, 3])
        assert torch.equal(after.decode(rows, CPU), before.decode(rows, CPU))
        assert torch.equal(after.decode(rows), before.decode(rows))
        assert torch.equal(maxsim_batch(queries, after), maxsim_batch(queries, before))


def test_the_nearest_centroid_is_the_same_wherever_it_is_searched():
    vectors = packed(60).vectors
    codec = store.train_codec(IndexSettings(lists=True), packed(60), device=CPU)
    assert torch.equal(codec.clusters_on(CPU).nearest(vectors), codec.clusters.nearest(vectors))
    assert codec.clusters_on(CPU) is codec.clusters


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["dense", "residual2"])
def test_a_gpu_scores_resident_and_streamed_shards_as_the_cpu_does(tmp_path, form):
    gpu, documents = torch.device("cuda"), packed(200)
    settings = IndexSettings(format=form, lists=True)
    codec = store.train_codec(settings, documents, device=gpu)
    store.save_codec(tmp_path, codec)
    store.write_shard(tmp_path, 0, documents, codec, gpu)
    (shard,) = store.read_shards(tmp_path)
    here = Clusters(codec.centroids).nearest(documents.vectors)
    assert np.mean(here.numpy() == shard.arrays["nearest"] if form != "dense" else 1) > 0.99
    queries = Packed.of([documents[3], documents[7]])
    there = Packed(queries.vectors.to(gpu), queries.offsets)
    expected = maxsim_batch(queries, shard)
    for each in (shard, *store.resident([shard], gpu, 1 << 30)):
        torch.testing.assert_close(maxsim_batch(there, each).cpu(), expected, atol=1e-4, rtol=0)
