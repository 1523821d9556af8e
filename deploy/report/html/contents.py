"""What a report shows, as plain data: gathered by the pipeline, laid out by charts and page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.placement.mesh import MeshCell
from spikecut.deploy.run_trace import IntArray, RunTrace
from spikecut.deploy.verify.compare import Verification
from spikecut.text import brief

GENERATOR = "spikecut report"
"""By this mark of a page an earlier report is known."""
KINDS = ("pdf", "svg")
"""Formats of figures for a paper."""
UNKNOWN = Figure(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Point:
    """One way to stop, measured on the samples of a run.

    Attributes
    ----------
    kind: "stop" (all samples at one timestep), "policy" (the run's policy at another ε), or "run" (the run itself).
    label: in words. timesteps: mean per sample, with its 95 % interval. accuracy: share, with its 95 % interval.
    latency_s, energy_j: hardware name → mean per sample with its band, estimated.
    """

    kind: str
    label: str
    timesteps: Figure
    accuracy: Figure
    latency_s: Mapping[str, Figure] = field(default_factory=dict)
    energy_j: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerRow:
    """One layer: what it is, what quantisation did to it, and what the mean sample does in it; None where unknown.

    Attributes
    ----------
    kind, input, output: its kind and shapes, in words. neurons, parameters: how many. weight_bits: of its integers.
    error_max, error_rms: of its weights, in float units of the folded network; likewise threshold_error, bias_error.
    headroom: bits left of 24, and how that was found.
    spikes, synops: messages and synaptic operations per sample. rate: messages per neuron and hardware step.
    time_s, energy_j: hardware name → seconds on the critical path, or joules, of the mean sample, estimated.
    """

    name: str
    kind: str = ""
    input: str = ""
    output: str = ""
    neurons: int | None = None
    parameters: int | None = None
    weight_bits: int | None = None
    error_max: float | None = None
    error_rms: float | None = None
    threshold_error: float | None = None
    bias_error: float | None = None
    headroom: str = ""
    spikes: float | None = None
    rate: float | None = None
    synops: float | None = None
    time_s: Mapping[str, Figure] = field(default_factory=dict)
    energy_j: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class HardwareCost:
    """What the mean sample costs on one hardware, estimated, or why the network cannot run there.

    Attributes
    ----------
    refusal: why not; "" where it runs. latency_s, energy_j: with their bands; NaN where unknown.
    shared_time_s, shared_energy_j: what belongs to no layer: barrier, static power and the like.
    critical: layer → share of the hardware steps in which it held all others up.
    bounds: what the steps wait for: its name, the share of steps that it bounded, its mean time a step, and where.
    unknown: measure → terms that nobody has published: its figure is then a lower bound.
    provenance: measure → how its known terms were found. assumptions, hypothetical: in words.
    placement: cores, tiles and chips in words.
    """

    name: str
    title: str = ""
    refusal: str = ""
    latency_s: Figure = UNKNOWN
    energy_j: Figure = UNKNOWN
    shared_time_s: Mapping[str, Figure] = field(default_factory=dict)
    shared_energy_j: Mapping[str, Figure] = field(default_factory=dict)
    critical: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[tuple[str, float, float, str], ...] = ()
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provenance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    hypothetical: tuple[str, ...] = ()
    placement: str = ""


@dataclass(frozen=True)
class Mesh:
    """The cores that a run uses on one chip, with their load.

    Attributes
    ----------
    columns, rows: tiles of a chip. per_tile: cores of a tile. chips: chips in use. layers: names, in their order.
    cells: the cores in use.
    """

    hardware: str
    columns: int
    rows: int
    per_tile: int
    chips: int
    layers: tuple[str, ...]
    cells: tuple[MeshCell, ...]


@dataclass(frozen=True)
class Exits:
    """Where samples exit: at t = 1 … T how many were right and how many wrong."""

    right: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class WrongSample:
    """A sample whose answer is wrong; margin: the largest score less the label's, at the exit."""

    index: int
    label: str
    prediction: str
    timesteps: int
    reason: str
    margin: int


@dataclass(frozen=True)
class Played:
    """Some samples with their messages, to be played step by step.

    Attributes
    ----------
    trace: their run, with messages. labels: the right classes, int64 [N]. index: int64 [N], places in the data set.
    thresholds: of a Top-K policy, the margin beyond which a sample exits at t = 1 … T (None: never); empty for others.
    """

    trace: RunTrace
    labels: IntArray
    index: IntArray
    thresholds: tuple[int | None, ...] = ()

    __repr__ = brief


@dataclass(frozen=True)
class RunReport:
    """All that is shown of one run.

    Attributes
    ----------
    name: of the run among those of a report, each its own. network, backend, dataset, policy: in words.
    horizon, depth, samples: T, P and N. classes: their names.
    accuracy_full, accuracy_cutoff: share with its 95 % interval (Clopper-Pearson); None where not run.
    timesteps, hardware_steps: means per sample, with the 95 % interval of the mean.
    savings: name → ratio of steps to the full run. oracle: mean timestep of the oracle of stable correctness.
    exits, wrong: where samples exit, and which are wrong, all of them.
    monitors: by hardware and place, whether the cutoff pays for a monitor there, in latency and in energy, and what its
        cost is made of. monitor_notes: where none can run.
    points: ways to stop. points_of: how many samples of the run they were measured on.
    layers, costs, meshes, verification, played: see there; None or empty where `missing` says why.
    replayed: samples of which spikes, synaptic operations and the mesh are means.
    provenance: seed, hashes and versions, in words.
    missing: section → why it is not shown.
    """

    name: str
    folder: str
    network: str
    backend: str
    dataset: str
    policy: str
    horizon: int
    depth: int
    samples: int
    classes: tuple[str, ...]
    accuracy_full: Figure | None
    accuracy_cutoff: Figure | None
    timesteps: Figure
    hardware_steps: Figure
    savings: Mapping[str, float]
    oracle: float | None
    exits: Exits
    wrong: tuple[WrongSample, ...]
    layers: tuple[LayerRow, ...]
    costs: tuple[HardwareCost, ...]
    monitors: tuple[tuple[str, ...], ...] = ()
    monitor_notes: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    points_of: int = 0
    replayed: int = 0
    meshes: tuple[Mesh, ...] = ()
    verification: Verification | None = None
    played: Played | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    __repr__ = brief

    @property
    def accuracy(self) -> Figure | None:
        """That of the run itself: with the cutoff if it had one."""
        return self.accuracy_full if self.accuracy_cutoff is None else self.accuracy_cutoff

    @property
    def chips(self) -> tuple[HardwareCost, ...]:
        """The hardware on which the network can run."""
        return tuple(cost for cost in self.costs if not cost.refusal)


@dataclass(frozen=True)
class Report:
    """Several runs, and the hardware that they were estimated on, as its files say today; by name.

    version: of spikecut, which writes the report.
    """

    runs: tuple[RunReport, ...]
    version: str
    hardware: Mapping[str, Hardware] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    __repr__ = brief
