"""Writes the validation table of docs/cost_model.md: our estimates beside published measurements.

    python scripts/cost_validation.py           rewrite the table
    python scripts/cost_validation.py --check   exit 1 if it is not current

No constant of a hardware file was chosen after looking at the published figures. Networks and reference spikes of
PilotNet-LIF and NTIDIGITS ship in lava-dl's wheel, among its tests. They are read here and not by export/netx: one
begins with a layer of neurons without synapses, the other ends in an average, which spikecut's networks lack.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import h5py
import numpy as np

from spikecut.deploy.backends.kernels.reference import NeuronState
from spikecut.deploy.cost.band import Figure
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.export.network.arrays import Shape, size
from spikecut.export.network.connectivity import fan_out
from spikecut.export.network.geometry import conv_output_shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "cost_model.md"
BEGIN = "<!-- validation: made by scripts/cost_validation.py, do not edit -->"
END = "<!-- end of validation -->"
HEADER = "| network, hardware | quantity | estimated (low to high) | published | ratio | in the band | assumption |"


@dataclass(frozen=True)
class Row:
    """One line of the table; `ours` None where there is no figure."""

    network: str
    quantity: str
    ours: Figure | None
    published: float
    unit: str
    assumption: str

    def cells(self) -> list[str]:
        """The line's cells."""
        published = f"{self.published:g} {self.unit}".strip()
        if self.ours is None:
            return [self.network, self.quantity, "no figure", published, "", "", self.assumption]
        value, low, high = (f"{number:.4g}" for number in (self.ours.value, self.ours.low, self.ours.high))
        ours = f"{value} {self.unit}".strip() + (f" ({low} to {high})" if low != high else "")
        inside = "inside" if self.ours.low <= self.published <= self.ours.high else "outside"
        ratio = f"{self.ours.value / self.published:.2f}"
        return [self.network, self.quantity, ours, published, ratio, inside, self.assumption]


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


def pilotnet() -> list[Row]:
    """PilotNet-LIF: the reference spikes of all layers in the 16 steps of one frame, frames back to back."""
    folder, steps, shape = references() / "pilotnet_lif", 16, (3, 66, 200)
    network = IntegerNetwork(
        read_layers(folder / "network.net", shape), InputSpec(shape, "events"), "count", steps, "PilotNet-LIF"
    )
    rasters = [np.zeros((1, steps, size(shape)), dtype=np.int32)]  # the image is written into biases: no messages
    for name in ("input", *(f"conv-{i}" for i in range(5)), *(f"fc-{i}" for i in range(3))):
        spikes = np.load(folder / f"{name}.npy")[..., :steps]  # (W, H, C, T) or (F, T)
        rasters.append(spikes.T.reshape(1, steps, -1).astype(np.int32))
    rasters.append(np.zeros((1, steps, 1), dtype=np.int32))  # the last layer does not fire
    trace = _trace(network, rasters, steps)
    chip = load_hardware("loihi2")
    placement = place(network, chip)
    cost = estimate(trace, chip, placement=placement)
    where = "PilotNet-LIF, Loihi 2"
    time = _scaled(cost.latency_s.mean, 1e6 / steps)
    return [
        Row(where, "cores", _exactly(placement.cores), 74, "", "a convolution's weights are stored for every position"),
        Row(where, "time per step", time, 152.8, "µs", "lava-dl's reference spikes, 16 steps, frames back to back"),
        Row(
            where,
            "throughput",
            Figure(1e6 / steps / time.value, 1e6 / steps / time.high, 1e6 / steps / time.low),
            408.9,
            "frames/s",
            "16 steps a frame",
        ),
        Row(
            where,
            "dynamic energy per frame",
            _scaled(cost.dynamic_energy_j.mean, 1e3),
            1.094,
            "mJ",
            "the input layer fires on the chip, as a 1×1 convolution",
        ),
        Row(
            where,
            "energy per frame",
            _scaled(cost.energy_j.mean, 1e3),
            1.661,
            "mJ",
            "no independent check: the low static power is derived from this row",
        ),
    ]


def ntidigits() -> list[Row]:
    """NTIDIGITS: 3000 steps of the reference input, run here; the output equals the reference spikes."""
    folder, steps = references() / "ntidigits", 3000
    layers = read_layers(folder / "ntidigits.net", (64,))
    network = IntegerNetwork(layers, InputSpec((64,), "events"), "count", steps, "NTIDIGITS")
    rasters = [np.load(folder / "input.npy").T.astype(np.int32)]
    for layer in layers:
        rasters.append(_run_delayed(layer, rasters[-1]))
    reference = np.load(folder / "output.npy").T
    if not np.array_equal(rasters[-1][: steps - 4], reference[4:]):
        raise SystemExit("NTIDIGITS: the spikes differ from lava-dl's reference")
    trace = _trace(network, [raster[None] for raster in rasters], steps)
    chip = load_hardware("loihi1")
    placement = place(network, chip)
    cost = estimate(trace, chip, placement=placement)
    where = "NTIDIGITS 64-256-256-242, Loihi 1"
    spikes = "lava-dl's network and input, output equal to its reference spikes"
    return [
        Row(where, "cores", _exactly(placement.cores), 6, "", "as tightly as the limits allow"),
        Row(where, "time per step", _scaled(cost.latency_s.mean, 1e6 / steps), 17.6, "µs", spikes),
        Row(where, "latency", _scaled(cost.latency_s.mean, 1e3), 52.9, "ms", "3000 steps"),
        Row(where, "dynamic energy per sample", _scaled(cost.dynamic_energy_j.mean, 1e6), 576, "µJ", spikes),
    ]


def _run_delayed(layer: IntegerLayer, frames: np.ndarray) -> np.ndarray:
    """Spikes int32 [T, O] of a dense layer whose synapses onto a neuron all have the neuron's delay."""
    sums = (frames.astype(np.float64) @ layer.weight.T.astype(np.float64)).astype(np.int64)
    if layer.delay is not None:
        for neuron, delay in enumerate(layer.delay[:, 0]):
            sums[:, neuron] = np.concatenate([np.zeros(delay, dtype=np.int64), sums[: len(sums) - delay, neuron]])
    state = NeuronState.at_rest(layer, 1)
    return np.concatenate([state.step(layer, current[None]) for current in sums])


def keyword_spotting() -> list[Row]:
    """Keyword spotting 390-256-256-29: no spikes are published, so the rate is the one that the energy implies."""
    steps, sizes = 10, (390, 256, 256, 29)
    layers = tuple(
        IntegerLayer(
            f"dense{n}",
            "dense",
            np.full((sizes[n + 1], sizes[n]), 2),
            IntegerNeuron(1, np.zeros(sizes[n + 1], dtype=np.int64)),
            (sizes[n],),
            (sizes[n + 1],),
        )
        for n in range(3)
    )
    network = IntegerNetwork(layers, InputSpec((390,), "events"), "count", steps, "keyword spotting")
    chip = load_hardware("loihi1")
    silent, all_on = (
        estimate(_trace(network, [np.full((1, steps, n), on, dtype=np.int32) for n in sizes], steps), chip)
        for on in (0, 1)
    )
    rest, most = silent.dynamic_energy_j.mean, all_on.dynamic_energy_j.mean
    rate = (270e-6 - rest.value) / (most.value - rest.value)
    where = "keyword spotting 2×256, Loihi 1"
    if rate > 1:
        said = f"every input and neuron fires in every step; the published energy would need {rate:.1f} spikes each"
    else:
        said = f"implied firing rate {rate:.2f} a step"
    share = min(rate, 1.0)
    energy = Figure(*(a + share * (b - a) for a, b in zip(_edges(rest), _edges(most), strict=True)))
    slow = all_on.latency_s.mean
    throughput = Figure(1 / slow.value, 1 / slow.high, 1 / slow.low)
    layout = "inputs 390 and outputs 29 assumed"
    return [
        Row(where, "dynamic energy per inference", _scaled(energy, 1e3), 0.27, "mJ", f"{said}; {layout}"),
        Row(where, "throughput", throughput, 296, "inferences/s", f"10 steps, {said}; theirs includes host input"),
    ]


def without_figures() -> list[Row]:
    """Published measurements whose layer shapes and spikes are not published with them."""
    why = "layer shapes and spikes not at hand: no figure rather than a guess"
    rows = []
    for where, values in (
        ("MNIST CNN by NxTF, Loihi 1", ((14, ""), (6.65, "ms"), (0.66, "mJ"))),
        ("MobileNet CIFAR-10 by NxTF, Loihi 1", ((861, ""), (340, "ms"), (102, "mJ"))),
    ):
        for quantity, (value, unit) in zip(("cores", "latency", "energy per sample"), values, strict=True):
            rows.append(Row(where, quantity, None, value, unit, why))
    return rows


def _trace(network: IntegerNetwork, rasters: list[np.ndarray], steps: int) -> RunTrace:
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


def _edges(figure: Figure) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high


def _scaled(figure: Figure, factor: float) -> Figure:
    return Figure(*(factor * edge for edge in _edges(figure)))


def _exactly(count: int) -> Figure:
    return Figure(count, count, count)


def validation_table() -> str:
    """The table, as it stands in the document."""
    rows = [*pilotnet(), *ntidigits(), *keyword_spotting(), *without_figures()]
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Rewrite the document's table, or check it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    fresh = f"{before}{BEGIN}\n\n{validation_table()}\n\n{END}{after}"
    if "--check" in sys.argv:
        raise SystemExit(0 if fresh == text else "docs/cost_model.md is not current: run scripts/cost_validation.py")
    DOCUMENT.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
