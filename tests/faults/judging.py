"""What became of a fault: the same result, refused in one line, or wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from faults.endings import HUNG, Ending
from faults.world import Home, World

SAME, REFUSED = "same result", "refused"


@dataclass(frozen=True)
class Fault:
    """One fault: its name says what to do to see it again; ``play`` returns what became of it."""

    kind: str
    name: str
    play: Callable[[Home], str]


Kind = Callable[[World, Random], Iterator[Fault]]  # endless


@dataclass
class Tally:
    """How many faults of a kind were tried, and what became of them."""

    tried: int = 0
    same: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, verdict: str) -> None:
        self.tried += 1
        self.same += verdict == SAME
        self.refused += verdict == REFUSED
        if verdict not in (SAME, REFUSED):
            self.wrong.append(f"{name}: {verdict}")


def verdict(ending: Ending, home: Home, killed: bool = False) -> str:
    """Return what became of a fault after its commands ended.

    Args:
        ending: How the commands ended.
        home: Where they worked; its results are compared with the undisturbed ones.
        killed: True if the fault was a kill, after which nothing need be whole.
    """
    if ending.refused:
        return REFUSED
    if ending.code == 0:
        return differing(home) or SAME
    if ending.killed and killed:
        return SAME
    return failure(ending)


def failure(ending: Ending) -> str:
    """Return in a line how a command failed that neither worked nor refused."""
    if ending.code == HUNG:
        return "hangs"
    said = [line for line in ending.err.splitlines() if line.strip()]
    return f"exit {ending.code}: {said[-1][:200] if said else 'nothing said'}"


def differing(home: Home) -> str:
    """Return which results differ from the undisturbed ones; empty if none does."""
    expected, made = home.world.home.content(), home.content()
    names = [name for name in expected if made.get(name) != expected[name]]
    return f"another result, exit 0: {', '.join(names[:3])}" if names else ""
