"""The kinds of faults, tried side by side in processes of their own, and the table of outcomes."""

import multiprocessing
import shutil
import time
import traceback
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from random import Random

from faults import cuts, damage, hostile_models, hostile_servers, inputs, words
from faults.judging import REFUSED, SAME, Fault, Kind, Tally
from faults.world import World, build

KINDS: dict[str, Kind] = {
    "flips": damage.flips,
    "replaced": damage.replaced,
    "added": damage.added,
    "moved": damage.moved,
    "drafts": damage.drafts,
    "kills": cuts.kills,
    "failures": cuts.failures,
    "collections": inputs.collections,
    "bitexts": inputs.bitexts,
    "edits": inputs.edits,
    "settings": words.settings,
    "names": words.names,
    "marks": words.marks,
    "terminals": words.terminals,
    "models": hostile_models.hostile_models,
    "servers": hostile_servers.hostile_servers,
}


def chosen(world: World, kinds: Mapping[str, Kind], count: int, seed: int) -> list[Fault]:
    """Return ``count`` faults, equally many of each kind; the same seed returns the same."""
    share = -(-count // len(kinds))
    return [
        fault
        for name, kind in kinds.items()
        for fault in islice(kind(world, Random(f"{seed} {name}")), share)
    ]


def try_all(
    folder: Path, kinds: Mapping[str, Kind], count: int, jobs: int, seed: int
) -> dict[str, Tally]:
    """Return what became of ``count`` faults, by kind."""
    world = build(folder / "world")
    faults = chosen(world, kinds, count, seed)
    tallies: dict[str, Tally] = {fault.kind: Tally() for fault in faults}
    context, start = multiprocessing.get_context("fork"), time.monotonic()
    queue, done = context.SimpleQueue(), context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(world, faults, queue, done)) for _ in range(jobs)
    ]
    for number in [*range(len(faults)), *[-1] * jobs]:
        queue.put(number)
    for worker in workers:
        worker.start()
    for number in range(1, len(faults) + 1):
        place, verdict = done.get()
        fault = faults[place]
        tallies[fault.kind].add(fault.name, verdict)
        if verdict not in (SAME, REFUSED):
            print(f"WRONG {fault.kind}: {fault.name}: {verdict}"[:300], flush=True)
        if number % 50 == 0 or number == len(faults):
            wrong = sum(len(tally.wrong) for tally in tallies.values())
            seconds = time.monotonic() - start
            print(f"{number} of {len(faults)} faults, {wrong} wrong, {seconds:.0f} s", flush=True)
    for worker in workers:
        worker.join()
    return tallies


def _work(world: World, faults: list[Fault], queue, done) -> None:
    while (number := queue.get()) >= 0:
        done.put((number, outcome(world, faults[number], str(number))))


def outcome(world: World, fault: Fault, name: str) -> str:
    """Return what became of a fault that is injected into a copy of the home."""
    try:
        with world.copy(name) as home:
            return fault.play(home)
    except Exception:  # of the harness: it counts as wrong, and the others are tried
        return f"harness: {traceback.format_exc(limit=3)}"


def show(tallies: Mapping[str, Tally]) -> int:
    """Print the table and every wrong outcome; return 1 if there is one."""
    width = shutil.get_terminal_size((100, 20)).columns
    print(f"\n{'kind':38} {'tried':>6} {'same result':>12} {'refused':>8} {'wrong':>6}")
    rows = {**tallies, "all": _sum(list(tallies.values()))}
    for kind, tally in rows.items():
        print(
            f"{kind:38} {tally.tried:>6} {tally.same:>12} {tally.refused:>8} {len(tally.wrong):>6}"
        )
    for kind, tally in tallies.items():
        for line in tally.wrong:
            print(f"WRONG {kind}: {line}"[: max(width, 300)])
    return 1 if rows["all"].wrong else 0


def _sum(tallies: list[Tally]) -> Tally:
    tried, same, refused = (
        sum(getattr(tally, name) for tally in tallies) for name in ("tried", "same", "refused")
    )
    return Tally(tried, same, refused, [line for tally in tallies for line in tally.wrong])
