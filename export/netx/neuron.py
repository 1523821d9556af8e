"""The neuron's group of a layer in a netx file, written and read; what netx cannot express has the type SPIKECUT."""

from pathlib import Path
from typing import cast, get_args

import h5py
import numpy as np

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.hdf5 import read_dataset, read_whole, subgroup
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.neurons import NETX_BIAS_EXPONENT, IntegerNeuron, Reset
from spikecut.export.network.parameters import Parameter
from spikecut.export.netx.sigma_delta import EXPONENTS, SDNN, read_sdnn, read_sigma_delta, write_sigma_delta
from spikecut.fixed_point import DECAY_UNITY

NETX_TYPES = ("CUBA", "LOIHI")
OWN_TYPE = "SPIKECUT"
ADAPTATION = ("thDecay", "vThStep", "refDecay")
"""Of an Adaptation, by lava-dl's names."""
AMOUNT, U_INIT, REFRACTORY = "resetAmount", "uInit", "refDelay"
MAXIMUM_TEXT = 256
MAXIMUM_GAINS = 2**20
DROPPED = {"gradedSpike": 0, "messageBits": 0, "refDelay": 1, "wgtExp": 0}
"""What netx and Lava would drop: a file may say it only with these values, which change nothing. Of spikecut's own
neurons, refDelay counts the step of the spike and those of rest after it.
"""


def write_neuron(group: h5py.Group, neuron: IntegerNeuron, own: bool) -> None:
    """Write a layer's neurons into its group `neuron`; own: with all that netx does not know.

    What differs between neurons is an array, one per channel, or of the layer's output shape (C, H, W).
    """
    write_text(group, "type", OWN_TYPE if own else "CUBA")
    group["iDecay"], group["vDecay"] = neuron.decay_u, neuron.decay_v
    group["vThMant"], group["refDelay"], group["gradedSpike"] = neuron.threshold, 1 + neuron.refractory, False
    if own:
        write_text(group, "reset", neuron.reset)
        group["vInit"], group["biasExponent"] = neuron.v_init, neuron.bias_exponent
        if neuron.reset_amount is not None:
            group[AMOUNT] = neuron.reset_amount
        if neuron.u_init is not None:
            group[U_INIT] = neuron.u_init.astype(np.int32)
        if neuron.adaptation is not None:
            for key, value in zip(ADAPTATION, neuron.adaptation.numbers, strict=True):
                group[key] = value
        if neuron.sigma_delta is not None:
            write_sigma_delta(group, neuron.sigma_delta)
        if neuron.gain is not None:
            group["gain"] = np.array(neuron.gain, dtype=np.int32)


def write_text(group: h5py.Group, key: str, text: str) -> None:
    """A text of at most ten ASCII characters, as netx holds it."""
    group.create_dataset(key, (1,), "S10", [text.encode("ascii")])


def read_neuron(
    group: h5py.Group, name: str, bias: IntArray, path: Path, integrates: bool = False, encodes: bool = False
) -> IntegerNeuron:
    """The neurons of a layer's group.

    integrates: a group without neurons gives what netx puts there: u sums all input, v = u, and the threshold of 2^23
    is never reached. Only a membrane readout can be that. encodes: whether it is the input block.

    Raises
    ------
    BundleError: a field is missing, damaged or outside its range.
    UnsupportedError: no neuron, or one that spikecut does not know.
    """
    if "neuron" not in group:
        if integrates:
            return IntegerNeuron(threshold=0, bias_mantissa=bias, decay_u=0, decay_v=DECAY_UNITY, reset="none")
        raise UnsupportedError(
            f"{path}: layer {name} has no neuron, and netx would give it a threshold it never reaches: no spike to "
            "count or to pass on; only the last layer may be so, with readout membrane"
        )
    neuron = subgroup(group, "neuron", path)
    kind = read_text(neuron, "type", path)
    own = kind == OWN_TYPE
    if kind == SDNN:
        return read_sdnn(neuron, name, bias, path, encodes)
    if kind not in NETX_TYPES and not own:
        raise UnsupportedError(f"{path}: layer {name}: neuron type {kind!r}; only {(*NETX_TYPES, SDNN)} are read")

    def scalar(key: str) -> int:
        return _scalar(neuron, key, name, path)

    _check_dropped({key: scalar(key) for key in DROPPED if key in neuron}, own, f"{path}: layer {name}")
    reset = read_text(neuron, "reset", path) if own else "zero"
    if reset not in get_args(Reset):
        raise BundleError(f"{path}: layer {name}: reset {reset!r}, expected {', '.join(get_args(Reset))}")
    return IntegerNeuron(
        threshold=_parameter(neuron, "vThMant", path),
        bias_mantissa=bias,
        decay_u=_parameter(neuron, "iDecay", path),
        decay_v=_parameter(neuron, "vDecay", path),
        bias_exponent=scalar("biasExponent") if own else NETX_BIAS_EXPONENT,
        v_init=_parameter(neuron, "vInit", path) if own else 0,
        reset=cast(Reset, reset),
        gain=_read_gain(neuron, name, path) if own and "gain" in neuron else None,
        reset_amount=_parameter(neuron, AMOUNT, path) if own and AMOUNT in neuron else None,
        u_init=read_whole(neuron, U_INIT, path) if own and U_INIT in neuron else None,
        refractory=scalar(REFRACTORY) - 1 if own and REFRACTORY in neuron else 0,
        adaptation=Adaptation(*(scalar(key) for key in ADAPTATION)) if reset == "adapt" else None,
        sigma_delta=read_sigma_delta(neuron, path) if own and EXPONENTS[0] in neuron else None,
    )


def _scalar(neuron: h5py.Group, key: str, name: str, path: Path) -> int:
    values = read_whole(neuron, key, path).reshape(-1)
    if values.size != 1:
        raise UnsupportedError(f"{path}: layer {name}: {key} of {values.size} values; it is one for a layer")
    return int(values[0])


def _check_dropped(values: dict[str, int], own: bool, where: str) -> None:
    for key, value in values.items():
        if value != DROPPED[key] and not (own and key == REFRACTORY):
            raise UnsupportedError(
                f"{where}: {key} {value}, which netx would drop without a word; export with {DROPPED[key]}"
            )


def _parameter(neuron: h5py.Group, key: str, path: Path) -> Parameter:
    """One number, one per channel, or one per neuron."""
    values = read_whole(neuron, key, path)
    if values.size == 1:
        return int(values.reshape(-1)[0])
    return values.reshape(-1) if values.size == len(values) else values  # lava-dl's have axes of 1 behind them


def _read_gain(neuron: h5py.Group, name: str, path: Path) -> tuple[int, ...]:
    claimed = read_dataset(neuron, "gain", path)
    if claimed.ndim != 1 or not 1 <= claimed.size <= MAXIMUM_GAINS:
        raise BundleError(f"{path}: layer {name}: gain of shape {claimed.shape}, expected one per timestep")
    return tuple(read_whole(neuron, "gain", path).tolist())


def read_text(group: h5py.Group, key: str, path: Path) -> str:
    """A text as write_text writes it; BundleError where it is none."""
    dataset = read_dataset(group, key, path)
    value = np.asarray(dataset[()]).reshape(-1) if dataset.dtype.kind in "SO" and dataset.size == 1 else None
    if value is None or not isinstance(value[0], bytes) or not value[0].isascii() or len(value[0]) > MAXIMUM_TEXT:
        raise BundleError(f"{path}: {group.name}/{key} is not a short text; the file is damaged or foreign")
    return value[0].decode("ascii")
