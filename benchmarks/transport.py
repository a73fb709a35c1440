"""Transport solvers side by side, at equal accuracy, in one run.

    python -m benchmarks.transport [--quick] [--threads 1] [--device auto|cpu|cuda]

Every solver brings the marginals of every pair to within an L1 distance of 1e-3. Those without
a stopping rule of that kind are tuned before the clock runs: to the least number of updates, or
to the loosest threshold, that does it. Then all take turns, and medians are compared.
"""

import argparse
import csv
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.costs import translated
from benchmarks.machine import describe, milliseconds
from clir_cli.errors import UserError
from clir_cli.optical.transport import solve

TOLERANCE = 1e-3
SHAPES = ((64, 32, 32), (256, 32, 32), (64, 64, 64))
EPS = (0.1, 0.05, 0.02)
DEFAULT = "default (geomloss)"
REFERENCE = "geomloss alone"


@dataclass
class Batch:
    """One batch of problems; masses are uniform over the real tokens."""

    cost: Tensor
    rows: Tensor
    columns: Tensor
    eps: float

    @property
    def a(self) -> Tensor:
        """(B, n) masses of the rows."""
        return self.rows / self.rows.sum(1, keepdim=True)

    @property
    def b(self) -> Tensor:
        """(B, m) masses of the columns."""
        return self.columns / self.columns.sum(1, keepdim=True)

    def violation(self, plan: Tensor) -> Tensor:
        """(B,) L1 distance of the plan's marginals, both sides together."""
        rows = (plan.sum(2) - self.a).abs().sum(1)
        return rows + (plan.sum(1) - self.b).abs().sum(1)

    def suits(self, plan: Tensor) -> bool:
        """Whether every pair's marginals are within the tolerance."""
        return bool((self.violation(plan) <= TOLERANCE * 1.001).all())


@dataclass
class Contestant:
    """A solver that is ready to run: `run` gives plans, and updates by pair."""

    run: Callable[[], tuple[Tensor, Tensor]]
    setting: str = ""


def ours(solver: str) -> Callable[[Batch], Contestant]:
    """One of the solvers of `clir_cli.optical.transport`, with its own stopping rule."""

    def make(batch: Batch) -> Contestant:
        def run() -> tuple[Tensor, Tensor]:
            found = solve(
                batch.cost,
                batch.rows,
                batch.columns,
                eps=batch.eps,
                tolerance=TOLERANCE,
                max_iterations=20_000,
                solver=solver,
            )
            return found.plan, found.iterations

        return Contestant(run)

    return make


def geomloss_alone(batch: Batch) -> Contestant:
    """The loop of geomloss, annealed and then held at eps for the least number of updates."""
    from geomloss._legacy.sinkhorn_divergence import log_weights, sinkhorn_loop
    from geomloss._legacy.sinkhorn_samples import softmin_tensorized

    halvings = math.ceil(math.log2(1 / batch.eps))
    annealing = [batch.eps * 2**k for k in range(halvings, 0, -1)]

    def plans(held: int) -> Tensor:
        a, b, eps = batch.a, batch.b, batch.eps
        with torch.no_grad():
            _, _, g, f = sinkhorn_loop(
                softmin_tensorized,
                log_weights(a),
                log_weights(b),
                None,
                None,
                batch.cost,
                batch.cost.mT.contiguous(),
                annealing + [eps] * held,
                None,
                debias=False,
            )
        return coupling(batch, f, g)

    held = least(lambda held: batch.suits(plans(held)))
    updates = torch.full((len(batch.cost),), held + len(annealing) + 2)
    return Contestant(lambda: (plans(held), updates), f"{held} held")


def geomloss_samples_loss(batch: Batch) -> Contestant:
    """`SamplesLoss` of geomloss by its public options: the fastest `scaling` that does it."""
    if batch.cost.numel() > 64 * 32 * 32:
        raise UserError("it takes minutes beyond 64 pairs of 32 x 32 tokens")
    from geomloss import SamplesLoss

    def plans(scaling: float) -> Tensor:
        sides = iter((batch.cost, batch.cost.mT.contiguous()))
        loss = SamplesLoss(
            "sinkhorn",
            p=1,
            blur=batch.eps,
            diameter=1.0,
            scaling=scaling,
            cost=lambda *_: next(sides),
            debias=False,
            potentials=True,
            backend="tensorized",
        )
        with torch.no_grad():
            points = batch.rows.float()[:, :, None], batch.columns.float()[:, :, None]
            f, g = loss(batch.a, points[0], batch.b, points[1])
        return coupling(batch, f, g)

    def steps(scaling: float) -> int:
        return math.ceil(math.log(1 / batch.eps) / -math.log(scaling)) + 2

    finest = least(lambda count: batch.suits(plans(batch.eps ** (1 / count))))
    scaling = batch.eps ** (1 / finest)
    updates = torch.full((len(batch.cost),), steps(scaling) + 2)
    return Contestant(lambda: (plans(scaling), updates), f"scaling {scaling:.4f}")


def pot(batch: Batch) -> Contestant:
    """POT's batched Sinkhorn with the loosest threshold that does it."""
    from ot.batch import solve_batch

    method = "sinkhorn" if batch.cost.device.type == "cpu" else "log_sinkhorn"

    def solved(threshold: float):
        return solve_batch(
            batch.cost,
            batch.eps,
            a=batch.a,
            b=batch.b,
            max_iter=20_000,
            tol=threshold,
            method=method,
            grad="detach",
        )

    thresholds = [TOLERANCE / 2 ** (k / 2) for k in range(12)]
    threshold = next(
        (each for each in thresholds if batch.suits(solved(each).plan)), thresholds[-1]
    )

    def run() -> tuple[Tensor, Tensor]:
        found = solved(threshold)
        return found.plan, torch.full((len(batch.cost),), found.log["n_iter"] + 1)

    return Contestant(run, f"{method}, tol {threshold:.1e}")


def ott_jax(batch: Batch) -> Contestant:
    """OTT-JAX, vectorised over the batch and compiled."""
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    solver = Sinkhorn(threshold=TOLERANCE / 2, max_iterations=20_000)

    def one(cost, a, b):
        found = solver(LinearProblem(Geometry(cost_matrix=cost, epsilon=batch.eps), a=a, b=b))
        return found.matrix, found.n_iters

    compiled = jax.jit(jax.vmap(one))
    inputs = [jax.numpy.asarray(part.cpu().numpy()) for part in (batch.cost, batch.a, batch.b)]

    def run() -> tuple[Tensor, Tensor]:
        plan, iterations = jax.block_until_ready(compiled(*inputs))
        return torch.from_dlpack(plan), torch.from_dlpack(iterations)

    return Contestant(run, "vmap, jit")


def coupling(batch: Batch, f: Tensor, g: Tensor) -> Tensor:
    """The plan that a pair of potentials stands for, masked before the exponential."""
    cells = batch.rows[:, :, None] & batch.columns[:, None, :]
    density = (f[:, :, None] + g[:, None, :] - batch.cost) / batch.eps
    density = density.masked_fill(~cells, -torch.inf).exp()
    return batch.a[:, :, None] * batch.b[:, None, :] * density


def least(does: Callable[[int], bool], most: int = 20_000) -> int:
    """The least count that does it, to within a twentieth; `most` when none does."""
    high = 8
    while not does(high):
        if high >= most:
            return most
        high *= 2
    low = high // 2
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


CONTESTANTS: dict[str, Callable[[Batch], Contestant]] = {
    DEFAULT: ours("geomloss"),
    "fused": ours("fused"),
    "POT batch": pot,
    REFERENCE: geomloss_alone,
    "geomloss SamplesLoss": geomloss_samples_loss,
    "OTT-JAX": ott_jax,
}


def compare(batch: Batch, repeats: int, device: str, warn: Callable[[str], None]) -> list[dict]:
    """Rows of the table for one batch, fastest first."""
    ready: dict[str, Contestant] = {}
    for name, make in CONTESTANTS.items():
        try:
            ready[name] = make(batch)
            ready[name].run()
        except (ImportError, UserError) as error:
            warn(f"{name} is left out: {error}")
            ready.pop(name, None)

    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(repeats):  # taking turns, so that a busy moment hits all alike
        for name, contestant in ready.items():
            times[name].append(milliseconds(contestant.run, device))

    rows = []
    default = statistics.median(times[DEFAULT])
    for name, contestant in ready.items():
        plan, iterations = contestant.run()
        plan = plan.to(batch.cost)
        violation = batch.violation(plan)
        median = statistics.median(times[name])
        rows.append(
            {
                "solver": name,
                "setting": contestant.setting,
                "ms": median,
                "times_default": median / default,
                "iterations_max": int(iterations.max()),
                "iterations_mean": float(iterations.float().mean()),
                "violation_max": float(violation.max()),
                "converged": float((violation <= TOLERANCE * 1.001).float().mean()),
                "nan": int(plan.isnan().sum()),
            }
        )
    return sorted(rows, key=lambda row: row["ms"])


def table(title: str, rows: list[dict]) -> Table:
    """The rows of one batch for people."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    drawn.add_column("solver", no_wrap=True)
    for heading in ("ms", "ratio", "updates", "mean", "L1", "NaN"):
        drawn.add_column(heading, justify="right")
    for row in rows:
        drawn.add_row(
            row["solver"],
            f"{row['ms']:.0f}" if row["ms"] >= 100 else f"{row['ms']:.2f}",
            f"{row['times_default']:.2f}",
            str(row["iterations_max"]),
            f"{row['iterations_mean']:.0f}",
            f"{row['violation_max']:.1e}" + ("" if row["converged"] == 1 else " (!)"),
            str(row["nan"]),
        )
    return drawn


def main() -> None:
    """Measure, print the tables, write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one shape, two eps, three repeats")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("results/bench/transport.csv"))
    chosen = parser.parse_args()

    torch.set_num_threads(chosen.threads)
    device = chosen.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    shapes, eps_values, repeats = SHAPES, EPS, chosen.repeats
    if chosen.quick:
        shapes, eps_values, repeats = SHAPES[:1], EPS[1:], 3

    talk, out = Console(stderr=True), Console()
    machine = describe(device)
    talk.print(machine + ("" if device == "cuda" else "; no GPU was used"))
    left_out = set()

    def warn(message: str) -> None:
        if message not in left_out:
            left_out.add(message)
            talk.print(message)

    records = []
    for pairs, n, m in shapes:
        problem = [part.to(device) for part in translated(pairs, n, m, seed=1)]
        for eps in eps_values:
            rows = compare(Batch(*problem, eps), repeats, device, warn)
            out.print(table(f"{pairs} pairs of up to {n} x {m} tokens, eps {eps}", rows))
            records += [
                {"pairs": pairs, "rows": n, "columns": m, "eps": eps, **row, "machine": machine}
                for row in rows
            ]

    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, records[0])
        writer.writeheader()
        writer.writerows(
            {
                key: round(value, 6) if isinstance(value, float) else value
                for key, value in row.items()
            }
            for row in records
        )
    talk.print(f"written to {chosen.out}")


if __name__ == "__main__":
    main()
