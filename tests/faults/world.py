"""A small world whose every file is known: a published model, a bitext, a collection, a home.

The home is made by the commands that a person types. A fault is injected into a copy of it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from clir_cli.suites import bundled
from faults.endings import Ending, commands, in_child

TEACHER = "someone/tiny"
METHODS = ("ot", "kd-mse", "english", "bm25")
STUDENTS = (("sw-en", "ot"), ("sw-en", "kd-mse"), ("de-en", "ot"))
SETTINGS = """
[teacher]
model = "someone/tiny"
[bitext]
max_pairs = 60
[training]
epochs = 2
batch_size = 12
learning_rate = 1e-3
checkpoint_steps = 1
[index]
shard_documents = 8
"""


@dataclass(frozen=True)
class Home:
    """A folder for artifacts, one for tables, and the world that they were made in."""

    world: "World"
    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def words(self, verb: str, *more: object) -> list[object]:
        """Return a command line of this home."""
        words: list[object] = [verb, *more, "--home", self.artifacts, "-q"]
        words += ["--config", self.world.root / "world.toml"]
        if verb in ("index", "search", "evaluate", "download"):
            words += ["--collection", self.world.root / "small"]
        if verb == "evaluate":
            words += ["--results", self.results]
        if verb == "download":
            words += ["--mirror", self.world.root / "mirror"]
        return words

    def chain(self) -> list[list[object]]:
        """Return the commands that make all that is compared."""
        return [
            self.words("download", "--lang", "sw-en,de-en"),
            *(self.words("distill", "--lang", pair, "--method", method)
              for pair, method in STUDENTS),
            self.words("index"),
            self.words("search", "--lang", "sw-en", "--method", ",".join(METHODS)),
            self.words("search", "--lang", "de-en", "--method", "ot"),
            self.words(
                "evaluate", "--lang", "sw-en", "--metric", "map,mrr", "--method", ",".join(METHODS)
            ),
            self.words("evaluate", "--lang", "de-en", "--metric", "map,mrr", "--method", "ot"),
        ]  # fmt: skip

    def run(self, lines: Sequence[Sequence[object]] | None = None) -> Ending:
        """Return how commands end, the whole chain if none are named."""
        return in_child(commands(self.chain() if lines is None else lines))

    def remove(self, *patterns: str) -> None:
        """Remove artifacts, so that they are made again from what is before them."""
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def content(self) -> dict[str, str]:
        """Return the sha256 of every file that holds a result, by its name."""
        kept = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and _holds_a_result(name):
                kept[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return kept


def _holds_a_result(name: str) -> bool:
    parts = name.split("/")
    own = ("student", "runs", "index", "results")
    timed = ("manifest.json", "training.csv", "notes.json")  # hold times and speeds
    return any(part in own for part in parts) and parts[-1] not in timed and "/." not in name


@dataclass(frozen=True)
class World:
    """A finished home, and what was made it of."""

    root: Path

    @property
    def home(self) -> Home:
        return Home(self, self.root / "whole")

    @contextmanager
    def copy(self, name: str) -> Iterator[Home]:
        """Yield a copy of the finished home, removed afterwards."""
        folder = self.root / "copies" / name
        shutil.copytree(self.home.folder, folder, symlinks=True)
        try:
            yield Home(self, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def build(root: Path) -> World:
    """Make the world: everything from the sample, with a model of 30,000 random weights."""
    torch.set_num_threads(1)
    world = World(root)
    publish_model(root / "mirror" / "huggingface.co" / TEACHER / "resolve" / "main")
    _small_collection(root / "small")
    (root / "world.toml").write_text(SETTINGS)
    ending = world.home.run()
    assert ending.code == 0, ending.err
    return world


def publish_model(folder: Path) -> None:
    """Save a random BERT of two layers; its vocabulary is letters and words of the sample."""
    folder.mkdir(parents=True)
    sample = (bundled("data") / "sample" / "collection" / "corpus.jsonl").read_text()
    words = sorted({word for word in sample.lower().split() if word.isalpha() and word.isascii()})
    letters = [chr(number) for number in range(33, 127) if not chr(number).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += [f"##{letter}" for letter in letters if letter.isalnum()] + words[:400]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def _small_collection(folder: Path, documents: int = 20) -> None:
    source = bundled("data") / "sample" / "collection"
    (folder / "qrels").mkdir(parents=True)
    corpus = (source / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:documents]
    (folder / "corpus.jsonl").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    known = {json.loads(line)["_id"] for line in corpus}
    judged = (source / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    qrels = [line for line in judged[1:] if line.split("\t")[1] in known]
    (folder / "qrels" / "test.tsv").write_text("\n".join([judged[0], *qrels]) + "\n")
    asked = {line.split("\t")[0] for line in qrels}
    for language in ("en", "sw", "de"):
        lines = (source / f"queries.{language}.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = [line for line in lines if json.loads(line)["_id"] in asked]
        text = "\n".join(chosen) + "\n"
        (folder / f"queries.{language}.jsonl").write_text(text, encoding="utf-8")
