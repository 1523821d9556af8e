"""The independent witness: what the user's own torch module says, recorded before any folding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from spikecut.errors import BundleError, DataError
from spikecut.export.encode import encode_samples
from spikecut.export.hdf5 import MAXIMUM_BYTES, NUMBER, open_hdf5, packed, read_array, read_floats, subgroup
from spikecut.export.network.arrays import Floats, IntArray, Integers
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.names import check_name
from spikecut.text import brief

if TYPE_CHECKING:
    import torch

    from spikecut.models.network import SpikingNetwork, Stage
    from spikecut.models.twin import StagePlan

MINIMUM_SAMPLES = 32
PER_LAYER = {
    "twin_spikes": np.int8,
    "twin_weights": np.int32,
    "twin_biases": np.int32,
    "twin_gains": np.int16,
    "twin_skip_weights": np.int32,
    "twin_recurrent_weights": np.int32,
    "twin_neurons": np.int32,
}
WHOLE = ("images", "labels", "inputs", "float_scores", "twin_scores")
OPTIONAL = {"twin_gains", "twin_skip_weights", "twin_recurrent_weights", "twin_neurons"}
ONLY_WHERE_NEEDED = {"twin_neurons"}
"""What files hold only of networks that have it."""


@dataclass(frozen=True)
class Golden:
    """Golden samples and what torch said about them.

    Attributes
    ----------
    images: float64 [N, *shape], raw samples; of events [N, T, *shape]. labels: int64 [N].
    inputs: int64 [T, N, *shape], the encoded integers.
    float_scores: float64 [T, N, classes], per-step scores of the user's module.
    twin_scores: int64 [T, N, classes], per-step scores of its fake-quantised twin.
    twin_spikes: per layer that sends, int64 [T, N, *shape]; the numbers of graded messages.
    twin_weights, twin_biases: per layer, what the twin itself rounded to: weights int64 (O, ...), times 64, and biases
        int64 (O,), in v's units. A changed weight shows here even where no golden sample feels it.
    twin_gains: per layer that has any, int64 [T], in 4096ths.
    twin_skip_weights, twin_recurrent_weights: the weights of skips, see `joined`, and of what comes back, alike.
    twin_neurons: per layer whose neurons differ, int64 [5, C] or [5, C, H, W]: thresholds, decays of u and v, v(0), and
        what a soft reset subtracts.
    """

    images: npt.NDArray[np.float64]
    labels: IntArray
    inputs: IntArray
    float_scores: npt.NDArray[np.float64]
    twin_scores: IntArray
    twin_spikes: dict[str, IntArray]
    twin_weights: dict[str, IntArray]
    twin_biases: dict[str, IntArray]
    twin_gains: dict[str, IntArray] = field(default_factory=dict)
    twin_skip_weights: dict[str, IntArray] = field(default_factory=dict)
    twin_recurrent_weights: dict[str, IntArray] = field(default_factory=dict)
    twin_neurons: dict[str, IntArray] = field(default_factory=dict)

    __repr__ = brief


def too_few(samples: int) -> DataError:
    """Why so many golden samples are not enough, and how many the data set must hold."""
    return DataError(
        f"{samples} golden samples: at least {MINIMUM_SAMPLES} are needed, and they come from the data set's "
        f"calibration part; give x_calibration and y_calibration of {MINIMUM_SAMPLES} or more, or, where x and y alone "
        f"are split, about {5 * MINIMUM_SAMPLES} samples, of which one in five is for calibration"
    )


def make_golden(
    network: "SpikingNetwork",
    plans: "Sequence[StagePlan]",
    spec: InputSpec,
    horizon: int,
    images: Floats,
    labels: IntArray,
    witness: "torch.nn.Module | None" = None,
) -> Golden:
    """Run the module, and its fake-quantised twin, on samples [N, *shape], or events [N, T, *shape].

    witness: a module that gives the float scores in the network's place, frames [T, N, *shape] → [T, N, classes].

    Raises
    ------
    DataError: fewer than 32 samples, or values out of range.
    """
    import torch  # only making a witness needs torch; reading one does not

    from spikecut.models.twin import quantised_twin

    if len(images) < MINIMUM_SAMPLES:
        raise too_few(len(images))
    encoded = encode_samples(images, spec, horizon)
    frames: Integers | Floats = encoded
    if spec.encoding == "direct":
        frames = np.broadcast_to(images, (horizon, *images.shape))
    dtype = next(network.parameters()).dtype
    twin = quantised_twin(network, plans)
    with torch.no_grad():
        float_scores = (witness or network)(torch.tensor(np.array(frames), dtype=dtype))
        sent = twin.record(torch.tensor(encoded, dtype=torch.float64))
    stages = list(twin.network.layers())
    names = [stage.name for stage in stages]
    spiking = names[:-1] if network.readout == "membrane" else names
    return Golden(
        images=np.asarray(images, dtype=np.float64),
        labels=np.asarray(labels, dtype=np.int64),
        inputs=encoded.astype(np.int64),
        float_scores=float_scores.double().numpy(),
        twin_scores=integers(sent[names[-1]]),
        twin_spikes={name: integers(sent[name]) for name in spiking},
        twin_weights={stage.name: integers(stage.synapse.weight.detach()) for stage in stages},
        twin_biases={stage.name: integers(_bias(stage)) for stage in stages},
        twin_gains=twin.gains,
        twin_skip_weights={name: joined([integers(w) for w in each]) for name, each in twin.skip_weights().items()},
        twin_recurrent_weights={name: integers(weight) for name, weight in twin.recurrent_weights().items()},
        twin_neurons=twin.neurons,
    )


def _bias(stage: "Stage") -> "torch.Tensor":
    neuron: Any = stage.neuron
    bias: torch.Tensor | None = neuron.bias if getattr(neuron, "own_bias", False) else stage.synapse.bias
    return stage.synapse.weight.new_zeros(len(stage.synapse.weight)) if bias is None else bias.detach()


def integers(values: "torch.Tensor") -> IntArray:
    """Whole numbers that torch holds as floats, as int64; DataError for others."""
    array = values.numpy()
    integers = array.astype(np.int64)
    if not np.array_equal(array, integers):
        raise DataError("the fake-quantised twin gave a score that is not an integer; report this")
    return np.asarray(integers)


def joined(weights: Sequence[IntArray]) -> IntArray:
    """The weights of a layer's skips as one array: those of one skip as they are, of several one after the other."""
    return weights[0] if len(weights) == 1 else np.concatenate([weight.ravel() for weight in weights])


def golden_bytes(golden: Golden) -> bytes:
    """The content of golden.h5; DataError for more than is read back."""
    arrays = [getattr(golden, key) for key in WHOLE] + [v for key in PER_LAYER for v in getattr(golden, key).values()]
    numbers = sum(array.size for array in arrays)
    if NUMBER * numbers > MAXIMUM_BYTES:
        raise DataError(f"{numbers} numbers of golden samples, at most {MAXIMUM_BYTES // NUMBER}; use fewer samples")

    def write(file: h5py.File) -> None:
        for key in WHOLE:
            file[key] = getattr(golden, key)
        for key, dtype in PER_LAYER.items():
            if key in ONLY_WHERE_NEEDED and not getattr(golden, key):
                continue
            group = file.create_group(key)
            for name, values in getattr(golden, key).items():
                kept = np.int32 if key == "twin_spikes" and np.abs(values).max(initial=0) > 1 else dtype
                group.create_dataset(name, data=values.astype(kept), compression="gzip")

    return packed(write)


def _by_layer(group: h5py.Group, path: Path) -> dict[str, IntArray]:
    for name in group:
        check_name(name, f"{path}: layer")
    return {name: read_array(group, name, path) for name in group}


def read_golden(path: Path) -> Golden:
    """Read golden.h5; BundleError if it is damaged."""
    with open_hdf5(path) as file:
        groups = {key: subgroup(file, key, path) for key in PER_LAYER if key in file or key not in OPTIONAL}
        golden = Golden(
            images=read_floats(file, "images", path),
            labels=read_array(file, "labels", path),
            inputs=read_array(file, "inputs", path),
            float_scores=read_floats(file, "float_scores", path),
            twin_scores=read_array(file, "twin_scores", path),
            **{key: _by_layer(group, path) for key, group in groups.items()},
        )
    timed = (golden.inputs, golden.float_scores, golden.twin_scores)
    samples = {array.shape[:1] for array in (golden.images, golden.labels)} | {array.shape[1:2] for array in timed}
    if len(samples) != 1 or () in samples:
        raise BundleError(f"{path}: its arrays hold different numbers of samples; export again")
    scores = golden.float_scores.shape
    if len(scores) != 3 or golden.twin_scores.shape != scores or golden.inputs.shape[:1] != scores[:1]:
        raise BundleError(f"{path}: its scores are of different shapes; export again")
    if not (np.isfinite(golden.float_scores).all() and np.isfinite(golden.images).all()):
        raise BundleError(f"{path}: holds numbers that are not finite; export again")
    return golden
