import torch

from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed


def test_shards_come_back_as_they_were_written(tmp_path):
    shards = []
    for number, lengths in enumerate([[3, 1], [2], [5, 4, 1]]):
        vectors = torch.randn(sum(lengths), 4).half()
        offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
        shards.append(Packed(vectors, offsets))
        store.write_shard(tmp_path, number, shards[-1])
    for before, after in zip(shards, store.read_shards(tmp_path), strict=True):
        assert torch.equal(before.vectors, after.vectors)
        assert torch.equal(before.offsets, after.offsets)


def test_a_shard_without_offsets_does_not_count(tmp_path):
    store.write_shard(tmp_path, 0, Packed(torch.ones(2, 3), torch.tensor([0, 2])))
    assert store.has_shard(tmp_path, 0)
    store.shard_paths(tmp_path, 0)[1].unlink()
    assert not store.has_shard(tmp_path, 0)
    assert list(store.read_shards(tmp_path)) == []
