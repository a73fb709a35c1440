"""Inject faults and print what became of them: ``python -m faults`` with ``tests`` on the path.

Exit code 1 if one ended in anything but the same result or a refusal in one line.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SHIM = Path(__file__).with_name("shim.c")


def main() -> int:
    """Read the options, load the shim, and try the faults."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=1200, help="how many in all")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", help="only this kind, such as flips")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        if "FAULTS_SHIM" not in os.environ:
            return _again_with_the_shim(folder)
        from faults.running import KINDS, show, try_all

        kinds = {name: KINDS[name] for name in options.kind} if options.kind else KINDS
        tallies = try_all(folder, kinds, options.faults, options.jobs, options.seed)
        return show(tallies)


def _again_with_the_shim(folder: Path) -> int:
    """Start this program again with the library that lets file operations fail, if it compiles."""
    library, environment = folder / "shim.so", {**os.environ, "FAULTS_SHIM": "none"}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler and sys.platform == "linux":
        words = [compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"]
        subprocess.run(words, check=True)
        environment |= {"FAULTS_SHIM": str(library), "LD_PRELOAD": str(library)}
    return subprocess.run([sys.executable, *sys.orig_argv[1:]], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
