"""The table of an experiment, as a report finds it in a folder of results."""

from pathlib import Path

import pandas as pd

from clir_cli.study import results as tables

AXIS = "transport.eps"


def experiment_rows(**changed: object) -> list[dict[str, object]]:
    """A learning curve of two methods and a ceiling, with an expected score and a failure."""
    rows = []
    for eps, value, verdict in ((0.02, 0.5, "OK"), (0.05, 0.6, "FAIL"), (0.2, 0.4, "")):
        rows.append({"method": "ot", "variant": f"eps{eps}", AXIS: eps, "value": value,
                     "verdict": verdict, "expected": 0.5 if verdict else None,
                     "tolerance": 0.02 if verdict else None, "baseline": "bm25",
                     "p_value": 0.01, "effect": 0.4})  # fmt: skip
    rows.append({"method": "english", "value": 0.8})
    rows.append({"method": "kd-mse", "variant": "eps0.2", AXIS: 0.2, "error": "it fell over"})
    common = {"suite": "sample", "experiment": "eps_ablation", "collection": "sample",
              "pair": "sw-en", "seed": 0, "metric": "map", "queries": 80,
              "command": "clir evaluate --suite sample --home /home/someone/artifacts"}  # fmt: skip
    return [
        {**common, "ci_low": row.get("value", 0) - 0.1, "ci_high": row.get("value", 0) + 0.1,
         **row, **changed}
        for row in rows
    ]  # fmt: skip


def write_experiment(folder: Path, rows: list[dict[str, object]], name: str) -> None:
    table = pd.DataFrame(rows, columns=[*tables.KEY, AXIS, *tables.FIGURES])
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
