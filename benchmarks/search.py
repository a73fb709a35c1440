"""Search side by side: formats of the store, candidates against exact, peers, memory, growth.

    python -m benchmarks.search --texts MIRROR --model FOLDER [--parts formats large memory growth]
    python -m benchmarks.search ... --parts peers --python VENV/bin/python

`formats` and `peers` search real documents, `large`, `memory` and `growth` generated ones (see
benchmarks/embeddings.py). Encoding and building are kept in --cache. Within a part all take turns
in one process; the median of the turns counts. With one thread the clock is the processor's time.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.embeddings import RealStore, generated, picked, real_store
from benchmarks.machine import describe
from benchmarks.stores import build, bytes_of, opened
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.index_recall import recall
from clir_cli.retrieval.maxsim import maxsim_batch
from clir_cli.retrieval.ranking import Ranker, best_indices
from clir_cli.setting_types import parse_size
from clir_cli.settings import IndexSettings

SHARD = 4096
TOP_K = 100
FORMATS = {
    "float32": IndexSettings(dtype="float32"),
    "float16": IndexSettings(dtype="float16"),
    "int8": IndexSettings(format="int8"),
    "residual4": IndexSettings(format="residual4"),
    "residual2": IndexSettings(format="residual2"),
    "residual1": IndexSettings(format="residual1"),
}
LARGE = {
    "int8": IndexSettings(format="int8", lists=True),
    "residual2": IndexSettings(format="residual2"),
}
CANDIDATES = (500, 1000, 2000, 2750, 4000, 8000)
Row = dict[str, object]

talk = Console(stderr=True)


class Bench:
    """What was asked for on the command line, and the embeddings."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen = chosen
        self.real: RealStore = real_store(
            chosen.texts, chosen.model, chosen.documents, chosen.cache
        )
        self.queries = picked(self.real.queries, self.some(chosen.queries))

    def some(self, count: int) -> Tensor:
        """Return the numbers of so many queries, evenly spread over the questions and sentences."""
        every = torch.arange(len(self.real.queries))
        return every[:: max(1, len(every) // count)][:count]

    def real_folder(self, name: str) -> Path:
        """Return the folder of the real documents in a format, built if need be."""
        settings, documents = FORMATS[name], self.real.documents
        folder = self.chosen.cache / f"real-{len(documents)}-{name}"
        chance = torch.Generator().manual_seed(0)
        some = torch.randperm(len(documents), generator=chance)[: store.sample_size(len(documents))]
        dtype = getattr(torch, settings.dtype) if settings.format == "dense" else torch.float32
        starts = range(0, len(documents), SHARD)
        shards = (
            Packed(part.vectors.to(dtype), part.offsets)
            for part in (
                picked(documents, torch.arange(at, min(at + SHARD, len(documents))))
                for at in starts
            )
        )
        build(folder, settings, shards, picked(documents, some), len(documents))
        return folder

    def large_folder(self, name: str) -> Path:
        """Return the folder of the generated documents in a format, built if need be."""
        count, real = self.chosen.large, self.real.documents
        folder = self.chosen.cache / f"generated-{count}-{name}"
        sample = next(generated(real, store.sample_size(count), seed=1, at_once=10_000))
        build(folder, LARGE[name], generated(real, count, at_once=SHARD), sample, count)
        return folder


def in_turns(works: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median seconds of each work; they take turns, and a first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for turn in range(turns + 1):
        for name, work in works.items():
            start = clock()
            work()
            if turn or turns == 0:
                times[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def average_precision(scores: Tensor, relevant: set[int]) -> float:
    """Return the average precision over the thousand best."""
    found, total = 0, 0.0
    for rank, place in enumerate(scores.topk(min(1000, len(scores))).indices.tolist(), start=1):
        if place in relevant:
            found += 1
            total += found / rank
    return total / len(relevant)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


# ------------------------------------------------------------------ parts


def formats(bench: Bench) -> list[Row]:
    """Exact search over the real documents, in each format."""
    rankers = {name: Ranker(opened(bench.real_folder(name)), top_k=1000) for name in FORMATS}
    timed = {name: Ranker(each.shards, TOP_K) for name, each in rankers.items()}
    seconds = in_turns(
        {name: lambda each=each: list(each.rank(bench.queries)) for name, each in timed.items()},
        bench.chosen.turns,
    )
    tokens = len(bench.real.documents.vectors)
    asked = bench.some(bench.chosen.judged)
    queries = picked(bench.real.queries, asked)
    relevant = [bench.real.relevant[number] for number in asked.tolist()]
    exact = list(rankers["float32"].rank(queries))
    rows = []
    for name, ranker in rankers.items():
        ranked = list(ranker.rank(queries))
        precision = mean(list(map(average_precision, ranked, relevant)))
        best = list(timed[name].rank(queries))
        rows.append(
            {
                "format": name,
                "bytes a token": round(bytes_of(bench.real_folder(name)) / tokens, 2),
                "ms a query": round(1e3 * seconds[name] / len(bench.queries), 3),
                "times float32": round(seconds["float32"] / seconds[name], 2),
                "recall@100": round(
                    mean([recall(*each, TOP_K) for each in zip(best, exact, strict=True)]), 4
                ),
                "MAP": round(precision, 4),
            }
        )
    return rows


def large(bench: Bench) -> list[Row]:
    """Candidates against exact search over the generated documents."""
    queries, rows = bench.queries, []
    for name in bench.chosen.formats:
        shards = opened(bench.large_folder(name))
        tokens = sum(int(shard.offsets[-1]) for shard in shards)
        rankers = {"exact": Ranker(shards, TOP_K)}
        rankers |= {f"{each}": Ranker(shards, TOP_K, each) for each in CANDIDATES}
        works: dict[str, Callable[[], object]] = {
            which: lambda each=each: list(each.rank(queries)) for which, each in rankers.items()
        }
        works["exact, in float32"] = lambda shards=shards: [
            maxsim_batch(queries, each) for each in shards
        ]
        seconds = in_turns(works, bench.chosen.large_turns)
        exact = list(rankers["exact"].rank(queries))
        for which in works:
            told = 1.0
            if which in rankers and which != "exact":
                found = rankers[which].rank(queries)
                told = mean([recall(*each, TOP_K) for each in zip(found, exact, strict=True)])
            rows.append(
                {
                    "format": name,
                    "documents": sum(map(len, shards)),
                    "tokens": tokens,
                    "bytes a token": round(bytes_of(bench.large_folder(name)) / tokens, 2),
                    "search.candidates": which,
                    "ms a query": round(1e3 * seconds[which] / len(queries), 2),
                    "times exact": round(seconds["exact"] / seconds[which], 2),
                    "recall@100": round(told, 4),
                }
            )
    return rows


def memory(bench: Bench) -> list[Row]:
    """Largest memory of a process that searches the generated documents, with a limit."""
    rows = []
    for name in bench.chosen.formats:
        folder = bench.large_folder(name)
        queries = bench.chosen.cache / "queries.safetensors"
        save_file({"vectors": bench.queries.vectors, "offsets": bench.queries.offsets}, queries)
        for candidates in (0, CANDIDATES[0]):
            for limit in ("", bench.chosen.limit):
                words = [folder, queries, str(candidates), limit]
                run = [sys.executable, "-m", "benchmarks.search", "--child", *map(str, words)]
                done = subprocess.run(run, check=True, capture_output=True, text=True)
                rows.append(
                    {
                        "format": name,
                        "GB on disk": round(bytes_of(folder) / 1e9, 2),
                        "search.candidates": candidates,
                        "index.memory": limit or "none",
                        "peak GB": json.loads(done.stdout)["peak"],
                    }
                )
    return rows


def child(words: Sequence[str]) -> None:
    """Search in a process of its own, and print its largest memory in GB."""
    from clir_cli.retrieval.tensor_files import read_tensors

    torch.set_num_threads(1)
    tensors, _ = read_tensors(Path(words[1]))
    queries = Packed(tensors["vectors"], tensors["offsets"])
    ranker = Ranker(opened(Path(words[0])), TOP_K, float(words[2]), parse_size(words[3]))
    for scores in ranker.rank(queries):
        best_indices(scores, TOP_K)
    # Not getrusage, which remembers the process that started this one.
    told = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"peak": round(int(told) * 1024 / 1e9, 3)}))


def stored_bytes(shard: store.Shard) -> int:
    """Return the size of a shard on disk without the headers of its files."""
    arrays = [*shard.arrays.values(), *(vars(shard.lists).values() if shard.lists else ())]
    return sum(array.nbytes for array in arrays) + shard.offsets.nbytes


def growth(bench: Bench) -> list[Row]:
    """Time and bytes as documents grow, and what straight lines through them say of ten million."""
    rows: list[Row] = []
    for name in bench.chosen.formats:
        shards = opened(bench.large_folder(name))
        seconds, sizes, places = {}, {}, {}
        works: dict[tuple[int, int], Callable[[], object]] = {}
        for times in (1, 2, 4, 8):
            some = shards[: max(1, len(shards) * times // 8)]
            sizes[times] = sum(map(len, some))
            places[times] = sum(map(stored_bytes, some))
            for candidates in (0, CANDIDATES[0]):
                ranker = Ranker(some, TOP_K, candidates)
                works[times, candidates] = lambda ranker=ranker: list(ranker.rank(bench.queries))
        seconds = in_turns({str(key): work for key, work in works.items()}, 1)
        for candidates in (0, CANDIDATES[0]):
            found = [
                1e3 * seconds[str((times, candidates))] / len(bench.queries) for times in sizes
            ]
            line = np.polyfit(list(sizes.values()), found, 1)
            for times, took in zip(sizes, found, strict=True):
                rows.append(_grown(name, candidates, sizes[times], took, places[times] / 1e9))
            bytes_each = places[8] / sizes[8]
            rows.append(
                _grown(name, candidates, 10**7, float(np.polyval(line, 1e7)), bytes_each / 100)
                | {"documents": "10,000,000 by the fit"}
            )
    return rows


def _grown(name: str, candidates: int, documents: int, took: float, size: float) -> Row:
    return {
        "format": name,
        "search.candidates": candidates,
        "documents": f"{documents:,}",
        "ms a query": round(took, 2),
        "microseconds a document": round(1e3 * took / documents, 4),
        "GB": round(size, 3),
    }


def peers(bench: Bench) -> list[Row]:
    """Faiss and fast-plaid over the real documents, in their own environment, beside clir."""
    exact = torch.stack(
        list(Ranker(opened(bench.real_folder("float32")), TOP_K).rank(bench.queries))
    )
    tensors = {
        "documents": bench.real.documents.vectors,
        "document_offsets": bench.real.documents.offsets,
        "queries": bench.queries.vectors,
        "query_offsets": bench.queries.offsets,
        "exact": exact.topk(TOP_K).indices,
    }
    file = bench.chosen.cache / "peers.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    script = Path(__file__).with_name("search_peers.py")
    done = subprocess.run(
        [bench.chosen.python, script, file, str(bench.chosen.turns)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    tokens = len(bench.real.documents.vectors)
    rows: list[Row] = []
    ranked = {
        "clir, float32, exact": ("float32", 0),
        "clir, int8, exact": ("int8", 0),
        "clir, residual4, exact": ("residual4", 0),
        "clir, residual4, 800 candidates": ("residual4", 800),
        "clir, residual4, 1600 candidates": ("residual4", 1600),
    }
    rankers = {
        name: Ranker(opened(bench.real_folder(which)), TOP_K, count)
        for name, (which, count) in ranked.items()
    }
    seconds = in_turns(
        {name: lambda each=each: list(each.rank(bench.queries)) for name, each in rankers.items()},
        bench.chosen.turns,
    )
    for name, ranker in rankers.items():
        found = list(ranker.rank(bench.queries))
        rows.append(
            {
                "search": name,
                "ms a query": round(1e3 * seconds[name] / len(bench.queries), 2),
                "recall@100": round(
                    mean([recall(*each, TOP_K) for each in zip(found, exact, strict=True)]), 4
                ),
                "bytes a token": round(bytes_of(bench.real_folder(ranked[name][0])) / tokens, 2),
            }
        )
    return rows + json.loads(done.stdout.splitlines()[-1])


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "formats": formats,
    "large": large,
    "memory": memory,
    "growth": growth,
    "peers": peers,
}


def main() -> None:
    """Measure, print tables, and write them down."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True, help="downloads, or a mirror of them")
    parser.add_argument("--model", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS][:-1])
    parser.add_argument("--documents", type=int, default=8000, help="real ones")
    parser.add_argument("--large", type=int, default=200_000, help="generated ones")
    parser.add_argument("--formats", nargs="+", choices=LARGE, default=[*LARGE], help="of these")
    parser.add_argument("--queries", type=int, default=48, help="that are timed")
    parser.add_argument("--judged", type=int, default=300, help="of which recall and MAP are")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--large-turns", type=int, default=3)
    parser.add_argument("--limit", default="2GB", help="index.memory of the part `memory`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--python", default="", help="of an environment with faiss, fast-plaid")
    default = Path(tempfile.gettempdir()) / "clir-bench"
    parser.add_argument("--cache", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    machine = describe("cpu")
    talk.print(machine)
    bench = Bench(chosen)
    for part in chosen.parts:
        rows = PARTS[part](bench)
        draw(part, rows)
        keep(chosen.out / f"search_{part}.csv", [row | {"machine": machine} for row in rows])


def draw(title: str, rows: list[Row]) -> None:
    """Print a table."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value}" for value in row.values()))
    Console().print(table)


def keep(path: Path, rows: list[Row]) -> None:
    """Write a table down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [[*rows[0]], *([*row.values()] for row in rows)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(lines)
    talk.print(f"written to {path}")


if __name__ == "__main__":
    main()
