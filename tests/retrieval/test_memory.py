"""The estimate of memory against what torch really keeps."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from tiny_encoders import weights_of_many
from torch.nn.functional import normalize
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModel, ModernBertConfig, XLMRobertaConfig

from clir_cli.corpus import catalogue
from clir_cli.errors import UserError
from clir_cli.optical.objectives import MEANS_OVER_PAIRS, OBJECTIVES, TokenBatch
from clir_cli.retrieval import memory
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.retrieval.loading import freeze
from clir_cli.retrieval.memory import Load
from clir_cli.stages.support.fitting import require_encoding, require_training
from clir_cli.stages.support.methods import similarities
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training.model_modes import recompute_activations

CPU = torch.device("cpu")


def saved_bytes(encoder: Encoder, texts: int, tokens: int) -> int:
    """Return the bytes of the storages that autograd keeps, without the weights'."""
    encoder.model.train()
    own = {each.untyped_storage().data_ptr() for each in encoder.model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    ids = torch.randint(5, 900, (texts, tokens))
    mask = torch.ones(texts, tokens, dtype=torch.bool)
    mask[0, -3:] = False
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        encoder.embed(ids, mask).sum()
    return sum(count for count, _ in kept.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("texts", "tokens"), [(16, 32), (8, 64), (4, 128)])
def test_activations_of_minilm_are_foretold(texts, tokens, precision, checkpointing, models):
    encoder = load_encoder(models / "all-MiniLM-L6-v2", CPU, precision)
    model = memory.size_of(models / "all-MiniLM-L6-v2")
    if checkpointing:
        recompute_activations(encoder.model)
    measured = saved_bytes(encoder, texts, tokens)
    load = Load(texts, tokens, precision == torch.bfloat16, checkpointing)
    foretold = memory.training(model, load).activations
    if checkpointing:  # the layer that is computed again is kept only in the backward pass
        all_layers = memory.training(model, replace(load, checkpointing=False)).activations
        foretold -= all_layers // model.layers
    assert measured / 1.5 <= foretold <= measured * 1.5


@pytest.mark.parametrize("count", [1, 4])
def test_the_memory_of_frozen_layers_is_foretold(models, count):
    encoder = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    freeze(encoder.model, f"layers:{count}")
    trained = sum(each.nbytes for each in encoder.model.parameters() if each.requires_grad)
    load = Load(8, 64, freeze=f"layers:{count}")
    foretold = memory.training(memory.size_of(models / "all-MiniLM-L6-v2"), load)
    measured = saved_bytes(encoder, 8, 64)
    assert measured / 1.5 <= foretold.activations <= measured * 1.5
    assert foretold.optimizer == pytest.approx(3 * trained, rel=0.03)


@pytest.mark.parametrize(
    "config",
    [
        XLMRobertaConfig(
            vocab_size=1000, hidden_size=256, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=1024,
        ),
        ModernBertConfig(
            vocab_size=1000, hidden_size=256, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=512, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
            sep_token_id=2,
        ),
    ],
    ids=["xlm-roberta", "modernbert"],
)  # fmt: skip
def test_activations_of_other_architectures_are_foretold(config, tmp_path, models):
    config.save_pretrained(tmp_path)
    model = AutoModel.from_config(config)
    model.save_pretrained(tmp_path)
    tokenizer = load_encoder(models / "all-MiniLM-L6-v2", CPU).tokenizer
    measured = saved_bytes(Encoder(tokenizer, model, CPU, torch.float32), 8, 64)
    foretold = memory.training(memory.size_of(tmp_path), Load(8, 64)).activations
    assert measured / 1.5 <= foretold <= measured * 1.5


def peak_bytes(work: Callable[[], None]) -> int:
    """Return the most bytes of tensors that are in memory at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_similarities_of_a_loss_are_foretold(name):
    settings, size, length = load_settings("open", None, ["training.batch_size=16"]), 16, 40

    def unit() -> torch.Tensor:
        return normalize(torch.randn(size, length, 64), dim=-1)

    mask = torch.ones(size, length, dtype=torch.bool)
    batch = TokenBatch(unit().requires_grad_(), mask, unit(), mask)
    measured = peak_bytes(lambda: OBJECTIVES[name](batch, settings).value.backward())
    own = 20 * batch.student.nbytes  # of token embeddings, costs and plans of pairs
    without, load = (
        memory.ModelSize(0, 1, 0, 0),
        Load(0, 0, similarities=similarities(settings, name, length, length)),
    )
    foretold = memory.training(without, load).total
    assert foretold / 1.5 <= measured <= foretold * 1.5 + own
    assert (foretold > 0) == (OBJECTIVES[name] not in MEANS_OVER_PAIRS)


def test_predicted_tokens_have_scores_of_the_vocabulary():
    model = memory.ModelSize(1000, 1, 8, vocabulary=250_000)
    load = Load(32, 64)
    more = memory.training(model, replace(load, predicted=0.25)).total
    assert more - memory.training(model, load).total == 3 * 4 * 32 * 16 * 250_000


@pytest.mark.parametrize("frozen", ["", "embeddings"])
def test_weights_gradients_and_moments_are_exact(models, frozen):
    folder = models / "all-MiniLM-L6-v2"
    encoder = load_encoder(folder, CPU)
    freeze(encoder.model, frozen)
    foretold = memory.training(memory.size_of(folder), Load(2, 8, freeze=frozen))
    optimizer = torch.optim.AdamW(encoder.model.parameters())
    encoder.embed(
        torch.randint(5, 900, (2, 8)), torch.ones(2, 8, dtype=torch.bool)
    ).sum().backward()
    optimizer.step()
    parameters = list(encoder.model.parameters())
    assert foretold.weights == sum(each.nbytes for each in parameters)
    gradients = sum(each.grad.nbytes for each in parameters if each.requires_grad)
    states = [each for slots in optimizer.state.values() for each in slots.values()]
    assert foretold.optimizer == gradients + sum(each.nbytes for each in states if each.ndim)
    assert memory.encoding(memory.size_of(folder), Load(1, 64)).weights == foretold.weights


def test_the_catalogue_tells_the_sizes_of_the_files(models):
    told = catalogue.models()["all-MiniLM-L6-v2"].shape
    assert memory.ModelSize(**told) == memory.size_of(models / "all-MiniLM-L6-v2")


@pytest.mark.parametrize(
    "header", [b"", b"\x05", bytes(8), b"\xff" * 9, b"\x02" + bytes(7) + b"[]"]
)
def test_damaged_weights_are_left_to_the_loader(header, tmp_path):
    XLMRobertaConfig().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(header)
    assert memory.size_of(tmp_path).parameters == 0


def test_the_size_of_allowed_pickles_is_that_of_the_file(tmp_path):
    XLMRobertaConfig().save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(4000))
    assert memory.size_of(tmp_path).parameters == 1000


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """Configuration and file header of a model that fits no machine, without any weights."""
    config = XLMRobertaConfig(
        hidden_size=32_768, num_hidden_layers=24, num_attention_heads=64, intermediate_size=131_072
    )
    config.save_pretrained(tmp_path / "huge")
    weights_of_many(tmp_path / "huge", 12 * 24 * 32_768**2)
    return tmp_path / "huge"


def test_what_cannot_fit_is_refused_before_any_weights_are_read(huge, tmp_path):
    space = Workspace(load_settings("sample"), tmp_path)
    with pytest.raises(UserError, match=r"needs about .* GB \(weights .* AdamW .* are free on cpu"):
        require_training(space, huge, [64], CPU, torch.float32)
    with pytest.raises(UserError, match=r"encoding with .* take a smaller model"):
        require_encoding(huge, CPU, torch.float32, 8192)


def test_the_remedy_is_a_setting_with_which_it_fits(models, tmp_path):
    folder = models / "all-MiniLM-L6-v2"
    free = memory.free_bytes(CPU)
    texts = 8 * free // memory.training(memory.size_of(folder), Load(1, 128)).activations
    space = Workspace(load_settings("sample", None, [f"training.batch_size={texts}"]), tmp_path)
    with pytest.raises(UserError) as caught:
        require_training(space, folder, [128], CPU, torch.float32)
    told = str(caught.value).split("; try ")[1]
    changed = [word for word in told.split() if word != "--set"]
    settings = load_settings("sample", None, [f"training.batch_size={texts}", *changed])
    precision = torch.bfloat16 if settings.training.precision == "bfloat16" else torch.float32
    again = Workspace(settings, tmp_path)
    assert require_training(again, folder, [128], CPU, precision).total < 1.2 * free
