"""Which settings reach what: a section (``transport``) or one setting (``student.model``).

What a setting does not reach is the same for all its values, and need not be made twice.
"""

from collections.abc import Iterable, Sequence

from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import RECIPES, Recipe, cell_of

# What `clir distill` writes into the manifest of a student (stages/distill.py).
DISTILLED = ("teacher", "student", "bitext", "transport", "objective", "training", "joint")
DOWNLOAD = (
    "bitext.sources", "bitext.files", "dictionary.sources", "dictionary.files", "teacher.model",
    "student.model", "nmt.model", "models", "contrastive.collection",
)  # fmt: skip
DICTIONARY = ("bitext", "transport", "dictionary")
# How one computes, or how often one saves, changes nothing that is left.
NEUTRAL = (
    "index.batch_tokens", "index.memory", "training.checkpoint_steps",
    "training.gradient_checkpointing", "models",
)  # fmt: skip

BY_ENCODER = {"initial": ("student.model", "student.layers")}
BY_QUERIES = {"nmt": ("nmt",)}


def recipe(of: Recipe) -> list[str]:
    """Return what reaches a model that a recipe trains."""
    return [
        f"{section}.{name}" if name else section
        for section, names in of.sections.items()
        for name in (names or ("",))
    ] + ["joint"]


def teacher(settings: Settings) -> list[str]:
    """Return what reaches all that the teacher reads."""
    made = cell_of(settings.teacher.model)
    return ["teacher", "models", *(recipe(RECIPES[made.method]) if made else [])]


def index(settings: Settings) -> list[str]:
    """Return what reaches an index."""
    return [*teacher(settings), "index"]


def dictionary(settings: Settings) -> list[str]:
    """Return what reaches the dictionary that the plans of a student induce, the student apart."""
    return [*teacher(settings), *DICTIONARY]


def student(name: str, settings: Settings) -> list[str]:
    """Return what reaches the student of a method."""
    found = recipe(RECIPES[name]) if name in RECIPES else list(DISTILLED)
    made = cell_of(settings.student.model)
    return [*found, *(recipe(RECIPES[made.method]) if made else []), *teacher(settings)]


def run(name: str, settings: Settings) -> list[str]:
    """Return what reaches the run of a method, its student apart."""
    method = METHODS[name]
    found = ["teacher.query_tokens", "search"]
    found += index(settings) if method.scorer == "maxsim" else []
    found += dictionary(settings) if method.queries == "dictionary" else []
    found += BY_ENCODER.get(method.encoder, ())
    found += BY_QUERIES.get(method.queries, ())
    for part in fused(name, settings):
        found += ["fusion", *run(part, settings)]
    return _once(found)


def reaches(name: str, settings: Settings) -> list[str]:
    """Return what reaches the score of a method: its run, and the student if it has one."""
    found = run(name, settings)
    if METHODS[name].has_student or METHODS[name].whose:
        found += student(METHODS[name].whose or name, settings)
    if induces(name, settings):
        found += student("ot", settings)
    for part in fused(name, settings):
        found += reaches(part, settings)
    return _once(found)


def induces(name: str, settings: Settings) -> bool:
    """Tell whether a method reads the dictionary that the plans of a student induce."""
    return METHODS[name].queries == "dictionary" and settings.dictionary.induced


def fused(name: str, settings: Settings) -> Sequence[str]:
    """Return the methods whose runs a method puts together."""
    return settings.fusion.runs if METHODS[name].scorer == "fusion" else ()


def matches(key: str, prefixes: Iterable[str]) -> bool:
    """Tell whether a setting is one of those, or in one of those sections."""
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
