"""The one place where a user's floats become the integers that enter the network."""

import hashlib
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError, InputError
from spikecut.export.network.arrays import size
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork
from spikecut.memory import check_memory
from spikecut.models.data import load_dataset

Float = npt.NDArray[np.float64]
Integers32 = npt.NDArray[np.int32]

Part = Literal["train", "calibration", "test"]
BLOCK_ELEMENTS = 2**21
"""Messages encoded at once: their floats take a multiple of their own memory."""
FEWER = "take fewer samples (--samples), or a shorter horizon"


class HasNetwork(Protocol):
    """Anything that carries an integer network, such as a bundle."""

    @property
    def network(self) -> IntegerNetwork:
        """The network."""
        ...


def encode(images: npt.ArrayLike | str | Path, target: IntegerNetwork | HasNetwork, split: Part = "test") -> Integers32:
    """Encode samples for a network or bundle.

    Parameters
    ----------
    images: float or integer [N, C, H, W] or [N, F], in the units that the network was trained on; for the encoding
        "events" whole numbers [N, T, *shape], counted in T frames. Or a data set, by its name or the path of its file.
    target: the network, or a bundle that holds it.
    split: of a data set, which part: "train", "calibration" or "test"; `spikecut.load_dataset` has its labels.

    Returns
    -------
    int32 [T, N, *shape]: the messages of every timestep. With the encoding "direct" all timesteps are one frame in
    memory, and the array is read-only.

    Raises
    ------
    DataError: a shape does not fit, or a value lies outside the range that the network's InputSpec declares.
    InputError: the messages do not fit into the memory.
    """
    network = target if isinstance(target, IntegerNetwork) else getattr(target, "network", None)
    if not isinstance(network, IntegerNetwork):
        raise InputError(f"target: a {type(target).__name__}; expected a bundle, or what spikecut.load gives")
    values: object = images
    if isinstance(images, str | Path):
        if split not in get_args(Part):
            raise DataError(f"split {split!r}: expected one of {', '.join(get_args(Part))}")
        values = getattr(load_dataset(str(images), frames=network.horizon), split).x
    return encode_samples(values, network.input, network.horizon)


def encode_samples(images: object, spec: InputSpec, horizon: int) -> Integers32:
    """Encode samples [N, *spec.shape], or events [N, horizon, *spec.shape], for `horizon` timesteps; see `encode`."""
    values = np.asarray(images)
    if values.dtype.kind not in "fiub":
        raise DataError(f"samples are of type {values.dtype}: expected numbers")
    if spec.encoding == "events":
        if values.shape[1:] != (horizon, *spec.shape):
            raise DataError(
                f"samples of shape {values.shape} do not fit this network, which takes events: expected "
                f"(N, {horizon}, {_listed(spec.shape)}), N samples of {horizon} frames"
            )
    elif values.shape[1:] != spec.shape or values.ndim != len(spec.shape) + 1:
        raise DataError(f"samples of shape {values.shape} do not fit this network: expected (N, {_listed(spec.shape)})")
    frames, samples = 1 if spec.encoding == "direct" else horizon, len(values)
    elements = frames * size(spec.shape)
    check_memory(4 * samples * elements, f"{samples:,} encoded samples of {frames:,} timesteps", FEWER)
    messages = np.empty((frames, samples, *spec.shape), dtype=np.int32)
    step = max(1, BLOCK_ELEMENTS // elements)
    for first in range(0, samples, step):
        messages[:, first : first + step] = _encode_block(values[first : first + step], spec, horizon)
    return np.broadcast_to(messages, (horizon, *messages.shape[1:])) if spec.encoding == "direct" else messages


def _encode_block(given: npt.NDArray[np.generic], spec: InputSpec, horizon: int) -> Integers32:
    """A few samples: one frame of them for the encoding "direct", else `horizon`."""
    if spec.encoding == "events":
        return _events(given, spec)
    values = given.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("a sample holds NaN or infinity: clean the data")
    scaled = (values - spec.zero) / spec.scale
    if spec.encoding == "direct":
        rounded = np.rint(scaled)
        _check_range(values, (rounded < spec.minimum) | (rounded > spec.maximum), spec)
        frames: Integers32 = rounded.astype(np.int32)[None]
        return frames
    _check_range(values, (scaled < 0) | (scaled > 1), spec)
    if spec.encoding == "bernoulli":
        return _bernoulli(scaled, spec, horizon)
    return _latency(scaled, horizon)


def _bernoulli(probability: Float, spec: InputSpec, horizon: int) -> Integers32:
    """Independent draws per timestep; the generator is keyed by the seed and the sample's own content.

    A sample so gets the same spikes wherever in a data set it stands.
    """
    spikes = np.empty((horizon, *probability.shape), dtype=np.int32)
    for n, sample in enumerate(probability):
        digest = hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16, key=str(spec.seed).encode())
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), "little")))
        spikes[:, n] = generator.random((horizon, *sample.shape)) < sample
    return spikes


def _latency(scaled: Float, horizon: int) -> Integers32:
    """One spike per input at t = 1 + round((1 - p)(T - 1)); none where p = 0."""
    first = np.rint((1.0 - scaled) * (horizon - 1)).astype(np.int64)
    steps = np.arange(horizon).reshape(-1, *([1] * scaled.ndim))
    spikes: Integers32 = ((steps == first) & (scaled > 0)).astype(np.int32)
    return spikes


def _events(values: npt.NDArray[np.generic], spec: InputSpec) -> Integers32:
    """Check events [N, T, *shape], and put the timestep first."""
    with np.errstate(invalid="ignore"):  # what no int32 holds is refused below
        integers = values.astype(np.int32)
    if not np.array_equal(integers, values):
        raise DataError("events must be whole numbers of at most 32 bits")
    _check_range(values, (integers < spec.minimum) | (integers > spec.maximum), spec)
    return np.moveaxis(integers, 1, 0)


def _check_range(values: npt.NDArray[np.generic], outside: npt.NDArray[np.bool_], spec: InputSpec) -> None:
    if not outside.any():
        return
    worst = values[np.unravel_index(int(np.argmax(outside)), outside.shape)]
    if spec.encoding in ("direct", "events"):
        low, high = spec.zero + spec.scale * spec.minimum, spec.zero + spec.scale * spec.maximum
    else:
        low, high = spec.zero, spec.zero + spec.scale
    raise DataError(
        f"a value {worst} lies outside the input range [{low:g}, {high:g}] of this network: "
        "scale the samples as in training (spikecut never clips)"
    )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in shape)
