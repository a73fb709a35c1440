"""Settings: every one is declared here, once, in its section, with its default."""

import re
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Settings that came later: written down where they differ from their default alone, so that
    # what was made before they were there is what would be made now.
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = write(self)
        defaults = {name: type(self).model_fields[name].default for name in self.later}
        return {
            name: value
            for name, value in values.items()
            if name not in defaults or getattr(self, name) != defaults[name]
        }


class TeacherSettings(_Section):
    """The English retriever; it encodes documents and is never trained by distillation."""

    model: str = "all-MiniLM-L6-v2"
    document_tokens: int = Field(256, ge=8, description="longest document, in tokens")
    query_tokens: int = Field(128, ge=8, description="longest query or sentence, in tokens")


class StudentSettings(_Section):
    """Where the query encoder starts."""

    later = frozenset({"layers", "rows"})

    model: str = Field("teacher", description="a model name, a folder, or `teacher`")
    layers: int = Field(0, ge=0, description="keep the first so many layers; 0 keeps all")
    vocabulary: Literal["words", "subwords", "both", "initial"] = Field(
        "both", description="what of the bitext gets a row beside the initial vocabulary"
    )
    subwords: int = Field(8000, ge=100, description="subword pieces to learn")
    rows: Literal["ibm1", "dice", "plans"] = Field(
        "ibm1", description="how the English tokens of a new row are found"
    )
    folds: int = Field(
        8, ge=1, description="training reads a sentence with rows from the other folds; 1: from all"
    )
    min_count: int = Field(2, ge=1, description="a word gets a row when it is seen this often")
    neighbours: int = Field(5, ge=1, description="English tokens that a new row is the mean of")


class ModelsSettings(_Section):
    """How models are fetched and read."""

    allow_pickle: str = Field(
        "", description="a file with pickled weights to read where a model has no safetensors"
    )


class BitextSettings(_Section):
    """Which sentence pairs, and what to do with bad ones."""

    sources: tuple[str, ...] = ()
    files: tuple[str, ...] = Field(
        (), description="your own: one TSV (query language, English), or two parallel files"
    )
    on_error: Literal["stop", "skip"] = "stop"
    realign: bool = Field(True, description="put right the lines of a source that slipped")
    max_pairs: int = Field(0, ge=0, description="a random sample of so many pairs; 0 takes all")
    max_pairs_per_source: int = Field(0, ge=0, description="the same for each source")
    held_out: int = Field(200, ge=1, description="pairs for model selection, at most a tenth")
    seed: int = Field(0, ge=0, description="of the samples; the split has its own")
    duplicates: Literal["pair", "query", "english"] = Field(
        "pair", description="what two pairs must not share"
    )
    max_characters: int = Field(0, ge=0, description="longest side; 0 takes all, as below")
    max_words: int = Field(0, ge=0, description="longest side, in words between white space")
    max_length_ratio: float = Field(0.0, ge=0, description="longer over shorter side, characters")
    drop_markup: bool = Field(False, description="leave out pairs with HTML or wiki mark-up")
    drop_copies: bool = Field(False, description="leave out pairs whose sides are the same")


class DictionarySettings(_Section):
    """Bilingual dictionaries, for code-switching and for translation word by word."""

    sources: tuple[str, ...] = Field((), description="names of the catalogue, best first")
    files: tuple[str, ...] = Field(
        (), description="your own, before the sources: TSV, MUSE, or a PanLex snapshot"
    )
    on_error: Literal["stop", "skip"] = "stop"
    induced: bool = Field(True, description="add what the plans of the ot student say")
    least_score: float = Field(0.1, ge=0, le=1, description="of an induced translation")
    translations: int = Field(3, ge=1, description="of a word, where BM25 reads them")


class NmtSettings(_Section):
    """Neural machine translation of the queries, for the methods ``nmt`` and ``nmt-bm25``."""

    model: str = Field("", description="a sequence-to-sequence model: a name, or a folder")
    beams: int = Field(4, ge=1)
    max_tokens: int = Field(128, ge=1)


class TransportSettings(_Section):
    """The optimal-transport problem of each sentence pair (see optical/transport.py)."""

    later = frozenset({"marginals"})

    eps: float = Field(0.05, gt=0)
    tolerance: float = Field(1e-3, gt=0)
    max_iterations: int = Field(2000, ge=1)
    solver: Literal["geomloss", "geomloss-only", "pot", "fused"] = "geomloss"
    marginals: Literal["uniform", "norm", "idf"] = Field(
        "uniform", description="the mass of each token in training (optical/marginals.py)"
    )


class ObjectiveSettings(_Section):
    """What the objectives other than plain transport need (see optical/objectives.py)."""

    pooled_weight: float = Field(1.0, ge=0, description="ot+pooled: weight of the pooled part")
    temperature: float = Field(0.05, gt=0, description="kd-score: of the score distributions")


class TrainingSettings(_Section):
    """The training loop, the same for every method."""

    later = frozenset({"shard", "epoch_pairs"})

    epochs: int = Field(2, ge=1)
    epoch_pairs: int = Field(
        0, ge=0, description="distill: sentence pairs that an epoch draws of a bitext; 0: all"
    )
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(3e-4, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice, rather than keep them: less memory"
    )
    lora_rank: int = Field(
        0, ge=0, description="train so many directions of each linear layer; 0 trains all weights"
    )
    checkpoint_steps: int = Field(200, ge=1)
    shard: bool = Field(
        False, description="under torchrun: each process keeps a share of the weights (FSDP)"
    )


class JointSettings(_Section):
    """One student for several pairs (see optical/joint.py)."""

    temperature: float = Field(
        2.0, ge=1, description="1 takes each pair's bitext as it is; large, equal shares of all"
    )


class ContrastiveSettings(_Section):
    """Contrastive training, ``clir train`` (see optical/contrastive.py)."""

    collection: str = Field(
        "", description="queries and documents to train on, beside the bitext's sentences"
    )
    queries: int = Field(0, ge=0, description="a random sample of its queries; 0 takes all")
    sentences: int = Field(
        4000, ge=0, description="English sentences that spans of them ask for; 0 takes all"
    )
    temperature: float = Field(0.05, gt=0, description="of the scores over a batch's documents")
    negatives: int = Field(1, ge=0, description="given hard negatives a query")
    share: float = Field(0.5, ge=0, le=1, description="code-switch: p, of the query words")
    switching: Literal["bilingual", "multilingual"] = Field(
        "bilingual", description="code-switch: the pair's dictionary, or those of all pairs"
    )
    lexicon: Literal["given", "dice", "plans"] = Field(
        "dice", description="code-switch: the given dictionary; with the bitext's, or the plans'"
    )
    least_dice: float = Field(0.3, ge=0, le=1, description="of a translation from the bitext")
    alpha: float = Field(0.5, ge=0, le=1, description="hybrid: of the batches, those in English")


class MonolingualSettings(_Section):
    """The recipe ``monolingual``: a teacher made of a pooled encoder, on little data."""

    dimensions: int = Field(0, ge=0, description="of a token; 0 leaves them as they are")
    passages: bool = Field(True, description="sentences of documents ask for the rest of them too")
    epochs: int = Field(2, ge=1)
    learning_rate: float = Field(2e-5, gt=0)


class AugmentSettings(_Section):
    """The recipe ``augment``: masked language modelling before distillation."""

    files: tuple[str, ...] = Field(
        (), description="your own text, a sentence a line; else the bitext's query side"
    )
    sentences: int = Field(0, ge=0, description="a random sample of so many; 0 takes all")
    share: float = Field(0.15, gt=0, lt=1, description="of the tokens, that are to be guessed")
    epochs: int = Field(2, ge=1)
    learning_rate: float = Field(1e-4, gt=0)


class IndexSettings(_Section):
    """How documents are stored, and what indexing and searching may take."""

    later = frozenset({"format", "lists", "memory"})

    dtype: Literal["float16", "float32"] = "float16"
    format: Literal["dense", "int8", "residual1", "residual2", "residual4"] = Field(
        "dense", description="dense keeps `dtype`; the others round (docs/index.md)"
    )
    lists: bool = Field(
        False, description="lists from centroids to documents; residual formats have them anyway"
    )
    memory: str = Field(
        "",
        coerce_numbers_to_str=True,
        description="what the process may take, such as 2GB; empty: no limit",
    )
    shard_documents: int = Field(4096, ge=1, description="documents a shard")
    batch_tokens: int = Field(
        0, ge=0, description="tokens that are encoded at once; 0 for what suits the machine"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the machine computes in it"
    )

    @field_validator("memory")
    @classmethod
    def _is_size(cls, text: str) -> str:
        parse_size(text)
        return text

    @property
    def memory_bytes(self) -> int | None:
        """Return the limit in bytes, None without one."""
        return parse_size(self.memory)


class SearchSettings(_Section):
    """How documents are scored."""

    later = frozenset({"candidates"})

    top_k: int = Field(100, ge=1)
    candidates: float = Field(
        0, ge=0, description="documents (or below 1 the share of all) re-scored; 0 scores all"
    )


class FusionSettings(_Section):
    """Which runs the method ``fusion`` puts together, and how (see evaluation/fusion.py)."""

    runs: tuple[str, ...] = ("ot", "bm25")
    by: Literal["rrf", "zscore"] = "rrf"


class EvaluationSettings(_Section):
    """How certain the scores are said to be."""

    resamples: int = Field(2000, ge=100, description="bootstrap resamples over queries")
    confidence: float = Field(0.95, gt=0, lt=1)
    test: Literal["t", "randomisation"] = Field("t", description="paired, of two methods")


class ClusterSettings(_Section):
    """What a worker occupies with ``--engine ray``; nothing that is made depends on it."""

    cpus: float = Field(0, ge=0, description="processors; 0: its share of this machine, else one")
    gpus: float = Field(1, gt=0, description="GPUs, where it uses one; 0.5 puts two on a card")
    memory_gb: float = Field(0, ge=0, description="gigabytes of memory; 0 for an estimate")


class Settings(_Section):
    """All settings of a run. ``suite`` is the name it was loaded under."""

    suite: str
    title: str = ""
    collection: str
    methods: tuple[str, ...] = Field(("zero-shot", "ot", "english"), min_length=1)
    pairs: tuple[str, ...] = ()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    bitext: BitextSettings = BitextSettings()
    dictionary: DictionarySettings = DictionarySettings()
    nmt: NmtSettings = NmtSettings()
    models: ModelsSettings = ModelsSettings()
    transport: TransportSettings = TransportSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings = TrainingSettings()
    joint: JointSettings = JointSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    monolingual: MonolingualSettings = MonolingualSettings()
    augment: AugmentSettings = AugmentSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    fusion: FusionSettings = FusionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    cluster: ClusterSettings = ClusterSettings()


def parse_size(text: str) -> int | None:
    """Return the bytes that a size such as ``2GB``, ``512 MiB`` or ``1e9`` stands for.

    Returns:
        None for an empty text.

    Raises:
        PydanticCustomError: It is no size above 0.
    """
    if not text.strip():
        return None
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
    units |= {f"{unit}i": 1024.0**power for power, unit in enumerate("kmgt", start=1)}
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?", text.strip().lower())
    try:
        size = float(found[1]) * units[found[2]] if found else 0.0
    except (ValueError, KeyError):
        size = 0.0
    if size < 1:
        raise PydanticCustomError("size", "it is a size, write it as 2GB or 512MiB")
    return int(size)
