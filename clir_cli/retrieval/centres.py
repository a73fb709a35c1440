"""The mean token of each side, which a centred encoder takes out of its token embeddings.

Encoders whose token embeddings share one large direction have cosines in a narrow band. With m the
mean of a side's unit tokens, a state h becomes

    e = (h / |h| - m) / |h / |h| - m|

which spreads them (Mu and Viswanath, All-but-the-Top, ICLR 2018; arXiv 1702.01417). Queries and
sentences have one mean, documents another.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.checkpoints import SIDES, TextKind
from clir_cli.retrieval.model_files import AGAIN
from clir_cli.retrieval.tensor_files import read_tensors

CENTRES = "centre.safetensors"
LONGEST = 1 + 1e-3  # norm of a mean of unit vectors, rounded


def unit(states: Tensor, centres: Mapping[str, Tensor], kind: TextKind) -> Tensor:
    """Return unit token embeddings (..., d) of states (..., d) of texts of a kind, in float32.

    ``centres`` has the mean token (d,) of each side, or none.
    """
    embeddings = normalize(states, dim=-1)
    centre = centres.get("document" if kind == "document" else "query")
    return embeddings if centre is None else normalize(embeddings - centre.to(states), dim=-1)


def save_centres(folder: Path, centres: Mapping[str, Tensor]) -> None:
    """Write the mean tokens beside a model."""
    save_file({side: centre.cpu() for side, centre in centres.items()}, folder / CENTRES)


def load_centres(folder: Path, dimensions: int, device: torch.device) -> dict[str, Tensor]:
    """Return the mean tokens (d,) of a folder by side, none if it has no file of them.

    Raises:
        UserError: The file is damaged, or no mean of unit vectors of so many dimensions.
    """
    path = folder / CENTRES
    if not path.is_file():
        return {}
    with reported(f"{path}: the mean tokens cannot be read", AGAIN):
        centres, _ = read_tensors(path)
    for side, centre in centres.items():
        if (
            side not in SIDES
            or centre.shape != (dimensions,)
            or not centre.float().norm() <= LONGEST
        ):
            raise UserError(
                f"{path}: {side} is {tuple(centre.shape)} and no mean of unit vectors of "
                f"{dimensions} dimensions; {AGAIN}"
            )
    return {side: centre.float().to(device) for side, centre in centres.items()}
