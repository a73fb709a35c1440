"""Models that do not fit: FSDP2 keeps a share of weights, gradients and optimizer in each process.

A layer's weights are brought together when it computes, and let go again (Zhao et al., PyTorch
FSDP, VLDB 2023; ``torch.distributed.fsdp.fully_shard``). What is saved is whole, and does not
depend on the number of processes.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.process_group import Team


def shard(encoder: Encoder, team: Team) -> None:
    """Share the encoder's weights out over the processes, in place: layer by layer, then the rest.

    The weights may lie on the CPU; their shares go to the encoder's device.
    """
    mesh = init_device_mesh(encoder.device.type, (team.size,))
    for part in encoder.trained.values():
        for stack in reversed(list(part.modules())):  # from the inside out
            if isinstance(stack, nn.ModuleList):
                for layer in stack:
                    fully_shard(layer, mesh=mesh)
        fully_shard(part, mesh=mesh)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU, shared ones brought together; every process must take part."""
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in tensors.items()
    }


def like(value: Tensor, model: Tensor) -> Tensor:
    """Return a whole tensor shared out as ``model`` is; every process must take part."""
    if not isinstance(model, DTensor) or value.shape != model.shape:
        return value
    placed = value.to(model.device_mesh.device_type)
    return distribute_tensor(placed, model.device_mesh, model.placements)
