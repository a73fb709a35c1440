"""Broken model folders, and what becomes of them: the same token embeddings, or one line."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file

from clir_cli.corpus.catalogue import Model
from clir_cli.errors import UserError
from clir_cli.files import explain_os_error
from clir_cli.retrieval.checkpoints import Layer
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.hub import Fetching, fetch_model
from clir_cli.retrieval.projection import Projection, save_projection
from faults.endings import in_child
from faults.judging import REFUSED, SAME, Fault, failure
from faults.model_faults import WEIGHTS, Change, faults_of, write_json
from faults.world import Home, World, publish_model

TEXTS = ("maize", "the rain of the last days, and a [MASK]", "Wie geht's?", "")
NAME = "someone/broken"

# --------------------------------------------------------------------------- whole models


def _stanford(folder: Path) -> None:
    told = {"query_maxlen": 12, "doc_maxlen": 20, "query_token_id": "[unused0]"}
    told |= {"doc_token_id": "[unused1]", "mask_punctuation": True, "attend_to_mask_tokens": False}
    write_json(folder / "artifact.metadata", told)
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, "linear.weight": torch.ones(8, 16)}, folder / WEIGHTS)


def _multi_vector(folder: Path) -> None:
    kinds = {"Transformer": "", "Dense": "1_Dense", "MultiVectorMask": "2_Mask"}
    write_json(folder / "modules.json", [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (kind, path) in enumerate(kinds.items())
    ])  # fmt: skip
    prompts = {"query": "query: ", "document": "passage: "}
    settings = {"model_type": "MultiVectorEncoder", "prompts": prompts}
    write_json(folder / "config_sentence_transformers.json", settings)
    expansion = {"strategy": "fixed", "attend": False, "length": 12, "token": None}
    options = {"query_length": 12, "document_length": 20, "query_expansion": expansion}
    write_json(folder / "sentence_bert_config.json", options)
    activation = "torch.nn.modules.linear.Identity"
    dense = {"in_features": 16, "out_features": 8, "bias": False, "activation_function": activation}
    write_json(folder / "1_Dense" / "config.json", dense)
    save_file({"linear.weight": torch.ones(8, 16)}, folder / "1_Dense" / WEIGHTS)
    write_json(
        folder / "2_Mask" / "config.json", {"skiplist_words": ["!"], "skiplist_tasks": ["query"]}
    )


def _shards(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    names = sorted(weights)
    shards = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({name: weights[name] for name in inside}, folder / shard, {"format": "pt"})
    places = {name: shard for shard, inside in shards.items() for name in inside}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    write_json(folder / "model.safetensors.index.json", index)
    (folder / WEIGHTS).unlink()


def _student(folder: Path) -> None:
    write_json(folder / "recipe.json", {"query_prefix": "query: "})
    torch.manual_seed(4)
    save_projection(folder, Projection(Layer(16, 8)))


WHOLE: dict[str, Callable[[Path], None]] = {
    "plain": lambda _: None,
    "stanford": _stanford,
    "multi-vector": _multi_vector,
    "shards": _shards,
    "student": _student,
}


def whole_models(folder: Path) -> dict[str, Path]:
    """Make a tiny model in each format that clir reads."""
    for name, change in WHOLE.items():
        publish_model(folder / name)
        change(folder / name)
    return {name: folder / name for name in WHOLE}


def faults(models: dict[str, Path], chance: Random) -> Iterator[tuple[str, str, Change]]:
    """Yield faults without end: the model's kind, what is wrong, and how to do it.

    The few of a kind of their own come first, then the many of values in JSON.
    """
    waiting: dict[str, list[tuple[str, Change]]] = {}
    while True:
        for kind, model in models.items():
            if not waiting.get(kind):
                known = faults_of(kind, model)
                values = [fault for fault in known if " = " in fault[0]]
                others = [fault for fault in known if " = " not in fault[0]]
                shuffled = [chance.sample(part, len(part)) for part in (values, others)]
                waiting[kind] = shuffled[0] + shuffled[1]
        kind = chance.choice(list(models))
        yield (kind, *waiting[kind].pop())


def broken_models(folder: Path, seed: int) -> Iterator[tuple[str, Path]]:
    """Yield broken models without end, each under the name of its fault: ``kind, what``.

    One is removed when the next is asked for; the whole ones are in ``whole``, by kind.
    """
    models = whole_models(folder / "whole")
    for number, (kind, what, change) in enumerate(faults(models, Random(seed))):
        broken = _broken(models[kind], folder / "broken" / str(number), what, change)
        yield f"{kind}, {what}", broken
        shutil.rmtree(broken, ignore_errors=True)


def _broken(model: Path, folder: Path, what: str, change: Change) -> Path:
    shutil.copytree(model, folder)
    change(folder, Random(what))
    return folder


# --------------------------------------------------------------------------- what becomes of them


def embeddings(folder: Path) -> list[torch.Tensor]:
    """Return the token embeddings of some texts by the model of a folder."""
    encoder = load_encoder(folder, torch.device("cpu"))
    kinds = ("query", "document", "sentence")
    return [encoder.encode(list(TEXTS), 32, kind=kind).vectors for kind in kinds]


def fetched(folder: Path) -> Path:
    """Return a copy of a model that came by its name on the hub, from a mirror."""
    mirror, target = folder / "mirror", folder / "fetched"
    published = mirror / "huggingface.co" / NAME / "resolve" / "main"
    shutil.copytree(folder, published, symlinks=True, ignore=lambda *_: ["mirror"])
    fetch_model(Fetching(Model(NAME, "", "", "", "", NAME, "main", ()), target, str(mirror)))
    return target


def outcome(whole: Path, broken: Path, by_name: bool) -> str:
    """Return what becomes of a broken model, in a process of its own."""

    def call() -> int:
        from clir_cli.runtime import hush_libraries

        hush_libraries()
        os.environ["CLIR_OFFLINE"] = "1"
        try:
            found = embeddings(fetched(broken) if by_name else broken)
        except UserError as error:
            print(f"clir: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except Exception as error:
            if not explain_os_error(error):
                raise
            print(f"clir: {explain_os_error(error)}", file=sys.stderr)
            return 2
        expected = embeddings(whole)
        same = all(map(torch.equal, expected, found))
        if not same:
            print("other embeddings", file=sys.stderr)
        return 0 if same else 1

    ending = in_child(call, seconds=60)
    if ending.refused:
        return REFUSED
    return SAME if ending.code == 0 else failure(ending)


def hostile_models(world: World, chance: Random) -> Iterator[Fault]:
    """Yield broken models as faults, every third of them from a mirror."""
    models = whole_models(world.root / "models")
    for number, (kind, what, change) in enumerate(faults(models, chance)):
        by_name = number % 3 == 2 and kind != "student"

        def play(
            home: Home,
            model: Path = models[kind],
            what: str = what,
            change: Change = change,
            by_name: bool = by_name,
        ) -> str:
            return outcome(model, _broken(model, home.folder / "model", what, change), by_name)

        yield Fault("models", f"{kind}, {what}{' (by name)' * by_name}", play)
