"""Golden twin = batched engine = Lava, integer by integer, or where they first part."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle
from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.verify.causes import ENCODING, EXPORT, likely_cause
from spikecut.errors import BundleError, InputError
from spikecut.export.encode import encode_samples
from spikecut.export.golden import Golden
from spikecut.export.network.arrays import Floats, Integers
from spikecut.export.network.connectivity import skip_paths
from spikecut.export.network.layers import IntegerNetwork
from spikecut.fixed_point import ALIGNMENT_SHIFT, GAIN_UNITY

Progress = Callable[[int], None]


@dataclass(frozen=True)
class LayerCheck:
    """One layer in one engine against the golden twin: values compared, spikes among them, and how many differ."""

    engine: str
    layer: str
    compared: int
    spikes: int
    mismatches: int


@dataclass(frozen=True)
class Difference:
    """The first place, in the order of layers and then of steps, where an engine parts from the golden twin.

    `cause` is a guess at why, in words.
    """

    engine: str
    layer: str
    timestep: int
    sample: int
    neuron: tuple[int, ...]
    expected: int
    found: int
    cause: str = ""

    def __str__(self) -> str:
        """One line."""
        if self.engine == "export":
            where = (self.timestep - 1, self.sample, *self.neuron)
            return (
                f"layer {self.layer}: the golden twin has {self.expected}, the bundle {self.found} (first at {where}); "
                f"{self.cause}"
            )
        return (
            f"layer {self.layer}, timestep {self.timestep}, sample {self.sample}, neuron {self.neuron}: "
            f"the golden twin says {self.expected}, {self.engine} says {self.found}; likely cause: {self.cause}"
        )


@dataclass(frozen=True)
class Verification:
    """What verify found.

    Attributes
    ----------
    samples: golden samples compared. checks: per engine and layer. difference: the first one, or None.
    same_predictions: samples that float and integers class alike at the full horizon.
    largest_score_error: largest |float - integer / unit| of a running score, in units of one spike for a count
        readout, else relative to the largest float score.
    """

    samples: int
    engines: tuple[str, ...]
    checks: tuple[LayerCheck, ...]
    difference: Difference | None
    same_predictions: int
    largest_score_error: float

    @property
    def passed(self) -> bool:
        """Whether every integer is equal."""
        return self.difference is None


def verify(
    bundle: Bundle,
    samples: int | None = None,
    lava: bool = True,
    progress: Progress | None = None,
) -> Verification:
    """Compare the golden twin with the batched engine, and with Lava, on the golden samples.

    Parameters
    ----------
    samples: how many golden samples; None takes all.
    lava: whether Lava runs too, with its stock models.

    Raises
    ------
    InputError: fewer than one sample. BundleError, BackendError: see there.
    """
    golden = bundle.golden()
    available = len(golden.labels)
    count = available if samples is None else min(samples, available)
    if count < 1:
        raise InputError(f"samples {samples}: at least 1 is needed")
    network = bundle.network
    engines: dict[str, RunTrace | None] = {"batched": None}
    inputs = golden.inputs[:, :count].astype(np.int32)
    if lava:
        engines["lava"] = None
    checks: list[LayerCheck] = []
    differences: list[Difference] = []
    encoded = encode_samples(golden.images[:count], network.input, network.horizon)
    _compare("encode", "input", inputs, encoded, checks, differences)
    _compare_parameters(network, golden, checks, differences)
    for engine in engines:
        trace = _run(engine, bundle, inputs, progress)
        _compare_engine(engine, network, golden, count, trace, checks, differences)
    return Verification(
        samples=count,
        engines=tuple(engines),
        checks=tuple(checks),
        difference=_explained(differences[0], network, golden) if differences else None,
        same_predictions=int((_class(golden.float_scores) == _class(golden.twin_scores))[:count].sum()),
        largest_score_error=_score_error(golden, network, count),
    )


def _compare_parameters(
    network: IntegerNetwork, golden: Golden, checks: list[LayerCheck], differences: list[Difference]
) -> None:
    """The network's own weights, biases and gains against those that the twin rounded to."""
    for layer in network.layers:
        parameters = [
            ("weights", golden.twin_weights, layer.weight << ALIGNMENT_SHIFT),
            ("biases", golden.twin_biases, layer.neuron.bias),
        ]
        if layer.skip is not None:
            parameters.append(("skip weights", golden.twin_skip_weights, layer.skip.weight << ALIGNMENT_SHIFT))
        if layer.neuron.gain is not None or layer.name in golden.twin_gains:
            gain = layer.neuron.gain or (GAIN_UNITY,) * network.horizon
            parameters.append(("gains", golden.twin_gains, np.array(gain)))
        for what, expected, found in parameters:
            want = expected.get(layer.name)
            if want is None or want.shape != found.shape:
                raise BundleError(f"the golden witness holds no {what} that fit layer {layer.name}; export again")
            _compare("export", f"{layer.name} {what}", want, found, checks, differences)


def _explained(difference: Difference, network: IntegerNetwork, golden: Golden) -> Difference:
    """The difference with its likely cause."""
    if difference.engine in ("encode", "export"):
        return replace(difference, cause=ENCODING if difference.engine == "encode" else EXPORT)
    names = [layer.name for layer in network.layers]
    sample, neuron, found = difference.sample, difference.neuron, difference.found
    depth = network.depth
    if difference.layer in names:
        depth = names.index(difference.layer) + 1
    else:  # scores per class: of a membrane its increments
        if network.readout == "membrane":
            found += int(golden.twin_scores[: difference.timestep - 1, sample, neuron[0]].sum())
        neuron = tuple(int(i) for i in np.unravel_index(neuron[0], network.layers[-1].output_shape))
    points = [golden.inputs, *(golden.twin_spikes[name] for name in names[: depth - 1])]
    frames = points[-1][:, sample].astype(np.int32)
    path = skip_paths(network).get(depth)
    around = None if path is None else points[path.source][:, sample].astype(np.int32)
    cause = likely_cause(network, depth, frames, difference.timestep, neuron, found, around, difference.engine)
    return replace(difference, cause=cause)


def _run(engine: str, bundle: Bundle, inputs: Integers, progress: Progress | None) -> RunTrace:
    if engine == "batched":
        return run_batched(bundle.network, inputs, record="all")
    from spikecut.deploy.backends.lava.cpu import run_lava

    # The proof is of Lava's own arithmetic.
    return run_lava(bundle.network, inputs, record="all", net_file=bundle.net_file, progress=progress, models="stock")


def _compare_engine(
    engine: str,
    network: IntegerNetwork,
    golden: Golden,
    count: int,
    trace: RunTrace,
    checks: list[LayerCheck],
    differences: list[Difference],
) -> None:
    spikes = trace.spikes
    for layer in network.layers:
        if layer.neuron.reset != "none":
            expected = golden.twin_spikes[layer.name][:, :count]
            _compare(engine, layer.name, expected, spikes[layer.name], checks, differences)
    scores = golden.twin_scores[:, :count]
    _compare(engine, "output scores", scores, trace.scores, checks, differences)


def _compare(
    engine: str,
    layer: str,
    expected: Integers,
    found: Integers,
    checks: list[LayerCheck],
    differences: list[Difference],
) -> None:
    """Add a row; the first difference is the earliest step, then the first sample and neuron."""
    wrong = expected != found
    spikes = 0 if engine in ("encode", "export") or layer == "output scores" else int(np.count_nonzero(expected))
    checks.append(LayerCheck(engine, layer, int(wrong.size), spikes, int(wrong.sum())))
    if wrong.any():
        where = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        differences.append(
            Difference(engine, layer, where[0] + 1, (*where, 0)[1], where[2:], int(expected[where]), int(found[where]))
        )


def _class(scores: Floats | Integers) -> npt.NDArray[np.int64]:
    return np.asarray(scores.sum(axis=0).argmax(axis=1), dtype=np.int64)


def _score_error(golden: Golden, network: IntegerNetwork, count: int) -> float:
    floating = golden.float_scores[:, :count].cumsum(axis=0)
    integer = golden.twin_scores[:, :count].cumsum(axis=0).astype(np.float64)
    if network.readout == "count":
        return float(np.abs(floating - integer).max())
    unit = float((floating * integer).sum() / max(float((floating**2).sum()), 1e-300))
    return float(np.abs(floating - integer / unit).max() / np.abs(floating).max()) if unit else float("nan")
