"""Somebody else's run, recorded in NIR's format, against the bundle's integers on the same input: node by node."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle
from spikecut.errors import InputError
from spikecut.export.network.arrays import Array, IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.nir.recording import Recorded, read_recording
from spikecut.text import brief

INPUT = "input"


@dataclass(frozen=True)
class NodeCheck:
    """A layer: decisions of neurons compared, spikes of the recording and of ours, and how many differ."""

    layer: str
    compared: int
    theirs: int
    ours: int
    mismatches: int


@dataclass(frozen=True)
class NodeDifference:
    """The first difference, by layers in their order, then by timesteps from 1."""

    layer: str
    timestep: int
    sample: int
    neuron: tuple[int, ...]
    theirs: float
    ours: int

    def __str__(self) -> str:
        """One line."""
        return (
            f"layer {self.layer}, timestep {self.timestep}, sample {self.sample}, neuron {self.neuron}: the recording "
            f"has {self.theirs:g}, the bundle {self.ours}"
        )


@dataclass(frozen=True)
class RecordingComparison:
    """What the comparison found.

    Attributes
    ----------
    samples, timesteps: of the recording. checks: of each layer that is in both. left_out: of the recording, nodes
        that are no layer's, and observables that are not compared. unrecorded: layers that the recording lacks.
    """

    samples: int
    timesteps: int
    checks: tuple[NodeCheck, ...]
    difference: NodeDifference | None
    left_out: tuple[str, ...]
    unrecorded: tuple[str, ...]

    __repr__ = brief

    @property
    def passed(self) -> bool:
        """Whether every spike is equal."""
        return self.difference is None


def compare_recording(bundle: Bundle, path: Path, samples: int | None = None) -> RecordingComparison:
    """Run a recording's input through the bundle's integers, and compare what its nodes sent with what the layers send.

    Nodes are layers by their names. Their neurons computed in floats, the bundle's in integers: spikes may differ where
    quantisation moves v over the threshold, and the first one is named.

    Raises
    ------
    InputError: a recording without the network's input, of no layer, or of more timesteps than the horizon.
    BundleError: see read_recording.
    """
    network = bundle.network
    found = read_recording(path, network.horizon)
    name, inputs = _input(found, network, path)
    inputs = inputs[:, :samples]
    steps, count = inputs.shape[:2]
    if not 1 <= steps <= network.horizon or not count:
        raise InputError(f"{path}: {steps} timesteps of {count} samples; the bundle runs up to {network.horizon} steps")
    whole = np.zeros((network.horizon, *inputs.shape[1:]), dtype=np.int64)
    whole[:steps] = inputs
    sent = run_batched(network, whole.reshape(network.horizon, count, *network.input_shape), record="all").spikes
    checks: list[NodeCheck] = []
    difference: NodeDifference | None = None
    for layer in network.layers:
        if layer.name not in found:
            continue
        theirs = found[layer.name].values[:, :samples]
        ours = sent[layer.name][:steps].reshape(steps, count, -1)
        if theirs.shape != ours.shape:
            raise InputError(
                f"{path}: node {layer.name}: {theirs.shape} timesteps, samples and neurons, the bundle has {ours.shape}"
            )
        differs = theirs != ours
        checks.append(
            NodeCheck(layer.name, ours.size, int((theirs != 0).sum()), int((ours != 0).sum()), int(differs.sum()))
        )
        if differs.any() and difference is None:
            step, sample, neuron = (int(n) for n in np.argwhere(differs)[0])
            place = tuple(int(n) for n in np.unravel_index(neuron, layer.output_shape))
            values = theirs[step, sample, neuron], int(ours[step, sample, neuron])
            difference = NodeDifference(layer.name, step + 1, sample, place, float(values[0]), values[1])
    if not checks:
        raise InputError(f"{path}: none of its nodes ({', '.join(sorted(found)[:6])}) is a layer of the bundle")
    names = {layer.name for layer in network.layers}
    beside = [f"{node}: {key}" for node, each in found.items() for key in each.left_out]
    left_out = (*sorted(set(found) - names - {name}), *beside)
    unrecorded = tuple(layer.name for layer in network.layers if layer.name not in found)
    return RecordingComparison(count, steps, tuple(checks), difference, left_out, unrecorded)


def _input(found: dict[str, Recorded], network: IntegerNetwork, path: Path) -> tuple[str, IntArray]:
    """The node that holds the network's input, and its numbers in the input's units, int64 [T, N, neurons]."""
    size, names = int(np.prod(network.input_shape)), {layer.name for layer in network.layers}
    fitting = [name for name, each in found.items() if name not in names and each.values.shape[2] == size]
    chosen = INPUT if INPUT in fitting else next(iter(fitting), None)
    if chosen is None:
        raise InputError(f"{path}: holds no node with the network's input, {size} numbers a timestep: record the Input")
    values: Array = found[chosen].values
    if network.input.encoding == "direct":  # else the recording holds what comes in, spikes or events
        values = (values - network.input.zero) / network.input.scale
    integers = np.asarray(np.rint(values).astype(np.int64))
    low, high = network.input.minimum, network.input.maximum
    if integers.min(initial=low) < low or integers.max(initial=high) > high:
        raise InputError(f"{path}: node {chosen}: its numbers leave what the bundle's input takes, {low} to {high}")
    return chosen, integers
