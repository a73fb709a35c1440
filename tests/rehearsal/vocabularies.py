"""Small vocabularies in the real formats, made from the texts of the sample."""

from collections.abc import Iterable
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import import_protobuf

from rehearsal.texts import all_texts, documents

SPACE = "\u2581"
BERT = ("[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = 1200


@cache
def word_pieces(cased: bool, unused: int) -> list[str]:
    """Return BERT's vocabulary: [PAD], [unused...], the special tokens, characters, pieces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=PIECES, show_progress=False)
    english = (" ".join(document) for document in documents().values())
    tokenizer.train_from_iterator(all_texts() if cased else english, trainer)
    learned = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    numbered = range(1, unused + 1) if cased else range(unused)
    head = ["[PAD]", *(f"[unused{number}]" for number in numbered), *BERT]
    return list(dict.fromkeys([*head, *learned]))


@cache
def unigrams() -> list[tuple[str, float]]:
    """Return pieces of SentencePiece with their scores, without special tokens."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE)
    trainer = trainers.UnigramTrainer(
        vocab_size=PIECES, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"]
    )
    tokenizer.train_from_iterator(all_texts(), trainer)
    learned = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    # Not the trainer's own scores, whose last digits are not the same in every run.
    return [(piece, -float(number)) for number, piece in enumerate(learned) if piece != "<unk>"]


@cache
def merges(is_byte_level: bool) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges of byte-pair encoding: of bytes, or of pieces with spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token=None if is_byte_level else "<unk>"))
    alphabet: Iterable[str] = ()
    if is_byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE)
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, show_progress=False, initial_alphabet=sorted(alphabet)
    )
    tokenizer.train_from_iterator(all_texts(), trainer)
    learned = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    known, pairs = set(learned), []
    for piece in learned:
        for cut in range(1, len(piece)):
            if piece[:cut] in known and piece[cut:] in known:
                pairs.append((piece[:cut], piece[cut:]))
                break
    return {piece: number for number, piece in enumerate(learned)}, pairs


def sentence_piece_model(special: Iterable[str]) -> bytes:
    """Return a model of SentencePiece: control tokens as named, then the pieces."""
    protobuf = import_protobuf()
    model = protobuf.ModelProto()
    model.trainer_spec.model_type = protobuf.TrainerSpec.UNIGRAM
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    kinds = protobuf.ModelProto.SentencePiece
    for piece in special:
        kind = kinds.UNKNOWN if piece == "<unk>" else kinds.CONTROL
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for piece, score in unigrams():
        model.pieces.add(piece=piece, score=score, type=kinds.NORMAL)
    return bytes(model.SerializeToString())
