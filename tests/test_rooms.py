"""The shape of the house: imports go downwards, floor by floor."""

import ast
from collections.abc import Iterator
from pathlib import Path

import clir_cli

PACKAGE = Path(clir_cli.__file__).parent
# From the ground up. A room imports from its own floor and from those below it.
FLOORS = (
    {
        "__version__",
        "errors",
        "files",
        "foreign",
        "runtime",
        "console",
        "layout",
        "ragged",
        "setting_types",
        "settings",
        "recipe_settings",
        "suites",
    },
    {"corpus", "evaluation"},
    {"artifacts"},
    {"retrieval"},
    {"training"},
    {"optical"},
    {"vocabulary"},
    {"cluster"},
    {"stages"},
    {"study"},
    {"exchange"},
    {"options", "display", "commands", "api"},
    {"cli", "__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "clir_cli":
            yield from (f"clir_cli.{each.name}" for each in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clir_cli."):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("clir_cli."))


def test_nothing_imports_upwards():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own == "__init__":
            continue
        for module in imported(path):
            if LEVEL[room(module)] > LEVEL[own]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong
    assert len(list(imported(PACKAGE / "cli.py"))) > 2  # the walk finds what there is
