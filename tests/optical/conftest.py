"""The solvers of transport, one after the other."""

import pytest
import torch

from clir_cli.errors import UserError
from clir_cli.optical.solvers.table import SOLVERS
from clir_cli.optical.transport import solve

OURS = ["geomloss", "fused"]  # to be used; the others are there to compare with


@pytest.fixture(scope="session")
def compiled():
    """Compile the fused solver once, or say why its tests are left out."""
    pair = torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1).bool()
    try:
        solve(*pair, solver="fused")
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture(params=sorted(SOLVERS))
def solver(request):
    """Each solver in turn."""
    return ready(request)


@pytest.fixture(params=OURS)
def our_solver(request):
    """The solvers that are meant to be used."""
    return ready(request)


def ready(request):
    if request.param == "pot":
        pytest.importorskip("ot")
    if request.param == "fused" and (reason := request.getfixturevalue("compiled")):
        pytest.skip(reason)
    return request.param
