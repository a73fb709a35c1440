"""Token embeddings to measure search on: of real text by a trained model, and many more like them.

Documents are the paragraphs of XQuAD and random joins of sentences of TICO-19, SIB-200, Tatoeba and
NTREX-128, in English; queries are XQuAD's questions (their paragraph is relevant) and sentences of
the pool (the documents that hold them are relevant). all-MiniLM-L6-v2 encodes both; the 384
dimensions are cut to the first 128 principal directions (of the second moments, not centred) of a
sample of document tokens, and vectors get unit length again.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.retrieval.encoder import Packed, load_encoder
from clir_cli.retrieval.tensor_files import read_tensors

SOURCES = {"tico-19": "fr", "sib-200": "fr", "tatoeba": "de"}
DIMENSIONS = 128
SENTENCE_QUERIES = 300


@dataclass(frozen=True)
class RealStore:
    """Embeddings of documents and queries, and which documents each query is to find."""

    documents: Packed
    queries: Packed
    relevant: list[set[int]]


def real_store(texts: Path, model: Path, documents: int, cache: Path, seed: int = 0) -> RealStore:
    """Return the encoded documents; they are kept in ``cache``, since encoding takes minutes.

    Args:
        texts: A tree of downloads, as ``clir download --mirror`` reads it.
        model: Folder of all-MiniLM-L6-v2.
        documents: How many to make.
        cache: Folder for the embeddings.
        seed: Of the joins and of the queries drawn.
    """
    file = cache / f"real-{documents}-{seed}.safetensors"
    if not file.is_file():
        found = _encoded(texts, model, documents, seed)
        cache.mkdir(parents=True, exist_ok=True)
        save_file(found, file)
    tensors, _ = read_tensors(file)
    relevant: list[set[int]] = [set() for _ in range(len(tensors["query_offsets"]) - 1)]
    for query, document in tensors["relevant"].tolist():
        relevant[query].add(document)
    return RealStore(
        Packed(tensors["documents"], tensors["document_offsets"]),
        Packed(tensors["queries"], tensors["query_offsets"]),
        relevant,
    )


def _encoded(texts: Path, model: Path, documents: int, seed: int) -> dict[str, Tensor]:
    chance = random.Random(seed)
    xquad = load_collection("xquad", "en", texts)
    bodies = [document.full_text for document in xquad.documents]
    place = {document.id: number for number, document in enumerate(xquad.documents)}
    asked = [(text, {place[key] for key in xquad.qrels[query]})
             for query, text in xquad.queries["en"].items()]  # fmt: skip
    pool = _sentences(texts)
    holders: dict[str, set[int]] = {}
    while len(bodies) < documents:
        chosen, words, target = [], 0, chance.randint(45, 110)
        while words < target:
            chosen.append(chance.choice(pool))
            words += len(chosen[-1].split())
        for sentence in chosen:
            holders.setdefault(sentence, set()).add(len(bodies))
        bodies.append(" ".join(chosen))
    long = sorted(sentence for sentence in holders if len(sentence.split()) >= 8)
    asked += [(each, holders[each]) for each in chance.sample(long, SENTENCE_QUERIES)]

    encoder = load_encoder(model, torch.device("cpu"), torch.bfloat16)
    stored = encoder.encode(bodies, 256, kind="document")
    queries = encoder.encode([text for text, _ in asked], 64)
    sample = stored.vectors[torch.randperm(len(stored.vectors))[:200_000]]
    _, directions = torch.linalg.eigh(sample.T @ sample)
    kept = directions[:, -DIMENSIONS:]
    judged = [(query, each) for query, (_, found) in enumerate(asked) for each in sorted(found)]
    return {
        "documents": normalize(stored.vectors @ kept, dim=-1),
        "document_offsets": stored.offsets,
        "queries": normalize(queries.vectors @ kept, dim=-1),
        "query_offsets": queries.offsets,
        "relevant": torch.tensor(judged),
    }


def _sentences(texts: Path) -> list[str]:
    """Return the English sentences of the bitexts and of NTREX-128, each once, in order."""
    found: dict[str, None] = {}
    for name, language in SOURCES.items():
        source = catalogue.source("bitext", name)
        files = source.local_files(language, texts)
        wanted = ReadRequest(language, source.options, faults=Faults("skip"))
        for pair in formats.PAIR_READERS[source.format](files, wanted):
            found[pair.english] = None
    for document in load_collection("ntrex", "en", texts).documents:
        found[document.full_text] = None
    return list(found)


def generated(
    real: Packed, documents: int, seed: int = 0, mixed: float = 0.3, at_once: int = 4096
) -> Iterator[Packed]:
    """Yield documents like the real ones, a shard at a time.

    A document is made of four runs of tokens, each a random part of a random real document, about
    half as long together as a real one, as passages are. To every token a random other token is
    added, ``mixed`` times, and it gets unit length again: clusters stay what they are, and no two
    tokens are the same.

    Args:
        real: Where runs and tokens are drawn from.
        documents: How many.
        seed: The same seed gives the same documents.
        mixed: Length of what is added, as a share of the token's.
        at_once: Documents a shard.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = real.offsets.diff()
    for start in range(0, documents, at_once):
        count = min(at_once, documents - start)
        chosen = torch.randint(0, len(real), (count, 4), generator=generator).flatten()
        whole = lengths[chosen]
        taken = (whole // 8).clamp_min(1)
        late = (torch.rand(len(chosen), generator=generator) * (whole - taken + 1)).long()
        rows = ranges(real.offsets[chosen] + late, taken)
        other = torch.randint(0, len(real.vectors), (len(rows),), generator=generator)
        vectors = normalize(real.vectors[rows] + mixed * real.vectors[other], dim=-1)
        yield Packed(vectors, _offsets(taken.view(count, 4).sum(1)))


def picked(packed: Packed, numbers: Tensor) -> Packed:
    """Return some of the texts."""
    lengths = packed.offsets.diff()[numbers]
    return Packed(packed.vectors[ranges(packed.offsets[numbers], lengths)], _offsets(lengths))


def ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """Return start, start + 1, ... for each start, end to end."""
    before = lengths.cumsum(0) - lengths
    return torch.repeat_interleave(starts - before, lengths) + torch.arange(int(lengths.sum()))


def _offsets(lengths: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
