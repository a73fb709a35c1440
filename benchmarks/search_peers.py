"""faiss and fast-plaid over given embeddings; runs in an environment of its own.

    python benchmarks/search_peers.py EMBEDDINGS.safetensors TURNS

Prints rows as JSON. Needs numpy, torch, safetensors, and what is to be measured of faiss-cpu and
fast-plaid; what does not import is left out and told.
"""

import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file

TOP_K = 100
torch.set_num_threads(1)


def main() -> None:
    """Measure each peer that is there."""
    tensors = load_file(sys.argv[1])
    rows = []
    for name, peer in (("faiss", with_faiss), ("fast-plaid", with_fast_plaid)):
        try:
            rows += peer(tensors, int(sys.argv[2]))
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
    print(json.dumps(rows))


def parts(vectors: torch.Tensor, offsets: torch.Tensor) -> list[torch.Tensor]:
    """Return the texts apart."""
    return [vectors[low:high] for low, high in pairwise(offsets)]


def row(name: str, work, turns: int, exact: torch.Tensor, size: float) -> dict[str, object]:
    """Time a search and compare what it finds with the exact one."""
    times, found = [], work()
    for _ in range(turns):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    shares = [
        len(set(each) & set(best)) / len(best)
        for each, best in zip(found, exact.tolist(), strict=True)
    ]
    return {
        "search": name,
        "ms a query": round(1e3 * statistics.median(times) / len(exact), 2),
        "recall@100": round(sum(shares) / len(shares), 4),
        "bytes a token": round(size, 2),
    }


def with_faiss(tensors: dict[str, torch.Tensor], turns: int) -> list[dict[str, object]]:
    """Token search by IVF, documents of the tokens found, then exact re-scoring in float32."""
    import faiss

    faiss.omp_set_num_threads(1)
    vectors, offsets = tensors["documents"], tensors["document_offsets"]
    owner = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    queries = parts(tensors["queries"], tensors["query_offsets"])
    lists = 2048
    coarse = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(coarse, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    chance = torch.Generator().manual_seed(0)
    index.train(vectors[torch.randperm(len(vectors), generator=chance)[:100_000]].numpy())
    index.add(vectors.numpy())
    index.nprobe = 16
    documents = parts(vectors, offsets)

    def search(near: int) -> list[list[int]]:
        found = []
        for query in queries:
            _, tokens = index.search(query.numpy(), near)
            tokens = torch.from_numpy(tokens).flatten()
            chosen = owner[tokens[tokens >= 0]].unique()
            block = torch.cat([documents[place] for place in chosen.tolist()])
            sizes = offsets.diff()[chosen]
            best = torch.segment_reduce(block @ query.T, "max", lengths=sizes, axis=0).sum(1)
            found.append(chosen[best.topk(min(TOP_K, len(best))).indices].tolist())
        return found

    size = 4.0 * vectors.shape[1] + 8
    return [
        row(f"faiss IVF2048, nprobe 16, {near} tokens a query token, re-scored",
            lambda near=near: search(near), turns, tensors["exact"], size)
        for near in (200, 1000)
    ]  # fmt: skip


def with_fast_plaid(tensors: dict[str, torch.Tensor], turns: int) -> list[dict[str, object]]:
    """fast-plaid with 4 bits, as it comes, and with more of everything."""
    from fast_plaid import search as plaid

    documents = parts(tensors["documents"], tensors["document_offsets"])
    queries = parts(tensors["queries"], tensors["query_offsets"])
    with tempfile.TemporaryDirectory() as folder:
        index = plaid.FastPlaid(index=folder, device="cpu")
        index.create(documents_embeddings=documents)
        taken = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())

        def search(probes: int, scored: int) -> list[list[int]]:
            found = index.search(
                queries_embeddings=queries,
                top_k=TOP_K,
                n_ivf_probe=probes,
                n_full_scores=scored,
                show_progress=False,
            )
            return [[document for document, _ in each] for each in found]

        return [
            row(f"fast-plaid, 4 bits, n_ivf_probe {probes}, n_full_scores {scored}",
                lambda probes=probes, scored=scored: search(probes, scored),
                turns, tensors["exact"], taken / len(tensors["documents"]))
            for probes, scored in ((8, 4096), (32, 8192))
        ]  # fmt: skip


if __name__ == "__main__":
    main()
