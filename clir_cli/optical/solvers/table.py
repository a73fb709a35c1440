"""The solvers by name, for `transport.solver`. What a solver needs is imported when it is used."""

from collections.abc import Callable

from clir_cli.optical.solvers.fused import fused
from clir_cli.optical.solvers.problem import Solution
from clir_cli.optical.solvers.with_geomloss import geomloss, geomloss_only
from clir_cli.optical.solvers.with_pot import pot

SOLVERS: dict[str, Callable[..., Solution]] = {
    "geomloss": geomloss,
    "geomloss-only": geomloss_only,
    "pot": pot,
    "fused": fused,
}
