"""Encoding documents: the index's way beside naive padding and sentence-transformers.

    python -m benchmarks.encoding --mirror DIR [--model DIR] [--texts 600] [--turns 5] [--compile]
    python -m benchmarks.encoding --memory 2GB [--documents 50000]

The same model, texts, cores and process: all-MiniLM-L6-v2 with token embeddings of unit length,
texts of at most 256 tokens in the order of the collection. Ways take turns, and the median counts.
MAP is that of English queries over the documents that each way encoded, scored in float32. With
`--memory` a large collection is indexed in a child process, and its peak is told.
"""

import argparse
import copy
import csv
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks import engines
from benchmarks.machine import describe
from clir_cli import runtime
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Collection
from clir_cli.evaluation import measures
from clir_cli.retrieval.encoder import Encoder, Packed, load_encoder
from clir_cli.retrieval.maxsim import maxsim_batch, top_documents

LIMIT = 256  # tokens of a document
CPU = torch.device("cpu")
Way = Callable[[Sequence[str]], Packed]
PEER_BATCHES = (4, 8, 16, 32)


def packed(rows: Sequence[torch.Tensor]) -> Packed:
    """Token embeddings of several texts, end to end."""
    offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return Packed(torch.cat([row.float() for row in rows]), offsets)


# ------------------------------------------------------------------ the ways


def naive(encoder: Encoder, to_the_limit: bool) -> Way:
    """Batches of 32 in the order of the collection, padded to the limit or to the longest."""

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> Packed:
        rows: list[torch.Tensor] = []
        for start in range(0, len(texts), 32):
            read = encoder.tokenizer(
                list(texts[start : start + 32]),
                truncation=True,
                max_length=LIMIT,
                padding="max_length" if to_the_limit else "longest",
                return_tensors="pt",
            )
            mask = read["attention_mask"].bool()
            found = encoder.embed(read["input_ids"], mask)
            rows += [found[row, mask[row]] for row in range(len(found))]
        return packed(rows)

    return encode


def ours(encoder: Encoder) -> Way:
    """Length-sorted batches of so many tokens as suit the machine."""
    return lambda texts: encoder.encode(texts, LIMIT, kind="document", dtype=torch.float16)


def rounded(encoder: Encoder) -> Encoder:
    """The encoder with linear layers in int8, by torch's dynamic quantisation, a scale a row."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    model = quantize_dynamic(
        copy.deepcopy(encoder.model), {torch.nn.Linear: per_channel_dynamic_qconfig}
    )
    return replace(encoder, model=model)


def peer(folder: Path, precision: torch.dtype, size: int) -> Way:
    """`MultiVectorEncoder.encode`, without the random projection that it adds to a plain model."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.models import Normalize

    whole = MultiVectorEncoder(str(folder), device="cpu", model_kwargs={"torch_dtype": precision})
    kept = [part for part in whole if type(part).__name__ != "Dense"]
    model = MultiVectorEncoder(modules=kept, device="cpu")
    assert any(isinstance(part, Normalize) or "Normal" in type(part).__name__ for part in model)
    model.max_seq_length = LIMIT
    return lambda texts: packed(model.encode(list(texts), batch_size=size))


# ------------------------------------------------------------------ what is measured


def mixed(mirror: Path, count: int) -> list[str]:
    """News passages, encyclopaedia paragraphs and single sentences, in a fixed random order."""
    passages = [each.full_text for each in load_collection("ntrex", "en", mirror).documents]
    squad = load_collection("xquad", "en", mirror)
    paragraphs = [each.full_text for each in squad.documents]
    sentences = [text for passage in passages for text in passage.split(". ") if len(text) > 20]
    chance = random.Random(0)
    every = [*passages, *paragraphs, *chance.sample(sentences, 600)]
    return chance.sample(every, min(count, len(every)))


def mean_average_precision(collection: Collection, queries: Packed, documents: Packed) -> float:
    """MAP of the English queries of a collection."""
    ids = [document.id for document in collection.documents]
    scores = maxsim_batch(queries, documents)
    run = {
        query: dict(top_documents(row, ids, 100))
        for query, row in zip(collection.queries["en"], scores, strict=True)
    }
    bootstrap = measures.Bootstrap(resamples=100)
    (found,) = measures.score(collection.qrels, run, measures.parse_measures("map"), bootstrap)
    return found.value


def maps(way: Way, encoder: Encoder, mirror: Path) -> dict[str, float]:
    """MAP of English queries, read by an encoder, over what a way encoded of two collections."""
    found = {}
    for name in ("sample", "ntrex"):
        collection = load_collection(name, "en", mirror)
        queries = encoder.encode(list(collection.queries["en"].values()), 128, kind="query")
        documents = way([document.full_text for document in collection.documents])
        found[name] = mean_average_precision(collection, queries, documents)
    return found


def seconds(way: Way, texts: Sequence[str]) -> float:
    """Time of one call; the processor's where there is one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    way(texts)
    return clock() - start


def engine(name: str, exact: Encoder, texts: Sequence[str], folder: Path) -> Encoder:
    """The encoder by another engine (benchmarks/engines.py); scales are calibrated on the texts."""
    if name.startswith("onnx"):
        return engines.onnx(exact, folder, int8=name.endswith("int8"))
    sample = engines.batches(exact, texts[:100], LIMIT) if name.endswith("int8") else []
    return engines.openvino(exact, sample)


def compare(chosen: argparse.Namespace) -> list[dict[str, object]]:
    """Measure all ways in turns and return a row for each."""
    exact = load_encoder(chosen.model, CPU)
    half = load_encoder(chosen.model, CPU, torch.bfloat16)
    texts = mixed(chosen.mirror, chosen.texts)
    lengths = sorted(len(ids) for ids in exact.tokenize(texts, LIMIT))
    talk = Console(stderr=True)
    spread = [lengths[len(lengths) * tenth // 10] for tenth in (1, 5, 9)]
    talk.print(f"{len(texts)} texts, {sum(lengths)} tokens; 1st, 5th and 9th decile {spread}")

    sizes = {("bfloat16", size): peer(chosen.model, torch.bfloat16, size) for size in PEER_BATCHES}
    sizes["float32", 32] = peer(chosen.model, torch.float32, 32)
    alike = functional.cosine_similarity(
        sizes["float32", 32](texts[:20]).vectors, ours(exact)(texts[:20]).vectors.float()
    )
    assert alike.min() > 0.999, "sentence-transformers computes something else"
    short = texts[: len(texts) // 4]
    tuned = {
        key: statistics.median(seconds(way, short) for _ in range(3)) for key, way in sizes.items()
    }
    best = min(tuned, key=lambda key: tuned[key])
    talk.print(f"sentence-transformers is fastest with {best[0]}, batches of {best[1]}")

    ways: dict[str, Way] = {
        "naive, padded to 256 tokens": naive(exact, to_the_limit=True),
        "naive, padded to the longest of a batch": naive(exact, to_the_limit=False),
        "sentence-transformers, defaults": sizes["float32", 32],
        f"sentence-transformers, {best[0]}, batch {best[1]}": sizes[best],
        "clir, float32": ours(exact),
        "clir, bfloat16": ours(half),
        "clir, int8 by torch.ao": ours(rounded(exact)),
    }
    if chosen.compile:
        start = time.perf_counter()
        compiled = replace(half, model=torch.compile(half.model, dynamic=True))
        ours(compiled)(texts[:40])
        talk.print(f"compiled in {time.perf_counter() - start:.0f} s, which is not counted")
        ways["clir, bfloat16, compiled"] = ours(compiled)

    for name in chosen.engines:
        with tempfile.TemporaryDirectory() as folder:
            encoder = engine(name, exact, texts, Path(folder))
        ways[f"clir, {name}"] = ours(encoder)
        talk.print(f"clir, {name}: ready")

    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(chosen.turns):
        for name, way in ways.items():
            taken[name].append(seconds(way, texts))

    quality = {
        name: maps(way, exact, chosen.mirror) for name, way in ways.items() if "clir" in name
    }
    medians = {name: statistics.median(times) for name, times in taken.items()}
    rows = []
    for name in ways:
        found = quality.get(name, {})
        rows.append(
            {
                "way": name,
                "seconds": round(medians[name], 3),
                "fastest": round(min(taken[name]), 3),
                "slowest": round(max(taken[name]), 3),
                "tokens_a_second": round(sum(lengths) / medians[name]),
                "clir_is_faster_by": round(medians[name] / medians["clir, bfloat16"], 2),
                "map_sample": round(found["sample"], 5) if found else "",
                "map_ntrex": round(found["ntrex"], 5) if found else "",
                "texts": len(texts),
                "tokens": sum(lengths),
                "turns": chosen.turns,
                "machine": describe("cpu"),
            }
        )
    return rows


# ------------------------------------------------------------------ memory


def peak(model: Path, limit: str, documents: int) -> dict[str, object]:
    """Index a generated collection in a child, with random weights of MiniLM's width."""
    from transformers import BertConfig, BertModel

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher, data, home = folder / "teacher", folder / "made-up", folder / "home"
        torch.manual_seed(0)
        config = BertConfig(
            hidden_size=384, num_hidden_layers=1, num_attention_heads=12, intermediate_size=384
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(teacher)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (teacher / file).write_bytes((model / file).read_bytes())
        generate(data, documents)
        words = [
            *(sys.executable, "-m", "clir_cli", "index", "--quiet", "--collection", str(data)),
            *("--home", str(home), "--set", f"teacher.model={teacher}"),
            *("--set", f"index.shard_documents={documents}", "--device", "cpu"),
        ]
        home.mkdir()
        subprocess.run([*words, *(("--set", f"index.memory={limit}") if limit else ())], check=True)
        notes = json.loads((home / "sample/index/made-up/notes.json").read_text())
        shards = len(list((home / "sample/index/made-up").glob("*.receipt.json")))
        return {
            "limit": limit or "none",
            "documents": documents,
            "tokens": notes["tokens"],
            "bytes_of_vectors": notes["tokens"] * 384 * 2,
            "shards": shards,
            "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        }


def generate(folder: Path, documents: int) -> None:
    """Write a collection of made-up documents of 20 to 80 words."""
    chance = random.Random(0)
    words = ["rain", "maize", "river", "school", "clinic", "market", "road", "well", "seed", "goat"]
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as stream:
        for number in range(documents):
            text = " ".join(chance.choices(words, k=chance.randint(20, 80)))
            stream.write(json.dumps({"_id": f"d{number}", "text": text}) + "\n")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "rain"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with NTREX-128 and XQuAD")
    parser.add_argument(
        "--model", type=Path, default=Path("artifacts/models/all-MiniLM-L6-v2"), help="its folder"
    )
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument(
        "--engines", nargs="*", default=[],
        choices=("openvino", "openvino int8", "onnx", "onnx int8"), help="measured as well",
    )  # fmt: skip
    parser.add_argument("--memory", help="measure the peak of indexing under this limit instead")
    parser.add_argument("--documents", type=int, default=50_000, help="with --memory")
    parser.add_argument("--out", type=Path, help="CSV; default results/bench/encoding*.csv")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table and write a CSV."""
    chosen = arguments()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    runtime.hush_libraries()
    if chosen.memory is not None:
        rows = [peak(chosen.model, chosen.memory, chosen.documents)]
        out = chosen.out or Path("results/bench/encoding_memory.csv")
    else:
        rows = compare(chosen)
        out = chosen.out or Path("results/bench/encoding.csv")
    drawn = Table(title=describe("cpu"), title_justify="left")
    shown = [name for name in rows[0] if name not in ("machine", "texts", "tokens", "turns")]
    for name in shown:
        drawn.add_column(name)
    for row in rows:
        drawn.add_row(*(str(row[name]) for name in shown))
    Console(width=160).print(drawn)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
