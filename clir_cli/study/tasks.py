"""The work that the cells of several experiments share: each artifact is made by one task."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.errors import UserError
from clir_cli.settings import Settings
from clir_cli.stages.support import recipes
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES, made_folder
from clir_cli.stages.support.workspace import Cell, Workspace
from clir_cli.study import reads
from clir_cli.study.grid import Point, assignment, value_of
from clir_cli.suites import known_keys, load_settings

RESULTS = Path("results")  # where tables go when nothing else is said


@dataclass(frozen=True)
class Task:
    """One stage to run. It can be pickled and sent to another process or machine.

    Attributes:
        key: Where the artifact lies, from the home of the artifacts; its own for a download.
        verb: The command, a name in ``clir_cli.study.work.STAGES``.
        pairs: The language pairs that it is about; for an index, one of those that want it.
        cell: Method or recipe, variant and seed; None where they do not matter.
        settings: All of them, resolved; the collection too.
        command: What a person types for it.
        needs: Keys of the tasks whose artifacts it reads.
        after: Keys of tasks that it waits for, but can do without.
    """

    key: str
    verb: str
    pairs: tuple[Pair, ...]
    cell: Cell | None
    settings: Settings
    command: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def pair(self) -> Pair:
        """Return the pair, or the first of them."""
        return self.pairs[0]


@dataclass(frozen=True)
class Site:
    """Where the work is done, and how.

    ``typed`` are the options of the command line that every command must repeat, ``address`` is
    that of a Ray cluster.
    """

    home: Path
    device: str = "auto"
    mirror: str = ""
    force: bool = False
    threads: int = 0
    typed: tuple[str, ...] = ()
    address: str = ""

    def workspace(self, settings: Settings, **behaviour: Any) -> Workspace:
        """Return what a stage works with."""
        return Workspace(settings, self.home, self.device, typed=self.typed, **behaviour)


@dataclass
class Shared:
    """The tasks of all points, each once, in an order in which they can be done.

    ``goals`` maps each point to the task that makes its run.
    """

    site: Site
    tasks: dict[str, Task] = field(default_factory=dict)
    goals: dict[Point, str] = field(default_factory=dict)
    _signatures: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    _downloads: dict[str, list[str]] = field(default_factory=dict)
    _suites: dict[str, Settings] = field(default_factory=dict)

    def add(self, point: Point) -> None:
        """Add what a point needs.

        Raises:
            UserError: Another point has the same artifact with other settings.
        """
        self.goals[point] = self._run(point, point.cell)

    def upstream(self, keys: Sequence[str]) -> list[Task]:
        """Return these tasks and all that they need, in order."""
        wanted, left = set(), list(keys)
        while left:
            key = left.pop()
            if key not in wanted:
                wanted.add(key)
                left += [*self.tasks[key].needs, *self.tasks[key].after]
        return [task for key, task in self.tasks.items() if key in wanted]

    def evaluate(
        self, points: Sequence[Point], metrics: Sequence[str], results: Path = RESULTS
    ) -> str:
        """Return the command that scores points of one method and several pairs."""
        point = points[0]
        pairs = ",".join(str(each.pair) for each in points)
        told = " ".join(point.cell.words_for(point.pair))
        if not point.cell.joint:  # whose words name its pairs
            told = told.replace(f"--lang {point.pair}", f"--lang {pairs}", 1)
        words = [told, f"--metric {','.join(metrics)}"]
        words += self._collection_words(point.settings)
        words += [f"--results {shlex.quote(str(results))}"] if results != RESULTS else []
        own = {k: v for k, v in point.changes.items() if not reads.matches(k, reads.NEUTRAL)}
        read = reads.run(point.cell.method, point.settings)
        return self._command("evaluate", words, replace(point, changes=own), read)

    # -------------------------------------------------------------- one a stage

    def _download(self, point: Point, pair: Pair | None = None) -> str:
        pair = pair or point.pair
        words = [f"--lang {pair}", *self._collection_words(point.settings)]
        words += [f"--mirror {shlex.quote(self.site.mirror)}"] if self.site.mirror else []
        own = {key: v for key, v in point.changes.items() if not _is_recipe(v)}
        command = self._command("download", words, replace(point, changes=own), reads.DOWNLOAD)
        key = command.removeprefix("clir ")
        if key not in self.tasks:
            self.tasks[key] = Task(key, "download", (pair,), None, point.settings, command)
            self._downloads.setdefault(point.collection, []).append(key)
            for index, task in self.tasks.items():  # it may bring what the others could not
                if task.verb == "index" and task.settings.collection == point.collection:
                    self.tasks[index] = replace(task, after=(*task.after, key))
        return key

    def _index(self, point: Point) -> str:
        read = reads.index(point.settings)
        command = self._command("index", self._collection_words(point.settings), point, read)
        path = self.site.workspace(point.settings).index(point.collection)
        # Any pair's download brings the documents; one that fails need not hold up the rest.
        after = tuple(self._downloads[point.collection])
        needs = self._teacher(point)
        return self._put("index", path, point, None, command, read, needs, after)

    def _teacher(self, point: Point) -> tuple[str, ...]:
        """Return the task that trains the teacher, where the settings name one to be trained."""
        return self._model(point, point.settings.teacher.model, "teacher")

    def _initial(self, point: Point, pairs: Sequence[Pair]) -> tuple[str, ...]:
        """Return the task that trains the initial student, likewise."""
        return self._model(point, point.settings.student.model, "student", pairs)

    def _model(
        self, point: Point, name: str, section: str, pairs: Sequence[Pair] = ()
    ) -> tuple[str, ...]:
        cell = None if Path(name).is_dir() else recipes.cell_of(name)
        if cell is None:
            return ()
        recipe = RECIPES[cell.method]
        # It starts from what would stand in its place without it.
        own = getattr(self._own(point.settings.suite), section)
        told = getattr(point.settings, section).model_copy(update={"model": own.model})
        changes = {key: v for key, v in point.changes.items() if key != f"{section}.model"}
        settings = point.settings.model_copy(update={section: told})
        before = replace(point, settings=settings, changes=changes)
        if recipe.leaves == "teacher":  # it reads the English of all pairs of the suite
            pairs = [parse_pair(each, languages()) for each in settings.pairs]
        return (self._trained(before, cell, tuple(pairs)),)

    def _trained(self, point: Point, cell: Cell, pairs: tuple[Pair, ...]) -> str:
        """Return the task of ``clir train``: a teacher, an initial student, or a method's own."""
        recipe, settings = RECIPES[cell.method], point.settings
        read = reads.recipe(recipe)
        if recipe.leaves != "teacher":
            read += reads.teacher(settings)
        workspace = self.site.workspace(settings)
        plain = Workspace(settings, self.site.home)
        command = self._with_settings(recipes.command(plain, recipe, pairs, cell), point, read)
        path = made_folder(workspace, recipe, pairs[0], cell)
        needs = [self._download(point, pair) for pair in pairs]
        needs += [self._download(point, pair) for pair in self._switched(cell, settings)]
        if recipe.leaves != "teacher":
            needs += [*self._teacher(point), *self._initial(point, pairs)]
        if cell.method == "code-switch" and settings.contrastive.lexicon == "plans":
            needs += [self._dictionary(replace(point, pair=pair), Cell("ot")) for pair in pairs]
        return self._put("train", path, point, cell, command, read, _once(needs), pairs=pairs)

    def _switched(self, cell: Cell, settings: Settings) -> list[Pair]:
        """Return the pairs whose dictionaries code-switching reads beside those it trains for."""
        if cell.method != "code-switch" or settings.contrastive.switching != "multilingual":
            return []
        return [parse_pair(each, languages()) for each in settings.pairs]

    def _student(self, point: Point, cell: Cell) -> str:
        pairs = cell.joint or (point.pair,)
        if cell.method in RECIPES:
            return self._trained(point, cell, pairs)
        read = reads.student(cell.method, point.settings)
        command = self._command("distill", cell.words_for(point.pair), point, read)
        path = self.site.workspace(point.settings).student(point.pair, cell)
        needs = [self._download(point, pair) for pair in pairs]
        needs += [*self._teacher(point), *self._initial(point, pairs)]
        needs += self._first_pass(point, cell)
        return self._put("distill", path, point, cell, command, read, _once(needs), pairs=pairs)

    def _first_pass(self, point: Point, cell: Cell) -> tuple[str, ...]:
        """Return the task of the first student, where its plans make the rows of this one."""
        if point.settings.student.rows != "plans":
            return ()
        own = self._own(point.settings.suite).student.rows
        told = point.settings.student.model_copy(update={"rows": own})
        changes = {key: value for key, value in point.changes.items() if key != "student.rows"}
        settings = point.settings.model_copy(update={"student": told})
        first = replace(point, settings=settings, changes=changes)
        return (self._student(first, Cell("ot", seed=cell.seed)),)

    def _dictionary(self, point: Point, cell: Cell) -> str:
        read = reads.dictionary(point.settings)
        command = self._command("dictionary", cell.words_for(point.pair), point, read)
        path = self.site.workspace(point.settings).dictionary(point.pair, cell)
        needs = (self._student(point, cell),)
        return self._put("dictionary", path, point, cell, command, read, needs)

    def _run(self, point: Point, cell: Cell) -> str:
        method, settings = METHODS[cell.method], point.settings
        words = [*cell.words_for(point.pair), *self._collection_words(settings)]
        read = reads.run(cell.method, settings)
        command = self._command("search", words, point, read)
        path = self.site.workspace(settings).run(point.pair, cell, point.collection)
        needs = [self._download(point)]
        if method.encoder == "teacher":
            needs += self._teacher(point)
        if method.encoder == "initial":
            needs += self._initial(point, (point.pair,))
        if method.scorer == "maxsim":
            needs.append(self._index(point))
        if method.has_student or method.whose:
            needs.append(self._student(point, replace(cell, method=method.whose or cell.method)))
        if reads.induces(cell.method, settings):
            needs.append(self._dictionary(point, replace(cell, method="ot")))
        needs += [self._run(point, part) for part in self._parts(cell, settings)]
        return self._put("search", path, point, cell, command, read, _once(needs))

    def _parts(self, cell: Cell, settings: Settings) -> list[Cell]:
        """Return the cells whose runs are fused."""
        return [
            Cell(
                part,
                cell.variant if METHODS[part].has_variants else "",
                cell.seed if METHODS[part].has_seeds else 0,
                cell.joint if METHODS[part].has_seeds else (),
            )
            for part in reads.fused(cell.method, settings)
        ]

    def _collection_words(self, settings: Settings) -> list[str]:
        own = self._own(settings.suite).collection
        chosen = settings.collection
        return [] if chosen == own else [f"--collection {shlex.quote(chosen)}"]

    def _own(self, suite: str) -> Settings:
        """Return the settings of a suite without any change; read once."""
        if suite not in self._suites:
            self._suites[suite] = load_settings(suite)
        return self._suites[suite]

    # -------------------------------------------------------------- each once

    def _put(
        self,
        verb: str,
        path: Path,
        point: Point,
        cell: Cell | None,
        command: str,
        read: Sequence[str],
        needs: tuple[str, ...],
        after: tuple[str, ...] = (),
        pairs: tuple[Pair, ...] = (),
    ) -> str:
        key = path.relative_to(self.site.home).as_posix()
        self._refuse_conflict(key, point, read)
        if key not in self.tasks:
            of = pairs or (point.pair,)
            self.tasks[key] = Task(key, verb, of, cell, point.settings, command, needs, after)
        return key

    def _refuse_conflict(self, key: str, point: Point, read: Sequence[str]) -> None:
        signature = {name: value_of(point.settings, name) for name in _deciding(tuple(read))}
        first, whose = self._signatures.setdefault(key, (signature, point.experiment))
        for name, value in signature.items():
            if first[name] != value:
                raise UserError(
                    f"experiment {point.experiment}: {self.site.home / key} would be made with "
                    f"{assignment(name, value)}, and in {whose} with "
                    f"{assignment(name, first[name])}; name the variants apart, or run one of them "
                    "with a --home of its own"
                )

    def _command(self, verb: str, words: Sequence[str], point: Point, read: Sequence[str]) -> str:
        """Return what a person types for a stage."""
        stem = Workspace(point.settings, self.site.home).command(verb, *words)
        return self._with_settings(stem, point, read)

    def _with_settings(self, stem: str, point: Point, read: Sequence[str]) -> str:
        """Return a command with the settings that matter to it, and no others."""
        chosen = [
            f"--set {shlex.quote(assignment(name, value))}"
            for name, value in point.changes.items()
            if reads.matches(name, read)
        ]
        return " ".join([stem, *self.site.typed, *chosen])


@cache
def _deciding(read: tuple[str, ...]) -> list[str]:
    """Return the settings that decide what is made, of those that are read."""
    return [
        name
        for name in known_keys()
        if reads.matches(name, read) and not reads.matches(name, reads.NEUTRAL)
    ]


def _is_recipe(value: Any) -> bool:
    """Tell whether a setting names a model that is trained, not fetched."""
    return isinstance(value, str) and recipes.cell_of(value) is not None


def _once(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


def share_of(points: Sequence[Point], share: tuple[int, int]) -> list[Point]:
    """Return the i-th of n shares of the points, counted from 1; all shares make the whole."""
    number, count = share
    return list(points[number - 1 :: count])
