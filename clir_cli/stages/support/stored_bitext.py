"""Lexicons and token ids of bitext, stored: the methods and seeds of a pair share them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus.records import SentencePair
from clir_cli.files import digest
from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.wordwise import untruncated
from clir_cli.runtime import versions
from clir_cli.stages.support.workspace import Workspace
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.cross_fitting import FoldTokens, tokenize_folds

Bitexts = Sequence[Sequence[SentencePair]]


def stored_lexicons(
    workspace: Workspace,
    ref: Ref,
    bitexts: Bitexts,
    tokenizer: PreTrainedTokenizerBase,
    options: Mapping[str, Any],
    induce: Callable[[], list[Lexicon]],
) -> list[Lexicon]:
    """Return what ``induce`` makes of bitexts, from the folder that is named after what it reads.

    The pairs of ``ref``, a student, say where the folder is. ``options`` is all that the lexicons
    depend on beside bitexts and tokenizer.
    """
    artifact = _artifact(workspace, ref.other("lexicons"), bitexts, tokenizer, options)
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


def stored_tokens(
    workspace: Workspace, ref: Ref, texts: Sequence[Sequence[str]], encoder: Encoder, limit: int
) -> list[Ragged]:
    """Return the token ids of the sentences of bitexts, of at most ``limit`` a sentence."""

    def tokenize() -> list[Ragged]:
        return [encoder.token_ids(sentences, limit) for sentences in texts]

    return _stored_ids(workspace, ref, texts, encoder, {"limit": limit}, tokenize)


def stored_fold_tokens(
    workspace: Workspace,
    ref: Ref,
    bitexts: Bitexts,
    student: Encoder,
    folds: Sequence[Sequence[Sequence[int]]],
    lexicons: Sequence[Lexicon],
    limit: int,
) -> FoldTokens:
    """Return what ``tokenize_folds`` makes of bitexts and a student before its extension."""

    def tokenize() -> list[Ragged]:
        made = tokenize_folds(student, bitexts, folds, lexicons, max_tokens=limit)
        return [*made.ids, made.words]

    words = digest([lexicon.words for lexicon in lexicons])
    options = {"limit": limit, "folds": digest(folds), "words": words}
    *ids, of_words = _stored_ids(workspace, ref, bitexts, student, options, tokenize)
    return FoldTokens(ids, of_words)


def _stored_ids(
    workspace: Workspace,
    ref: Ref,
    texts: Sequence[Sequence[str | SentencePair]],
    student: Encoder,
    options: Mapping[str, Any],
    tokenize: Callable[[], list[Ragged]],
) -> list[Ragged]:
    tokenizer = student.tokenizer
    if getattr(tokenizer, "backend_tokenizer", None) is None:  # a slow one cannot be digested
        return tokenize()
    options = {**options, "prefix": student.text_format.prefix("sentence")}
    options["limit"] = student.limit(options["limit"], "sentence")
    artifact = _artifact(workspace, ref.other("token ids"), texts, tokenizer, options)
    with store.make_cache(artifact, workspace.talk.say) as draft:
        if draft is not None:
            made = tokenize()
            rows = Ragged.of_parts(made)
            np.save(draft / "ids.npy", rows.values)
            np.save(draft / "offsets.npy", rows.offsets)
            np.save(draft / "sizes.npy", np.array(list(map(len, made))))
    ids, offsets, sizes = (
        np.load(artifact.path / f"{name}.npy", mmap_mode="r")
        for name in ("ids", "offsets", "sizes")
    )
    rows, ends = Ragged(ids, offsets), np.cumsum(sizes)
    return [rows.slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _artifact(
    workspace: Workspace,
    ref: Ref,
    texts: Sequence[Sequence[str | SentencePair]],
    tokenizer: PreTrainedTokenizerBase,
    options: Mapping[str, Any],
) -> Artifact:
    made_from = {
        "bitext": digest(texts),
        "tokenizer": digest([_layout(tokenizer), tokenizer.all_special_ids]),
        "options": digest([versions()["clir-cli"], dict(options)]),
    }
    return graph.resolve(workspace, replace(ref, name=digest(made_from)[:16]), made_from)


def _layout(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a fast tokenizer as JSON."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    with untruncated(backend):
        return str(backend.to_str())
