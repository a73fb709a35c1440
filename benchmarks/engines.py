"""An encoder computed by OpenVINO or ONNX Runtime, for the benchmark of encoding.

`pip install openvino nncf onnx onnxruntime`; clir itself does not use them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clir_cli.retrieval.batching import batches_by_tokens, pad
from clir_cli.retrieval.encoder import Encoder

States = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of ids and mask, both (B, n)


class Engine(nn.Module):
    """A model whose hidden states another engine computes."""

    def __init__(self, model: nn.Module, states: States) -> None:
        super().__init__()
        self.config, self.states = model.config, states

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Return what a transformer of Hugging Face returns."""
        found = self.states(input_ids.numpy(), attention_mask.long().numpy())
        return SimpleNamespace(last_hidden_state=torch.from_numpy(found))


class Plain(nn.Module):
    """A model with two inputs and one output, to be exported."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def batches(encoder: Encoder, texts: Sequence[str], limit: int) -> list[tuple[Tensor, Tensor]]:
    """Return ids and mask of batches of some texts, to calibrate scales on."""
    ids = encoder.tokenize(texts, limit)
    groups = batches_by_tokens([len(row) for row in ids], 1024)
    return [
        (padded, mask.long())
        for padded, mask in (
            pad([ids[row] for row in group], encoder.pad_id, encoder.device) for group in groups
        )
    ]


def openvino(encoder: Encoder, calibration: Sequence[tuple[Tensor, Tensor]] = ()) -> Encoder:
    """Return the encoder by OpenVINO; in int8 with scales from calibration batches, if any."""
    import openvino as ov

    example = (
        dict(zip(("input_ids", "attention_mask"), calibration[0], strict=True))
        if (calibration)
        else {"input_ids": torch.ones(2, 8).long(), "attention_mask": torch.ones(2, 8).long()}
    )
    plain = Plain(encoder.model).eval()
    converted = ov.convert_model(plain, example_input=example)
    if calibration:
        import nncf

        names = [port.any_name for port in converted.inputs]
        converted = nncf.quantize(
            converted,
            nncf.Dataset(
                calibration,
                lambda batch: dict(zip(names, (part.numpy() for part in batch), strict=True)),
            ),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
        )
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(converted, "CPU", threads)

    def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.array(compiled([ids, mask])[0])

    return replace(encoder, model=Engine(encoder.model, states))


def onnx(encoder: Encoder, folder: Path, int8: bool = False) -> Encoder:
    """Return the encoder by ONNX Runtime; in int8 with scales of each batch."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, names = folder / "model.onnx", ["input_ids", "attention_mask"]
    ones = torch.ones(2, 8).long()
    torch.onnx.export(
        Plain(encoder.model).eval(), (ones, ones), str(path), dynamo=False, input_names=names,
        output_names=["states"], opset_version=17,
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "states"]},
    )  # fmt: skip
    if int8:
        quantized = folder / "int8.onnx"
        quantize_dynamic(path, quantized, weight_type=QuantType.QInt8, per_channel=True)
        path = quantized
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run(None, dict(zip(names, (ids, mask), strict=True)))[0]

    return replace(encoder, model=Engine(encoder.model, states))
