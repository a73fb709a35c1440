"""The experiments that there are, as rows for people and programs."""

from collections.abc import Sequence

from clir_cli.study.experiment import Experiment


def listing(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """Return the experiments with their questions."""
    return [
        {"experiment": each.name, "what it is": each.title, "question": each.question}
        for each in experiments
    ]
