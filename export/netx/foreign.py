"""netx files that spikecut did not write: what they tell of their input."""

from pathlib import Path

import h5py

from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.hdf5 import open_hdf5, read_whole, subgroup
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork, Readout
from spikecut.export.netx.neuron import read_text
from spikecut.export.netx.read import ALL, Blocks, read_netx
from spikecut.export.netx.sigma_delta import OUTPUT, SDNN

MAXIMUM_SIDE = 2**20
INPUT_BITS = 12
SDNN_BITS = 11
"""Of numbers that a sigma-delta encoder shifts left by 12 and holds in 24 bits."""
TRANSFORM = {"weight": 64, "bias": 0}
"""What netx takes where an input block with neurons does not say it."""


def input_and_readout(path: Path) -> tuple[InputSpec, Readout, int | None] | None:
    """The input by the file's first block, the readout by its last, the horizon by /simulation if it tells one.

    None for a file of spikecut.

    Neurons in the input block take numbers x, the same at every timestep, as weight · x + bias of that block: they are
    netx's `in_layer.transform`, which leaves applying it to its caller. Sigma-delta neurons there send the changes of
    x. Other inputs are taken as binary spikes.

    BundleError for a file that is missing, damaged or foreign. UnsupportedError: a weight that is not positive.
    """
    with open_hdf5(path) as file:
        if "spikecut" in file:
            return None
        if "layer" not in file:
            raise BundleError(
                f"{path}: HDF5 without /layer, so no netx file of lava-dl; a sequential model of Keras goes through "
                "`spikecut convert FILE.h5`"
            )
        horizon = _horizon(file, path)
        layers = subgroup(file, "layer", path)
        first, last = subgroup(layers, "0", path), subgroup(layers, str(len(layers) - 1), path)
        readout = _readout(last, path)
        if "shape" in first and "inFeatures" not in first:
            shape = tuple(int(side) for side in read_whole(first, "shape", path).reshape(-1))
        else:
            shape = tuple(int(side) for side in read_whole(first, "inFeatures", path).reshape(-1))
        if len(shape) not in (1, 3) or min(shape) < 1 or max(shape) > MAXIMUM_SIDE:
            raise BundleError(
                f"{path}: its input is of shape {shape}, expected (features,) or (channels, height, width)"
            )
        if read_text(first, "type", path) != "input" or "neuron" not in first:
            return InputSpec(shape, "events"), readout, horizon
        weight, bias = (_transform(first, key, path) for key in ("weight", "bias"))
        bits = SDNN_BITS if _of_type(first, SDNN, path) else INPUT_BITS
    if weight < 1:
        raise UnsupportedError(f"{path}: its input's weight is {weight}; only positive ones are read")
    spec = InputSpec(shape, "direct", bits=bits, signed=True, scale=1 / weight, zero=-bias / weight)
    return spec, readout, horizon


def _readout(last: h5py.Group, path: Path) -> Readout:
    """The membrane of an average, of a dense block without a neuron, or with one that sends its sigma; else counts."""
    if "neuron" not in last:
        return "membrane" if read_text(last, "type", path) in ("dense", "average") else "count"
    return "membrane" if _of_type(last, SDNN, path) and OUTPUT in last["neuron"] else "count"


def _of_type(block: h5py.Group, kind: str, path: Path) -> bool:
    return read_text(subgroup(block, "neuron", path), "type", path) == kind


def _horizon(file: h5py.File, path: Path) -> int | None:
    """How many timesteps of Ts a sample's tSample holds; None where the file does not say it in whole numbers."""
    if "simulation" not in file:
        return None
    group = subgroup(file, "simulation", path)
    values = [read_whole(group, key, path).reshape(-1) for key in ("tSample", "Ts") if key in group]
    if len(values) != 2 or any(value.size != 1 for value in values):
        return None
    length, step = (int(value[0]) for value in values)
    return length // step if step >= 1 and length >= step and length % step == 0 else None


def _transform(block: h5py.Group, key: str, path: Path) -> int:
    if key not in block:
        return TRANSFORM[key]
    values = read_whole(block, key, path).reshape(-1)
    if values.size != 1:
        raise UnsupportedError(f"{path}: the input's {key} has {values.size} values, expected one for all neurons")
    return int(values[0])


def read_any_netx(path: Path, horizon: int | None = None, blocks: Blocks = ALL) -> IntegerNetwork:
    """A network of spikecut or of lava-dl; for input and horizon of the latter see input_and_readout.

    Its readout are counts, or the membrane where the last layer is dense and has no neuron. blocks: see read_netx.

    Raises
    ------
    BundleError, UnsupportedError: see read_netx. InputError: a file of lava-dl that is read, but neither it nor the
    caller gives a horizon.
    """
    found = input_and_readout(path)
    if found is None:
        if horizon is not None:
            raise InputError(f"{path} tells its horizon itself: leave out --horizon")
        return read_netx(path, blocks=blocks)
    spec, readout, told = found
    network = read_netx(path, spec, readout, horizon or told or 1, blocks)
    if horizon is None and told is None:
        raise InputError(
            f"{path} is of lava-dl and does not tell its horizon T: give --horizon, or load(path, horizon)"
        )
    return network
