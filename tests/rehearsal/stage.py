"""The stage: all miniatures in one folder, and a copy of clir whose catalogue pins them.

Some sources are pinned by sha256, so that no file but the published one is taken for them. What is
rehearsed is therefore a copy of the checkout, in which the pins are those of the miniatures and
the grids of the experiments are cut: fewer seeds and pairs, never fewer methods. Nothing in the
checkout itself, and no setting, relaxes a pin.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import host_path
from rehearsal import bitexts, clef_disk, published
from rehearsal.encoders import ENCODERS
from rehearsal.translators import TRANSLATORS

ROOT = Path(__file__).parents[2]
COPIED = ("clir_cli", "data", "experiments")
PINNED = {
    "collections": {"belebele": published.belebele, "xquad-r": published.xquad_r},
    "dictionaries": {"tico-19": published.terminologies},
}
# What of `paper` is a matter of hours alone.
SMALL = """
[bitext]
max_pairs = 96
held_out = 16

[training]
epochs = 1
batch_size = 16
checkpoint_steps = 100

[contrastive]
queries = 32
sentences = 32

[nmt]
beams = 1
max_tokens = 8

[augment]
sentences = 48
"""
TWO = {"pairs": ["sw-en", "de-en"]}
# Of each experiment what replaces the axes of [suites.paper].
CUTS: dict[str, dict[str, list[str]]] = {
    "optical": {},
    "methods": {},
    "hybrid_batch": TWO,
    "code_switching": TWO,
    "model_scale": TWO,
    "monolingual_augmentation": {"pairs": ["sw-en", "fi-en"]},
}
# Models and bitext that the suite does not name, and that people take in its place.
BESIDE = """
title = "Models and bitext beside those of the suite"
question = "Do models of the field work by their names?"
metrics = ["map"]

[grid]
pairs = ["sw-en"]
methods = ["zero-shot", "ot"]
"student.model" = ["microsoft/mdeberta-v3-base", "BAAI/bge-m3", "Qwen/Qwen3-Embedding-0.6B"]

[[variants]]
name = "opus-mt"
set = { "nmt.model" = "Helsinki-NLP/opus-mt-sw-en" }
methods = ["nmt"]

[[variants]]
name = "nllb-bitext"
set = { "bitext.sources" = ["nllb"] }
methods = ["ot"]

[suites.paper]
methods = ["zero-shot", "ot", "nmt"]

[suites.paper.settings]
"models.allow_pickle" = "pytorch_model.bin"
"nmt.model" = "facebook/nllb-200-distilled-600M"
"""


@dataclass(frozen=True)
class Stage:
    """A folder with all that a rehearsal needs; the properties name its parts."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    @property
    def disk(self) -> Path:
        return self.folder / "disk" / "clef"

    @property
    def topics(self) -> Path:
        return self.folder / "topics"

    @property
    def ir_datasets(self) -> Path:
        return self.folder / "ir_datasets"

    @property
    def config(self) -> Path:
        return self.folder / "small.toml"


def build(folder: Path, checkout: Path = ROOT, small: str = SMALL) -> Stage:
    """Make all miniatures, and the copy of a checkout that is rehearsed."""
    stage = Stage(folder)
    stage.mirror.mkdir(parents=True)
    for makers in (ENCODERS, TRANSLATORS):
        for make in makers.values():
            make(stage.mirror)
    bitexts.write_bitexts(stage.mirror)
    published.mlqa(stage.mirror)
    published.beir(stage.mirror)
    published.ir_datasets_home(stage.ir_datasets)
    clef_disk.write_disk(stage.disk)
    clef_disk.write_translated_topics(stage.topics)
    stage.config.write_text(small)
    for part in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(checkout / part, stage.checkout / part, ignore=ignored)
    for kind, sources in PINNED.items():
        table = stage.checkout / "data" / "catalogue" / f"{kind}.toml"
        for name, make in sources.items():
            files = make(folder / "pinned" / name)
            _put_on_mirror(stage.mirror, kind, name, files)
            table.write_text(_pinned(table.read_text(encoding="utf-8"), files), encoding="utf-8")
    for name, axes in CUTS.items():
        path = stage.checkout / "experiments" / f"{name}.toml"
        path.write_text(_cut(path.read_text(encoding="utf-8"), axes), encoding="utf-8")
    (stage.checkout / "experiments" / "models_beside.toml").write_text(BESIDE)
    return stage


def _put_on_mirror(mirror: Path, kind: str, name: str, files: Mapping[str, Path]) -> None:
    addresses = {file.path: file.url for file in catalogue.source(kind, name).files}
    for path, made in files.items():
        place = mirror / host_path(addresses[path])
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, place)


def _pinned(table: str, files: Mapping[str, Path]) -> str:
    """Return a table of the catalogue with the size and sha256 of other files."""
    for path, made in files.items():
        digest, size = hashlib.sha256(made.read_bytes()).hexdigest(), made.stat().st_size
        row, own = rf'(path = "{re.escape(path)}", [^}}]*?)', rf"\g<1>bytes = {size}"
        table = re.sub(rf'{row}bytes = \d+, sha256 = "\w+', rf'{own}, sha256 = "{digest}', table)
        if path.endswith("eng_Latn.jsonl"):  # of Belebele the English file alone is pinned
            table = re.sub(r'(jsonl", .*sha256 = { en = ")\w+', rf"\g<1>{digest}", table)
    return table


def _cut(experiment: str, axes: Mapping[str, list[str]]) -> str:
    """Return an experiment with one seed, and other axes in the suite ``paper``."""
    head, mark, tail = experiment.partition("[suites.paper]\n")
    own, *others = re.split(r"(?m)^(?=\[)", tail, maxsplit=1)
    for name, values in {"seeds": [0], **axes}.items():
        own = re.sub(rf"(?m)^{name} = .*\n", "", own)
        own = f"{name} = {values!r}\n".replace("'", '"') + own
    return "".join([head, mark, own.replace("100_000", "24"), *others])
