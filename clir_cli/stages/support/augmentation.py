"""augment: the text of continued masked-LM pre-training of an initial student."""

import random
from pathlib import Path

from clir_cli.corpus.bitext import SPLIT_SEED, Bitext
from clir_cli.corpus.sampling import sampled
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder
from clir_cli.settings import Settings
from clir_cli.training.masked_lm import MaskedEncoder, MaskedLM, with_head

Texts = tuple[list[str], list[str]]


def texts_of(settings: Settings, bitext: Bitext) -> Texts:
    """Return sentences to train on and held out: the bitext's query side, or ``augment.files``.

    Raises:
        UserError: Too little text for a batch.
    """
    size = settings.training.batch_size
    train, held_out = _text(settings, bitext)
    train = sampled(train, settings.augment.sentences, "augment")
    if size > len(train):
        raise UserError(
            f"training.batch_size is {size} for {len(train)} sentences; choose a smaller batch"
        )
    return train, held_out


def augmenting(
    settings: Settings, student: Encoder, rows: int, texts: Texts, seed: int
) -> tuple[MaskedEncoder, MaskedLM, dict[str, object]]:
    """Return a student with a masked-LM head, its task, and notes for the manifest.

    Raises:
        UserError: The student cannot predict tokens.
    """
    train, held_out = texts
    tokenizer, limit = student.tokenizer, settings.teacher.bitext_tokens
    task = MaskedLM(
        train=student.tokenize(train, limit),
        held_out=student.tokenize(held_out, limit),
        special=frozenset(tokenizer.all_special_ids),
        mask=tokenizer.mask_token_id,
        vocabulary=len(tokenizer),
        share=settings.augment.share,
        batch_size=settings.training.batch_size,
        seed=seed,
    )
    notes: dict[str, object] = {
        "train_sentences": len(train),
        "held_out_sentences": len(held_out),
        "train_tokens": sum(len(ids) - 2 for ids in task.train),
        "new_rows": rows,
    }
    return with_head(student), task, notes


def _text(settings: Settings, bitext: Bitext) -> Texts:
    names = settings.augment.files
    if not names:
        held_out = dict.fromkeys(row.query for row in bitext.held_out)
        rest = dict.fromkeys(row.query for row in bitext.train if row.query not in held_out)
        return list(rest), list(held_out)
    lines = list(dict.fromkeys(line for name in names for line in _lines(Path(name))))
    size = min(settings.bitext.held_out, len(lines) // 10)
    if not size:
        raise UserError(f"augment.files: {len(lines)} different lines; at least 10 are needed")
    numbers = set(random.Random(SPLIT_SEED).sample(range(len(lines)), size))
    return (
        [line for number, line in enumerate(lines) if number not in numbers],
        [lines[number] for number in sorted(numbers)],
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 at byte {error.start} (augment.files)") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
