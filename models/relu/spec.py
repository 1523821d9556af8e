"""A trained ReLU network from files: tensors (safetensors, torch's zip) and a layer spec in JSON. Both are distrusted.

    {"input_shape": [1, 28, 28],
     "layers": [{"type": "Conv2d", "name": "features.0", "in_channels": 1, "out_channels": 16, "kernel_size": 3},
                {"type": "ReLU"}, {"type": "Flatten"}, {"type": "Linear", "in_features": 10816, "out_features": 10}]}

type: a class of torch.nn, its arguments beside it. name: prefix of the layer's tensors in the file; by default its
number, as in nn.Sequential.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikecut.errors import CheckpointError, InputError
from spikecut.files import parse_json, read_text
from spikecut.models.relu.graph import ADVICE, NamedModule, refusal
from spikecut.models.relu.network import ReluNetwork
from spikecut.models.torch_files import read_tensors

MAXIMUM_SPEC_BYTES = 2**20
MAXIMUM_LAYERS = 512
MAXIMUM_NUMBER = 2**26
SUFFIXES = (".safetensors", ".pt", ".pth")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_NORM = ("num_features", "eps", "momentum", "affine")
ARGUMENTS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Conv2d": (nn.Conv2d, _CONVOLUTION),
    "Linear": (nn.Linear, ("in_features", "out_features", "bias")),
    "BatchNorm2d": (nn.BatchNorm2d, _NORM),
    "BatchNorm1d": (nn.BatchNorm1d, _NORM),
    "ReLU": (nn.ReLU, ("inplace",)),
    "ReLU6": (nn.ReLU6, ("inplace",)),
    "AvgPool2d": (nn.AvgPool2d, _POOL),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
    "Flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "Dropout": (nn.Dropout, ("p", "inplace")),
    "Dropout2d": (nn.Dropout2d, ("p", "inplace")),
    "Identity": (nn.Identity, ()),
}


def load_relu_network(weights: Path, spec: Path) -> ReluNetwork:
    """The network of a state dict and its layer spec.

    Raises
    ------
    CheckpointError: a file of tensors that is missing, truncated, foreign, or holds more than tensors.
    InputError: a spec that is damaged or does not fit the tensors. UnsupportedError: see ReluNetwork.
    """
    if weights.suffix not in SUFFIXES:
        raise CheckpointError(f"{weights}: expected a file ending in {', '.join(SUFFIXES)}")
    input_shape, entries = read_spec(spec)
    layers = [_layer(spec, number, entry) for number, entry in enumerate(entries)]
    return assemble(layers, read_tensors(weights), input_shape, weights)


def read_spec(path: Path) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """Input shape and layers of a spec, their types unchecked; InputError for a damaged one."""
    data = parse_json(read_text(path, limit=MAXIMUM_SPEC_BYTES), str(path))
    if not isinstance(data, dict) or set(data) != {"input_shape", "layers"}:
        raise InputError(f'{path}: expected an object with the keys "input_shape" and "layers"')
    shape, layers = data["input_shape"], data["layers"]
    if not isinstance(shape, list) or not all(_whole(side, 1) for side in shape) or len(shape) not in (1, 3):
        raise InputError(f"{path}: input_shape {shape!r}: expected [features] or [channels, height, width]")
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        raise InputError(f"{path}: layers: expected a list of objects, each with a type")
    if len(layers) > MAXIMUM_LAYERS:
        raise InputError(f"{path}: {len(layers)} layers, at most {MAXIMUM_LAYERS} are read")
    return tuple(shape), layers


def _layer(path: Path, number: int, entry: dict[str, Any]) -> NamedModule:
    """The layer of one entry, on the meta device: an absurd size allocates nothing."""
    arguments = dict(entry)
    kind, name = arguments.pop("type", None), arguments.pop("name", str(number))
    if not isinstance(name, str) or not name:
        raise InputError(f"{path}: layer {number}: name {name!r}: expected a text")
    if isinstance(kind, str) and kind in ADVICE:
        raise refusal(name, kind)
    if not isinstance(kind, str) or kind not in ARGUMENTS:
        raise InputError(f"{path}: layer {name}: type {kind!r}: expected one of {', '.join(ARGUMENTS)}")
    make, known = ARGUMENTS[kind]
    for key, value in arguments.items():
        if key not in known:
            raise InputError(
                f"{path}: layer {name}: {kind} has no argument {key!r} here; it may have {', '.join(known)}"
            )
        parts = value if isinstance(value, list) else [value]
        if not 1 <= len(parts) <= 2 or not all(_plain(part) for part in parts):
            raise InputError(f"{path}: layer {name}: {key} = {str(value)[:80]}: expected a number, or two")
    chosen = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        with torch.device("meta"):
            return name, make(**chosen)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: layer {name}: {kind} cannot be made: {reason}") from error


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAXIMUM_NUMBER


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or value in ("same", "valid") or isinstance(value, bool) or _whole(value, -MAXIMUM_NUMBER)


def assemble(
    layers: list[NamedModule], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...], source: Path
) -> ReluNetwork:
    """The network of layers (on the meta device) with these tensors; InputError unless they are just those it needs."""
    left = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for name, module in layers:
        state = {}
        for key, wanted in module.state_dict().items():
            if key == "num_batches_tracked":
                state[key] = torch.zeros((), dtype=torch.int64)
                continue
            found = left.pop(f"{name}.{key}", None)
            if found is None:
                raise InputError(f"{source}: tensor {name}.{key} is missing; the spec names other layers than the file")
            if found.shape != wanted.shape or found.dtype not in DTYPES:
                raise InputError(
                    f"{source}: tensor {name}.{key} is {found.dtype} {tuple(found.shape)}, the spec says "
                    f"{tuple(wanted.shape)} in floats"
                )
            state[key] = found.to(torch.float64, copy=True)
        module.load_state_dict(state, assign=True)
    if left:
        raise InputError(f"{source}: tensor {min(left)} belongs to no layer of the spec; name its layer there")
    return ReluNetwork(layers, input_shape)
