"""Sigma-delta neurons in a netx file: lava-dl's SDNN, read; those of spikecut, written and read."""

from pathlib import Path

import h5py
import numpy as np

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.hdf5 import read_dataset, read_whole
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.sigma_delta import Activation, SigmaDelta

SDNN = "SDNN"
OUTPUT = "sigma_output"
EXPONENTS = ("spikeExp", "stateExp")
SWITCHES = ("decodes", "rectifies", "errorsAddUp")
START = "start"
ACTIVATIONS: tuple[Activation, Activation] = ("unit", "relu")
DROPPED = ("refDelay", "wgtExp")
"""What netx would drop: refused at any value but that of LIF."""
MOST_BITS = 32


def write_sigma_delta(group: h5py.Group, given: SigmaDelta) -> None:
    """Add to a neuron's group what makes it one of sigma-delta."""
    for key, value in zip(EXPONENTS, (given.spike_exponent, given.state_exponent), strict=True):
        group[key] = value
    for key, switch in zip(SWITCHES, (given.decodes, given.activation == "relu", given.cumulative_error), strict=True):
        group[key] = int(switch)
    if given.start is not None:
        group.create_dataset(START, data=given.start.astype(np.int32), compression="gzip")


def read_sigma_delta(group: h5py.Group, path: Path) -> SigmaDelta:
    """What write_sigma_delta wrote; BundleError where it is damaged."""

    def number(key: str) -> int:
        values = read_whole(group, key, path).reshape(-1)
        if values.size != 1:
            raise BundleError(f"{path}: {group.name}/{key} has {values.size} values, expected one; the file is damaged")
        return int(values[0])

    switches = [number(key) for key in SWITCHES]
    if any(switch not in (0, 1) for switch in switches):
        raise BundleError(f"{path}: {group.name}: {', '.join(SWITCHES)} are 0 or 1; the file is damaged")
    return SigmaDelta(
        decodes=bool(switches[0]),
        activation=ACTIVATIONS[switches[1]],
        spike_exponent=number(EXPONENTS[0]),
        state_exponent=number(EXPONENTS[1]),
        cumulative_error=bool(switches[2]),
        start=read_whole(group, START, path) if START in group else None,
    )


def read_sdnn(group: h5py.Group, name: str, bias: IntArray, path: Path, encodes: bool) -> IntegerNeuron:
    """lava-dl's neurons as netx loads them: Delta in the input block, Sigma with a `sigma_output`, else SigmaDelta.

    encodes: whether it is the input block. UnsupportedError for what netx would load as something else.
    """
    where = f"{path}: layer {name}"
    activation = read_dataset(group, "activation", path)[()] if "activation" in group else b"relu"
    text = activation.decode(errors="replace") if isinstance(activation, bytes) else str(activation)
    if text != "relu":
        raise UnsupportedError(f"{where}: activation {text[:40]!r}, of which netx would make relu; train with relu")
    values = {
        key: read_whole(group, key, path).reshape(-1).tolist() for key in (*DROPPED, "messageBits") if key in group
    }
    for key, expected in zip(DROPPED, (1, 0), strict=True):
        if values.get(key, [expected]) != [expected]:
            raise UnsupportedError(f"{where}: {key} {values[key]}, which netx would drop; export with {expected}")
    bits = values.get("messageBits", [16])
    if len(bits) != 1 or not 1 <= bits[0] <= MOST_BITS:
        raise UnsupportedError(f"{where}: messageBits {bits}: graded messages have 1 to {MOST_BITS}")
    threshold = read_whole(group, "vThMant", path).reshape(-1)
    if threshold.size != 1:
        raise UnsupportedError(f"{where}: vThMant of {threshold.size} values; of sigma-delta neurons it is one")
    reads_out = OUTPUT in group and not encodes
    if reads_out and bias.any():
        raise UnsupportedError(f"{where}: a bias of a sigma_output, at which netx stops; leave it out")
    return IntegerNeuron(
        threshold=int(threshold[0]),
        bias_mantissa=bias,
        reset="none" if reads_out else "delta",
        sigma_delta=SigmaDelta(decodes=not encodes),
    )
