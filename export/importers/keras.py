"""Sequential CNNs that Keras saved in HDF5 (`model.save("net.h5")`), read with h5py alone, as a ReluNetwork.

The file's configuration and tensors are data: nothing of Keras or TensorFlow is imported, and no layer runs code. Keras
puts channels last: kernels (H, W, I, O) become torch's (O, I, H, W), and rows of a Dense behind a Flatten the order of
(C, H, W). Samples are (channels, height, width) here.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.hdf5 import open_hdf5, read_floats, subgroup
from spikecut.export.network.arrays import Array
from spikecut.files import parse_json
from spikecut.models.relu.graph import NamedModule, refusal
from spikecut.models.relu.network import MAXIMUM_MAP, ReluNetwork
from spikecut.models.relu.spec import MAXIMUM_LAYERS

SUFFIXES = (".h5", ".hdf5")
CONFIG = "model_config"
MAXIMUM_CONFIG = 2**22
MAXIMUM_NESTING = 8
NOTHING = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "ActivityRegularization")
INPUT_SHAPE = ("batch_input_shape", "batch_shape")

Config = Mapping[str, Any]
Tensors = Mapping[str, Array]


def read_keras(path: Path) -> ReluNetwork:
    """The network of a file that Keras' `model.save` wrote.

    Raises
    ------
    BundleError: missing, truncated, foreign or damaged. InputError: weights without layers, or shapes that do not fit.
    UnsupportedError: a model that is not sequential, or a layer that no spiking chain equals, with advice.
    """
    with open_hdf5(path) as file:
        config = _config(file, path)
        if config.get("class_name") != "Sequential":
            raise UnsupportedError(f"{path}: a model of class {config.get('class_name')!r}; only Sequential is read")
        inner = config.get("config")
        entries = inner.get("layers") if isinstance(inner, dict) else inner  # a list before Keras 2.2.3
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAXIMUM_LAYERS:
            raise BundleError(f"{path}: its configuration holds no list of 1 to {MAXIMUM_LAYERS} layers")
        reading = _Reading(path, subgroup(file, "model_weights", path))
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
                raise BundleError(f"{path}: its configuration holds a layer without settings; save the model again")
            reading.take(str(entry.get("class_name")), entry["config"], entry is entries[-1])
    if reading.first is None:
        raise InputError(f"{path}: does not tell its input's shape: begin the model with Input(shape=…), and save it")
    return ReluNetwork(reading.modules, reading.first)


def _config(file: h5py.File, path: Path) -> Config:
    if CONFIG not in file.attrs:
        raise InputError(
            f"{path}: holds no model of Keras, or weights alone, which tell no layers: model.save('net.h5')"
        )
    attribute = file.attrs.get_id(CONFIG)
    if attribute.shape != () or attribute.get_storage_size() > MAXIMUM_CONFIG:
        raise BundleError(f"{path}: its configuration is not one text of at most {MAXIMUM_CONFIG} bytes")
    text = file.attrs[CONFIG]
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if not isinstance(text, str) or len(text) > MAXIMUM_CONFIG:
        raise BundleError(f"{path}: its configuration is not one text of at most {MAXIMUM_CONFIG} bytes")
    found = parse_json(text, f"{path}: its configuration", BundleError)
    if not isinstance(found, dict):
        raise BundleError(f"{path}: its configuration is no object; save the model again")
    return found


class _Reading:
    """The layers so far: shape (C, H, W) or (F,) of what they send; map: of what the last Flatten took."""

    def __init__(self, path: Path, weights: h5py.Group) -> None:
        self.path, self.weights = path, weights
        self.modules: list[NamedModule] = []
        self.first: tuple[int, ...] | None = None
        self.shape: tuple[int, ...] = ()
        self.map: tuple[int, ...] | None = None

    def take(self, kind: str, config: Config, last: bool) -> None:
        """One layer of the configuration."""
        name = str(config.get("name", len(self.modules)))[:200]
        if self.first is None:
            self._begin(config)
        if kind == "InputLayer" or kind in NOTHING:
            return
        if kind == "Activation":
            self._activate(name, config.get("activation"), last)
            return
        make = _LAYERS.get(kind)
        if make is None:
            raise refusal(name, {"MaxPooling2D": "MaxPool2d", "LSTM": "LSTM", "Add": "add"}.get(kind, kind))
        if self.first is None:
            raise InputError(f"{self.path}: does not tell its input's shape: begin the model with Input(shape=…)")
        self._add(name, make(self, name, config))
        self._activate(f"{name}.activation", config.get("activation"), last)

    def _begin(self, config: Config) -> None:
        given = next((config[key] for key in INPUT_SHAPE if config.get(key) is not None), None)
        if given is None:
            return
        sides = given[1:] if isinstance(given, list) else []
        if len(sides) not in (1, 3) or not all(type(side) is int and 1 <= side <= MAXIMUM_MAP for side in sides):
            raise InputError(f"{self.path}: input of shape {given}: expected (features,) or (height, width, channels)")
        self.first = self.shape = tuple(sides) if len(sides) == 1 else (sides[2], sides[0], sides[1])

    def _add(self, name: str, module: nn.Module) -> None:
        self.modules.append((name, module))
        with torch.no_grad():
            meta = torch.empty(1, *self.shape, dtype=torch.float64, device="meta")
            try:
                sent = _on_meta(module)(meta)
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"{self.path}: layer {name} does not fit {self.shape}: {reason}") from error
        if not isinstance(module, nn.ReLU):
            self.map = self.shape if isinstance(module, nn.Flatten) and len(self.shape) == 3 else self._map(module)
        self.shape = tuple(sent.shape[1:])

    def _map(self, module: nn.Module) -> tuple[int, ...] | None:
        return self.map if isinstance(module, nn.BatchNorm1d | nn.Identity) else None

    def _activate(self, name: str, activation: object, last: bool) -> None:
        if isinstance(activation, dict):  # Keras 3 may write an object
            activation = activation.get("config", activation.get("class_name"))
        if activation in ("linear", None) or (activation == "softmax" and last):
            return  # the largest score stays the largest
        if activation != "relu":
            raise refusal(name, str(activation))
        self._add(name, nn.ReLU())

    def relu(self, name: str, config: Config) -> nn.Module:
        """ReLU with its arguments."""
        if config.get("negative_slope") or config.get("threshold"):
            raise refusal(name, "LeakyReLU")
        if config.get("max_value") not in (None, 6, 6.0):
            raise UnsupportedError(f"layer {name}: ReLU cut at {config['max_value']}; train with ReLU, or max_value=6")
        return nn.ReLU() if config.get("max_value") is None else nn.ReLU6()

    def convolution(self, name: str, config: Config) -> nn.Module:
        """Conv2D, or DepthwiseConv2D, whose kernel is (H, W, I, multiplier)."""
        self._check_channels_last(name, config)
        tensors = self._tensors(name)
        depthwise = "depth_multiplier" in config and "filters" not in config
        kernel = self._tensor(
            tensors, name, "depthwise_kernel" if depthwise and "kernel" not in tensors else "kernel", 4
        )
        channels = self._map_channels(name)
        if depthwise:
            height, width, groups, multiplier = kernel.shape
            weight = kernel.transpose(2, 3, 0, 1).reshape(groups * multiplier, 1, height, width)
        else:
            weight, groups = kernel.transpose(3, 2, 0, 1), _whole(config.get("groups", 1), name)
        if weight.shape[1] * groups != channels or len(weight) % groups:
            raise InputError(f"{self.path}: layer {name}: a kernel of {kernel.shape} does not fit {channels} channels")
        strides, dilation = _pair(config.get("strides", 1), name), _pair(config.get("dilation_rate", 1), name)
        padding: tuple[int, int] | str = (0, 0)
        if config.get("padding") == "same":
            weight, padding = _same(weight, self.shape[1:], strides, dilation)
        elif config.get("padding") != "valid":
            raise UnsupportedError(f"layer {name}: padding {config.get('padding')!r}; use valid or same")
        sides = (weight.shape[2], weight.shape[3])
        with torch.device("meta"):
            module = nn.Conv2d(channels, len(weight), sides, strides, padding, dilation, groups, "bias" in tensors)
        return _with(module, weight=weight, **self._bias(tensors, name, len(weight)))

    def dense(self, name: str, config: Config) -> nn.Module:
        """Dense; behind a Flatten its rows come in the order of (C, H, W)."""
        tensors = self._tensors(name)
        weight = self._tensor(tensors, name, "kernel", 2).T
        if self.map is not None:
            channels, height, width = self.map
            if weight.shape[1] != channels * height * width:
                raise InputError(f"{self.path}: layer {name}: a kernel of {weight.T.shape} does not fit {self.map}")
            weight = weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(len(weight), -1)
        with torch.device("meta"):
            module = nn.Linear(weight.shape[1], len(weight), "bias" in tensors)
        return _with(module, weight=weight, **self._bias(tensors, name, len(weight)))

    def norm(self, name: str, config: Config) -> nn.Module:
        """BatchNormalization over channels."""
        axis = config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        if axis not in (-1, len(self.shape)):
            raise UnsupportedError(f"layer {name}: normalises along axis {axis}; normalise the channels, axis=-1")
        epsilon = config.get("epsilon", 1e-3)
        if not isinstance(epsilon, int | float) or epsilon < 0:
            raise BundleError(f"{self.path}: layer {name}: epsilon is no number")
        if self.map is not None:
            raise UnsupportedError(f"layer {name}: a batch norm behind Flatten; put it before")
        tensors, channels = self._tensors(name), self.shape[0]
        with torch.device("meta"):
            kind = nn.BatchNorm2d if len(self.shape) == 3 else nn.BatchNorm1d
            module = kind(channels, eps=float(epsilon))
        found = {key: self._tensor(tensors, name, key, 1) for key in ("moving_mean", "moving_variance")}
        gamma = self._tensor(tensors, name, "gamma", 1) if "gamma" in tensors else np.ones(channels)
        beta = self._tensor(tensors, name, "beta", 1) if "beta" in tensors else np.zeros(channels)
        if {len(each) for each in (gamma, beta, *found.values())} != {channels}:
            raise InputError(f"{self.path}: layer {name}: its numbers do not fit {channels} channels")
        state = {"running_mean": found["moving_mean"], "running_var": found["moving_variance"]}
        return _with(module, weight=gamma, bias=beta, **state, num_batches_tracked=np.zeros((), dtype=np.int64))

    def pool(self, name: str, config: Config) -> nn.Module:
        """AveragePooling2D without overlap, over whole windows."""
        self._check_channels_last(name, config)
        self._map_channels(name)
        size = _pair(config.get("pool_size", 2), name)
        strides = size if config.get("strides") is None else _pair(config["strides"], name)
        if config.get("padding", "valid") == "same" and any(
            side % step for side, step in zip(self.shape[1:], size, strict=True)
        ):
            raise UnsupportedError(f"layer {name}: pools with padding; pool a map that it divides")
        return nn.AvgPool2d(size, strides)

    def mean(self, name: str, config: Config) -> nn.Module:
        """GlobalAveragePooling2D: the mean of each channel, flattened."""
        self._check_channels_last(name, config)
        self._map_channels(name)
        self._add(f"{name}.mean", nn.AvgPool2d((self.shape[1], self.shape[2])))
        return nn.Flatten()

    def flatten(self, name: str, config: Config) -> nn.Module:
        """Flatten, in torch's order; the next Dense is put into it."""
        self._check_channels_last(name, config)
        return nn.Flatten()

    def _check_channels_last(self, name: str, config: Config) -> None:
        if config.get("data_format") not in (None, "channels_last"):
            raise UnsupportedError(f"layer {name}: data_format {config['data_format']!r}; only channels_last is read")

    def _map_channels(self, name: str) -> int:
        if len(self.shape) != 3:
            raise InputError(f"{self.path}: layer {name} takes maps of channels, but gets {self.shape}")
        return self.shape[0]

    def _tensors(self, name: str) -> Tensors:
        """The tensors of a layer by the last part of their names, without Keras' ":0"."""
        found: dict[str, Array] = {}
        self._collect(subgroup(self.weights, name, self.path), found, name, 0)
        return found

    def _collect(self, group: h5py.Group, found: dict[str, Array], name: str, depth: int) -> None:
        if depth > MAXIMUM_NESTING or len(group) > MAXIMUM_NESTING:
            raise BundleError(f"{self.path}: the weights of layer {name} are nested, or too many; save the model again")
        for key in group:
            if isinstance(group.get(key, getclass=True), type) and group.get(key, getclass=True) is h5py.Group:
                self._collect(subgroup(group, key, self.path), found, name, depth + 1)
                continue
            short = str(key).split(":")[0]
            if short in found:
                raise BundleError(f"{self.path}: layer {name} holds two tensors {short}; save the model again")
            found[short] = read_floats(group, key, self.path)

    def _tensor(self, tensors: Tensors, name: str, key: str, rank: int) -> Array:
        if key not in tensors or tensors[key].ndim != rank or not tensors[key].size:
            shape = tensors[key].shape if key in tensors else "missing"
            raise BundleError(f"{self.path}: layer {name}: {key} is {shape}, expected {rank} dimensions")
        return tensors[key]

    def _bias(self, tensors: Tensors, name: str, outputs: int) -> dict[str, Array]:
        if "bias" not in tensors:
            return {}
        bias = self._tensor(tensors, name, "bias", 1)
        if len(bias) != outputs:
            raise InputError(f"{self.path}: layer {name}: {len(bias)} biases for {outputs} outputs")
        return {"bias": bias}


_LAYERS: dict[str, Callable[[_Reading, str, Config], nn.Module]] = {
    "Conv2D": _Reading.convolution,
    "DepthwiseConv2D": _Reading.convolution,
    "Dense": _Reading.dense,
    "BatchNormalization": _Reading.norm,
    "AveragePooling2D": _Reading.pool,
    "GlobalAveragePooling2D": _Reading.mean,
    "Flatten": _Reading.flatten,
    "ReLU": _Reading.relu,
}


def _same(
    weight: Array, sides: tuple[int, ...], strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Array, tuple[int, int]]:
    """TensorFlow's "same", which pads one more behind where it must: a kernel with zeros before, padded evenly."""
    padding = []
    for axis in (0, 1):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        steps = -(-sides[axis] // strides[axis])
        total = max((steps - 1) * strides[axis] + reach + 1 - sides[axis], 0)
        after = total - total // 2
        if total % 2:
            if dilation[axis] != 1:
                raise UnsupportedError("a dilated kernel of an even side with padding same; use an odd one")
            weight = np.insert(weight, 0, 0.0, axis=2 + axis)
        padding.append(after)
    return weight, (padding[0], padding[1])


def _on_meta(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).to("meta")


def _with(module: nn.Module, **tensors: Array) -> nn.Module:
    module.load_state_dict(
        {key: torch.tensor(np.ascontiguousarray(each)) for key, each in tensors.items()}, assign=True
    )
    return module.eval()


def _whole(value: object, name: str) -> int:
    if type(value) is not int or not 1 <= value <= 2**16:
        raise InputError(f"layer {name}: {str(value)[:40]}: expected a whole number from 1")
    return value


def _pair(value: object, name: str) -> tuple[int, int]:
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise InputError(f"layer {name}: {str(value)[:40]}: expected two numbers")
    return _whole(sides[0], name), _whole(sides[1], name)
