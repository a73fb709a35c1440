"""What a report looks at closely: the leading metric, a method, and the baseline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clir_cli.artifacts.cell import IMPORTED, Cell
from clir_cli.errors import UserError
from clir_cli.stages.support.methods import METHODS
from clir_cli.study.report.data import Results


@dataclass(frozen=True)
class Focus:
    """The leading metric, the method, and the baseline it is compared with query by query."""

    metric: str
    method: str
    baseline: str
    confidence: float
    test: str


def focus_on(
    results: Results,
    confidence: float,
    test: str,
    *,
    metric: str = "",
    method: str = "",
    baseline: str = "",
) -> Focus:
    """Return what to look at: as named, else by rule.

    The metric is the one with most scores, MAP before others; the method is ``ot``; its baseline is
    the best other method, without the ceiling and fusion.

    Raises:
        UserError: What is named has no scores.
    """
    method, baseline = (_marked(name, results.labels) for name in (method, baseline))
    for option, name, known in (
        ("metric", metric, sorted({key.metric for key in results.keys})),
        ("method", method, results.labels),
        ("baseline", baseline, results.labels),
    ):
        if name and name not in known:
            raise UserError(f"--{option} {name}: no scores of it; known: {', '.join(known)}")
    if not results.collections:
        return Focus(metric, "", "", confidence, test)
    collection = results.collections[0]
    counts = Counter(key.metric for key in collection.scores)
    metric = metric or max(collection.metrics, key=lambda name: counts[name])
    totals = dict.fromkeys(results.labels, 0.0)
    for pair in collection.pairs:
        for estimate in collection.estimates(pair, metric, results.labels):
            totals[estimate.label] += estimate.value
    rivals = [label for label in results.labels if _competes(label)] or results.labels
    rivals = sorted(rivals, key=lambda label: -totals[label])
    method = method or ("ot" if "ot" in rivals else rivals[0])
    others = [label for label in rivals if label != method]
    return Focus(metric, method, baseline or (others[0] if others else ""), confidence, test)


def _marked(name: str, labels: Sequence[str]) -> str:
    """Return the label of an imported run, where a name is its name alone."""
    marked = f"{name}.{IMPORTED}"
    return marked if name not in labels and marked in labels else name


def _competes(label: str) -> bool:
    method = METHODS.get(Cell.parse(label).method)
    return method is None or (method.queries != "english" and method.scorer != "fusion")
