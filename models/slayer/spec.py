"""A spec of SLAYER blocks, from YAML or JSON, and the state dict that fills them: data only, nothing is unpickled."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from spikecut.errors import CheckpointError, InputError, UnsupportedError
from spikecut.files import check_depth, read_text
from spikecut.models.slayer.network import slayer_library

MAXIMUM_SPEC_BYTES = 2**20
Pair = int | list[int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NeuronSpec(_Strict):
    """Arguments of slayer's cuba.Neuron that a state dict does not hold; the decays are those to start from.

    norm: "MeanOnlyBatchNorm" or none. threshold_step: of alif.Neuron; the block is of lava.lib.dl.slayer.block.alif
    then. threshold_decay and refractory_decay are its alone.
    """

    threshold: float = Field(allow_inf_nan=False)
    current_decay: float = Field(default=1.0, ge=0, le=1)
    voltage_decay: float = Field(default=0.0, ge=0, le=1)
    scale: int = Field(default=64, ge=1, le=2**16)
    norm: str | None = None
    threshold_step: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    threshold_decay: float = Field(default=0.0, ge=0, le=1)
    refractory_decay: float = Field(default=0.0, ge=0, le=1)


class BlockSpec(_Strict):
    """One block: its class in lava.lib.dl.slayer.block.cuba, and the arguments of that class under their own names.

    neuron: None takes the spec's. Dense and Recurrent need in_neurons and out_neurons, Conv in_features, out_features
    and kernel_size (height and width as a list, or one number). An Input has no neurons, so slayer cannot shift it.
    """

    block: str
    neuron: NeuronSpec | None = None
    in_neurons: int | None = Field(default=None, ge=1)
    out_neurons: int | None = Field(default=None, ge=1)
    in_features: int | None = Field(default=None, ge=1)
    out_features: int | None = Field(default=None, ge=1)
    kernel_size: Pair | None = None
    stride: Pair = 1
    padding: Pair = 0
    dilation: Pair = 1
    groups: int = Field(default=1, ge=1)
    weight_norm: bool = False
    delay: bool = False
    delay_shift: bool = True

    @model_validator(mode="after")
    def _complete(self) -> "BlockSpec":
        wanted = {"Conv": ("in_features", "out_features", "kernel_size")}.get(self.block, ("in_neurons", "out_neurons"))
        if self.block in ("Dense", "Recurrent", "Conv"):
            for name in wanted:
                if getattr(self, name) is None:
                    raise ValueError(f"{self.block} needs {name}")
        for name in ("in_features", "out_features"):
            if (getattr(self, name) or 0) % self.groups:
                raise ValueError(f"groups {self.groups}: does not divide {name} {getattr(self, name)}")
        for name in ("kernel_size", "stride", "padding", "dilation"):
            value = getattr(self, name)
            if isinstance(value, list) and len(value) != 2:
                raise ValueError(f"{name} {value}: expected one number or two")
            least = 0 if name == "padding" else 1
            if value is not None and min(value if isinstance(value, list) else [value]) < least:
                raise ValueError(f"{name} {value}: expected at least {least}")
        return self

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Of the weights that the state dict must hold."""
        if self.block == "Conv":
            kernel = self.kernel_size if isinstance(self.kernel_size, list) else [self.kernel_size or 0] * 2
            return (self.out_features or 0, (self.in_features or 0) // max(self.groups, 1), *kernel, 1)
        return (self.out_neurons or 0, self.in_neurons or 0, 1, 1, 1)


class SlayerSpec(_Strict):
    """The blocks that a state dict belongs to.

    Attributes
    ----------
    input_shape: [C, H, W] or [F] of one frame.
    prefix: what the state dict's keys start with before the block's number; slayer's examples call it "blocks".
    neuron: of all blocks that name none of their own.
    blocks: in the order of the chain; the number of a block is its place here, so Flatten and Input count.
    """

    input_shape: list[int] = Field(min_length=1, max_length=3)
    prefix: str = "blocks"
    neuron: NeuronSpec | None = None
    blocks: list[BlockSpec] = Field(min_length=1, max_length=4096)


def read_spec(path: Path) -> SlayerSpec:
    """Read a spec from YAML or JSON; InputError naming the key that is wrong."""
    text = read_text(path, limit=MAXIMUM_SPEC_BYTES)
    try:
        data = yaml.safe_load(text)
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
    # Beside YAMLError whatever int(), float() and datetime() raise for a damaged value.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{path}: cannot be read as YAML or JSON ({' '.join(str(error).split())[:200]})") from error
    check_depth(data, str(path))
    return parse_spec(data, str(path))


def parse_spec(data: Any, name: str = "build") -> SlayerSpec:
    """A spec from plain data; InputError naming the key that is wrong."""
    try:
        return SlayerSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the spec"
        raise InputError(f"{name}: {key}: {first['msg']}; see docs/slayer.md") from error


def build_blocks(spec: SlayerSpec, state: Mapping[str, Tensor]) -> nn.ModuleList:
    """slayer's blocks in evaluation mode, filled from a state dict.

    Raises
    ------
    CheckpointError: a tensor that is missing, left over, not finite, or of another shape than the spec says.
    UnsupportedError: a block of another kind. InputError: no neuron.
    """
    start = f"{spec.prefix}." if spec.prefix else ""
    left = dict(state)
    blocks = []
    for index, block in enumerate(spec.blocks):
        name = f"{start}{index}."
        own = {key.removeprefix(name): left.pop(key) for key in list(left) if key.startswith(name)}
        own.pop("spike_state", None)  # what a Recurrent block last sent
        blocks.append(_filled(block, block.neuron or spec.neuron, name, own))
    if left:
        raise CheckpointError(f"the state dict's {min(left)} is of no block of the spec; name all blocks, in order")
    return nn.ModuleList(blocks).eval()


def _filled(block: BlockSpec, neuron: NeuronSpec | None, name: str, state: dict[str, Tensor]) -> nn.Module:
    family = slayer_library().block
    cuba = family.cuba if neuron is None or neuron.threshold_step is None else family.alif
    if block.block in ("Flatten", "Input"):
        if state:
            raise CheckpointError(
                f"the state dict's {name}{min(state)}: a {block.block} without neurons has no tensors"
            )
        empty: nn.Module = cuba.Flatten() if block.block == "Flatten" else cuba.Input(delay_shift=False)
        return empty
    if block.block not in ("Dense", "Conv", "Recurrent"):
        raise UnsupportedError(f"block {name}{block.block}: expected Dense, Conv, Recurrent, Flatten or Input")
    if neuron is None:
        raise InputError(f"block {name}{block.block} has no neuron: give one to the block, or to the whole spec")
    _check_shapes(block, name, state)
    made = _made(block, neuron, cuba)
    outputs = block.weight_shape[0]
    for key in (f"{which}_decay" for which in ("current", "voltage", "threshold", "refractory")):
        found = state.get(f"neuron.{key}")
        if found is not None and found.numel() > 1 and hasattr(made.neuron, key):  # shared_param=False
            getattr(made.neuron, key).data = torch.zeros(outputs)
    if block.delay:
        made.delay.delay.data = torch.zeros(outputs)
        made.delay.init = True  # or slayer would draw them anew
    if made.neuron.norm is not None:
        made.neuron.norm.num_features = outputs
        mean = state.get("neuron.norm.running_mean", torch.zeros(0))
        made.neuron.norm.running_mean = torch.zeros(1 if mean.numel() == 1 else outputs)
    expected = dict(made.state_dict())
    expected.pop("spike_state", None)
    for key in sorted(expected.keys() ^ state.keys()):
        problem = "is missing" if key in expected else "is not in the spec's block"
        raise CheckpointError(f"the state dict's {name}{key} {problem}; make the spec fit the module")
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            shapes = tuple(tensor.shape), tuple(expected[key].shape)
            raise CheckpointError(f"the state dict's {name}{key} is of shape {shapes[0]}, expected {shapes[1]}")
        if tensor.is_floating_point() != expected[key].is_floating_point():
            raise CheckpointError(f"the state dict's {name}{key} is {tensor.dtype}, expected {expected[key].dtype}")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"the state dict's {name}{key} holds a NaN or an infinity; train again")
    made.load_state_dict(state, strict=False)
    filled: nn.Module = made
    return filled


def _check_shapes(block: BlockSpec, name: str, state: Mapping[str, Tensor]) -> None:
    """The weights before anything of the spec's size is made."""
    shapes = {"synapse.weight": block.weight_shape}
    if block.block == "Recurrent":
        outputs = block.weight_shape[0]
        shapes = {"input_synapse.weight": block.weight_shape, "recurrent_synapse.weight": (outputs, outputs, 1, 1, 1)}
    for key, shape in shapes.items():
        found = state.get(f"{key}_v" if block.weight_norm else key)
        if found is None:
            raise CheckpointError(
                f"the state dict has no {name}{key}{'_v' if block.weight_norm else ''}: check the spec's prefix, the "
                "order of its blocks and weight_norm"
            )
        if tuple(found.shape) != shape:
            raise CheckpointError(f"the state dict's {name}{key} is of shape {tuple(found.shape)}, the spec's {shape}")


def _made(block: BlockSpec, neuron: NeuronSpec, cuba: Any) -> Any:
    adaptive = set() if neuron.threshold_step is not None else {"threshold_step", "threshold_decay", "refractory_decay"}
    parameters: dict[str, Any] = neuron.model_dump(exclude={"norm", *adaptive})
    if neuron.norm is not None:
        if neuron.norm != "MeanOnlyBatchNorm":
            raise UnsupportedError(f"norm {neuron.norm!r}: only MeanOnlyBatchNorm is exact; WgtScaleBatchNorm never is")
        parameters["norm"] = slayer_library().neuron.norm.MeanOnlyBatchNorm
    common = {"weight_norm": block.weight_norm, "delay": block.delay, "delay_shift": block.delay_shift}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice about the weight norm that slayer uses
        if block.block != "Conv":
            return getattr(cuba, block.block)(parameters, block.in_neurons, block.out_neurons, **common)
        sides = {key: _sides(getattr(block, key)) for key in ("kernel_size", "stride", "padding", "dilation")}
        return cuba.Conv(parameters, block.in_features, block.out_features, groups=block.groups, **sides, **common)


def _sides(value: Pair | None) -> int | tuple[int, ...] | None:
    return tuple(value) if isinstance(value, list) else value
