"""Texts to token embeddings: one unit vector a token, packed without padding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from clir_cli.errors import UserError
from clir_cli.files import is_out_of_memory
from clir_cli.foreign import reported
from clir_cli.ragged import Ragged
from clir_cli.retrieval.batching import (
    TokenizedText,
    batches_by_tokens,
    collate,
    rows_of,
    usual_batch,
)
from clir_cli.retrieval.centres import load_centres, unit
from clir_cli.retrieval.checkpoints import TextFormat, TextKind, read_checkpoint
from clir_cli.retrieval.loading import load_transformer
from clir_cli.retrieval.model_files import AGAIN
from clir_cli.retrieval.projection import Projection, load_projection
from clir_cli.retrieval.wordwise import parts_of, sentence_tokens, unicode_only


@dataclass(frozen=True)
class Packed:
    """Token embeddings of several texts, end to end.

    ``vectors`` is (tokens, dimensions); text ``i`` owns rows ``offsets[i]:offsets[i + 1]``.
    """

    vectors: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, texts: Sequence[Tensor]) -> "Packed":
        """Return the token embeddings (n, d) of each text end to end, in float32."""
        sizes = torch.tensor([0, *(len(text) for text in texts)])
        return cls(torch.cat([text.float() for text in texts]), sizes.cumsum(0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        return self.vectors[int(self.offsets[index]) : int(self.offsets[index + 1])]


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and a transformer whose last hidden states are the token embeddings.

    Where the checkpoint has a projection, the embeddings are the projected states; its text format
    says which prefix, expansion and skipped tokens it has (retrieval/checkpoints.py). ``centres``
    are the mean tokens that are taken out of the embeddings (retrieval/centres.py), or none.
    """

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    device: torch.device
    precision: torch.dtype
    projection: Projection | None = None
    text_format: TextFormat = field(default_factory=TextFormat)
    centres: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        """Return the size of a token embedding."""
        return self.projection.outputs if self.projection else self.hidden_size

    @property
    def hidden_size(self) -> int:
        """Return the size of the transformer's hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def trained(self) -> nn.ModuleDict:
        """Return the trained modules: the model, and the projection if there is one."""
        parts: dict[str, nn.Module] = {"model": self.model}
        if self.projection is not None:
            parts["projection"] = self.projection
        return nn.ModuleDict(parts)

    def tokenize(
        self, texts: Sequence[str], max_tokens: int, kind: TextKind = "sentence"
    ) -> list[list[int]]:
        """Return token ids with prefix and special tokens, truncated.

        The length is at most ``max_tokens``, the model's positions, and the text format's length.
        """
        return self._tokenized(texts, self.limit(max_tokens, kind), kind)[0]

    def token_ids(self, texts: Sequence[str], max_tokens: int) -> Ragged:
        """Return the ids of ``tokenize`` for sentences, in one array."""
        longest, prefix = self.limit(max_tokens, "sentence"), self.text_format.prefix("sentence")
        by_words = sentence_tokens(self.tokenizer, prefix, longest)
        tokenize = by_words or partial(self.tokenize, max_tokens=max_tokens)
        return Ragged.of(chain.from_iterable(map(tokenize, parts_of(texts))))

    def _tokenized(
        self, texts: Sequence[str], longest: int, kind: TextKind
    ) -> tuple[list[list[int]], list[bool]]:
        """Return token ids, and of which texts there are more (False if it is not known)."""
        rows: list[list[int]] = []
        more: list[bool] = []
        for part in parts_of(texts):
            encoded = self._encodings(part, longest, kind)
            ids = [list(row) for row in encoded["input_ids"]]
            details = encoded.encodings  # slow tokenizers have none
            more += [
                len(row) == longest and details is not None and bool(details[at].overflowing)
                for at, row in enumerate(ids)
            ]
            rows += ids
        return rows, more

    def _encodings(self, texts: Sequence[str], longest: int, kind: TextKind) -> BatchEncoding:
        prefixed = [self.text_format.prefix(kind) + text for text in texts]
        with unicode_only(texts):
            return self.tokenizer(prefixed, truncation=True, max_length=longest, padding=False)

    def limit(self, max_tokens: int, kind: TextKind) -> int:
        """Return the longest text of a kind in tokens, if ``max_tokens`` are allowed."""
        bounds = [max_tokens, self._positions, self.text_format.length(kind)]
        return min(bound for bound in bounds if bound)

    @cached_property
    def _positions(self) -> int:
        """The longest text in tokens that the model has positions for."""
        positions = getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        # Models like RoBERTa number positions from the padding's on, which is not in use either.
        before = [
            part.padding_idx + 1
            for name, part in self.model.named_modules()
            if name.endswith("position_embeddings")
            and isinstance(part, nn.Embedding)
            and part.padding_idx is not None
        ]
        return int(positions) - max(before, default=0)

    @torch.inference_mode()
    def is_causal(self) -> bool:
        """Return True if no token sees those behind it, as in a decoder."""
        first, *others = [token for token in range(4) if token != self.pad_id][:3]
        self.model.eval()
        texts = [torch.tensor([[first, other]], device=self.device) for other in others]
        alone, beside = (self.states(ids, torch.ones_like(ids))[0, 0] for ids in texts)
        return torch.allclose(alone, beside, rtol=1e-6)

    def inputs(self, texts: Sequence[str], max_tokens: int, kind: TextKind) -> list[TokenizedText]:
        """Return tokenised texts with prefix, query expansion and skipped tokens."""
        inputs = []
        expansion = self.text_format.expansion if kind == "query" else None
        tokenized = self._tokenized(texts, self.limit(max_tokens, kind), kind)
        for ids, is_cut in zip(*tokenized, strict=True):
            attended = len(ids)
            if expansion:
                ids = ids + [self._expansion_token] * (expansion.length - len(ids))
                attended = len(ids) if expansion.attended else attended
            selected = None
            if self._skipped and kind in self.text_format.skipped_in:
                selected = [i for i, token in enumerate(ids) if token not in self._skipped]
            inputs.append(TokenizedText(ids, attended, selected, is_cut))
        return inputs

    @cached_property
    def _skipped(self) -> frozenset[int]:
        """Ids of the skipped tokens; [UNK] only if it is named itself."""
        unknown = self.tokenizer.unk_token
        ids = {word: self._token_id(word) for word in self.text_format.skipped}
        absent = (None, self.tokenizer.unk_token_id)
        return frozenset(
            token for word, token in ids.items() if token not in absent or word == unknown
        )

    def _token_id(self, token: str) -> int:
        return cast(int, self.tokenizer.convert_tokens_to_ids(token))

    @cached_property
    def _expansion_token(self) -> int:
        token = self.text_format.expansion.token if self.text_format.expansion else ""
        if token:
            return self._token_id(token)
        mask = self.tokenizer.mask_token_id
        return int(self.tokenizer.eos_token_id if mask is None else mask)

    def spans(
        self, text: str, max_tokens: int, kind: TextKind = "sentence"
    ) -> list[tuple[int, int]]:
        """Return the characters (begin, end) of the token of each embedding.

        Special tokens, the prefix and expansion have the span (0, 0).
        """
        prefix = self.text_format.prefix(kind)
        tokens = self.inputs([text], max_tokens, kind)[0]
        encoded = self.tokenizer(
            prefix + text,
            truncation=True,
            max_length=self.limit(max_tokens, kind),
            return_offsets_mapping=True,
        )
        spans = [
            (max(0, begin - len(prefix)), max(0, end - len(prefix)))
            for begin, end in encoded["offset_mapping"]
        ]
        spans += [(0, 0)] * (len(tokens) - len(spans))
        return spans if tokens.selected is None else [spans[index] for index in tokens.selected]

    def embed(self, ids: Tensor, mask: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return unit token embeddings (B, n, d) in float32 for ids and mask (B, n).

        Differentiable; padding rows are meaningless and must be masked by the caller.
        """
        return self.unit(self.states(ids, mask), kind)

    def unit(self, states: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return the token embeddings (B, n, d) of ``embed`` from those of ``states``."""
        return unit(states, self.centres, kind)

    def recomputed(self, ids: Tensor, mask: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return ``embed``, whose activations are computed again in the backward pass, not kept."""
        embeddings: Tensor = checkpoint(self.embed, ids, mask, kind, use_reentrant=False)
        return embeddings

    def autocast(self) -> torch.autocast:
        """Return the context of the computation; an outer one casts the weights only once."""
        half = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=half)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the token embeddings of ``embed`` before normalisation: (B, n, d) in float32."""
        with self.autocast():
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            if self.projection is not None:
                states = self.projection(states)
        return states.float()

    def encode(
        self,
        texts: Sequence[str],
        max_tokens: int,
        *,
        kind: TextKind = "sentence",
        batch_tokens: int = 0,
        dtype: torch.dtype = torch.float32,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Packed:
        """Encode texts sorted by length, in batches of at most ``batch_tokens`` padded tokens.

        Args:
            texts: N texts.
            max_tokens: Longest text in tokens; longer ones are truncated.
            kind: A ``query`` has expansion, a ``document`` skipped tokens; a ``sentence`` is a
                query without expansion. Plain models encode all kinds alike.
            batch_tokens: Bound on (texts x longest text) of a batch; 0 for ``usual_batch``.
            dtype: Number format of the result, which is on the CPU in the order of ``texts``.
            advance: Called with the number of texts that were encoded.
        """
        inputs = self.inputs(texts, max_tokens, kind)
        return encode_inputs(
            self, inputs, kind, batch_tokens=batch_tokens, dtype=dtype, advance=advance
        )

    @property
    def pad_id(self) -> int:
        """Return the token id for padding."""
        return self.tokenizer.pad_token_id or 0


@torch.inference_mode()
def encode_inputs(
    encoder: Encoder,
    inputs: Sequence[TokenizedText],
    kind: TextKind,
    *,
    batch_tokens: int = 0,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[int], None] = lambda _: None,
) -> Packed:
    """Encode tokenised texts as ``Encoder.encode`` does.

    Raises:
        UserError: Embeddings hold NaN or infinity; the message names the model.
    """
    encoder.model.eval()
    lengths = torch.tensor([len(text.embedded) for text in inputs], dtype=torch.long)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    vectors = torch.empty(int(offsets[-1]), encoder.dimensions, dtype=dtype)
    budget = batch_tokens or usual_batch(encoder.device)
    with encoder.autocast():
        for batch in batches_by_tokens([len(text) for text in inputs], budget):
            ids, attended, embedded = collate(
                [inputs[index] for index in batch], encoder.pad_id, encoder.device
            )
            try:
                embeddings = encoder.embed(ids, attended, kind)[embedded]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(
                    f"out of memory on {encoder.device} with {ids.numel():,} tokens at once; of "
                    f"documents fewer are encoded with --set index.batch_tokens={budget // 4}"
                ) from None
            if not is_finite(embeddings):
                raise UserError(
                    f"{encoder.model.name_or_path}: this model gives token embeddings that are not "
                    "finite numbers; make or download it again with --force, or take another"
                )
            vectors[rows_of(offsets[batch], lengths[batch])] = embeddings.to(dtype).cpu()
            advance(len(batch))
    return Packed(vectors, offsets)


def is_finite(vectors: Tensor) -> bool:
    """Return True if a tensor of any shape holds neither NaN nor infinity; it is not copied."""
    return not vectors.numel() or bool(torch.stack(vectors.aminmax()).isfinite().all())


def load_encoder(
    folder: Path,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    *,
    pickled: str = "",
) -> Encoder:
    """Load an encoder from a folder, with its projection, text format and centres if it has them.

    The folder is in one of the formats of retrieval/checkpoints.py. ``precision`` is the number
    format of the computation; the weights are float32. ``pickled`` names a file with pickled
    weights, allowed if there are no safetensors; only tensors are read from it.

    Raises:
        UserError: Tokenizer or weights are missing or do not fit each other, or the model needs
            code of its own.
    """
    checkpoint = read_checkpoint(folder)
    tokenizer, model = load_transformer(checkpoint, pickled)
    projection = load_projection(checkpoint)
    if projection is not None:
        if projection.inputs != model.config.hidden_size:
            raise UserError(
                f"{folder}: the projection takes {projection.inputs} dimensions and the model has "
                f"{model.config.hidden_size}; they belong to different models"
            )
        projection = projection.to(device).eval()
    nn.Module.to(model, device).eval()
    encoder = Encoder(tokenizer, model, device, precision, projection, checkpoint.text_format)
    encoder = replace(encoder, centres=load_centres(folder, encoder.dimensions, device))
    _try(folder, encoder)
    return encoder


def _try(folder: Path, encoder: Encoder) -> None:
    """Encode a few words, so that a model that cannot is refused now and not after hours."""
    for kind in get_args(TextKind):
        with reported(f"{folder}: the model cannot encode a text", AGAIN):
            packed = encoder.encode(["a", "a b c d"], 16, kind=kind)
        if not packed.offsets.diff().all():
            raise UserError(f"{folder}: a {kind} has no tokens with an embedding; {AGAIN}")
