"""Networks and reference spikes of lava-dl, which its wheel keeps among its tests, as networks and runs of spikecut.

They are read here and not by export/netx: one begins with a layer of neurons without synapses, the other ends in an
average, which spikecut's networks lack.
"""

from importlib.metadata import distribution
from pathlib import Path

import h5py
import numpy as np

from spikecut.deploy.backends.kernels.reference import NeuronState
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.export.network.arrays import Shape, size
from spikecut.export.network.connectivity import fan_out
from spikecut.export.network.geometry import conv_output_shape
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def references() -> Path:
    """Where lava-dl's wheel keeps its networks and reference spikes."""
    return Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx/gts")))


def read_layers(path: Path, shape: Shape) -> tuple[IntegerLayer, ...]:
    """The layers with neurons of a lava-dl file; an input layer with neurons becomes a 1×1 convolution per channel."""
    layers: list[IntegerLayer] = []
    with h5py.File(path) as file:
        for number in sorted(file["layer"], key=int):
            group = file["layer"][number]
            kind = bytes(np.asarray(group["type"][()]).reshape(-1)[0]).decode()
            if "neuron" not in group:
                continue
            layers.append(_read_layer(group, kind, f"{kind}{len(layers)}", shape))
            shape = layers[-1].output_shape
    return tuple(layers)


def _read_layer(group: h5py.Group, kind: str, name: str, shape: Shape) -> IntegerLayer:
    weight = np.asarray(group["weight"][()]).astype(np.int64)
    fields: dict[str, object] = {}
    if kind == "input":
        weight, fields = np.full((shape[0], 1, 1, 1), weight), {"groups": shape[0]}
    elif kind == "conv":
        fields = {key: tuple(int(n) for n in group[key][()]) for key in ("stride", "padding", "dilation")}
        fields["groups"] = int(group["groups"][()])
    else:
        weight = weight.reshape(-1, size(shape))
    output: Shape = (weight.shape[0],)
    if kind in ("input", "conv"):
        probe = type("Probe", (), {"weight": weight, "input_shape": shape, "stride": (1, 1), "padding": (0, 0)})()
        probe.dilation = (1, 1)
        for key, value in fields.items():
            setattr(probe, key, value)
        output = conv_output_shape(probe)
    elif "delay" in group:
        fields["delay"] = np.broadcast_to(np.asarray(group["delay"][()]).astype(np.int64)[:, None], weight.shape)
    biases = np.asarray(group["bias"][()]).reshape(-1) if "bias" in group else np.zeros(1)
    neuron = IntegerNeuron(
        int(group["neuron/vThMant"][()]),
        np.broadcast_to(biases.astype(np.int64), output[:1]),
        int(group["neuron/iDecay"][()]),
        int(group["neuron/vDecay"][()]),
    )
    return IntegerLayer(name, "conv" if kind == "input" else kind, weight, neuron, shape, output, **fields)  # type: ignore[arg-type]


def run_delayed(layer: IntegerLayer, frames: np.ndarray) -> np.ndarray:
    """Spikes int32 [T, O] of a dense layer whose synapses onto a neuron all have the neuron's delay."""
    sums = (frames.astype(np.float64) @ layer.weight.T.astype(np.float64)).astype(np.int64)
    if layer.delay is not None:
        for neuron, delay in enumerate(layer.delay[:, 0]):
            sums[:, neuron] = np.concatenate([np.zeros(delay, dtype=np.int64), sums[: len(sums) - delay, neuron]])
    state = NeuronState.at_rest(layer, 1)
    return np.concatenate([state.step(layer, current[None]) for current in sums])


def trace_of(network: IntegerNetwork, rasters: list[np.ndarray], steps: int) -> RunTrace:
    """One sample whose layers all work in the same steps, as in the middle of a stream."""
    arriving, events = np.zeros((1, steps), dtype=np.int64), []
    names = ["input", *(layer.name for layer in network.layers)]
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    for depth, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        sent = rasters[depth] != 0
        events.append(LayerEvents(name, shape, sent.sum(axis=2), arriving, rasters[depth]))
        if depth < network.depth:
            arriving = sent @ fan_out(network.layers[depth])
    return RunTrace(
        scores=np.zeros((steps, 1, network.classes), dtype=np.int64),
        valid=np.ones((steps, 1), dtype=bool),
        timesteps=np.array([steps]),
        hardware_steps=np.array([steps]),
        reason=(ExitReason.HORIZON,),
        network=network,
        backend="reference",
        events=tuple(events),
    )
