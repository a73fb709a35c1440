"""Texts to token embeddings: one unit vector a token, packed without padding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from clir_cli.errors import UserError


@dataclass(frozen=True)
class Packed:
    """Token embeddings of several texts, end to end.

    ``vectors`` is (tokens, dimensions); text ``i`` owns rows ``offsets[i]:offsets[i + 1]``.
    """

    vectors: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        return self.vectors[int(self.offsets[index]) : int(self.offsets[index + 1])]


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and a transformer whose last hidden states are the token embeddings."""

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    device: torch.device
    precision: torch.dtype

    @property
    def dimensions(self) -> int:
        """Return the size of a token embedding."""
        return int(self.model.config.hidden_size)

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return token ids with special tokens, cut to ``max_tokens`` and to the model's limit."""
        limit = min(max_tokens, self.position_limit)
        encoded = self.tokenizer(list(texts), truncation=True, max_length=limit, padding=False)
        return [list(ids) for ids in encoded["input_ids"]]

    @property
    def position_limit(self) -> int:
        """Return the longest input that the model has positions for."""
        limit = getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        # RoBERTa-like models number positions from padding_idx + 1, so two of them are not usable.
        return int(limit) - (2 if "roberta" in self.model.config.model_type else 0)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return unit token embeddings (B, n, d) in float32 for ids and mask (B, n).

        Differentiable; padding rows are meaningless and must be masked by the caller.
        """
        half = self.precision != torch.float32
        with torch.autocast(self.device.type, dtype=self.precision, enabled=half):
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return functional.normalize(states.float(), dim=-1)

    @torch.inference_mode()
    def encode(
        self,
        texts: Sequence[str],
        max_tokens: int,
        *,
        batch_tokens: int = 8192,
        dtype: torch.dtype = torch.float32,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Packed:
        """Encode texts sorted by length, in batches of at most ``batch_tokens`` padded tokens.

        Args:
            texts: N texts.
            max_tokens: Longest text in tokens; the rest of it is cut.
            batch_tokens: Bound on (texts x longest text) of a batch.
            dtype: Number format of the result, which lies on the CPU in the order of ``texts``.
            advance: Called with the number of texts that were encoded.
        """
        self.model.eval()
        ids = self.tokenize(texts, max_tokens)
        lengths = torch.tensor([len(each) for each in ids], dtype=torch.long)
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
        vectors = torch.empty(int(offsets[-1]), self.dimensions, dtype=dtype)
        for batch in by_length([len(each) for each in ids], batch_tokens):
            padded, mask = pad([ids[index] for index in batch], self.pad_id, self.device)
            found = self.embed(padded, mask).to(dtype).cpu()
            for row, index in enumerate(batch):
                start = int(offsets[index])
                vectors[start : start + len(ids[index])] = found[row, : len(ids[index])]
            advance(len(batch))
        return Packed(vectors, offsets)

    @property
    def pad_id(self) -> int:
        """Return the id that fills up short texts."""
        return self.tokenizer.pad_token_id or 0


def by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices, longest texts first, at most ``batch_tokens`` padded tokens each.

    The order is a function of the lengths alone. Longest first, so that too large a batch
    fails at once and not after an hour.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def pad(ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (B, longest): mask is True on real tokens."""
    longest = max(len(each) for each in ids)
    padded = torch.full((len(ids), longest), pad_id, dtype=torch.long)
    mask = torch.zeros(len(ids), longest, dtype=torch.bool)
    for row, each in enumerate(ids):
        padded[row, : len(each)] = torch.tensor(each, dtype=torch.long)
        mask[row, : len(each)] = True
    return padded.to(device), mask.to(device)


def load_encoder(
    folder: Path, device: torch.device, precision: torch.dtype = torch.float32
) -> Encoder:
    """Load tokenizer and model from a folder; safetensors only, never remote code.

    Raises:
        UserError: The folder lacks a tokenizer or weights, or they do not fit each other.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            # The pooler is not used and some checkpoints lack it.
            **_without_pooler(folder),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{folder}: cannot be loaded as tokenizer and model: {reason}") from None
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model {rows} embedding "
            "rows; they belong to different models"
        )
    return Encoder(tokenizer, model.to(device).eval(), device, precision)


def _without_pooler(folder: Path) -> dict[str, Any]:
    config = (folder / "config.json").read_text(encoding="utf-8")
    return {"add_pooling_layer": False} if '"model_type": "bert"' in config else {}


def concatenate(parts: Iterable[Packed]) -> Packed:
    """Join packed embeddings end to end."""
    vectors, offsets, rows = [], [torch.zeros(1, dtype=torch.long)], 0
    for part in parts:
        vectors.append(part.vectors)
        offsets.append(part.offsets[1:] + rows)
        rows += len(part.vectors)
    return Packed(torch.cat(vectors), torch.cat(offsets))
