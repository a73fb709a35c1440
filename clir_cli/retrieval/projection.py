"""Projections: linear layers from hidden states to token embeddings (ColBERT, section 3.1)."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.checkpoints import Checkpoint, Layer, weight_files
from clir_cli.retrieval.model_files import AGAIN
from clir_cli.retrieval.tensor_files import read_tensors

PROJECTION = "projection.safetensors"
STANFORD = "linear.weight"


class Dense(nn.Module):
    """One layer: x -> activation(W x + b), plus x if there is a residual connection."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
        activation = getattr(nn, layer.activation, None)
        if not (isinstance(activation, type) and issubclass(activation, nn.Module)):
            raise UserError(f"activation {layer.activation!r} of a projection is not one of torch")
        self.activation = activation()
        if layer.residual and layer.inputs != layer.outputs:
            self.residual = nn.Linear(layer.inputs, layer.outputs, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., outputs) for states (..., inputs)."""
        outputs = self.activation(self.linear(states))
        if self.layer.residual:
            outputs = outputs + (self.residual(states) if hasattr(self, "residual") else states)
        return outputs


class Projection(nn.Sequential):
    """Layers from hidden states (..., inputs) to token embeddings (..., outputs)."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*(Dense(layer) for layer in layers))
        self.layers = layers

    @property
    def inputs(self) -> int:
        """Return the size of a hidden state."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Return the size of a token embedding."""
        return self.layers[-1].outputs


def orthogonal(inputs: int, outputs: int, seed: int) -> Projection:
    """Return a projection with orthonormal rows or columns, which preserves angles best.

    ``inputs`` is the size of a hidden state, ``outputs`` the size of a token embedding.
    """
    projection = Projection(Layer(inputs, outputs))
    rng = torch.Generator().manual_seed(seed)
    (weight,) = projection.parameters()
    nn.init.orthogonal_(weight, generator=rng)
    return projection


def save_projection(folder: Path, projection: Projection) -> None:
    """Write a student's projection beside its model."""
    layers = json.dumps([asdict(layer) for layer in projection.layers])
    tensors = {name: value.detach().cpu() for name, value in projection.state_dict().items()}
    save_file(tensors, folder / PROJECTION, metadata={"layers": layers})


def load_projection(checkpoint: Checkpoint) -> Projection | None:
    """Return the projection of a checkpoint, or None for a plain one.

    Raises:
        UserError: Its weights are missing, damaged, or of other sizes.
    """
    saved = checkpoint.folder / PROJECTION
    with reported(f"{checkpoint.folder}: the projection cannot be read", AGAIN):
        if checkpoint.stanford:
            return _stanford(checkpoint)
        if checkpoint.layers:
            return _modules(checkpoint)
        return _saved(saved) if saved.is_file() else None


def _saved(path: Path) -> Projection:
    tensors, metadata = read_tensors(path)
    layers = TypeAdapter(list[Layer]).validate_json(metadata["layers"])
    return _load(Projection(*layers), tensors)


def _modules(checkpoint: Checkpoint) -> Projection:
    tensors: dict[str, Tensor] = {}
    for number, (_, folder) in enumerate(checkpoint.layers):
        of_layer, _ = read_tensors(folder / "model.safetensors")
        tensors |= {f"{number}.{name}": value for name, value in of_layer.items()}
    return _load(Projection(*(layer for layer, _ in checkpoint.layers)), tensors)


def _stanford(checkpoint: Checkpoint) -> Projection:
    for path in weight_files(checkpoint.body):
        with safe_open(path, "pt") as file:
            if STANFORD in file.keys():  # noqa: SIM118
                weight = file.get_tensor(STANFORD)
                outputs, inputs = weight.shape
                return _load(Projection(Layer(inputs, outputs)), {"0.linear.weight": weight})
    raise KeyError(f"{STANFORD} is not among the weights")


def _load(projection: Projection, tensors: dict[str, Tensor]) -> Projection:
    if not all(value.is_floating_point() for value in tensors.values()):
        raise ValueError("its weights are quantised")
    projection.load_state_dict({name: value.float() for name, value in tensors.items()})
    return projection
