"""How figures were made: the commands, and the settings of the students."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command, Option
from clir_cli.evaluation import gaps
from clir_cli.stages.kinds import DOWNLOADED
from clir_cli.stages.support.methods import METHODS, in_order
from clir_cli.study.report.data import CollectionScores, Results, pairs_in_order
from clir_cli.study.report.made import SavedRun, Student, neutral_command
from clir_cli.suites import flat

MANY = 24  # commands that stand there at once
# The options of a run's command that name its cell; the others are its settings.
OF_CELLS = {"--suite", "--lang", "--joint", "--method", "--variant", "--seed", "--collection"}


@dataclass(frozen=True)
class Provenance:
    """The commands and settings that made a figure; ``varied`` differ from cell to cell.

    Those that are ``visible`` stand there at once, all of them after a click.
    """

    commands: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    varied: Mapping[str, str] = field(default_factory=dict)
    visible: Sequence[str] = ()


@dataclass(frozen=True)
class Scored:
    """Cells that one command scores, and one command ranks with, for some pairs."""

    pairs: Sequence[str]
    methods: Sequence[str]
    cell: Cell
    settings: Sequence[Option]

    def command(self, results: Results, verb: str, on: CollectionScores, *more: Option) -> str:
        """Return the command of a stage for these cells."""
        lang, *options = replace(self.cell, method=",".join(self.methods)).options()
        lang = lang if self.cell.joint else ("--lang", ",".join(self.pairs))
        return results.command(verb, lang, *options, *self.settings, *more, on=on)


def scored(
    results: Results,
    collection: CollectionScores,
    labels: Sequence[str],
    metrics: Sequence[str],
    *,
    all_stages: bool = True,
) -> Provenance:
    """Return the commands that scored methods, and the settings of their students.

    They begin with the download and end with ``evaluate``; with ``all_stages`` false only the
    last are visible at first.
    """
    chosen = _cells(results, collection, labels)
    if gaps.split_metrics(metrics).across:  # of one pair alone there is no gap
        of_all = [group for group in chosen if len(group.pairs) == len(collection.pairs)]
        chosen = of_all or chosen
    cells = {key.label: score.seeds for key, score in collection.scores.items()}
    wanted = {(label, seed) for label in labels for seed in cells.get(label, ())}
    students = [s for s in results.made.students if _scores(s, wanted, collection.pairs)]
    runs = [run for run in results.made.runs if run.collection == collection.name]
    imports = [run for run in imported_runs(results, collection, labels)]
    ranked = [group for group in chosen if not group.cell.is_imported]
    metric = ("--metric", ",".join(metrics))
    evaluations = [group.command(results, "evaluate", collection, metric) for group in chosen]
    commands = [
        _download(results, collection, students),
        *_trained_models(results, students, chosen),
        *distillations(results.suite, students),
        *_indexings(results, collection, ranked, runs),
        *(group.command(results, "search", collection) for group in ranked),
        *dict.fromkeys(str(run.command) for run in imports),
        *evaluations,
    ]
    if all_stages:
        return trained(students, commands)
    return trained(students, commands, len(evaluations), from_end=True)


def _cells(results: Results, collection: CollectionScores, labels: Sequence[str]) -> list[Scored]:
    """Return the scored cells of labels; those that differ in pair and method alone are one.

    Their settings are those of the runs, as far as these are there.
    """
    found: dict[tuple[Cell, tuple[Option, ...]], dict[str, dict[str, None]]] = {}
    runs = {
        (run.pair, run.label): run.command
        for run in results.made.runs
        if run.collection == collection.name and not run.is_imported
    }
    for key, score in collection.scores.items():
        cell = Cell.parse(key.label)
        for seed in score.seeds if key.label in labels else ():
            for pair in collection.pairs if key.pair == gaps.ALL_PAIRS else [key.pair]:
                label = replace(cell, seed=seed).label
                command = runs.get((pair, label), Command("search"))
                settings = tuple(option for option in command.options if option[0] not in OF_CELLS)
                group = replace(cell, method="", seed=seed), settings
                found.setdefault(group, {}).setdefault(cell.method, {})[pair] = None
    groups = []
    for (cell, settings), methods in found.items():
        by_pairs: dict[tuple[str, ...], list[str]] = {}
        for method in in_order(methods):
            by_pairs.setdefault(tuple(pairs_in_order(methods[method])), []).append(method)
        groups += [Scored(pairs, names, cell, settings) for pairs, names in by_pairs.items()]
    return groups


def _scores(student: Student, wanted: Collection[tuple[str, int]], pairs: Sequence[str]) -> bool:
    """Return True if the scores of labels and seeds are a student's; a joint one has more pairs."""
    names = student.pair.partition("-")[0].split("+")
    of_pairs = {f"{name}-{student.pair.partition('-')[2]}" for name in names}
    return (student.column, student.seed) in wanted and bool(of_pairs & {*pairs})


def _download(results: Results, collection: CollectionScores, students: Sequence[Student]) -> str:
    """Return the command that fetches what the others need."""
    commands = [neutral_command(str(student.manifest.get("command"))) for student in students]
    given = dict.fromkeys(option for command in commands for option in command.options)
    settings = [
        option
        for option in given
        if option[0] == "--set" and option[1].partition("=")[0] in DOWNLOADED
    ]
    lang = ("--lang", ",".join(collection.pairs) or "all")
    return results.command("download", lang, *settings, on=collection)


def _trained_models(
    results: Results, students: Sequence[Student], chosen: Sequence[Scored]
) -> list[str]:
    """Return the commands that trained the models which students and runs name."""
    values = [flat(student.manifest["config"]) for student in students]
    named = {str(value) for config in values for key, value in config.items() if "model" in key}
    named |= {option[1].partition("=")[2] for group in chosen for option in group.settings
              if len(option) > 1}  # fmt: skip
    return [text for name, text in results.made.trained.items() if name in named]


def _indexings(
    results: Results,
    collection: CollectionScores,
    ranked: Sequence[Scored],
    runs: Sequence[SavedRun],
) -> list[str]:
    """Return the commands that made the indexes that runs were ranked with."""
    names = {name for group in ranked for name in group.methods}
    if not any(METHODS[name].scorer == "maxsim" for name in names if name in METHODS):
        return []
    used = {run.manifest["inputs"].get("index") for run in runs}
    made = [
        str(neutral_command(str(index.manifest.get("command")), "index"))
        for index in results.made.indexes
        if index.manifest["fingerprint"] in used
    ]
    return list(dict.fromkeys(made)) or [results.command("index", on=collection)]


def imported_runs(
    results: Results, collection: CollectionScores, labels: Sequence[str]
) -> list[SavedRun]:
    """Return the runs of other tools that were scored on a collection."""
    return [
        run
        for run in results.made.runs
        if run.is_imported
        and run.collection == collection.name
        and run.label in labels
        and run.pair in collection.pairs
    ]


def distillations(suite: str, students: Sequence[Student]) -> list[str]:
    """Return the commands that made students; those that differ in pair and method alone are one.

    Students that distillation does not make have a command of ``clir train``.
    """
    found: dict[tuple[str, tuple[Option, ...]], dict[str, dict[str, None]]] = {}
    for student in students:
        command = neutral_command(str(student.manifest.get("command")))
        is_joint = ("--joint",) in command.options
        merged = {"--suite", "--method"} | (set() if is_joint else {"--lang"})
        options = tuple(option for option in command.options if option[0] not in merged)
        method = dict(o for o in command.options if len(o) == 2).get("--method", "")
        members = found.setdefault((command.verb, options), {}).setdefault(method, {})
        members |= {} if is_joint else {student.pair: None}
    commands = []
    for (verb, options), methods in sorted(found.items(), key=_in_turn):
        by_pairs: dict[tuple[str, ...], list[str]] = {}
        for method in in_order(methods):
            by_pairs.setdefault(tuple(pairs_in_order(methods[method])), []).append(method)
        for pairs, names in by_pairs.items():
            lang = (("--lang", ",".join(pairs)),) if pairs else ()
            ours = 2 if ("--joint",) in options else 0  # its --lang and --joint come first
            which = (("--method", ",".join(names)),) if any(names) else ()
            words = (("--suite", suite), *lang, *options[:ours], *which, *options[ours:])
            commands.append(str(Command(verb, words)))
    return commands


def _in_turn(item: tuple[tuple[str, tuple[Option, ...]], Any]) -> tuple[Any, ...]:
    (verb, options), _ = item
    return verb != "train", len(options), options


def trained(
    students: Sequence[Student],
    commands: Sequence[str],
    shown: int = MANY,
    *,
    from_end: bool = False,
) -> Provenance:
    """Return commands with the settings that the students share, and those that differ."""
    values = distinct(flat(student.manifest["config"]) for student in students)
    for key in ("pair", "method"):
        values.pop(key, None)
    return Provenance(
        commands=commands,
        settings={key: texts[0] or "none" for key, texts in values.items() if len(texts) == 1},
        varied={key: " | ".join(texts) for key, texts in values.items() if len(texts) > 1},
        visible=commands[-shown:] if from_end else commands[:shown],
    )


def distinct(mappings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the different values of each key as texts, in order of appearance."""
    values: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            values.setdefault(key, {})[text] = None
    return {key: list(texts) for key, texts in values.items()}
