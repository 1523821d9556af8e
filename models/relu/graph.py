"""A torch module's forward as a chain of named layers, read by torch.fx; what is no chain is refused with advice."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spikecut.errors import UnsupportedError

NamedModule = tuple[str, nn.Module]

_SATURATING = "train with ReLU in its place"
_SOFTMAX = "leave it out: the largest score stays the largest"
_NORM = "train with BatchNorm, which folds into the weights"
_SPACE = "a network of spikes has no exact counterpart; use Conv2d with a stride, AvgPool2d or Linear"
ADVICE: dict[str, str] = {
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "AdaptiveMaxPool2d"), "train with AvgPool2d, or a stride, in its place"),
    **dict.fromkeys(("MultiheadAttention", "TransformerEncoderLayer"), "attention multiplies activations; use Conv2d"),
    **dict.fromkeys(("Sigmoid", "Tanh", "GELU", "SiLU", "ELU", "SELU", "Hardtanh", "Softplus"), _SATURATING),
    **dict.fromkeys(("LeakyReLU", "PReLU", "RReLU"), "negative activations cannot be spikes; train with ReLU"),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Softmax2d"), _SOFTMAX),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "InstanceNorm2d", "SyncBatchNorm"), _NORM),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), "recurrent layers are not converted; train a spiking network"),
    **dict.fromkeys(("ConvTranspose2d", "Upsample", "Conv1d", "Conv3d", "Unflatten"), _SPACE),
    "add": "a sum of two branches (residual) is no chain; train without the shortcut",
    "cat": "two branches are no chain; train without them",
    "mean": "use nn.AdaptiveAvgPool2d(1) and nn.Flatten()",
}
_FOLDED = {re.sub("[^a-z0-9]", "", name.lower()): text for name, text in ADVICE.items()}


def refusal(name: str, kind: str) -> UnsupportedError:
    """The error for a layer of a kind that has no counterpart, with advice."""
    advice = _FOLDED.get(re.sub("[^a-z0-9]", "", kind.lower()), "use Conv2d, Linear, BatchNorm, ReLU and AvgPool2d")
    return UnsupportedError(f"layer {name} ({kind}): {advice}")


def named_modules(module: nn.Module) -> list[NamedModule]:
    """The layers that a module's forward calls, one after the other; functions such as relu become modules.

    Raises
    ------
    UnsupportedError: a forward that depends on values, branches, or calls what is no layer.
    """
    if type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential):
        return [("0", module)]
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # a user's forward may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(
            f"the module's forward cannot be read as a chain ({reason}): use nn.Sequential"
        ) from error
    layers: list[NamedModule] = []
    previous: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if previous is not None:
                raise UnsupportedError(f"the module's forward takes a second input, {node.name}; it may take one")
            previous = node
        elif node.op == "output":
            if node.args != (previous,):
                raise UnsupportedError("the module returns more than its last layer's output; return the scores alone")
        elif not _is_size(node):
            layers.append(_layer(module, node, previous))
            previous = node
    return layers


def _is_size(node: fx.Node) -> bool:
    """Whether a node only reads the number of samples: x.size(0), or x.shape[0]."""
    if node.op == "call_method" and node.target == "size":
        return True
    if node.op == "call_function" and node.target is getattr:
        return bool(node.args[1] == "shape")
    first = node.args[0] if node.args else None
    return (
        node.op == "call_function"
        and node.name.startswith("getitem")
        and isinstance(first, fx.Node)
        and _is_size(first)
    )


def _layer(root: nn.Module, node: fx.Node, previous: fx.Node | None) -> NamedModule:
    stem = re.sub(r"_\d+$", "", node.name)
    if node.op == "call_module":
        name = str(node.target)
        found = root.get_submodule(name)
        if type(found).__name__ in ADVICE:
            raise refusal(name, type(found).__name__)
        if node.args != (previous,) or node.kwargs:
            raise UnsupportedError(f"layer {name}: does not take the output of the layer before it alone; use a chain")
        return name, found
    make = _FUNCTIONS.get(node.target)
    if make is None:
        raise refusal(node.name, stem)
    if not node.args or node.args[0] is not previous:
        raise UnsupportedError(f"layer {node.name}: does not take the output of the layer before it; use a chain")
    try:
        return node.name, make(*node.args[1:], **node.kwargs)
    except TypeError as error:
        raise UnsupportedError(f"layer {node.name}: called in a way that is not read; use its nn module") from error


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    if training:
        raise UnsupportedError("dropout: it drops at inference, too; use nn.Dropout, or training=self.training")
    return nn.Dropout(p)


def _relu(inplace: bool = False) -> nn.Module:
    return nn.ReLU()


def _view(*sides: Any) -> nn.Module:
    given = sides[0] if len(sides) == 1 and isinstance(sides[0], tuple | list) else sides
    whole = len(given) == 2 and (given[1] == -1 or given[0] == -1 or isinstance(given[0], fx.Node))
    if not whole or isinstance(given[1], fx.Node):
        raise UnsupportedError("view, reshape: only to (samples, features); use nn.Flatten()")
    return nn.Flatten()


def _flatten(start_dim: int = 0, end_dim: int = -1) -> nn.Module:
    return nn.Flatten(start_dim, end_dim)


_FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, "relu", "relu_"), _relu),
    functional.relu6: lambda inplace=False: nn.ReLU6(),
    **dict.fromkeys((torch.flatten, "flatten"), _flatten),
    **dict.fromkeys((torch.reshape, "reshape", "view"), _view),
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    **dict.fromkeys((functional.dropout, functional.dropout2d), _dropout),
}
