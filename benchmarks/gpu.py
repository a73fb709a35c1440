"""One card in a few minutes: transport, a distillation step, encoding and MaxSim, beside peers.

    python -m benchmarks.gpu                # with a CUDA device: at most 8 minutes
    python -m benchmarks.gpu --tiny         # the same on small sizes, also on a CPU: a minute

Everything is made up and random, so nothing is downloaded. Each part is compared in the same run:
transport with geomloss alone, the step and MaxSim with plain torch, encoding with
sentence-transformers. The roofline is what this card reaches on one large product of matrices, and
on one large copy, measured first; a share says how near a part comes to the nearer of the two. The
table goes to results/bench/ under the card's name.
"""

import argparse
import csv
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmarks.costs import translated
from benchmarks.machine import describe, milliseconds, processor
from benchmarks.step import ENCODERS, Step
from clir_cli import runtime
from clir_cli.optical.transport import transport_plan
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Encoder, Packed, load_encoder
from clir_cli.retrieval.maxsim import maxsim_batch
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.step_time import TOKENS, step_seconds
from clir_cli.suites import load_settings

DIMENSIONS = 128
Row = dict[str, object]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: those of a card, and small ones."""

    product: int
    copied: int
    pairs: tuple[int, ...]
    suite: str
    encoder: str
    texts: int
    documents: int  # of a shard, which is scored ``turns`` times
    turns: int
    queries: int


CARD = Sizes(8192, 1 << 30, (64, 256), "paper", "mbert", 4096, 1 << 16, 16, 32)
TINY = Sizes(256, 1 << 22, (8,), "sample", "minilm", 16, 256, 2, 2)


@dataclass(frozen=True)
class Roofline:
    """What the device reaches: operations and bytes a second."""

    operations: float
    bytes: float

    def share(self, ms: float, operations: float, read: float) -> float:
        """Return the share in percent of the nearer limit."""
        least = max(operations / self.operations, read / self.bytes)
        return 100 * 1e3 * least / ms


def roofline(device: str, precision: torch.dtype, sizes: Sizes) -> Roofline:
    """Measure one large product and one large copy."""
    left = torch.randn(sizes.product, sizes.product, device=device, dtype=precision)
    product = milliseconds(lambda: left @ left, device)
    numbers = torch.empty(sizes.copied, dtype=torch.uint8, device=device)
    copy = milliseconds(numbers.clone, device)
    return Roofline(2 * sizes.product**3 / product * 1e3, 2 * sizes.copied / copy * 1e3)


def layer_weights(encoder: str) -> int:
    """Return the number of weights in the layers of an encoder of ``ENCODERS``."""
    shape = ENCODERS[encoder]
    return int(12 * shape["num_hidden_layers"] * shape["hidden_size"] ** 2)


def _row(part: str, way: str, ms: float, count: float, share: float | None) -> Row:
    """Return one figure: the time, how many a second, and the share of the roofline in percent."""
    return {
        "part": part,
        "way": way,
        "ms": round(ms, 3),
        "a second": round(count / ms * 1e3, 1),
        "roofline": "" if share is None else round(share, 1),
    }


def transports(device: str, sizes: Sizes) -> Iterator[Row]:
    """Plans of a batch: the default solver, and geomloss alone."""
    for pairs in sizes.pairs:
        batch = [part.to(device) for part in translated(pairs, 32, 32, seed=1)]
        for solver in ("geomloss", "geomloss-only"):

            def solve(batch: list[torch.Tensor] = batch, solver: str = solver) -> torch.Tensor:
                return transport_plan(*batch, eps=0.05, solver=solver)

            way = {"geomloss": "clir", "geomloss-only": "geomloss"}[solver]
            ms = milliseconds(solve, device)
            yield _row(f"transport, {pairs} pairs", way, ms, pairs, None)


def steps(
    device: str, precision: torch.dtype, sizes: Sizes, limits: Roofline, home: Path
) -> Iterator[Row]:
    """Yield the time of a step of distillation: the suite's own, and plain torch of that size."""
    settings = load_settings(sizes.suite)
    pairs = settings.training.batch_size
    operations = 6.0 * layer_weights(sizes.encoder) * pairs * TOKENS
    ours = 1e3 * step_seconds(Workspace(settings, home, device=device))
    eager = Step(
        sizes.encoder, pairs, TOKENS, solver="geomloss", eps=0.05, precision=precision,
        compiled=False, device=device,
    )  # fmt: skip
    taken = median([1e3 * eager()[0] for _ in range(4)][1:])
    for way, ms in (("clir", ours), ("torch eager", taken)):
        share = limits.share(ms, operations, 0)
        yield _row(f"step, {pairs} pairs", way, ms, pairs, share)


def encodings(
    device: str, precision: torch.dtype, sizes: Sizes, limits: Roofline, folder: Path
) -> Iterator[Row]:
    """Documents of 8 to 180 tokens: the index's way, and sentence-transformers."""
    shape = ENCODERS[sizes.encoder]
    words = [f"w{number}" for number in range(1000)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    backend = Tokenizer(WordLevel(vocabulary, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **marks).save_pretrained(folder)
    hidden = shape["hidden_size"]
    config = BertConfig(**shape, num_attention_heads=hidden // 64, intermediate_size=4 * hidden)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    chance = torch.Generator().manual_seed(3)
    lengths = torch.randint(8, 181, (sizes.texts,), generator=chance).tolist()
    drawn = [torch.randint(0, 1000, (length,), generator=chance).tolist() for length in lengths]
    texts = [" ".join(words[number] for number in numbers) for numbers in drawn]
    operations = 2.0 * layer_weights(sizes.encoder) * sum(lengths)
    encoder: Encoder = load_encoder(folder, torch.device(device), precision)
    ways: dict[str, Callable[[], object]] = {
        "clir": lambda: encoder.encode(texts, 180, kind="document", dtype=torch.float16)
    }
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Transformer

        body = Transformer(str(folder), max_seq_length=180)
        peer = SentenceTransformer(modules=[body], device=device)
        peer = peer.to(precision)
        ways["sentence-transformers"] = lambda: peer.encode(
            texts, batch_size=64, output_value="token_embeddings", show_progress_bar=False
        )
    except ImportError:
        pass
    for way, work in ways.items():
        ms = milliseconds(work, device, 1)
        share = limits.share(ms, operations, 0)
        yield _row(f"encode {sizes.texts:,} documents", way, ms, sizes.texts, share)


def searches(device: str, sizes: Sizes, limits: Roofline) -> Iterator[Row]:
    """MaxSim of all documents: kept on the card, streamed to it, and plain torch."""
    chance = torch.Generator().manual_seed(4)
    tokens, total = 32, sizes.documents * sizes.turns
    vectors = torch.randn(sizes.documents * tokens, DIMENSIONS, generator=chance)
    vectors = normalize(vectors, dim=-1).half()
    offsets = torch.arange(sizes.documents + 1) * tokens
    shard = store.Shard.of(Packed(vectors, offsets))
    queries = normalize(torch.randn(sizes.queries * tokens, DIMENSIONS, generator=chance), dim=-1)
    packed = Packed(queries.to(device), torch.arange(sizes.queries + 1) * tokens)
    (kept,) = store.resident([shard], torch.device(device), 1 << 62)
    there = vectors.to(device).view(sizes.documents, tokens, DIMENSIONS)

    def eager() -> torch.Tensor:
        parts = []
        for block in there.split(2048):
            similarity = torch.einsum("qd,nmd->qnm", packed.vectors, block.float())
            best = similarity.amax(dim=2).view(sizes.queries, tokens, -1)
            parts.append(best.sum(dim=1))
        return torch.cat(parts, dim=1)

    ways: dict[str, Callable[[], object]] = {
        "clir, on the card": lambda: maxsim_batch(packed, kept),
        "clir, streamed": lambda: maxsim_batch(packed, shard),
        "torch eager": eager,
    }
    operations = 2.0 * len(queries) * len(vectors) * DIMENSIONS
    for way, work in ways.items():
        ms = milliseconds(work, device, 20)
        share = limits.share(ms, operations, vectors.nbytes)
        name = f"MaxSim, {sizes.queries} queries, {total:,} documents"
        yield _row(name, way, ms * sizes.turns, total, share)


def main(arguments: list[str] | None = None) -> Path:
    """Measure, draw the table, and write it as CSV; return the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small sizes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="folder")
    chosen = parser.parse_args(arguments)
    device = runtime.choose_device(chosen.device).type
    if device != "cuda" and not chosen.tiny:
        parser.error("there is no CUDA device; --tiny measures small sizes on the CPU")
    sizes = TINY if chosen.tiny else CARD
    precision = runtime.choose_precision("auto", torch.device(device))
    runtime.hush_libraries()
    talk, machine = Console(stderr=True), describe(device)
    talk.print(machine)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        limits = roofline(device, precision, sizes)
        reached = f"{limits.operations / 1e12:.2f} TFLOP/s, {limits.bytes / 1e9:.1f} GB/s"
        talk.print(f"roofline: {reached}")
        for part in (
            transports(device, sizes),
            steps(device, precision, sizes, limits, folder),
            encodings(device, precision, sizes, limits, folder / "encoder"),
            searches(device, sizes, limits),
        ):
            for row in part:
                talk.print(f"{row['part']}, {row['way']}: {row['ms']} ms")
                rows.append(row)
    table = Table(title=machine)
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading in ("part", "way") else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    card = torch.cuda.get_device_name() if device == "cuda" else processor()
    slug = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    path = chosen.out / f"gpu-{slug}{'-tiny' if chosen.tiny else ''}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "precision", "machine"])
        writer.writeheader()
        writer.writerows({**row, "precision": str(precision), "machine": machine} for row in rows)
    talk.print(f"written to {path}")
    return path


if __name__ == "__main__":
    main()
