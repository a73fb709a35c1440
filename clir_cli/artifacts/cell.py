"""Cells: method, variant and seed, which name a student, a run, and a column of the tables."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clir_cli.corpus.records import Pair

IMPORTED = "imported"  # the variant of runs that other tools wrote


def group_name(pairs: Sequence[Pair]) -> str:
    """Return the name of several pairs: ``so+sw+tl-en``."""
    return "+".join(pair.query for pair in pairs) + f"-{pairs[0].document}"


def is_variant(name: str) -> bool:
    """Return True if a name can be a variant that a user chooses.

    It is part of a folder's name, no seed as ``seed1``, and not the mark of imported runs.
    """
    return name != IMPORTED and bool(re.fullmatch(r"(?!(.*\.)?seed\d+$)[\w-]+(\.[\w-]+)*", name))


@dataclass(frozen=True)
class Cell:
    """A method with the variant of its settings and the seed: one column of a table.

    ``joint`` are the pairs of one student for several, in alphabetical order; it is empty for a
    student of one pair. Artifacts of a joint student lie in the folder of each pair, under a name
    that holds all pairs, so that two groups are never confused.
    """

    method: str = ""
    variant: str = ""
    seed: int = 0
    joint: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint", tuple(sorted(set(self.joint))))

    @property
    def is_imported(self) -> bool:
        """Return True if the cell is a run that another tool wrote."""
        return self.variant == IMPORTED

    @property
    def label(self) -> str:
        """Return the folder name: ``ot``, ``ot.plain.seed1``, ``ot.joint-so+sw-en.plain``."""
        seed = f"seed{self.seed}" if self.seed else ""
        return ".".join(part for part in (self.column, seed) if part)

    @property
    def column(self) -> str:
        """Return the label without the seed, which tables average over: ``ot.plain``."""
        return ".".join(part for part in (self.method, self.column_variant) if part)

    @property
    def own_label(self) -> str:
        """Return the label within the folder that the pairs of a joint student share."""
        return replace(self, joint=()).label

    @property
    def column_variant(self) -> str:
        """Return the variant as score tables show it: the pairs of a joint student first.

        ``--variant`` does not allow a plus, so that no variant looks like a group of pairs.
        """
        group = f"joint-{group_name(self.joint)}" if self.joint else ""
        return ".".join(part for part in (group, self.variant) if part)

    @classmethod
    def parse(cls, label: str) -> "Cell":
        """Return the cell of a label.

        >>> Cell.parse("ot.joint-so+sw-en.plain.seed1").label
        'ot.joint-so+sw-en.plain.seed1'
        """
        method, *parts = label.split(".")
        joint: tuple[Pair, ...] = ()
        seed = 0
        if parts and (group := re.fullmatch(r"joint-(\w+(?:\+\w+)+)-(\w+)", parts[0])):
            joint = tuple(Pair(query, group[2]) for query in group[1].split("+"))
            parts = parts[1:]
        if parts and (number := re.fullmatch(r"seed(\d{1,19})", parts[-1])):
            seed = int(number[1])
            parts = parts[:-1]
        return cls(method, ".".join(parts), seed, joint)

    def only(self, pair: Pair) -> Pair | None:
        """Return the pair of a student of one pair; None for a joint student."""
        return None if self.joint else pair

    def options(self, *pairs: Pair) -> list[tuple[str, ...]]:
        """Return the options that name this cell for pairs on the command line."""
        options: list[tuple[str, ...]] = [("--lang", ",".join(map(str, self.joint or pairs)))]
        options += [("--joint",)] if self.joint else []
        options += [("--method", self.method)]
        named = self.variant and not self.is_imported
        options += [("--variant", self.variant)] if named else []
        options += [("--seed", str(self.seed))] if self.seed else []
        return options
