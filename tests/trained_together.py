"""Several commands in one launch of torchrun, since starting the processes takes longest.

Called as: torchrun ... trained_together.py HOME VERB WORD... [-- VERB WORD...]...
"""

import sys
from collections.abc import Sequence

from clir_cli import team
from clir_cli.cli import run


def run_all(arguments: Sequence[str]) -> int:
    home, codes, words = arguments[1], [], []
    for word in [*arguments[2:], "--"]:
        if word == "--":
            codes.append(run([*words, "--home", home]))
            words = []
        else:
            words.append(word)
    return max(codes)


if __name__ == "__main__":
    sys.exit(team.run_as_one(["distill", *sys.argv[1:]], run_all))
