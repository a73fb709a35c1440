"""What a report looks at, and how what it shows was made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clir_cli.errors import UserError
from clir_cli.evaluation import gaps
from clir_cli.stages.methods import METHODS
from clir_cli.study.report.blocks import How
from clir_cli.study.report.data import Results, Student


@dataclass(frozen=True)
class Choice:
    """What the report looks at: the leading metric, the method, and its rival on the queries."""

    metric: str
    method: str
    baseline: str
    confidence: float
    test: str


def choose(results: Results, confidence: float, test: str, **wanted: str) -> Choice:
    """Return what to look at: as wanted, else by rule.

    The metric is the one with most scores, MAP before others; the method is ``ot``; its rival is
    the best other method, but for the ceiling and what is fused of several.

    Raises:
        UserError: What is wanted has no scores.
    """
    for what, known in (
        ("metric", sorted({point.metric for point in results.points})),
        ("method", results.labels),
        ("baseline", results.labels),
    ):
        if wanted.get(what) and wanted[what] not in known:
            raise UserError(
                f"--{what} {wanted[what]}: there are no scores of it; there are: {', '.join(known)}"
            )
    if not results.points:
        return Choice(wanted.get("metric", ""), "", "", confidence, test)
    collection = results.collections[0]
    metrics = results.metrics(collection)
    counts = Counter(point.metric for point in results.points if point.collection == collection)
    metric = wanted.get("metric") or max(metrics, key=lambda name: counts[name])
    rivals = sorted(
        (label for label in results.labels if _competes(label)),
        key=lambda label: _mean(results, collection, label, metric),
        reverse=True,
    )
    method = wanted.get("method") or ("ot" if "ot" in rivals else (rivals or results.labels)[0])
    others = [label for label in (rivals or results.labels) if label != method]
    baseline = wanted.get("baseline") or (others[0] if others else "")
    return Choice(metric, method, baseline, confidence, test)


def _competes(label: str) -> bool:
    method = METHODS.get(label.split(".")[0])
    return method is None or (method.queries != "english" and method.scorer != "fusion")


def _mean(results: Results, collection: str, label: str, metric: str) -> float:
    found = [results.point(collection, pair, label, metric) for pair in results.pairs(collection)]
    return sum(point.value if point else 0.0 for point in found)


def pair_name(pair: str) -> str:
    """Return a pair with its resource group, as the headings have it."""
    resource = gaps.resource_of(pair)
    return f"{pair} ({resource}-resource)" if resource else pair


# ------------------------------------------------------------------ how a figure was made


def how(results: Results, collection: str, labels: Sequence[str], metrics: Sequence[str]) -> How:
    """Return the command that scored methods, and the settings of their students."""
    pairs = results.pairs(collection)
    methods = list(dict.fromkeys(label.split(".")[0] for label in labels))
    words = [
        f"clir evaluate --suite {results.suite}",
        f"--lang {','.join(pairs)}",
        f"--method {','.join(methods)}",
        f"--metric {','.join(metrics)}",
    ]
    if len(results.collections) > 1:
        words.append(f"--collection {collection}")
    commands = [" ".join(words)]
    students = [each for each in results.students if each.method in labels and each.pair in pairs]
    commands += distillations(results.suite, students)
    return settings_of(students, commands)


def distillations(suite: str, students: Sequence[Student]) -> list[str]:
    """Return the commands that made students; what differs in the pair alone is one."""
    found: dict[str, list[str]] = {}
    for each in students:
        words = each.command.split()
        named = {place for place, word in enumerate(words) if word in ("--lang", "--suite")}
        left_out = named | {place + 1 for place in named}
        rest = [word for place, word in enumerate(words) if place > 1 and place not in left_out]
        found.setdefault(" ".join(rest), []).append(each.pair)
    return [
        f"clir distill --suite {suite} --lang {','.join(pairs)} {rest}".strip()
        for rest, pairs in sorted(found.items())
    ]


def settings_of(students: Sequence[Student], commands: Sequence[str]) -> How:
    """Return the settings that students share, and those in which they differ."""
    values: dict[str, list[str]] = {}
    for each in students:
        for key, value in each.config.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            seen = values.setdefault(key, [])
            if text not in seen:
                seen.append(text)
    own = {"pair", "method"}
    return How(
        commands=commands,
        settings={k: v[0] or "none" for k, v in values.items() if len(v) == 1 and k not in own},
        varied={k: " | ".join(v) for k, v in values.items() if len(v) > 1 and k not in own},
    )
