"""netx files that spikecut did not write: what they tell of their input."""

from pathlib import Path

from spikecut.errors import BundleError, InputError
from spikecut.export.graph import InputSpec, IntegerNetwork, Readout, Shape
from spikecut.export.hdf5 import open_hdf5, read_whole, subgroup
from spikecut.export.netx import read_netx
from spikecut.export.netx_neuron import read_text

MAXIMUM_SIDE = 2**20


def input_and_readout(path: Path) -> tuple[Shape, Readout] | None:
    """Shape of one input frame by the file's first block, and the readout by its last; None for a file of spikecut.

    BundleError for a file that is missing, damaged or foreign.
    """
    with open_hdf5(path) as file:
        if "spikecut" in file:
            return None
        layers = subgroup(file, "layer", path)
        first, last = subgroup(layers, "0", path), subgroup(layers, str(len(layers) - 1), path)
        readout: Readout = "count" if "neuron" in last or read_text(last, "type", path) != "dense" else "membrane"
        if "shape" in first and "inFeatures" not in first:
            shape = tuple(int(side) for side in read_whole(first, "shape", path).reshape(-1))
        else:
            shape = tuple(int(side) for side in read_whole(first, "inFeatures", path).reshape(-1))
    if len(shape) not in (1, 3) or min(shape) < 1 or max(shape) > MAXIMUM_SIDE:
        raise BundleError(f"{path}: its input is of shape {shape}, expected (features,) or (channels, height, width)")
    return shape, readout


def read_any_netx(path: Path, horizon: int | None = None) -> IntegerNetwork:
    """A network of spikecut or of lava-dl; of the latter the input is taken as binary spikes.

    Its readout are counts, or the membrane where the last layer is dense and has no neuron.

    Raises
    ------
    BundleError, UnsupportedError: see read_netx. InputError: a file of lava-dl that is read, but no horizon is given.
    """
    found = input_and_readout(path)
    if found is None:
        if horizon is not None:
            raise InputError(f"{path} tells its horizon itself: leave out --horizon")
        return read_netx(path)
    shape, readout = found
    network = read_netx(path, InputSpec(shape, "events"), readout, horizon or 1)
    if horizon is None:
        raise InputError(
            f"{path} is of lava-dl and does not tell its horizon T: give --horizon, or load(path, horizon)"
        )
    return network
