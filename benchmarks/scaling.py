"""Index and search by one process, by one worker of Ray, and by two.

    python -m benchmarks.scaling --home artifacts --rounds 3

Documents and queries are XQuAD's, or those of another collection whose files are there
(`clir download --suite open --collection xquad`). Every way takes its turn in each round, with one
thread a process. Seconds are those of the whole stage, workers being started in it; the rate of
documents is taken from the first shard's checksums to the last, and that of queries from a second
pass, so neither holds the start of a worker. Load is the system's average over a minute, before:
where it is above the number of processors, a rate tells how much of them others left.
"""

import argparse
import csv
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import describe
from clir_cli import runtime
from clir_cli.cluster.connection import EngineOptions, connect
from clir_cli.cluster.shard_search import release
from clir_cli.console import Talk
from clir_cli.corpus.records import Collection
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.shard_checksums import checksum_path
from clir_cli.stages.index import index, open_index
from clir_cli.stages.search import ranker_of
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.sources import read_collection, teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

WAYS = {
    "local": EngineOptions(),
    "ray 1": EngineOptions("ray", "", 1),
    "ray 2": EngineOptions("ray", "", 2),
}
COLUMNS = ("stage", "way", "round", "seconds", "items", "rate", "load", "machine")


def main() -> None:
    """Measure, print medians and their ratios to one worker, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("artifacts"))
    parser.add_argument("--suite", default="open")
    parser.add_argument("--collection", default="xquad")
    parser.add_argument("--shard", type=int, default=8, help="documents a shard")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("results/bench/scaling.csv"))
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    runtime.hush_libraries()
    connect(WAYS["ray 2"])  # one Ray, with room for two workers, serves all
    settings = load_settings(
        chosen.suite,
        None,
        [f"index.shard_documents={chosen.shard}", "index.batch_tokens=2048", "cluster.cpus=1"],
    ).model_copy(update={"collection": chosen.collection})
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "artifacts"
        home.mkdir()
        for name in ("models", "downloads"):
            if (chosen.home / name).exists():
                (home / name).symlink_to((chosen.home / name).resolve())
        workspace = Workspace(settings, home, "cpu", force=True, talk=Talk(quiet=True))
        rows = measured(workspace, read_collection(workspace, "en"), chosen)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    with chosen.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    tell(rows)


def measured(workspace: Workspace, collection: Collection, chosen: argparse.Namespace) -> list:
    """Return the rows of the table, ways in turn."""
    rows, machine = [], describe("cpu")
    encoder = open_encoder_at(workspace, teacher_folder(workspace), torch.device("cpu"))
    asked = list(collection.queries["en"].values())[: chosen.queries]
    queries = encoder.encode(asked, workspace.settings.teacher.query_tokens)
    for number in range(chosen.rounds):
        for name, engine in WAYS.items():
            there = replace(workspace, engine=engine)
            for stage, clock in (("index", indexed), ("search", searched)):
                load = round(os.getloadavg()[0], 1)
                seconds, items, rate = clock(there, collection, queries)
                values = (stage, name, number, round(seconds, 2), items, round(rate, 2), load)
                rows.append(dict(zip(COLUMNS, (*values, machine), strict=True)))
                print(*values)
    return rows


def indexed(workspace: Workspace, collection: Collection, _: Packed) -> tuple[float, int, float]:
    """Return the seconds of indexing, the documents, and how many a second once it runs."""
    started = time.perf_counter()
    folder = index(workspace, collection)
    seconds = time.perf_counter() - started
    size, count = workspace.settings.index.shard_documents, len(collection.documents)
    ends = sorted(
        checksum_path(folder, number).stat().st_mtime for number in range(-(-count // size))
    )
    # The shards that ended with the first were begun before there was anything to see.
    workers = max(1, workspace.engine.jobs)
    left = len(ends) - workers
    return seconds, count, left * size / (ends[-1] - ends[workers - 1])


def searched(
    workspace: Workspace, collection: Collection, queries: Packed
) -> tuple[float, int, float]:
    """Return the seconds of ranking all queries, how many, and how many a second once it runs."""
    opened = open_index(workspace, collection)
    ranker = ranker_of(workspace, opened)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        assert sum(1 for _ in ranker.rank(queries)) == len(queries)
        seconds.append(time.perf_counter() - started)
    release()
    return seconds[0], len(queries), len(queries) / seconds[1]


def tell(rows: list) -> None:
    """Print the median rates, and each as a multiple of one worker's."""
    for stage in ("index", "search"):
        rates = {
            name: median(row["rate"] for row in rows if (row["stage"], row["way"]) == (stage, name))
            for name in WAYS
        }
        told = ", ".join(
            f"{name} {rate:.1f}/s ({rate / rates['ray 1']:.2f})" for name, rate in rates.items()
        )
        print(f"{stage}: {told}")


if __name__ == "__main__":
    main()
