"""The methods: how queries are encoded and documents scored. One entry per method."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Literal

from clir_cli.artifacts.cell import IMPORTED, Cell
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError, nearest
from clir_cli.settings import Settings
from clir_cli.stages.support.recipes import RECIPES


@dataclass(frozen=True)
class Method:
    """A method: its query encoder, the language of its queries, and its scorer.

    ``encoder`` is the ``teacher``, the ``initial`` student, a student ``distilled`` with the
    objective of the same name (optical/objectives.py) or ``trained`` by the recipe of the same name
    (recipes.py), the ``borrowed`` student of the method ``whose``, or empty. ``learns`` is False if
    the student is the one that distillation starts from. ``transports`` is True if the objective
    solves transport problems, and ``objective`` names the other settings that reach it.
    """

    name: str
    summary: str
    encoder: Literal["", "teacher", "initial", "distilled", "trained", "borrowed"]
    queries: Literal["pair", "english", "dictionary", "nmt"] = "pair"
    scorer: Literal["maxsim", "bm25", "fusion", "imported"] = "maxsim"
    whose: str = ""
    learns: bool = True
    transports: bool = False
    objective: tuple[str, ...] = ()

    def query_language(self, pair: Pair) -> str:
        """Return the language of the queries that it starts from."""
        return "en" if self.queries == "english" else pair.query

    def cell(self, of: Cell) -> Cell:
        """Return its cell beside another one, as far as variant, seed and group matter to it."""
        if self.scorer == "imported":
            return Cell(self.name, IMPORTED)
        variant = of.variant if self.has_variants else ""
        seed, joint = (of.seed, of.joint) if self.has_seeds else (0, ())
        return Cell(self.name, variant, seed, joint)

    @property
    def is_trained(self) -> bool:
        """Return True if ``clir distill`` makes a student for the method."""
        return self.encoder == "distilled"

    @property
    def has_student(self) -> bool:
        """Return True if the method has a student of its own."""
        return self.encoder in ("distilled", "trained")

    @property
    def has_seeds(self) -> bool:
        """Return True if results depend on the seed of a student."""
        student = self.has_student or bool(self.whose)
        return student or self.scorer == "fusion" or self.queries == "dictionary"

    @property
    def has_variants(self) -> bool:
        """Return True if results depend on the variant."""
        return self.has_seeds or self.encoder == "initial" or self.queries == "nmt"


_distilled = partial(Method, encoder="distilled")
_ot = partial(_distilled, transports=True)
_bm25 = partial(Method, encoder="", scorer="bm25")
_taught = partial(Method, encoder="teacher")

METHODS = {
    method.name: method
    for method in (
        Method("zero-shot", "the initial student without training encodes the query", "initial"),
        _ot(
            "rows",
            "the initial student plus embeddings of the bitext's words and subwords, not trained",
            learns=False,  # its held-out loss is computed as for ot
        ),
        _ot("ot", "OPTICAL: the student is distilled with transport plans as soft token alignment"),
        _ot(
            "ot+pooled",
            "ot, plus the cosine of pooled sentence vectors",
            objective=("objective.pooled_weight",),
        ),
        _ot(
            "ot+score",
            "ot and kd-score in one loss",
            objective=("objective.score_weight", "objective.temperature"),
        ),
        _ot(
            "ot+contrast",
            "ot, plus a contrast of the transport costs with all translations of the batch",
            objective=("objective.contrast_weight", "objective.temperature"),
        ),
        _distilled(
            "kd-greedy", "hard alignment: each student token is pulled to its nearest teacher token"
        ),
        _distilled("kd-mse", "matches the teacher's pooled vector: squared distance"),
        _distilled("kd-cosine", "matches the teacher's pooled vector: cosine"),
        _distilled(
            "kd-score",
            "matches the teacher's score distribution over the batch: KL divergence",
            objective=("objective.temperature",),
        ),
        Method(
            "code-switch",
            "clir train: contrastive, on English queries with words replaced by translations",
            "trained",
        ),
        Method(
            "hybrid", "clir train: contrastive, on English and cross-lingual batches", "trained"
        ),
        *(
            Method(
                f"{whose}-english",
                f"the student of {whose} on English queries: what it does in English",
                "borrowed",
                queries="english",
                whose=whose,
            )
            for whose in ("ot", "code-switch", "hybrid")
        ),
        _bm25("bm25", "BM25 on the untranslated query: a lower bound from shared names"),
        _taught(
            "dictionary",
            "word-by-word dictionary translation of the query, then the teacher",
            queries="dictionary",
        ),
        _bm25(
            "dictionary-bm25",
            "word-by-word dictionary translation of the query, then BM25",
            queries="dictionary",
        ),
        _taught(
            "nmt", "machine translation of the query (nmt.model), then the teacher", queries="nmt"
        ),
        _bm25("nmt-bm25", "machine translation of the query (nmt.model), then BM25", queries="nmt"),
        _bm25("english-bm25", "BM25 on the English query", queries="english"),
        Method(
            "fusion",
            "fuses the runs of fusion.runs by reciprocal rank or z-score (fusion.by)",
            "",
            scorer="fusion",
        ),
        _taught(
            "english", "the ceiling: English queries encoded by the teacher", queries="english"
        ),
    )
}


def similarities(settings: Settings, name: str, query: int = 0, document: int = 0) -> int:
    """Return the most similarities of tokens that the loss of a training batch holds.

    ``name`` is a method or a recipe; 0 if its loss does not compare the examples of a batch.
    ``query`` and ``document`` are the lengths of the longest texts, if they are known.
    """
    teacher, recipe, pairs = settings.teacher, RECIPES.get(name), settings.training.batch_size**2
    objective = METHODS[name].objective if name in METHODS else ()
    if "objective.temperature" in objective:  # plans of all pairs take as much as their costs
        plans = "objective.contrast_weight" in objective
        sides = query or teacher.bitext_tokens, document or teacher.bitext_tokens
        return pairs * prod(sides) * (1 + plans)
    if recipe and "contrastive.temperature" in recipe.settings:
        section = getattr(settings, recipe.section, settings.contrastive)
        negatives = getattr(section, "negatives", settings.contrastive.negatives)
        sides = query or teacher.query_tokens, document or teacher.document_tokens
        whole = pairs * prod(sides) * (1 + negatives)
        chunk = getattr(section, "chunk_tokens", 0)  # its blocks are computed one after another
        return min(whole, chunk**2) if chunk else whole
    return 0


def place(name: str) -> tuple[int, int]:
    """Return the sort key of a method's column: baselines, students, fused runs, ceilings.

    Within a group it is the order of ``METHODS``; runs of other tools end the baselines.
    """
    method, order = METHODS.get(name), list(METHODS)
    if method is None:
        return 0, len(order)
    by_scorer = 2 if method.scorer == "fusion" else int(method.has_student)
    return (3 if method.queries == "english" else by_scorer), order.index(name)


def in_order(labels: Iterable[str]) -> list[str]:
    """Return labels of columns by the place of their method, its variants behind it.

    Variants are in the order of the numbers in their names.

    >>> in_order(["english", "ot.eps0.5", "ot, eps 10", "ot", "ot, eps 9", "bm25"])
    ['bm25', 'ot', 'ot, eps 9', 'ot, eps 10', 'ot.eps0.5', 'english']
    """

    def key(label: str) -> tuple[object, ...]:
        method, *rest = re.split(r"[.,]", label, maxsplit=1)
        parts = re.split(r"(\d+(?:\.\d+)?)", "".join(rest))
        return place(method), [float(p) if n % 2 else p for n, p in enumerate(parts)], label

    return sorted(labels, key=key)


def parse_methods(
    text: str, default: Sequence[str], imported: Collection[str] = ()
) -> list[Method]:
    """Return the methods that ``--method`` names, with commas; empty takes ``default``.

    ``imported`` are the names of runs that other tools wrote, where these can be used.

    Raises:
        UserError: An unknown method; the message has the nearest name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()] or list(default)
    for name in names:
        if name not in METHODS and name not in imported:
            raise UserError(f"unknown method {name!r}: {nearest(name, [*METHODS, *imported])}")
    return [METHODS.get(name) or imported_method(name) for name in dict.fromkeys(names)]


def imported_method(name: str) -> Method:
    """Return the method of runs that another tool wrote.

    Raises:
        UserError: A method of clir has the name, or it cannot be part of a folder's name.
    """
    if name in METHODS:
        raise UserError(f"{name} is a method of clir; give the imported run another name")
    if not re.fullmatch(r"\w[\w+-]{0,99}", name):
        raise UserError(f"method {name!r}: use letters, digits, -, _ and + for an imported run")
    return Method(name, "a run that another tool wrote", "", scorer="imported")


def fused_cells(names: Sequence[str], of: Cell) -> list[Cell]:
    """Return the cells whose runs ``fusion.runs`` names, beside the cell of the fused run.

    Raises:
        UserError: There are fewer than two methods, or fusion is one of them.
    """
    methods = parse_methods(",".join(names), (), imported=names)  # missing runs are reported later
    if len(methods) < 2 or any(method.scorer == "fusion" for method in methods):
        raise UserError(f"fusion.runs names {list(names)}; give two methods or more to fuse")
    return [method.cell(of) for method in methods]
