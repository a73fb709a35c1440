"""The share of transport in a whole distillation step.

    python -m benchmarks.step [--model minilm|mbert] [--batch 64 256] [--solver geomloss fused]

A step encodes a batch of queries, takes their costs to teacher embeddings that were computed
before, solves for the plans, and descends: forward, cost, transport, loss, backward, AdamW. The
encoder has the shape of a known one and random weights, which take the same time. Its costs would
not look like a trained one's, so plans are solved for costs from `benchmarks.costs`, and the loss
takes them to the encoder's own.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.costs import translated
from benchmarks.machine import describe
from clir_cli.errors import UserError
from clir_cli.optical.transport import transport_plan

ENCODERS = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "vocab_size": 30522},
    "mbert": {"hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 119547},
}
DIMENSION = 128  # of a token embedding in the space that student and teacher share


class Step:
    """A student, a batch and an optimiser; calling it takes one step.

    Args:
        model: a name in ENCODERS.
        pairs: pairs in the batch.
        tokens: longest sentence.
        solver: of the transport.
        eps: of the transport.
        precision: float32, or bfloat16 for autocast.
        compiled: whether the student is compiled.
        device: cpu or cuda.
    """

    def __init__(
        self,
        model: str,
        pairs: int,
        tokens: int,
        *,
        solver: str,
        eps: float,
        precision: torch.dtype,
        compiled: bool,
        device: str,
    ):
        from transformers import BertConfig, BertModel

        shape = ENCODERS[model]
        heads = shape["hidden_size"] // (32 if model == "minilm" else 64)
        config = BertConfig(
            **shape, num_attention_heads=heads, intermediate_size=4 * shape["hidden_size"]
        )
        torch.manual_seed(0)
        self.student = BertModel(config, add_pooling_layer=False).to(device).train()
        self.project = torch.nn.Linear(shape["hidden_size"], DIMENSION, bias=False).to(device)
        if compiled:
            self.student = torch.compile(self.student)
        parameters = [*self.student.parameters(), *self.project.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=1e-5)

        batch = [part.to(device) for part in translated(pairs, tokens, tokens, seed=1)]
        self.cost, self.rows, self.columns = batch
        self.ids = torch.randint(shape["vocab_size"], (pairs, tokens), device=device)
        teacher = torch.randn(pairs, tokens, DIMENSION, device=device)
        self.teacher = torch.nn.functional.normalize(teacher, dim=-1)
        self.solver, self.eps = solver, eps
        self.device, self.precision = device, precision

    def __call__(self) -> tuple[float, float]:
        """Seconds of the whole step and of its transport."""
        start = self._now()
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            hidden = self.student(self.ids, attention_mask=self.rows.long()).last_hidden_state
            queries = torch.nn.functional.normalize(self.project(hidden), dim=-1)
        cost = 1 - queries.float() @ self.teacher.mT

        before = self._now()
        plan = transport_plan(self.cost, self.rows, self.columns, eps=self.eps, solver=self.solver)
        after = self._now()

        (plan * cost).sum((1, 2)).mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return self._now() - start, after - before

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def main() -> None:
    """Measure, print the table, write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=sorted(ENCODERS), default=["minilm"])
    parser.add_argument("--batch", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--solver", nargs="+", default=["geomloss", "fused"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true", help="compile the student")
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=5, help="timed steps after a first one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/bench/step.csv"))
    chosen = parser.parse_args()

    torch.set_num_threads(chosen.threads)
    device = chosen.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    talk, out = Console(stderr=True), Console()
    machine = describe(device)
    talk.print(machine + ("" if device == "cuda" else "; no GPU was used"))

    drawn = Table(title=f"transport in a step, {chosen.tokens} tokens, eps {chosen.eps}")
    for heading in ("model", "batch", "precision", "solver"):
        drawn.add_column(heading, no_wrap=True)
    for heading in ("step ms", "transport ms", "share"):
        drawn.add_column(heading, justify="right")

    records = []
    for model in chosen.model:
        for pairs in chosen.batch:
            for precision in chosen.precision:
                for solver in chosen.solver:
                    talk.print(f"{model}, {pairs} pairs, {precision}, {solver}")
                    step = Step(
                        model,
                        pairs,
                        chosen.tokens,
                        solver=solver,
                        eps=chosen.eps,
                        precision=getattr(torch, precision),
                        compiled=chosen.compile,
                        device=device,
                    )
                    try:
                        step()
                    except UserError as error:
                        talk.print(f"left out: {error}")
                        continue
                    timed = [step() for _ in range(chosen.steps)]
                    whole = 1e3 * statistics.median(each[0] for each in timed)
                    part = 1e3 * statistics.median(each[1] for each in timed)
                    share = 100 * part / whole
                    drawn.add_row(
                        model,
                        str(pairs),
                        precision,
                        solver,
                        f"{whole:.0f}",
                        f"{part:.2f}",
                        f"{share:.2f} %",
                    )
                    records.append(
                        {
                            "model": model,
                            "batch": pairs,
                            "tokens": chosen.tokens,
                            "precision": precision,
                            "compiled": chosen.compile,
                            "solver": solver,
                            "eps": chosen.eps,
                            "step_ms": round(whole, 3),
                            "transport_ms": round(part, 3),
                            "share_percent": round(share, 3),
                            "machine": machine,
                        }
                    )
    out.print(drawn)
    if records:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        with chosen.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, records[0])
            writer.writeheader()
            writer.writerows(records)
        talk.print(f"written to {chosen.out}")


if __name__ == "__main__":
    main()
