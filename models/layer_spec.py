"""A trained ReLU network from files: tensors (safetensors, torch's zip) and a layer spec in JSON. Both are distrusted.

    {"input_shape": [1, 28, 28],
     "layers": [{"type": "Conv2d", "name": "features.0", "in_channels": 1, "out_channels": 16, "kernel_size": 3},
                {"type": "ReLU"}, {"type": "Flatten"}, {"type": "Linear", "in_features": 10816, "out_features": 10}]}

type: a class of torch.nn, its arguments beside it. name: prefix of the layer's tensors in the file; by default its
number, as in nn.Sequential.
"""

import json
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikecut.errors import CheckpointError, InputError
from spikecut.models.relu import ReluNetwork
from spikecut.models.relu_graph import ADVICE, NamedModule, refusal

MAXIMUM_BYTES = 2**30
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
    input_shape, entries = read_spec(spec)
    layers = [_layer(spec, number, entry) for number, entry in enumerate(entries)]
    return assemble(layers, read_tensors(weights), input_shape, weights)


def read_spec(path: Path) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """Input shape and layers of a spec, their types unchecked; InputError for a damaged one."""
    try:
        if path.stat().st_size > MAXIMUM_SPEC_BYTES:
            raise InputError(f"{path}: larger than {MAXIMUM_SPEC_BYTES} bytes: not a layer spec")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: give the layer spec, a JSON file, by --spec") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, by name, read without unpickling objects; CheckpointError, see load_relu_network."""
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.stat().st_size > MAXIMUM_BYTES:
        raise CheckpointError(f"{path}: larger than {MAXIMUM_BYTES} bytes, which are read at most")
    if path.suffix != ".safetensors":
        return _read_zip(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file") from error


def _read_zip(path: Path) -> dict[str, Tensor]:
    advice = "save the state_dict() alone, by torch.save or as safetensors"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if sum(member.file_size for member in members) > MAXIMUM_BYTES:
            raise CheckpointError(f"{path}: unpacks to more than {MAXIMUM_BYTES} bytes, which are read at most")
        if any(member.filename.endswith("constants.pkl") for member in members):
            raise CheckpointError(f"{path}: TorchScript, which is a program; {advice}")
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: holds pickled objects, which are not opened; {advice}") from error
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: truncated, or not written by torch.save; {advice}") from error
    if isinstance(data, Mapping) and isinstance(data.get("state_dict"), Mapping):
        data = data["state_dict"]
    if not isinstance(data, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in data.items()
    ):
        raise CheckpointError(f"{path}: not a state dict of tensors; {advice}")
    return dict(data)
