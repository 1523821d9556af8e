"""Golden twin = batched engine = the backend, integer by integer, or where they first differ."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import Advance, RunSettings, backend_named, check_run
from spikecut.deploy.bundle import Bundle
from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.verify.causes import ENCODING, EXPORT, Deviation, likely_cause
from spikecut.errors import BundleError, InputError
from spikecut.export.encode import encode_samples
from spikecut.export.golden import Golden, joined
from spikecut.export.network.arrays import Floats, Integers
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.network.parameters import beside
from spikecut.fixed_point import ALIGNMENT_SHIFT, GAIN_UNITY
from spikecut.text import brief

REFERENCE = "batched"
"""The backend that is compared beside whichever is asked for."""
SCORES = "output scores"


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
    """The first place, in the order of layers and then of steps, where an engine differs from the golden twin.

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
            f"the golden twin has {self.expected}, {self.engine} has {self.found}; likely cause: {self.cause}"
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

    __repr__ = brief

    def __str__(self) -> str:
        """Two lines: whether every integer is equal, and how far float and integers agree."""
        compared = sum(check.compared for check in self.checks)
        verdict = f"all {compared:,} integers are equal" if self.passed else str(self.difference)
        return (
            f"{' and '.join(self.engines)} against the golden twin on {self.samples} samples: {verdict}\n"
            f"float and integers: same prediction on {self.same_predictions} of {self.samples} samples, largest "
            f"difference of a running score {self.largest_score_error:.3g}"
        )

    @property
    def passed(self) -> bool:
        """Whether every integer is equal."""
        return self.difference is None


def verify(
    bundle: Bundle, samples: int | None = None, backend: str = "lava", progress: Advance | None = None
) -> Verification:
    """Compare the golden twin with the batched engine, and with one more backend, on the golden samples.

    Parameters
    ----------
    samples: how many golden samples; None takes all.
    backend: by its name, "batched" for the batched engine alone; Lava runs with its stock models.
    progress: called as this backend finishes samples.

    Raises
    ------
    InputError: fewer than one sample, or an unknown backend. CapabilityError: the backend lacks something that the
        network needs. BundleError, BackendError: see there.
    """
    network = bundle.network
    engines = [backend_named(name) for name in dict.fromkeys((REFERENCE, backend))]
    for engine in engines:
        check_run(engine, network)
    golden = bundle.golden()
    available = len(golden.labels)
    count = available if samples is None else min(samples, available)
    if count < 1:
        raise InputError(f"samples {samples}: at least 1 is needed")
    inputs = golden.inputs[:, :count].astype(np.int32)
    compared = _Comparison()
    compared.add("encode", "input", inputs, encode_samples(golden.images[:count], network.input, network.horizon))
    _compare_parameters(network, golden, compared)
    for engine in engines:
        advance = progress if engine.name == backend else None
        trace = engine.verify(network, inputs, RunSettings(net_file=bundle.net_file, progress=advance))
        _compare_engine(engine.name, golden, trace, compared)
    return Verification(
        samples=count,
        engines=tuple(engine.name for engine in engines),
        checks=tuple(compared.checks),
        difference=_explained(compared.differences[0], network, golden) if compared.differences else None,
        same_predictions=int((_class(golden.float_scores) == _class(golden.twin_scores))[:count].sum()),
        largest_score_error=_score_error(golden, network, count),
    )


@dataclass
class _Comparison:
    """What has been compared, and the first difference of each comparison."""

    checks: list[LayerCheck] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def add(self, engine: str, layer: str, expected: Integers, found: Integers) -> None:
        """Add a row; the first difference is the earliest step, then the first sample and neuron."""
        if expected.shape != found.shape:
            raise BundleError(f"the golden witness holds nothing of the shape of {layer}; export again")
        wrong = expected != found
        spikes = 0 if engine in ("encode", "export") or layer == SCORES else int(np.count_nonzero(expected))
        self.checks.append(LayerCheck(engine, layer, int(wrong.size), spikes, int(wrong.sum())))
        if wrong.any():
            where = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
            step, sample, neuron = where[0] + 1, (*where, 0)[1], where[2:]
            self.differences.append(
                Difference(engine, layer, step, sample, neuron, int(expected[where]), int(found[where]))
            )


def _compare_parameters(network: IntegerNetwork, golden: Golden, compared: _Comparison) -> None:
    """The network's weights, of recurrence and skips, too, biases, gains and neurons that differ against the twin's."""
    for layer in network.layers:
        parameters = [
            ("weights", golden.twin_weights, layer.weight << ALIGNMENT_SHIFT),
            ("biases", golden.twin_biases, layer.neuron.bias),
        ]
        if layer.skips:
            skips = joined([skip.weight << ALIGNMENT_SHIFT for skip in layer.skips])
            parameters.append(("skip weights", golden.twin_skip_weights, skips))
        if layer.recurrent is not None:
            back = layer.recurrent << ALIGNMENT_SHIFT
            parameters.append(("recurrent weights", golden.twin_recurrent_weights, back))
        if layer.neuron.gain is not None or layer.name in golden.twin_gains:
            gain = layer.neuron.gain or (GAIN_UNITY,) * network.horizon
            parameters.append(("gains", golden.twin_gains, np.array(gain)))
        if layer.neuron.varies or layer.name in golden.twin_neurons:
            parameters.append(("neurons", golden.twin_neurons, layer.neurons()))
        for what, expected, found in parameters:
            want = expected.get(layer.name)
            if what == "biases" and want is not None and want.ndim != found.ndim:  # one per neuron, or per channel
                want, found = np.broadcast_arrays(*beside(want, found))
            if what == "neurons" and want is not None and want.shape == found.shape[:2]:  # one per channel
                want = np.broadcast_to(want.reshape(*want.shape, *[1] * (found.ndim - 2)), found.shape)
            if want is None or want.shape != found.shape:
                raise BundleError(f"the golden witness holds no {what} that fit layer {layer.name}; export again")
            compared.add("export", f"{layer.name} {what}", want, found)


def _compare_engine(engine: str, golden: Golden, trace: RunTrace, compared: _Comparison) -> None:
    """Every layer's spikes where the backend records them, and the scores."""
    spikes = trace.spikes
    for layer in trace.network.layers:
        if layer.neuron.reset != "none" and layer.name in spikes:
            want = golden.twin_spikes.get(layer.name)
            if want is None or want.ndim < 2:
                raise BundleError(f"the golden witness holds no spikes of layer {layer.name}; export again")
            compared.add(engine, layer.name, want[:, : trace.samples], spikes[layer.name])
    compared.add(engine, SCORES, golden.twin_scores[:, : trace.samples], trace.scores)


def _explained(difference: Difference, network: IntegerNetwork, golden: Golden) -> Difference:
    """The difference with its likely cause."""
    if difference.engine in ("encode", "export"):
        return replace(difference, cause=ENCODING if difference.engine == "encode" else EXPORT)
    names = [layer.name for layer in network.layers]
    sample, neuron, found = difference.sample, difference.neuron, difference.found
    number = len(names)
    if difference.layer in names:
        number = names.index(difference.layer) + 1
    else:  # scores per class: of a membrane its increments
        if network.readout == "membrane":
            found += int(golden.twin_scores[: difference.timestep - 1, sample, neuron[0]].sum())
        neuron = tuple(int(i) for i in np.unravel_index(neuron[0], network.layers[-1].output_shape))
    points = [golden.inputs, *(golden.twin_spikes[name] for name in names[: number - 1])]
    frames, *skipped = (points[path.source][:, sample].astype(np.int32) for path in network.paths[number - 1])
    deviation = Deviation(number, difference.timestep, neuron, found, difference.engine)
    return replace(difference, cause=likely_cause(network, deviation, frames, skipped))


def _class(scores: Floats | Integers) -> npt.NDArray[np.int64]:
    return np.asarray(scores.sum(axis=0).argmax(axis=1), dtype=np.int64)


def _score_error(golden: Golden, network: IntegerNetwork, count: int) -> float:
    floating = golden.float_scores[:, :count].cumsum(axis=0)
    integer = golden.twin_scores[:, :count].cumsum(axis=0).astype(np.float64)
    if network.readout == "count":
        return float(np.abs(floating - integer).max())
    unit = float((floating * integer).sum() / max(float((floating**2).sum()), 1e-300))
    return float(np.abs(floating - integer / unit).max() / np.abs(floating).max()) if unit else float("nan")
