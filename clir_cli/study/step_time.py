"""The time of a training step here: a few real ones of a suite's student, on made-up sentences.

Weights are random where the student has not been fetched; they take the same time.
"""

from statistics import median

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from clir_cli import runtime
from clir_cli.errors import UserError
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.ragged import Ragged
from clir_cli.retrieval import models
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.loading import embedding_table
from clir_cli.stages.support.initial_student import initial_encoder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.loop import Training

STEPS = 3  # that are timed, behind one that is not
TOKENS = 28  # of a sentence; those of news have about so many


def step_seconds(workspace: Workspace) -> float:
    """Return the seconds that a step of distillation takes, on a batch of the settings' size.

    Raises:
        UserError: Neither the student nor its size is known, or the memory is too small.
    """
    settings = workspace.settings
    device = runtime.choose_device(workspace.device)
    runtime.hush_libraries()
    precision = runtime.choose_precision(settings.training.precision, device)
    student = _student(workspace, device, precision)
    size = settings.training.batch_size
    bitext = _made_up(student, size * (STEPS + 2), min(TOKENS, settings.teacher.bitext_tokens))
    loop = settings.training.model_copy(update={"epochs": 1, "epoch_pairs": 0, "shard": False})
    settings = settings.model_copy(update={"training": loop})
    task = Distillation(bitext, bitext, OBJECTIVES["ot"], settings, seed=0)
    training = Training(student, task, loop, seed=0)
    seconds = []
    for step in training.run():
        seconds.append(step.seconds)
        if step.number > STEPS:
            break
    del training, task, student
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return median(seconds[1:])


def _student(workspace: Workspace, device: torch.device, precision: torch.dtype) -> Encoder:
    """Return the initial student; one of its size if it, or the teacher, is not there yet."""
    try:
        return initial_encoder(workspace, device, precision, seed=0)
    except UserError as error:
        settings = workspace.settings
        name = settings.student.model
        shape = models.model_entry(settings.teacher.model if name == "teacher" else name).shape
        if not shape:
            raise error
    config = BertConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=max(1, shape["hidden"] // 64),
        intermediate_size=4 * shape["hidden"],
    )
    model = BertModel(config, add_pooling_layer=False)
    torch.nn.Module.to(model, device)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"[PAD]": 0}, "[PAD]")), pad_token="[PAD]"
    )
    return Encoder(tokenizer, model, device, precision)


def _made_up(student: Encoder, pairs: int, tokens: int) -> EncodedBitext:
    """Return pairs of random tokens and random unit vectors."""
    rows = embedding_table(student.model).num_embeddings
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(1, rows, (pairs, tokens), generator=chance).tolist()
    vectors = torch.randn(pairs * tokens, student.dimensions, generator=chance)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return EncodedBitext(Ragged.of(ids), Packed(unit, torch.arange(pairs + 1) * tokens))
