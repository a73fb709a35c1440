"""The ranks of held-out queries: what model selection and the reported MRR come from."""

from collections.abc import Sequence

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim_batch


def reciprocal_ranks(
    queries: Packed,
    documents: Packed,
    right: Sequence[Sequence[int]],
    neutral: Sequence[Sequence[int]],
) -> list[float]:
    """Return the reciprocal rank of each query's best answer by late interaction.

    Documents with the score of the best answer do not push it down.

    Args:
        queries: B queries, whose device computes.
        documents: All documents.
        right: The answers of each query, by index.
        neutral: Documents of each query that are neither right nor wrong; answers may be among
            them.
    """
    scores = maxsim_batch(queries, documents)
    ranks = []
    for row, answers, ignored in zip(scores, right, neutral, strict=True):
        best = row[list(answers)].max()
        row[list(ignored)] = float("-inf")
        ranks.append(1 / (1 + int((row > best).sum())))
    return ranks
