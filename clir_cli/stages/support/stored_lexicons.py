"""Lexicons of bitext, stored: the methods and seeds of a pair start from the same one."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import SentencePair
from clir_cli.files import digest
from clir_cli.runtime import versions
from clir_cli.stages.support.workspace import Workspace
from clir_cli.vocabulary.counts import Lexicon


def stored_lexicons(
    workspace: Workspace,
    ref: Ref,
    bitexts: Sequence[Sequence[SentencePair]],
    tokenizer: PreTrainedTokenizerBase,
    options: Mapping[str, Any],
    induce: Callable[[], list[Lexicon]],
) -> list[Lexicon]:
    """Return what ``induce`` makes of bitexts, from the folder that is named after what it reads.

    The pairs of ``ref``, a student, say where the folder is. ``options`` is all that the lexicons
    depend on beside bitexts and tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    layout = json.loads(backend.to_str()) if backend else {}
    layout = {key: value for key, value in layout.items() if key not in ("truncation", "padding")}
    made_from = {
        "bitext": digest([list(map(tuple, rows)) for rows in bitexts]),
        "tokenizer": digest([layout, tokenizer.all_special_ids]),
        "options": digest([versions()["clir-cli"], dict(options)]),
    }
    artifact = graph.resolve(
        workspace, ref.other("lexicons", name=digest(made_from)[:16]), made_from
    )
    with store.make_cache(artifact, workspace.talk.say) as draft:
        if draft is not None:
            made = induce()
            (draft / "words.json").write_text(json.dumps([lexicon.words for lexicon in made]))
            for name in ("tokens", "strengths"):
                parts = [getattr(lexicon, name) for lexicon in made]
                np.save(draft / f"{name}.npy", torch.cat(parts).numpy())
    words = json.loads((artifact.path / "words.json").read_text())
    sizes = [len(part) for part in words]
    tokens, strengths = (
        torch.from_numpy(np.load(artifact.path / f"{name}.npy")).split(sizes)
        for name in ("tokens", "strengths")
    )
    return list(map(Lexicon, words, tokens, strengths))
