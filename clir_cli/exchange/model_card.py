"""The model card of an exported model: what it is, what made it, its scores, how to use it.

It states what manifests and runs say, and nothing else: a model that was not evaluated has no
scores, and a licence that is not known is called so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clir_cli.corpus import catalogue
from clir_cli.corpus.records import Pair
from clir_cli.retrieval.models import HUB_NAME


@dataclass(frozen=True)
class CardScore:
    """A score of the exported student, as score tables have it."""

    collection: str
    pair: str
    metric: str
    value: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Card:
    """What a card says.

    ``role`` is ``student`` or ``teacher``; ``pairs`` are the student's. ``notes`` are those of its
    manifest, ``sources`` the bitext if these do not count it. ``commands`` made it, its scores and
    the other model, in order. ``examples`` are a query and a
    document. ``left_out`` says which scores are not there, and why.
    """

    role: str
    method: str
    pairs: Sequence[Pair]
    teacher: str
    initial: str
    dimensions: int
    lengths: tuple[int, int]
    prompts: Mapping[str, str]
    centred: bool
    version: str
    commands: Sequence[str]
    notes: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[str] = ()
    confidence: float = 0.95
    scores: Sequence[CardScore] = ()
    left_out: Sequence[str] = ()
    examples: tuple[str, str] = ("", "")

    @property
    def languages(self) -> list[str]:
        """Return the codes of the query languages."""
        return [pair.query for pair in self.pairs]


def text_of(card: Card) -> str:
    """Return the card as Markdown, with the metadata of the hub before it."""
    sections = [_metadata(card), _what(card), _facts(card)]
    if card.role == "student":
        sections += [_data(card), _scores(card)]
    sections += [_use(card), _commands(card)]
    return "\n\n".join(filter(None, sections)) + "\n"


def _metadata(card: Card) -> str:
    base = catalogue.models().get(card.initial)
    languages = dict.fromkeys([*card.languages, "en"])
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: feature-extraction"]
    lines += ["language:", *(f"- {code}" for code in languages)]
    tags = ["late-interaction", "multi-vector", "ColBERT", "cross-lingual-retrieval", "clir"]
    if card.centred:
        tags.remove("ColBERT")
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    hub = base.repository if base else card.initial if HUB_NAME.fullmatch(card.initial) else ""
    if hub:
        lines.append(f"base_model: {hub.partition('@')[0]}")
    return "\n".join([*lines, "---"])


def _what(card: Card) -> str:
    if card.role == "teacher":
        return (
            f"# {card.teacher} as a teacher\n\n"
            f"The document encoder of the students that clir {card.version} distilled from it: "
            f"{card.teacher}, one embedding a token, scored by late interaction (MaxSim). Queries "
            "in other languages are encoded by a student."
            + (_other_queries if card.centred else "")
        )
    names = " and ".join(f"{_language(code)} ({code})" for code in card.languages)
    return (
        f"# {', '.join(map(str, card.pairs))}: a query encoder for {names}\n\n"
        f"Queries in {names} find **English** documents by late interaction (MaxSim over token "
        f"embeddings). The student was trained by the method `{card.method}` of clir "
        f"{card.version}; its teacher is {card.teacher}. **This model encodes queries alone: "
        "documents are encoded by the teacher**, once for all query languages."
    )


_other_queries = (
    " It is centred with the mean token of documents, so it encodes documents alone; English "
    "queries have another mean."
)


def _language(code: str) -> str:
    return catalogue.language(code).name


def _facts(card: Card) -> str:
    rows = [("teacher", _model(card.teacher))]
    if card.role == "student":
        rows.append(("initial student", _model(card.initial)))
    rows += [
        ("dimensions of a token embedding", f"{card.dimensions}"),
        ("longest query, document", f"{card.lengths[0]}, {card.lengths[1]} tokens"),
        ("query expansion, skipped tokens", "none"),
    ]
    rows += [(f"prompt of a {side}", f"`{text}`") for side, text in card.prompts.items() if text]
    if card.centred:
        rows.append(("centred", "the mean token is taken out (Normalize, Dense, Normalize)"))
    return _table(("fact", "value"), rows)


def _model(name: str) -> str:
    known = catalogue.models().get(name)
    if known is None:
        return f"{name} (licence: see its source)"
    return f"[{name}]({known.homepage}), {known.licence}"


# ------------------------------------------------------------------ data and scores


def _data(card: Card) -> str:
    by_pair = card.notes.get("pairs") or {str(card.pairs[0]): card.notes}
    rows, known = [], catalogue.sources("bitext")
    for pair, notes in by_pair.items():
        translated = notes.get("machine_translated") or ()
        counts = notes.get("sources") or dict.fromkeys(card.sources, "not recorded")
        for name, count in counts.items():
            of_opus = name.startswith(catalogue.OPUS)
            entry = catalogue.source("bitext", name) if of_opus else known.get(name)
            count = f"{count:,}" if isinstance(count, int) else count
            licence = entry.licence if entry else "not known to clir: files of the user"
            machine = " (machine-translated)" if name in translated else ""
            linked = entry is not None and entry.homepage.startswith("http")
            title = entry.title if entry else name
            title = f"[{title}]({entry.homepage})" if entry and linked else title
            rows.append((pair, title + machine, count, licence))
    if not rows:
        return ""
    used = [
        f"{notes['train_pairs']:,} pairs of {pair} to train on, {notes['held_out_pairs']:,} held "
        "out to choose the epoch"
        for pair, notes in by_pair.items()
        if "train_pairs" in notes and "held_out_pairs" in notes
    ]
    table = _table(("pair", "source", "pairs of the source", "licence"), rows)
    return "\n\n".join(["## Training data", table, *[f"{'; '.join(used)}."] * bool(used)])


def _scores(card: Card) -> str:
    if not card.scores:
        why = "This student has no scores here: it was not evaluated, or not with its present runs"
        return f"## Scores\n\n{why}{_left_out(card)}."
    rows = [
        (s.collection, s.pair, s.metric, f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]", s.queries)
        for s in card.scores
    ]
    share = f"{card.confidence:.0%}"
    note = f"In brackets the {share} bootstrap interval over queries{_left_out(card)}."
    head = ("collection", "pair", "metric", "score", "queries")
    return f"## Scores\n\n{_table(head, rows)}\n\n{note}"


def _left_out(card: Card) -> str:
    return f". Left out: {'; '.join(card.left_out)}" if card.left_out else ""


# ------------------------------------------------------------------ use


def _use(card: Card) -> str:
    query, document = (json.dumps(text, ensure_ascii=False) for text in card.examples)
    parts = [
        "## Use",
        "sentence-transformers 6:",
        f"""\
```python
from sentence_transformers import MultiVectorEncoder

student = MultiVectorEncoder("student")  # a folder of clir export student
teacher = MultiVectorEncoder("teacher")  # a folder of clir export teacher
queries = student.encode_query([{query}])
documents = teacher.encode_document([{document}])
print(student.similarity(queries, documents))  # MaxSim
```""",
    ]
    if card.centred:
        parts.append("PyLate cannot load it: it has no module for centring.")
        return "\n\n".join(parts)
    prompted = {side: f', prompt_name="{side}"' * bool(card.prompts.get(side)) for side in
                ("query", "document")}  # fmt: skip
    parts += [
        "PyLate:",
        f"""\
```python
from pylate import models, rank

student, teacher = models.ColBERT("student"), models.ColBERT("teacher")
queries = student.encode([{query}], is_query=True{prompted["query"]})
documents = teacher.encode([{document}], is_query=False{prompted["document"]})
print(rank.rerank([["d1"]], queries, [documents]))
```""",
    ]
    return "\n\n".join(parts)


def _commands(card: Card) -> str:
    lines = "\n".join(card.commands)
    return f"## How it was made\n\n```\n{lines}\n```" if lines else ""


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
