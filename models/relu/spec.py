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
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from spikecut.errors import CheckpointError, InputError, SpikecutError
from spikecut.files import parse_json, read_text
from spikecut.models.relu.graph import ADVICE, NamedModule, refusal
from spikecut.models.relu.network import ReluNetwork
from spikecut.models.torch_files import read_tensors

MAXIMUM_SPEC_BYTES = 2**20
MAXIMUM_LAYERS = 512
MAXIMUM_NUMBER = 2**26
SUFFIXES = (".safetensors", ".pt", ".pth")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SIZES = {"in_channels", "out_channels", "in_features", "out_features", "num_features", "kernel_size"}
"""Arguments of which 0 would make a layer of nothing."""


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _argument(value: Any) -> Any:
    """A value that a module's argument may have; the module itself says more when it is made."""
    parts = _parts(value)
    if not 1 <= len(parts) <= 2 or not all(_plain(part) for part in parts):
        raise ValueError("expected a number, or two")
    return value


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if value is None or isinstance(value, bool) or value in ("same", "valid"):
        return True
    return isinstance(value, int) and abs(value) <= MAXIMUM_NUMBER


Argument = Annotated[Any, AfterValidator(_argument)]
Side = Annotated[int, Field(ge=1, le=MAXIMUM_NUMBER)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Layer(_Strict):
    """A layer; the arguments of its class in torch.nn stand beside its type, those left out are torch's own.

    name: prefix of its tensors; by default its number.
    """

    name: str = Field(default="", min_length=1)


class Conv2dSpec(_Layer):
    """torch.nn.Conv2d."""

    type: Literal["Conv2d"]
    in_channels: Argument
    out_channels: Argument
    kernel_size: Argument
    stride: Argument = None
    padding: Argument = None
    dilation: Argument = None
    groups: Argument = None
    bias: Argument = None


class LinearSpec(_Layer):
    """torch.nn.Linear."""

    type: Literal["Linear"]
    in_features: Argument
    out_features: Argument
    bias: Argument = None


class BatchNormSpec(_Layer):
    """torch.nn.BatchNorm1d and BatchNorm2d."""

    type: Literal["BatchNorm1d", "BatchNorm2d"]
    num_features: Argument
    eps: Argument = None
    momentum: Argument = None
    affine: Argument = None


class ReluSpec(_Layer):
    """torch.nn.ReLU and ReLU6."""

    type: Literal["ReLU", "ReLU6"]
    inplace: Argument = None


class AvgPool2dSpec(_Layer):
    """torch.nn.AvgPool2d."""

    type: Literal["AvgPool2d"]
    kernel_size: Argument
    stride: Argument = None
    padding: Argument = None
    ceil_mode: Argument = None
    count_include_pad: Argument = None
    divisor_override: Argument = None


class AdaptiveAvgPool2dSpec(_Layer):
    """torch.nn.AdaptiveAvgPool2d."""

    type: Literal["AdaptiveAvgPool2d"]
    output_size: Argument


class FlattenSpec(_Layer):
    """torch.nn.Flatten."""

    type: Literal["Flatten"]
    start_dim: Argument = None
    end_dim: Argument = None


class DropoutSpec(_Layer):
    """torch.nn.Dropout and Dropout2d."""

    type: Literal["Dropout", "Dropout2d"]
    p: Argument = None
    inplace: Argument = None


class IdentitySpec(_Layer):
    """torch.nn.Identity."""

    type: Literal["Identity"]


LayerSpec = Annotated[
    Conv2dSpec
    | LinearSpec
    | BatchNormSpec
    | ReluSpec
    | AvgPool2dSpec
    | AdaptiveAvgPool2dSpec
    | FlattenSpec
    | DropoutSpec
    | IdentitySpec,
    Field(discriminator="type"),
]
MODULES: dict[str, tuple[type[nn.Module], type[_Layer]]] = {
    "Conv2d": (nn.Conv2d, Conv2dSpec),
    "Linear": (nn.Linear, LinearSpec),
    "BatchNorm2d": (nn.BatchNorm2d, BatchNormSpec),
    "BatchNorm1d": (nn.BatchNorm1d, BatchNormSpec),
    "ReLU": (nn.ReLU, ReluSpec),
    "ReLU6": (nn.ReLU6, ReluSpec),
    "AvgPool2d": (nn.AvgPool2d, AvgPool2dSpec),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, AdaptiveAvgPool2dSpec),
    "Flatten": (nn.Flatten, FlattenSpec),
    "Dropout": (nn.Dropout, DropoutSpec),
    "Dropout2d": (nn.Dropout2d, DropoutSpec),
    "Identity": (nn.Identity, IdentitySpec),
}
"""The layers that are read: their class in torch, and what a spec may say of them."""


class NetworkSpec(_Strict):
    """A whole spec. input_shape: [features] or [channels, height, width]."""

    input_shape: list[Side]
    layers: list[LayerSpec] = Field(max_length=MAXIMUM_LAYERS)


def load_relu_network(weights: Path, spec: Path) -> ReluNetwork:
    """The network of a state dict and its layer spec.

    Raises
    ------
    CheckpointError: a file of tensors that is missing, truncated, foreign, or holds more than tensors.
    InputError: a spec that is damaged or does not fit the tensors. UnsupportedError: see ReluNetwork.
    """
    if weights.suffix not in SUFFIXES:
        raise CheckpointError(f"{weights}: expected a file ending in {', '.join(SUFFIXES)}")
    found = read_spec(spec)
    layers = [_module(spec, str(number), layer) for number, layer in enumerate(found.layers)]
    return assemble(layers, read_tensors(weights), tuple(found.input_shape), weights)


def read_spec(path: Path) -> NetworkSpec:
    """A layer spec; InputError, naming the key, for a damaged one, UnsupportedError for a layer without counterpart."""
    data = parse_json(read_text(path, limit=MAXIMUM_SPEC_BYTES), str(path))
    if not isinstance(data, dict) or set(data) != {"input_shape", "layers"}:
        raise InputError(f'{path}: expected an object with the keys "input_shape" and "layers"')
    try:
        spec = NetworkSpec.model_validate(data)
    except ValidationError as error:
        raise _damaged(path, data, error) from error
    if len(spec.input_shape) not in (1, 3):
        raise InputError(f"{path}: input_shape {spec.input_shape}: expected [features] or [channels, height, width]")
    return spec


def _damaged(path: Path, data: dict[str, Any], error: ValidationError) -> SpikecutError:
    """What is wrong with a spec first, in words."""
    first = error.errors()[0]
    where: tuple[Any, ...] = first["loc"]
    if where[0] == "input_shape":
        shape = data["input_shape"]
        return InputError(f"{path}: input_shape {shape!r}: expected [features] or [channels, height, width]")
    if len(where) == 1 and isinstance(data["layers"], list):
        return InputError(f"{path}: {len(data['layers'])} layers, at most {MAXIMUM_LAYERS} are read")
    entry = data["layers"][where[1]] if len(where) > 1 else None
    if not isinstance(entry, dict):
        return InputError(f"{path}: layers: expected a list of objects, each with a type")
    kind, name = entry.get("type"), entry.get("name", str(where[1]))
    if len(where) == 2:
        if isinstance(kind, str) and kind in ADVICE:
            return refusal(str(name), kind)
        return InputError(f"{path}: layer {name}: type {kind!r}: expected one of {', '.join(MODULES)}")
    key = where[-1]
    if key == "name":
        return InputError(f"{path}: layer {where[1]}: name {name!r}: expected a text")
    if first["type"] == "extra_forbidden":
        known = [known for known in MODULES[str(kind)][1].model_fields if known not in ("type", "name")]
        return InputError(
            f"{path}: layer {name}: {kind} has no argument {key!r} here; it may have {', '.join(known) or 'none'}"
        )
    if first["type"] == "missing":
        return InputError(f"{path}: layer {name}: {kind} needs {key}")
    return InputError(f"{path}: layer {name}: {key} = {str(entry[key])[:80]}: expected a number, or two")


def _module(path: Path, number: str, layer: LayerSpec) -> NamedModule:
    """The layer of one entry, on the meta device: an absurd size allocates nothing."""
    name, (make, _) = layer.name or number, MODULES[layer.type]
    arguments = layer.model_dump(exclude={"type", "name"}, exclude_unset=True)
    for key in SIZES & arguments.keys():
        if min(part for part in (*_parts(arguments[key]), 1) if isinstance(part, int)) < 1:
            raise InputError(f"{path}: layer {name}: {key} = {arguments[key]}: expected 1 or more")
    chosen = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        with torch.device("meta"):
            return name, make(**chosen)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: layer {name}: {layer.type} cannot be made: {reason}") from error


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
