"""English as an anchor (``objective.anchor``): what the student must not forget.

Distillation asks nothing of the student in English, and so lets it drift. With the anchor the
student reads the English side of each pair too, and each of its tokens is held to the teacher's
embedding of the same token:

    anchor = mean over pairs of the mean over tokens i that both have of 1 - cos(S_i, T_i)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clir_cli.ragged import Ragged
from clir_cli.retrieval.batching import pad
from clir_cli.retrieval.centres import unit
from clir_cli.retrieval.encoder import Encoder

Span = tuple[int, int]


@dataclass(frozen=True)
class English:
    """The English sides of a bitext as the student reads them.

    Attributes:
        ids: The student's token ids of each sentence.
        shared: (k, 2) of each: the positions of a token in the student's ids and among the
            teacher's embeddings of the sentence.
        centres: The teacher's mean tokens (retrieval/centres.py). The student's English is centred
            with them, as its own are of another language.
    """

    ids: Ragged
    shared: Sequence[Tensor]
    centres: Mapping[str, Tensor]


def shared_tokens(text: str, student: Sequence[Span], teacher: Sequence[Span]) -> Tensor:
    """Return the positions (k, 2) of the tokens that both tokenizers make of a sentence.

    Where all spans are the same, that is every position, special tokens included. Elsewhere it is
    the tokens of the same characters; tokens that only one of the two has are left out.

    Args:
        text: The sentence.
        student: Characters (begin, end) of the student's tokens; empty for special ones.
        teacher: The same, of the teacher's.
    """
    sides = [[_trimmed(text, span) for span in spans] for spans in (student, teacher)]
    if sides[0] == sides[1]:
        return torch.arange(len(student))[:, None].repeat(1, 2)
    place = {span: index for index, span in enumerate(sides[1]) if span[0] < span[1]}
    pairs = [(index, place[span]) for index, span in enumerate(sides[0]) if span in place]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


def _trimmed(text: str, span: Span) -> Span:
    """Return a span without the spaces that it begins with: some tokenizers count them in."""
    begin, end = span
    return end - len(text[begin:end].lstrip()), end


def anchor(student: Encoder, sentences: Sequence[tuple[English, int, Tensor]]) -> Tensor:
    """Return the anchor over sentences: English sides, the index there, the teacher's (m, d).

    A sentence of which no token is shared counts as 0.
    """
    ids, mask = pad([sides.ids[row] for sides, row, _ in sentences], student.pad_id, student.device)
    vectors = unit(student.states(ids, mask), sentences[0][0].centres, "sentence")
    distances = []
    for own, (sides, row, teacher) in zip(vectors, sentences, strict=True):
        left, right = sides.shared[row].unbind(1)
        target = teacher[right].float().to(own.device)
        cosines = (own[left.to(own.device)] * target).sum(1)
        distances.append((1 - cosines).sum() / max(1, len(left)))
    return torch.stack(distances).mean()
