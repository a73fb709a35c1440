"""Processes that end at any file operation, and file operations that fail."""

import errno
from collections.abc import Iterator
from random import Random

from faults.endings import arm, commands, has_shim, in_child
from faults.judging import REFUSED, Fault, verdict
from faults.world import Home, World

NUMBERS = (
    errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE,
    errno.ENFILE, errno.ESTALE, errno.EBUSY, errno.EOPNOTSUPP, errno.ELOOP, errno.ENOENT,
    errno.ENOMEM, errno.EFBIG, errno.ENAMETOOLONG, errno.EINTR, errno.ENOLCK, errno.ENOTDIR,
)  # fmt: skip
# For each command of the chain: what it makes.
MADE = (
    ("artifacts/models",), ("artifacts/sample/sw-en/ot", "artifacts/sample/sw-en/teacher.*"),
    ("artifacts/sample/sw-en/kd-mse",), ("artifacts/sample/de-en",),
    ("artifacts/sample/index",), ("artifacts/sample/sw-en/*/runs",),
    ("artifacts/sample/de-en/*/runs",), ("results",),
)  # fmt: skip


def _disturb(home: Home, stage: int, at: float, number: int) -> tuple[str, bool]:
    """Let a file operation of one command fail; ``at`` is its place, as a share of them all.

    Returns:
        What was wrong already with how that command ended (or empty), and whether it was killed.
    """
    words = home.chain()[stage]
    with home.world.copy(f"{home.folder.name}-count") as other:
        other.remove(*MADE[stage])
        total = in_child(_armed(other, other.chain()[stage], -1, 0)).operations
    ending = in_child(_armed(home, words, 1 + int(at * total), number))
    if ending.killed and not number:
        return "", True
    good = ending.code == 0 or ending.refused
    return "" if good else verdict(ending, home), False


def _rerun(home: Home) -> str:
    """Return the verdict on the same commands afterwards: now they must work."""
    ending = home.run()
    again = verdict(ending, home)
    return f"afterwards: {ending.err.strip()[:200]}" if again == REFUSED else again


def _armed(home: Home, words: list[object], at: int, number: int):
    def call() -> int:
        arm(home.folder, at, number)
        return commands([words])()

    return call


def kills(world: World, chance: Random) -> Iterator[Fault]:
    """Kill a command at one of its file operations, up to three times, and run it again."""
    if not has_shim():
        return
    while True:
        stage, places = (
            chance.randrange(len(MADE)),
            [chance.random() for _ in range(chance.randint(1, 3))],
        )

        def play(home: Home, stage: int = stage, places: list = places) -> str:
            home.remove(*MADE[stage])
            for place in places:
                wrong, _ = _disturb(home, stage, place, 0)
                if wrong:
                    return wrong
            return _rerun(home)

        shares = ", ".join(f"{place:.4f}" for place in places)
        name = f"{world.home.chain()[stage][0]}, killed at {shares} of its operations"
        yield Fault("killed at a file operation", name, play)


def failures(world: World, chance: Random) -> Iterator[Fault]:
    """Let one file operation of a command fail, and run it again."""
    if not has_shim():
        return
    while True:
        stage, place, number = chance.randrange(len(MADE)), chance.random(), chance.choice(NUMBERS)

        def play(home: Home, stage: int = stage, place: float = place, number: int = number) -> str:
            home.remove(*MADE[stage])
            wrong, _ = _disturb(home, stage, place, number)
            if wrong:
                return wrong
            return _rerun(home)

        name = f"{world.home.chain()[stage][0]}: {errno.errorcode[number]} at {place:.4f}"
        yield Fault("a system call fails", name, play)
