"""Forward passes of lava-dl's SLAYER, snnTorch and SpikingJelly on the benchmark's architectures, without gradients.

Each gives a function that runs all timesteps of a batch of spikes [T, N, *shape], or None where it is not installed.
Weights are torch's own random ones: none of the three libraries skips a zero, so the spikes do not matter for the time.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from engine_networks import Architecture
from torch import nn

from spikecut.export.network.arrays import Integers, size

Forward = Callable[[], Any]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def rivals(architecture: Architecture, inputs: Integers) -> dict[str, Forward | None]:
    """The three libraries by name; inputs: spikes [T, N, *shape]."""
    spikes = torch.from_numpy(inputs).float()
    found: dict[str, Forward | None] = {}
    for name, make in (("SLAYER", _slayer), ("snnTorch", _snntorch), ("SpikingJelly", _spikingjelly)):
        try:
            with _quiet():
                found[name] = make(architecture, spikes)
        except ImportError:
            found[name] = None
    return found


def _steps(architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The layers in order: ("conv", (in, out, kernel, stride)), ("flatten", ()) and ("dense", (in, out))."""
    shape, convolutions, dense = architecture
    for channels, kernel, stride in convolutions:
        yield "conv", (shape[0], channels, kernel, stride)
        shape = (channels, *((n + 2 * (kernel // 2) - kernel) // stride + 1 for n in shape[1:]))
    if convolutions:
        yield "flatten", ()
    width = size(shape)
    for features in dense:
        yield "dense", (width, features)
        width = features


def _slayer(architecture: Architecture, spikes: torch.Tensor) -> Forward:
    from lava.lib.dl.slayer import block

    neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.25}
    blocks: list[Any] = []
    for kind, shape in _steps(architecture):
        if kind == "conv":
            channels, features, kernel, stride = shape
            blocks.append(block.cuba.Conv(neuron, channels, features, kernel, stride, padding=kernel // 2))
        elif kind == "flatten":
            blocks.append(block.cuba.Flatten())
        else:
            blocks.append(block.cuba.Dense(neuron, *shape))
    net = nn.Sequential(*blocks).eval()
    given = spikes.permute(*range(1, spikes.ndim), 0).contiguous()  # SLAYER's time is last

    def forward() -> Any:
        with torch.inference_mode():
            return net(given)

    return forward


def _snntorch(architecture: Architecture, spikes: torch.Tensor) -> Forward:
    import snntorch

    net = nn.ModuleList()
    for kind, shape in _steps(architecture):
        if kind == "flatten":
            net.append(nn.Flatten())
            continue
        net.append(_torch_layer(kind, shape))
        net.append(snntorch.Leaky(beta=0.75, reset_mechanism="zero"))

    def forward() -> Any:
        with torch.inference_mode():
            membranes: dict[int, Any] = {i: m.reset_mem() for i, m in enumerate(net) if isinstance(m, snntorch.Leaky)}
            total: Any = 0
            for messages in spikes:
                for number, layer in enumerate(net):
                    if number in membranes:
                        messages, membranes[number] = layer(messages, membranes[number])
                    else:
                        messages = layer(messages)
                total = total + messages
            return total

    return forward


def _spikingjelly(architecture: Architecture, spikes: torch.Tensor) -> Forward:
    from spikingjelly.activation_based import functional, layer, neuron

    modules: list[Any] = []
    for kind, shape in _steps(architecture):
        if kind == "flatten":
            modules.append(layer.Flatten())
            continue
        if kind == "conv":
            channels, features, kernel, stride = shape
            modules.append(layer.Conv2d(channels, features, kernel, stride, kernel // 2, bias=False))
        else:
            modules.append(layer.Linear(*shape, bias=False))
        modules.append(neuron.LIFNode(tau=4.0, decay_input=False, v_reset=0.0))
    net = nn.Sequential(*modules).eval()
    functional.set_step_mode(net, "m")

    def forward() -> Any:
        with torch.inference_mode():
            result = net(spikes)
            functional.reset_net(net)
            return result

    return forward


def _torch_layer(kind: str, shape: tuple[int, ...]) -> nn.Module:
    if kind == "conv":
        channels, features, kernel, stride = shape
        return nn.Conv2d(channels, features, kernel, stride, kernel // 2, bias=False)
    return nn.Linear(*shape, bias=False)
