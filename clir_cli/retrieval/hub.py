"""Downloading models of the hub: the files that their token embeddings depend on, and no others.

Files come from the cache of huggingface_hub if it has the model, else by URL as all downloads do:
a mirror or a shared cache that holds plain files is no hub for its client. The files themselves
say which others a model has: an index names the shards, modules.json the folders.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open

from clir_cli.corpus.catalogue import HUB, CatalogueFile, Model
from clir_cli.corpus.checksums import record_of
from clir_cli.corpus.transfer import fetch, is_offline
from clir_cli.errors import MissingInput, NotThere, UserError
from clir_cli.foreign import read_json, reported
from clir_cli.retrieval.checkpoints import TOKENIZERS
from clir_cli.retrieval.model_files import (
    ARTIFACT,
    CONFIG,
    INDEX,
    MODULES,
    SENTENCE_TRANSFORMERS,
    TRANSFORMER_OPTIONS,
    WEIGHTS,
    read_keys,
    read_modules,
    shard_names,
)

LARGE = (".safetensors", ".bin")
# Half of the bytes that other files may have: there are vocabularies of 40 MB.
VOCABULARY, SMALL = 1 << 27, 1 << 23
OPTIONAL = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    TRANSFORMER_OPTIONS,
)
# How an encoder-decoder generates, and the target's vocabulary of some OPUS-MT models.
OF_TRANSLATORS = ("generation_config.json", "target_vocab.json")


@dataclass(frozen=True)
class Fetching:
    """The download of one model.

    ``mirror`` is a folder or address to take files from, if it has the model; ``known`` has sha256
    and bytes by file, as recorded at an earlier download; ``advance`` is called with the number of
    bytes that arrived.
    """

    model: Model
    folder: Path
    mirror: str = ""
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    advance: Callable[[int], None] = lambda _: None

    def optional(self, name: str) -> bool:
        """Download one file; return False if the model has no file of that name."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if cached := self._cached(name):
            shutil.copyfile(cached, target)
            self.advance(target.stat().st_size)
            self._refuse_other_kind(target)
            return True
        # A cache that has the weights has all that transformers reads, but not the other formats.
        whole = self._cached(WEIGHTS) or self._cached(INDEX)
        if whole and not ("/" in name or name == ARTIFACT or name.endswith(".safetensors")):
            return False
        record = self.known.get(name, {})
        entry = CatalogueFile(
            name,
            url=f"{HUB}/{self.model.repository}/resolve/{self.model.revision}/{name}",
            bytes=int(record.get("bytes", 0)),
            sha256=str(record.get("sha256", "")),
            about=0 if name.endswith(LARGE) else VOCABULARY if name in TOKENIZERS else SMALL,
        )
        try:
            fetch(entry, target, mirror=self.mirror, advance=self.advance, elsewhere=False)
        except NotThere:
            return False
        except MissingInput:
            if name == CONFIG:  # offline, and no file of the model is available
                raise
            return False
        self._refuse_other_kind(target)
        return True

    def _refuse_other_kind(self, path: Path) -> None:
        """Raise UserError if a file is not what its name says, as the page of a login."""
        remedy = f"sign in or accept the terms of {HUB}/{self.model.repository}, then try again"
        try:
            if path.suffix == ".json" or path.name == ARTIFACT:
                read_json(path, object, remedy)
            elif path.suffix == ".safetensors":
                with reported(f"{path}: no safetensors", remedy), safe_open(path, "np"):
                    pass
        except UserError:
            path.unlink()
            record_of(path).unlink(missing_ok=True)
            raise

    def required(self, name: str) -> None:
        """Download a file that the model cannot do without; UserError if there is none."""
        if not self.optional(name):
            where = f" on {self.mirror}" if self.mirror else ""
            raise UserError(
                f"model {self.model.name}: {name} is not there{where} ({HUB}/"
                f"{self.model.repository}, revision {self.model.revision}); check name and revision"
            )

    def _cached(self, name: str) -> str | None:
        """Return the path of a file in the cache of huggingface_hub, unless a mirror is used."""
        from huggingface_hub import try_to_load_from_cache

        if self.mirror:
            return None
        path = try_to_load_from_cache(self.model.repository, name, revision=self.model.revision)
        return path if isinstance(path, str) else None


def fetch_model(fetching: Fetching, pickled: str = "") -> bool:
    """Download all files of a model that its token embeddings depend on, from one source.

    That is the mirror if it has the model, else the cache of the hub, ``CLIR_CACHE`` or the hub:
    files of two sources may belong to two versions.

    Args:
        fetching: The model and its folder.
        pickled: Name of a file with pickled weights that the user allows; its tensors are written
            as safetensors, and the file itself is not kept.

    Returns:
        True if the weights were pickled.

    Raises:
        UserError: The model, its weights or its tokenizer are missing, or the weights are pickled
            and the user has not allowed it.
    """
    if fetching.mirror and not fetching.optional(CONFIG):
        on_mirror, fetching = fetching.mirror, replace(fetching, mirror="")
        try:
            fetching.required(CONFIG)
        except UserError as error:
            raise type(error)(f"{error}; not on the mirror {on_mirror} either") from None
    fetching.required(CONFIG)
    if not any([fetching.optional(name) for name in TOKENIZERS]):
        raise UserError(f"model {fetching.model.name}: no tokenizer ({', '.join(TOKENIZERS)})")
    translates = read_keys(fetching.folder / CONFIG).get("is_encoder_decoder")
    for name in (*OPTIONAL, ARTIFACT, *(OF_TRANSLATORS if translates else ())):
        fetching.optional(name)
    if fetching.optional(SENTENCE_TRANSFORMERS) and fetching.optional(MODULES):
        for kind, inner in read_modules(fetching.folder):
            if inner:
                fetching.optional(f"{inner}/{CONFIG}")
            if inner and kind.endswith(("Dense", "Transformer")):
                fetching.optional(f"{inner}/{WEIGHTS}")
    was_pickled = _fetch_weights(fetching, pickled)
    for pattern in ("*.sha256", "*.part", "*.part.tag"):  # the manifest has the files from now on
        for left in fetching.folder.rglob(pattern):
            left.unlink()
    for path in sorted(fetching.folder.rglob("*/"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return was_pickled


def _fetch_weights(fetching: Fetching, pickled: str) -> bool:
    if fetching.optional(WEIGHTS):
        return False
    if fetching.optional(INDEX):
        for name in shard_names(fetching.folder):
            fetching.required(name)
        return False
    if is_offline() and not fetching.mirror:
        raise MissingInput(
            f"model {fetching.model.name}: {WEIGHTS} is not available and the network is switched "
            "off (CLIR_OFFLINE or HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE"
        )
    if not pickled:
        raise UserError(
            f"model {fetching.model.name}: no safetensors ({WEIGHTS}) under revision "
            f"{fetching.model.revision}; pickled weights are not read; if you trust "
            f"{HUB}/{fetching.model.repository}: --set models.allow_pickle=pytorch_model.bin"
        )
    if "/" in pickled or "\\" in pickled:
        raise UserError(f"models.allow_pickle={pickled}: give the name of a file, without a folder")
    fetching.required(pickled)
    _convert(fetching.folder / pickled)
    return True


def _convert(path: Path) -> None:
    from safetensors.torch import save_file

    from clir_cli.retrieval.loading import read_pickled

    # Tied weights share their memory, which safetensors refuses: each gets its own.
    with reported(f"{path}: its weights cannot be written as safetensors"):
        tensors = {name: value.clone().contiguous() for name, value in read_pickled(path).items()}
        save_file(tensors, path.with_name(WEIGHTS), metadata={"format": "pt"})
    path.unlink()
