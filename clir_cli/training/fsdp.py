"""Models that do not fit: FSDP2 keeps a share of weights, gradients and optimizer in each process.

A layer's weights are gathered while it computes, and freed again (Zhao et al., PyTorch FSDP, VLDB
2023; ``torch.distributed.fsdp.fully_shard``). What is saved is whole, and does not depend on the
number of processes.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.process_group import ProcessGroup


def shard(encoder: Encoder, group: ProcessGroup) -> None:
    """Distribute the encoder's weights over the processes, in place: layer by layer, then the rest.

    The weights may be on the CPU; their shards go to the encoder's device.
    """
    mesh = init_device_mesh(encoder.device.type, (group.size,))
    for part in encoder.trained.values():
        for stack in reversed(list(part.modules())):  # from the inside out
            if isinstance(stack, nn.ModuleList):
                for layer in stack:
                    fully_shard(layer, mesh=mesh)
        fully_shard(part, mesh=mesh)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of any shapes on the CPU, sharded ones gathered to their whole shape.

    Every process must take part.
    """
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in tensors.items()
    }


def like(value: Tensor, model: Tensor) -> Tensor:
    """Return a whole tensor sharded as ``model`` is, which has its shape; every process takes part.

    Scalars, and tensors of an unsharded model, are returned as they are.
    """
    if not isinstance(model, DTensor) or value.shape != model.shape:
        return value
    moved = value.to(model.device_mesh.device_type)
    return distribute_tensor(moved, model.device_mesh, model.placements)
