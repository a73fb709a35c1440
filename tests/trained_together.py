"""Several commands in one launch of torchrun, since starting the processes takes longest.

Called as: torchrun ... trained_together.py HOME VERB WORD... [-- VERB WORD...]...
All but the main process read weights late, as from a slow disk: the main one is to wait for them.
"""

import os
import sys
import time
from collections.abc import Sequence

from clir_cli.cli import run
from clir_cli.stages.support import checkpointing as trained
from clir_cli.training import process_group


def run_all(arguments: Sequence[str]) -> int:
    home, codes, words = arguments[1], [], []
    for word in [*arguments[2:], "--"]:
        if word == "--":
            codes.append(run([*words, "--home", home]))
            words = []
        else:
            words.append(word)
    return max(codes)


def read_late(path, of, *, read=trained.read_verified):
    time.sleep(1)
    return read(path, of)


if __name__ == "__main__":
    if os.environ["RANK"] != "0":
        trained.read_verified = read_late
    process_group.leave(process_group.run_as_one(["distill", *sys.argv[1:]], run_all))
