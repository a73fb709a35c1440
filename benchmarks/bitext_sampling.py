"""Memory and time of sampling a large Moses zip: python -m benchmarks.bitext_sampling.

A zip of made-up pairs is written to a temporary folder, then read, filtered and sampled by
``load_bitext`` in a process of its own, whose peak of resident memory is measured.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from clir_cli.corpus import bitext, catalogue
from clir_cli.corpus.records import Pair
from clir_cli.settings import BitextSettings

SOURCE = "ccaligned"
BLOCK = 50_000  # pairs


def write_zip(path: Path, pairs: int, *, repeated: float = 0.1, seed: int = 0) -> None:
    """Write a Moses zip of ``pairs`` pairs, a share of which repeat an earlier one."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for side in ("sw", "en"):
            draw = random.Random(seed)  # the same numbers for both sides
            words = [f"{side}{number:x}" for number in range(20_000)]
            with archive.open(f"CCAligned.en-sw.{side}", "w", force_zip64=True) as stream:
                for start in range(0, pairs, BLOCK):
                    lines = []
                    for number in range(start, min(start + BLOCK, pairs)):
                        again = draw.random() < repeated
                        line = draw.randrange(number + 1) if again else number
                        one, two = line * 7919 % 20_000, line // 3 % 20_000
                        text = " ".join(words[one : one + 6] + words[two : two + 4])
                        lines.append(f"{text} {line}\n")
                    stream.write("".join(lines).encode())


def sample(downloads: Path, count: int) -> dict[str, float]:
    """Sample in this process; return what came of it."""
    before = peak_mebibytes()
    start = time.perf_counter()
    settings = BitextSettings(
        sources=(SOURCE,),
        max_pairs_per_source=count,
        max_characters=400,
        max_length_ratio=3.0,
        drop_markup=True,
    )
    found = bitext.load_bitext(settings, Pair("sw", "en"), downloads)
    return {
        "pairs": len(found.train) + len(found.held_out),
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mebibytes": peak_mebibytes(),
        "before_mebibytes": before,
    }


def peak_mebibytes() -> int:
    """The largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> (20 if sys.platform == "darwin" else 10)


def main() -> None:
    """Generate, sample in a subprocess, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--sample", type=int, default=100_000)
    parser.add_argument("--downloads", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.downloads:
        print(json.dumps(sample(options.downloads, options.sample)))
        return
    entry = catalogue.source("bitext", SOURCE).files_for("sw")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = entry.local(Path(folder))
        start = time.perf_counter()
        write_zip(path, options.pairs)
        written = {
            "generated_pairs": options.pairs,
            "zip_mebibytes": path.stat().st_size >> 20,
            "generating_seconds": round(time.perf_counter() - start, 1),
        }
        command = [sys.executable, "-m", "benchmarks.bitext_sampling", "--downloads", folder]
        command += ["--sample", str(options.sample)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(json.dumps({**written, **json.loads(done.stdout)}))


if __name__ == "__main__":
    main()
