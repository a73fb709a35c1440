"""Small faults in the code, tried one at a time: the tests of their room must notice each.

``mutants.toml`` names for each fault a file, a text that is in it once, the text in its place, and
the tests that should fail. Tools that invent faults (mutmut, cosmic-ray) make thousands, most of
them alike, and run the whole suite for each; these are chosen, each changes a result, and each runs
only the tests that are there for it. The checkout is copied; nothing in it is changed.

Exit code 0 if at least 95 % are noticed, 1 if not, 2 if a fault cannot be tried.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent
LEAST = 0.95  # share of the faults that must be noticed
LONGEST = 600  # seconds; a fault that makes a test hang is noticed too
COPIED = ("clir_cli", "tests", "data", "experiments", "benchmarks", "docs", "pyproject.toml")
PYTEST = ("-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--tb=line")


@dataclass(frozen=True)
class Mutant:
    """A fault: in ``file``, ``new`` in the place of ``old``; ``tests`` should notice it."""

    name: str
    room: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, root: Path) -> str:
        """Return the file's text with the fault.

        Raises:
            ValueError: The text to replace is not in the file exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: in {self.file}, {text.count(self.old)} times: {self.old!r}"
            )
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Return the faults of ``mutants.toml``, in its order: a table for each room."""
    rooms = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    return [
        Mutant(name, room, **{**fault, "tests": tuple(fault["tests"])})
        for room, faults in rooms.items()
        for name, fault in faults.items()
    ]


def run(folder: Path, tests: Sequence[str]) -> str:
    """Run tests on a copy: ``passed``, ``failed``, ``hung``, or else what pytest says."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    base = folder / "temporary"
    command = [sys.executable, *PYTEST, f"--basetemp={base}", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return "hung"
    finally:
        shutil.rmtree(base, ignore_errors=True)
    ends = {0: "passed", 1: "failed"}
    return ends.get(done.returncode, f"{done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextmanager
def copies(count: int) -> Iterator["SimpleQueue[Path]"]:
    """Yield copies of the checkout, and remove them afterwards."""
    free: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="clir-mutants-") as parent:
        for number in range(count):
            folder = Path(parent, str(number))
            folder.mkdir()
            for name in COPIED:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copyfile
                copy(source, folder / name)
            free.put(folder)
        imported = [sys.executable, "-c", "import clir_cli; print(clir_cli.__file__)"]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        found = subprocess.check_output(imported, cwd=folder, env=environment, text=True)
        assert Path(found.strip()).is_relative_to(folder), f"{found} is tested, not the copy"
        yield free


def outcome(mutant: Mutant, free: "SimpleQueue[Path]") -> str:
    """Return how the mutant's tests end in a copy of the checkout that has the fault."""
    folder = free.get()
    path = folder / mutant.file
    whole = path.read_bytes()
    started = time.monotonic()
    try:
        path.write_text(mutant.applied(folder), encoding="utf-8")
        ended = run(folder, mutant.tests)
    finally:
        path.write_bytes(whole)
        free.put(folder)
    said = {"passed": "SURVIVED", "failed": "noticed", "hung": "noticed (hung)"}.get(ended, ended)
    print(f"{said:9} {mutant.name} ({time.monotonic() - started:.0f} s)", file=sys.stderr)
    return ended


def show(chosen: Sequence[Mutant], ends: Sequence[str]) -> int:
    """Print the table of the rooms and the survivors; return the exit code."""
    noticed, survived, names, broken = Counter(), Counter(), [], []
    for mutant, ended in zip(chosen, ends, strict=True):
        if ended in ("failed", "hung"):
            noticed[mutant.room] += 1
        elif ended == "passed":
            survived[mutant.room] += 1
            names.append(mutant.name)
        else:
            broken.append(mutant.name)
    print(f"{'room':16} {'noticed':>8} {'survived':>8}")
    for room in dict.fromkeys(mutant.room for mutant in chosen):
        print(f"{room:16} {noticed[room]:8} {survived[room]:8}")
    share = noticed.total() / max(1, len(chosen))
    print(f"{'all':16} {noticed.total():8} {survived.total():8}   {share:.0%} noticed")
    print(f"survivors: {', '.join(names) or 'none'}")
    if broken:
        print(f"not tried, since pytest could not run: {', '.join(broken)}")
        return 2
    return int(share < LEAST)


def main() -> int:
    """Try the faults that the options choose."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a fault, or a room"
    )
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tested side by side")
    options = parser.parse_args()
    known = mutants()
    only = {*options.only}
    if unknown := only - {name for mutant in known for name in (mutant.name, mutant.room)}:
        parser.error(f"no such fault or room: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in known if not only or only & {mutant.name, mutant.room}]
    files = sorted({test for mutant in chosen for test in mutant.tests})
    with copies(options.jobs) as free, ThreadPoolExecutor(options.jobs) as pool:
        folder = free.get()
        whole = run(folder, files)
        free.put(folder)
        if whole != "passed":
            print(f"the tests do not pass without a fault: {whole}", file=sys.stderr)
            return 2
        ends = list(pool.map(lambda mutant: outcome(mutant, free), chosen))
    return show(chosen, ends)


if __name__ == "__main__":
    sys.exit(main())
