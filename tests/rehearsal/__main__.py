"""Rehearse the suite ``paper``: ``python -m rehearsal`` with ``tests`` on the path.

Exit code 1 if a command or a cell failed, or a removal failed other cells than those that need it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rehearsal import programme, removals, stage


def main() -> int:
    """Read the options, build the stage, run the commands, remove parts; print the tables."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("--checkout", type=Path, default=stage.ROOT, help="what is rehearsed")
    parser.add_argument("--folder", type=Path, help="keep the stage here (default: removed)")
    parser.add_argument("--only", choices=("commands", "removals"), help="one half of it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        start = time.monotonic()
        built = stage.build(options.folder or Path(name) / "stage", options.checkout)
        print(f"{time.monotonic() - start:5.0f} s  the stage", flush=True)
        ended = programme.perform(built, _say) if options.only != "removals" else []
        gone = removals.perform(built, said=_say) if options.only != "commands" else []
        for text in (programme.table(built, ended), removals.table(built, gone)):
            print(f"\n{text}")
        print(f"\n{time.monotonic() - start:.0f} s in all")
        failed = any(done.code for done in ended) or any(outcome.wrong for outcome in gone)
        return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
