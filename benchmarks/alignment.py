"""Do transport plans find the words that translate each other? Against links made by hand.

    python -m benchmarks.alignment --suite open --home DIR --lang sw-en,de-en --method zero-shot,ot

`alignments.tsv` links the words of twenty sentence pairs a language. They are of the sample's
bitext, which no other suite trains on. Words without a counterpart are left out. For each student:
the share of linked words whose English word of the largest mass is right, and the share of their
mass that is on right words, by eps; `nearest` is the hard alignment of kd-greedy.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from clir_cli.artifacts.cell import Cell
from clir_cli.corpus.records import parse_pair
from clir_cli.corpus.unicode_words import words
from clir_cli.errors import UserError
from clir_cli.optical.alignment import sentence_batch, token_places
from clir_cli.optical.objectives import aligned, cosine_cost
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.settings import TransportSettings
from clir_cli.stages.search import open_encoder
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import bundled, load_settings

LINKS = Path(__file__).with_name("alignments.tsv")
LANGUAGES = dict.fromkeys(("sw", "de"))
LIMIT = 64  # tokens of a sentence


@dataclass(frozen=True)
class Linked:
    """A sentence pair, and for the position of each linked word those of its English words."""

    text: str
    english: str
    links: dict[int, set[int]]


def linked_pairs(language: str) -> list[Linked]:
    """Return the hand-made links of a language.

    Raises:
        ValueError: A word of a link is not in its sentence, or is there twice without a number.
    """
    folder = bundled("data") / "sample" / "bitext"
    texts, english = (
        (folder / f"sample.{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in (language, "en")
    )
    with LINKS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    made = []
    for row in (row for row in rows if row["language"] == language):
        one, two = texts[int(row["line"]) - 1], english[int(row["line"]) - 1]
        links = {}
        for link in row["links"].split("; "):
            word, _, right = link.partition("=")
            links[position(word, one)] = {position(each, two) for each in right.split()}
        made.append(Linked(one, two, links))
    return made


def position(wanted: str, text: str) -> int:
    """Return the position of a word in a text; ``word#2`` is its second occurrence."""
    word, _, number = wanted.lower().partition("#")
    places = [place for place, each in enumerate(words(text)) if each == word]
    if len(places) < int(number or 1) or (len(places) > 1 and not number):
        raise ValueError(f"{wanted!r} is {len(places)} times in {text!r}")
    return places[int(number or 1) - 1]


def _words_of_tokens(encoder: Encoder, text: str) -> Tensor:
    """Return (words, tokens): 1 where a token is a part of a word, by position."""
    places = token_places(encoder, text, LIMIT)
    within = [[place == word for place in places] for word in range(len(words(text)))]
    return torch.tensor(within, dtype=torch.float32)


def scores(
    student: Encoder, teacher: Encoder, pairs: list[Linked], settings: TransportSettings | None
) -> tuple[float, float]:
    """Return the shares of right words and right mass; of the nearest tokens without settings."""
    right, mass = [], []
    for pair in pairs:
        batch = sentence_batch(student, teacher, pair.text, pair.english, LIMIT)
        cost = cosine_cost(batch)
        plan = aligned(batch, cost, settings).plan[0] if settings else _nearest(cost[0])
        by_word = _words_of_tokens(student, pair.text) @ plan
        by_word = by_word @ _words_of_tokens(teacher, pair.english).T
        for word, wanted in pair.links.items():
            row = by_word[word]
            right.append(float(int(row.argmax()) in wanted))
            mass.append(float(row[list(wanted)].sum() / row.sum().clamp(min=1e-9)))
    return mean(right), mean(mass)


def _nearest(cost: Tensor) -> Tensor:
    return torch.zeros_like(cost).scatter_(1, cost.argmin(dim=1, keepdim=True), 1.0)


def rows_of(asked: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield a row for each pair, method and strength of the entropy."""
    workspace = Workspace(
        load_settings(asked.suite, None, asked.set), asked.home, device="cpu", mirror=asked.mirror
    )
    for name in asked.lang.split(","):
        pair = parse_pair(name, LANGUAGES)
        pairs = linked_pairs(pair.query)
        for method in asked.method.split(","):
            student = open_encoder(workspace, workspace.ref("run", (pair,), Cell(method)))
            teacher = load_encoder(teacher_folder(workspace), student.device)
            teacher = centred_teacher(workspace, teacher)
            transport = workspace.settings.transport
            plans = {
                eps: transport.model_copy(update={"eps": float(eps)})
                for eps in asked.eps.split(",")
            }
            for eps, settings in {"nearest": None, **plans}.items():
                right, mass = scores(student, teacher, pairs, settings)
                yield {
                    "pair": name, "method": method, "eps": eps,
                    "right_words": round(right, 4), "right_mass": round(mass, 4),
                }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="open")
    parser.add_argument("--home", type=Path, default=Path("artifacts"))
    parser.add_argument("--mirror", default="")
    parser.add_argument("--lang", default="sw-en,de-en")
    parser.add_argument("--method", default="zero-shot,ot")
    parser.add_argument("--eps", default="0.01,0.05,0.2", help="strengths of the entropy")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args(arguments)
    writer = None
    try:
        for row in rows_of(asked):
            if writer is None:
                writer = csv.DictWriter(sys.stdout, row)
                writer.writeheader()
            writer.writerow(row)
            sys.stdout.flush()
    except UserError as error:
        print(f"alignment: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
