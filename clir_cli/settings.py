"""Settings: each is declared once, in its section, with its default; those of recipes apart."""

from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from clir_cli.recipe_settings import (
    AugmentSettings,
    ContrastiveSettings,
    LateInteractionSettings,
    MonolingualSettings,
    TranslatorSettings,
)
from clir_cli.setting_types import (
    MANY,
    Amount,
    AtLeastOne,
    Count,
    Divisor,
    Positive,
    Section,
    SeedNumber,
    Share,
    UpToMillion,
    UpToThousand,
    parse_size,
)


class TeacherSettings(Section):
    """The English retriever; it encodes documents and is never trained by distillation."""

    later = frozenset({"centre", "sentence_tokens", "own_lengths"})

    model: str = Field("all-MiniLM-L6-v2", description="a model name, or a folder")
    document_tokens: int = Field(256, ge=8, le=100_000, description="longest document, in tokens")
    query_tokens: int = Field(128, ge=8, le=100_000, description="longest query, in tokens")
    sentence_tokens: Count = Field(
        0, description="longest sentence of bitext, in tokens; 0: `query_tokens`"
    )
    own_lengths: bool = Field(
        True, description="a checkpoint's own lengths are limits too (ColBERT: 32 and 180 tokens)"
    )
    centre: bool = Field(
        False, description="take out the mean token of each side, in training and in search"
    )

    @field_validator("sentence_tokens")
    @classmethod
    def _is_length(cls, value: int) -> int:
        if 0 < value < 8:
            raise PydanticCustomError("length", "it is 0, or 8 and more")
        return value

    @property
    def bitext_tokens(self) -> int:
        """Return the longest sentence of bitext, in tokens."""
        return self.sentence_tokens or self.query_tokens


class StudentSettings(Section):
    """Where the query encoder starts."""

    later = frozenset({"layers", "rows", "row_pairs", "space_model", "space_count"})

    model: str = Field("teacher", description="a model name, a folder, or `teacher`")
    layers: int = Field(0, ge=0, le=1000, description="number of first layers to keep; 0: all")
    vocabulary: Literal["words", "subwords", "both", "initial"] = Field(
        "both", description="words of the bitext that become new tokens"
    )
    subwords: int = Field(8000, ge=100, le=10_000_000, description="number of subwords to learn")
    rows: Literal["ibm1", "dice", "plans", "space", "ibm1+space"] = Field(
        "ibm1", description="how the English tokens of a new token are found"
    )
    row_pairs: Count = Field(
        250_000,
        description="sentence pairs, a random sample, in which words are counted for new tokens; "
        "0: all",
    )
    space_model: str = Field(
        "multilingual-e5-small", description="rows space: the encoder in whose space they are near"
    )
    space_count: AtLeastOne = Field(
        5, description="rows ibm1+space: words in fewer pairs are placed in space"
    )
    folds: UpToThousand = Field(
        8, description="cross-fitting of new tokens: embeddings from the other folds; 1: from all"
    )
    min_count: AtLeastOne = Field(2, description="least count of a word that becomes a token")
    neighbours: UpToThousand = Field(
        5, description="English tokens whose mean starts a new embedding"
    )


class ModelsSettings(Section):
    """How models are downloaded and loaded."""

    allow_pickle: str = Field(
        "", description="file of pickled weights to load if a model has no safetensors"
    )


class BitextSettings(Section):
    """The sentence pairs, and the filters on them."""

    later = frozenset({"licence", "held_out_sources"})

    sources: tuple[str, ...] = Field((), description="names in the catalogue (clir ls bitext)")
    licence: Literal["any", "open"] = Field(
        "any", description="open: only sources whose licence allows commercial use"
    )
    files: tuple[str, ...] = Field(
        (),
        description="yours, besides sources: tables or two parallel files; {lang} in names",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="what to do with a line that cannot be read"
    )
    realign: bool = Field(True, description="repair sources whose lines are misaligned")
    max_pairs: Count = Field(0, description="size of a random sample of pairs; 0: all")
    max_pairs_per_source: Count = Field(0, description="the same, per source; 0: all")
    held_out: AtLeastOne = Field(
        200, description="pairs held out to select the epoch, at most a tenth"
    )
    held_out_sources: tuple[str, ...] = Field(
        (), description="sources held out as a whole, in place of pairs of all sources"
    )
    seed: SeedNumber = Field(0, description="seed for sampling (the split has its own)")
    duplicates: Literal["pair", "query", "english"] = Field(
        "pair", description="what no two pairs may share"
    )
    max_characters: Count = Field(0, description="limit for either side; 0: none, as below")
    max_words: Count = Field(0, description="limit for either side, in white-space words")
    max_length_ratio: Amount = Field(
        0.0, description="limit for longer by shorter side, characters"
    )
    drop_markup: bool = Field(False, description="drop pairs with HTML or wiki mark-up")
    drop_copies: bool = Field(False, description="drop pairs whose sides are the same")


class DictionarySettings(Section):
    """Bilingual dictionaries, for code-switching and for translation word by word."""

    later = frozenset({"licence"})

    sources: tuple[str, ...] = Field((), description="names in the catalogue, best first")
    licence: Literal["any", "open"] = Field("any", description="as of bitext")
    files: tuple[str, ...] = Field(
        (), description="your own files, used before the sources: TSV, MUSE or a PanLex snapshot"
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="what to do with a line that cannot be read"
    )
    induced: bool = Field(True, description="add words induced from the ot student's plans")
    least_score: Share = Field(0.1, description="least score of an induced translation")
    translations: UpToThousand = Field(3, description="translations per word in a BM25 query")


class NmtSettings(Section):
    """Neural machine translation of the queries, for the methods ``nmt`` and ``nmt-bm25``."""

    model: str = Field(
        "",
        description="sequence-to-sequence model: a name, a folder, or `trained` by clir train",
    )
    beams: UpToThousand = Field(4, description="beams of the search for a translation")
    max_tokens: int = Field(128, ge=1, le=100_000, description="longest translation, in tokens")


class TransportSettings(Section):
    """The optimal-transport problem of each sentence pair (see optical/transport.py)."""

    later = frozenset({"marginals", "scale", "entries"})

    eps: Divisor = Field(0.05, description="strength of the entropy, in units of `scale`")
    scale: Literal["cost", "spread"] = Field(
        "cost", description="unit of eps: the cost itself, or the standard deviation of a pair's"
    )
    tolerance: float = Field(
        1e-3, ge=1e-6, le=1e6, description="L1 distance of a plan's marginals from those asked for"
    )
    max_iterations: int = Field(
        2000, ge=1, le=10_000_000, description="most iterations of the solver for a batch"
    )
    solver: Literal["geomloss", "geomloss-only", "pot", "fused"] = Field(
        "geomloss", description="what computes the plans (docs/transport.md)"
    )
    marginals: Literal["uniform", "norm", "idf"] = Field(
        "uniform", description="the mass of each token in training (optical/marginals.py)"
    )
    entries: Count = Field(
        0, description="largest entries of each student token's row of the plan to keep; 0: all"
    )


class ObjectiveSettings(Section):
    """Settings of the objectives other than plain transport (see optical/objectives.py)."""

    later = frozenset({"anchor"})

    pooled_weight: Amount = Field(1.0, description="ot+pooled: weight of the pooled part")
    score_weight: Amount = Field(1.0, description="ot+score: weight of the scores' divergence")
    contrast_weight: Amount = Field(1.0, description="ot+contrast: weight of the contrast")
    temperature: Divisor = Field(
        0.05, description="kd-score, ot+score, ot+contrast: softmax temperature"
    )
    anchor: Amount = Field(
        0.0, description="distill: weight of the student's English, held to the teacher's; 0: off"
    )


class TrainingSettings(Section):
    """The training loop, the same for every method."""

    later = frozenset({"shard", "epoch_pairs", "lora_rank", "freeze", "dropout"})

    epochs: UpToMillion = Field(2, description="passes over the training data")
    epoch_pairs: Count = Field(
        0, description="distill: sentence pairs per epoch and bitext; 0: all"
    )
    batch_size: UpToMillion = Field(32, description="sentence pairs, or queries, per step")
    learning_rate: Positive = Field(3e-4, description="largest learning rate of AdamW")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps with warm-up")
    weight_decay: Amount = Field(0.01, description="weight decay of AdamW")
    clip: Positive = Field(1.0, description="largest gradient norm")
    dropout: bool = Field(True, description="dropout as the model's own config has it; false: none")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 if the machine supports it"
    )
    halve: bool = Field(
        False,
        description="out of memory: halve what is computed at once; training.batch_size=auto",
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass to save memory"
    )
    lora_rank: int = Field(
        0,
        ge=0,
        le=100_000,
        description="rank of LoRA adapters on linear layers; 0 trains all weights",
    )
    freeze: str = Field(
        "",
        pattern=r"^(|embeddings|layers:[1-9]\d{0,3})$",
        description="not trained: `embeddings` of tokens, or all but what follows N `layers:N`",
    )
    checkpoint_steps: AtLeastOne = Field(200, description="steps from one checkpoint to the next")
    shard: bool = Field(
        False, description="under torchrun: shard the weights over the processes (FSDP)"
    )


class JointSettings(Section):
    """One student for several pairs (see optical/joint.py)."""

    temperature: float = Field(
        2.0,
        ge=1,
        le=MANY,
        description="1: share of a pair by its bitext's size; large: equal shares",
    )


class IndexSettings(Section):
    """How documents are stored, and limits for indexing and search."""

    later = frozenset({"format", "lists", "memory", "passage_tokens", "passage_overlap"})

    dtype: Literal["float16", "float32"] = Field(
        "float16", description="type of the stored numbers"
    )
    format: Literal["dense", "int8", "residual1", "residual2", "residual4"] = Field(
        "dense", description="dense keeps `dtype`; the others are lossy (docs/index.md)"
    )
    passage_tokens: int = Field(
        0, ge=0, le=100_000, description="split documents into passages, the best one counts; 0: no"
    )
    passage_overlap: int = Field(
        32, ge=0, le=100_000, description="most tokens that a passage shares with the one before"
    )
    lists: bool = Field(
        False, description="inverted lists for search.candidates; residual formats have them anyway"
    )
    memory: str = Field(
        "",
        coerce_numbers_to_str=True,
        description="memory limit of the process, such as 2GB; empty: none",
    )
    shard_documents: int = Field(4096, ge=1, le=100_000_000, description="documents per shard")
    batch_tokens: int = Field(
        0, ge=0, le=1_000_000_000, description="tokens per batch; 0: chosen for the machine"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 if the machine supports it"
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


class SearchSettings(Section):
    """How documents are scored."""

    later = frozenset({"candidates"})

    top_k: int = Field(100, ge=1, le=10_000_000, description="documents per query in a run")
    candidates: Amount = Field(
        0, description="documents to re-score (below 1: a share of all); 0 scores all"
    )


class FusionSettings(Section):
    """The runs that the method ``fusion`` combines, and how (see evaluation/fusion.py)."""

    runs: tuple[str, ...] = Field(("ot", "bm25"), description="methods whose runs are combined")
    by: Literal["rrf", "zscore"] = Field(
        "rrf", description="by reciprocal ranks, or by standardised scores"
    )


class EvaluationSettings(Section):
    """Confidence intervals and significance tests."""

    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples over queries")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    test: Literal["t", "randomisation"] = Field("t", description="paired test of two methods")


class ClusterSettings(Section):
    """Resources of a worker with ``--engine ray``; no result depends on them."""

    cpus: float = Field(
        0, ge=0, le=100_000, description="processors; 0: a share of this machine, else one"
    )
    gpus: float = Field(1, gt=0, le=1000, description="GPUs; 0.5 puts two workers on one GPU")
    memory_gb: float = Field(0, ge=0, le=1_000_000, description="memory in GB; 0: estimated")


class Settings(Section):
    """All settings of a run. ``suite`` is the name it was loaded under."""

    suite: str
    title: str = Field("", description="what the suite is, in one line")
    collection: str = Field(description="the test collection (clir ls collections)")
    methods: tuple[str, ...] = Field(
        ("zero-shot", "ot", "english"),
        min_length=1,
        description="those that --method names if left out",
    )
    pairs: tuple[str, ...] = Field((), description="those that --lang all names")
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
    late_interaction: LateInteractionSettings = LateInteractionSettings()
    augment: AugmentSettings = AugmentSettings()
    translator: TranslatorSettings = TranslatorSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    fusion: FusionSettings = FusionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    cluster: ClusterSettings = ClusterSettings()
