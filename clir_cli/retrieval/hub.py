"""Models of the hub, file by file: those that decide about token embeddings, and no others.

They come from the hub's own cache where the model lies there (``HF_HUB_CACHE``, ``HF_HOME``), and
else by URL, as all transfers do. Which files a model has is told by the files themselves: an index
names shards, modules.json names folders.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.corpus.catalogue import HUB, CatalogueFile, Model
from clir_cli.corpus.transfer import fetch, is_offline
from clir_cli.errors import MissingInput, NotThere, UserError
from clir_cli.retrieval.checkpoints import (
    ARTIFACT,
    INDEX,
    MODULES,
    SENTENCE_TRANSFORMERS,
    TOKENIZERS,
    WEIGHTS,
)

BESIDE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "sentence_bert_config.json",
)
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Fetching:
    """One model on its way into a folder.

    Attributes:
        model: Which one.
        folder: Where its files go.
        mirror: A folder or address to take them from, instead of hub and cache.
        known: What an earlier fetch put on record: sha256 and bytes by file.
        advance: Called with the number of bytes that arrived.
    """

    model: Model
    folder: Path
    mirror: str = ""
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    advance: Callable[[int], None] = lambda _: None

    def bring(self, name: str) -> bool:
        """Bring one file; return False when the model has none of that name."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        cached = None if self.mirror else in_hub_cache(self.model, name)
        if cached is not None:
            shutil.copyfile(cached, target)
            self.advance(target.stat().st_size)
            return True
        if not self.mirror and self._is_cached_whole() and not self._is_needed(name):
            return False  # the cache has the model, and the model has no such file
        record = self.known.get(name, {})
        entry = CatalogueFile(
            name,
            url=f"{HUB}/{self.model.repository}/resolve/{self.model.revision}/{name}",
            bytes=int(record.get("bytes", 0)),
            sha256=str(record.get("sha256", "")),
        )
        try:
            fetch(entry, target, mirror=self.mirror, advance=self.advance)
        except NotThere:
            return False
        except MissingInput:
            if name == "config.json":  # offline, and nothing of the model is at hand
                raise
            return False
        return True

    def need(self, name: str) -> None:
        """Bring a file that the model cannot do without.

        Raises:
            UserError: It has none.
        """
        if not self.bring(name):
            where = f" on {self.mirror}" if self.mirror else ""
            raise UserError(
                f"model {self.model.name}: {name} is not there{where} ({HUB}/"
                f"{self.model.repository}, revision {self.model.revision}); check name and revision"
            )

    def _is_cached_whole(self) -> bool:
        return any(in_hub_cache(self.model, name) for name in (WEIGHTS, INDEX))

    def _is_needed(self, name: str) -> bool:
        """Tell whether a file must be fetched even where others loaded the model without it."""
        return "/" in name or name == ARTIFACT or name.endswith(".safetensors")


def hub_cache() -> Path:
    """Return the hub client's cache folder, by the usual variables."""
    if told := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(told).expanduser()
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (Path(os.environ.get("HF_HOME") or default) / "hub").expanduser()


def in_hub_cache(model: Model, name: str) -> Path | None:
    """Return a model's file in the hub client's cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        model.repository, name, cache_dir=hub_cache(), revision=model.revision
    )
    return Path(found) if isinstance(found, str) else None


def fetch_model(fetching: Fetching, pickled: str = "") -> None:
    """Bring all files of a model that decide about its token embeddings.

    Args:
        fetching: Which model, and where to.
        pickled: Name of a file with pickled weights that the user allows; its tensors are written
            as safetensors, and the file itself is not kept.

    Raises:
        UserError: The model, its weights or its tokenizer are not there, or the weights are pickled
            and the user has not allowed it.
    """
    fetching.need("config.json")
    if not any([fetching.bring(name) for name in TOKENIZERS]):
        raise UserError(f"model {fetching.model.name}: no tokenizer ({', '.join(TOKENIZERS)})")
    for name in BESIDE:
        fetching.bring(name)
    if fetching.bring(SENTENCE_TRANSFORMERS) and fetching.bring(MODULES):
        _bring_modules(fetching)
    fetching.bring(ARTIFACT)
    _bring_weights(fetching, pickled)
    for record in fetching.folder.rglob("*.sha256"):  # the manifest has them from here on
        record.unlink()
    for left in sorted(fetching.folder.rglob("*/"), reverse=True):
        if left.is_dir() and not any(left.iterdir()):
            left.rmdir()


def _bring_modules(fetching: Fetching) -> None:
    """Bring the module folders; a module's path must stay inside the model."""
    modules = json.loads((fetching.folder / MODULES).read_text(encoding="utf-8"))
    for module in modules:
        path = str(module.get("path", ""))
        if not path:
            continue
        if not (fetching.folder / path).resolve().is_relative_to(fetching.folder.resolve()):
            raise UserError(f"{fetching.folder / MODULES}: path {path!r} leads out of the model")
        fetching.bring(f"{path}/config.json")
        if str(module.get("type", "")).endswith(("Dense", "Transformer")):
            fetching.bring(f"{path}/{WEIGHTS}")


def _bring_weights(fetching: Fetching, pickled: str) -> None:
    if fetching.bring(WEIGHTS):
        return
    if fetching.bring(INDEX):
        told = json.loads((fetching.folder / INDEX).read_text(encoding="utf-8"))
        for name in sorted(set(told["weight_map"].values())):
            if "/" in name or "\\" in name:
                raise UserError(f"{fetching.folder / INDEX}: {name!r} leads out of the model")
            fetching.need(name)
        return
    if is_offline() and not fetching.mirror:
        raise MissingInput(
            f"model {fetching.model.name}: {WEIGHTS} is not at hand and the network is switched "
            "off (CLIR_OFFLINE or HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE"
        )
    if not pickled:
        raise UserError(
            f"model {fetching.model.name}: no safetensors ({WEIGHTS}) under revision "
            f"{fetching.model.revision}; pickled weights are not read; if you trust "
            f"{HUB}/{fetching.model.repository}: --set models.allow_pickle={PICKLED[0]}"
        )
    if "/" in pickled or "\\" in pickled:
        raise UserError(f"models.allow_pickle={pickled}: give the name of a file, without a folder")
    fetching.need(pickled)
    _convert(fetching.folder / pickled)


def _convert(path: Path) -> None:
    """Write the tensors of a pickled state as safetensors, and drop the pickle."""
    from safetensors.torch import save_file

    from clir_cli.retrieval.loading import read_pickled

    tensors = read_pickled(path)
    # Tied weights share their memory, which safetensors does not take: each gets its own.
    own = {name: value.clone().contiguous() for name, value in tensors.items()}
    save_file(own, path.with_name(WEIGHTS), metadata={"format": "pt"})
    path.unlink()
