"""What indexing a large collection would take: tokens, bytes, hours and money, from assumptions.

    python -m benchmarks.projection --price 2.5 --peak 989 --use 0.1 0.4

Nothing is measured here. Hours of a GPU are the operations that the encoder needs, two for each
weight outside its embedding tables and each token, over what a GPU does in an hour; ``--use`` says
which share of its peak (dense bfloat16) that is, at worst and at best. Hours of a processor come
from the tokens a second of one core that ``benchmarks.scaling`` or ``clir index`` told.
"""

import argparse
from collections.abc import Sequence

# Passages, and tokens a passage. MIRACL's passages are those of its authors' table (arXiv
# 2210.09984); German and Yoruba came later and are not in it. Tokens are assumptions, since they
# hang on the tokenizer and the language: `clir index` tells those of a sample.
COLLECTIONS = {
    "MS MARCO": (8_841_823, 75),
    "MIRACL, English": (32_893_221, 130),
    "MIRACL, 16 languages": (90_416_887, 130),
}
# Layers and width: 12 x width^2 weights a layer; dimensions of a stored embedding.
ENCODERS = {"MiniLM-L6": (6, 384, 384), "BERT base, 128": (12, 768, 128)}
# Bytes of a token's embedding of d dimensions (docs/index.md).
FORMATS = {
    "float16": lambda d: 2 * d,
    "int8": lambda d: d + 4,
    "residual2": lambda d: d / 4 + 4,  # with its lists
}


def main(words: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--price", type=float, default=2.0, help="dollars a GPU hour")
    parser.add_argument("--core-price", type=float, default=0.04, help="dollars a core hour")
    parser.add_argument("--disk-price", type=float, default=0.08, help="dollars a GB and month")
    parser.add_argument("--peak", type=float, default=312.0, help="TFLOP/s of a GPU (A100)")
    parser.add_argument("--use", type=float, nargs=2, default=(0.05, 0.4), help="of the peak")
    parser.add_argument(
        "--core", type=float, default=0.0, help="tokens a second of one core, MiniLM-L6, measured"
    )
    chosen = parser.parse_args(words)
    columns = ["collection", "encoder", "tokens", *FORMATS, "GPU hours", "dollars"]
    columns += ["core hours", "dollars"] if chosen.core else []
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for name, (passages, each) in COLLECTIONS.items():
        for encoder, (layers, width, dimensions) in ENCODERS.items():
            tokens = passages * each
            cells = [name, encoder, f"{tokens / 1e9:.2f} G"]
            sizes = {key: tokens * size(dimensions) / 1e9 for key, size in FORMATS.items()}
            cells += [f"{value:,.0f} GB" for value in sizes.values()]
            worst, best = (gpu_hours(tokens, layers, width, chosen.peak * u) for u in chosen.use)
            cells += [f"{best:.2g} to {worst:.2g}"]
            cells += [f"{best * chosen.price:.2g} to {worst * chosen.price:.2g}"]
            if chosen.core:
                slower = weights(layers, width) / weights(*ENCODERS["MiniLM-L6"][:2])
                hours = tokens * slower / chosen.core / 3600
                cells += [f"{hours:,.0f}", f"{hours * chosen.core_price:,.0f}"]
            print("| " + " | ".join(cells) + " |")
    print(f"\ndisk: {chosen.disk_price} dollars a GB and month")


def weights(layers: int, width: int) -> int:
    """Return the weights of a transformer outside its embedding tables."""
    return 12 * layers * width * width


def gpu_hours(tokens: float, layers: int, width: int, teraflops: float) -> float:
    """Return the hours that encoding takes at so many operations a second."""
    return 2 * weights(layers, width) * tokens / (teraflops * 1e12) / 3600


if __name__ == "__main__":
    main()
