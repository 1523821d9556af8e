"""Other people's networks: a NIR file → a chain of stages in torch, with a line on every node, and its witness.

NIR: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 15 (2024); the primitives are those of the package nir 1.0.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from spikecut.errors import BundleError, ExportError, InputError, SpikecutError, UnsupportedError
from spikecut.export.importers.linear import Synapse, after, as_dense, identity, synapse_module
from spikecut.export.importers.neurons import StepNeuron
from spikecut.export.network.arrays import Shape, size
from spikecut.export.nir.chain import ordered
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import MAXIMUM_NUMBERS, NirNode
from spikecut.export.nir.neurons import NEURONS, step_neuron
from spikecut.export.nir.sandbox import read_graph
from spikecut.export.nir.synapses import SYNAPSES, operation_of
from spikecut.export.nir.witness import NirWitness
from spikecut.models.network import Readout, SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.integrate_fire import MembraneReadout

Exactness = Literal["exact", "approximate", "refused", "not reached"]


@dataclass(frozen=True)
class NodeReport:
    """What becomes of one node: its output's shape, the layer it goes into, and how exactly."""

    node: str
    kind: str
    shape: Shape
    layer: str
    exactness: Exactness
    detail: str


@dataclass(frozen=True)
class Imported:
    """A NIR file, read.

    Attributes
    ----------
    nodes: one report a node, in the order of the chain.
    assumed: what the file does not tell and was taken from the framework's defaults, or from the user.
    input_shape: (C, H, W) or (F,); a (C, L) of the file is (C, 1, L) here.
    refusal: the first error of a node that is refused, None where there is none.
    network, witness: the float network, and the file's own nodes in torch, both float64; None where a node is refused
        before the end. A network may be there although a node is refused: in float it can be run.
    """

    nodes: tuple[NodeReport, ...]
    assumed: tuple[str, ...]
    input_shape: Shape
    refusal: SpikecutError | None
    network: SpikingNetwork | None
    witness: NirWitness | None

    def checked(self, strict: bool = False) -> tuple[SpikingNetwork, NirWitness]:
        """The network and its witness.

        Raises
        ------
        UnsupportedError, InputError: a node is refused.
        ExportError: strict, and a node is only approximated.
        """
        if self.refusal is not None:
            raise self.refusal
        for report in self.nodes:
            if strict and report.exactness == "approximate":
                raise ExportError(
                    f"node {report.node} ({report.kind}): {report.detail}; --strict takes nothing inexact"
                )
        if self.network is None or self.witness is None:
            raise ExportError("the file holds no network")
        return self.network, self.witness


def read_nir(path: Path, time: Discretisation) -> Imported:
    """Read a NIR file, node by node.

    Raises
    ------
    BundleError: a file that is missing, foreign, damaged or contradicts itself; see nir_file, nir_chain.
    UnsupportedError: a graph that is not a chain. (Nodes that are refused are reported, see `Imported.checked`.)
    """
    chain = ordered(read_graph(path))
    try:
        return _Assembly(chain, time).run()
    except SpikecutError as error:
        raise type(error)(f"{path}: {error}") from error


class _Assembly:
    """Walks the chain and makes a stage at every neuron."""

    def __init__(self, chain: Sequence[NirNode], time: Discretisation) -> None:
        self.chain, self.time = chain, time
        self.shape: Shape = ()
        self.flat = False
        self.synapse: Synapse | None = None
        self.waiting: list[int] = []  # reports of linear nodes that do not know their layer yet
        self.reports: list[NodeReport] = []
        self.stages: list[Stage] = []
        self.ended = False
        self.refusal: SpikecutError | None = None

    def run(self) -> Imported:
        self.shape = _input_shape(self.chain)
        shape = self.shape
        complete = True
        for position, node in enumerate(self.chain):
            if not complete:
                self._report(node, "not reached", "stands behind a node that is refused")
                continue
            try:
                self._node(node, position)
            except BundleError:
                raise
            except (UnsupportedError, InputError) as error:
                self._refuse(node, error)
                complete = node.kind in NEURONS and self._skip(node)
        network = witness = None
        if complete and self.stages:
            readout: Readout = "membrane" if self._silent() else "count"
            network = SpikingNetwork(self.stages, readout, shape).double().eval().requires_grad_(False)
            witness = NirWitness(self.chain, self.time, shape)
        return Imported(tuple(self.reports), self.time.assumed, shape, self.refusal, network, witness)

    def _node(self, node: NirNode, position: int) -> None:
        if self.ended and node.kind not in ("Output", "Flatten"):
            raise UnsupportedError(
                f"node {node.name} gets the membrane of {self.stages[-1].name}, which does not fire; only the last "
                "layer may send its membrane: put a spiking neuron there"
            )
        if node.kind == "Input":
            self._input(node, position)
        elif node.kind == "Output":
            self._output(node)
        elif node.kind == "Flatten":
            self._flatten(node, position)
        elif node.kind == "Delay":
            self._delay(node)
        elif node.kind in SYNAPSES:
            self.synapse = after(self.synapse, operation_of(node, self.shape, self.flat), self.shape, self.flat)
            self.shape, self.flat = self.synapse.output_shape, False
            self.waiting.append(len(self.reports))
            self._report(node, "exact", "")
        else:
            self._neuron(node)

    def _input(self, node: NirNode, position: int) -> None:
        given = tuple(int(n) for n in node.numbers["shape"].reshape(-1))
        if position and size(given) != size(self.shape):
            raise BundleError(f"node {node.name} states the shape {given}, but gets {self.shape}")
        detail = ""
        if not position and given != self.shape:
            batch = len(given) == len(self.shape) + 1 or len(given) == 4
            detail = f"shape {given}: " + ("the leading 1 counts a batch" if batch else f"give data as {self.shape}")
        self._report(node, "exact", detail)

    def _flatten(self, node: NirNode, position: int) -> None:
        start, end = (int(node.numbers[key].reshape(-1)[0]) for key in ("start_dim", "end_dim"))
        stated = node.numbers.get("input_type")
        if stated is not None and size(tuple(int(n) for n in stated.reshape(-1))) != size(self.shape):
            raise BundleError(f"node {node.name} states the shape {stated.tolist()}, but gets {self.shape}")
        rank = len(self.shape)
        whole = start in (0, -rank) and end in (-1, rank - 1)
        detail = ""
        if not whole and rank > 1:
            weights = [other for other in self.chain[position + 1 :] if other.kind in ("Affine", "Linear")]
            confirmed = weights and weights[0].numbers["weight"].shape[-1:] == (size(self.shape),)
            if start != 1 or end not in (-1, rank) or not confirmed:
                raise UnsupportedError(
                    f"node {node.name}: flattens the dimensions {start} to {end} only; flatten all of them"
                )
            detail = "start_dim 1 counts the batch: all is flattened, as the next weights confirm"
        self.flat = True
        self._report(node, "exact", detail)

    def _delay(self, node: NirNode) -> None:
        longest = float(node.numbers["delay"].max(initial=0.0))
        if node.numbers["delay"].any():
            raise UnsupportedError(
                f"node {node.name}: delays of up to {longest:g}; the float network has none: train without delays"
            )
        self._report(node, "exact", "no delay")

    def _neuron(self, node: NirNode) -> None:
        neuron = step_neuron(node, self.time, self.shape)
        self._stage(node, neuron)
        if neuron.refused is not None:
            self._refuse(node, UnsupportedError(neuron.refused))
            return
        self._report(node, "approximate" if neuron.inexact else "exact", neuron.told)

    def _stage(self, node: NirNode, neuron: StepNeuron) -> None:
        synapse = (self.synapse or identity(self.shape, f"node {node.name}")).scaled(neuron.gain, neuron.offset)
        if neuron.decay_u < 1 and (neuron.offset or (neuron.decay_u == 0 and synapse.bias.any())):
            what = "a v_leak that is not v_reset with a current that decays, which is not read"
            never = "a bias in front of a current that never decays, which would grow for ever"
            raise UnsupportedError(
                f"node {node.name}: {what if neuron.offset else never}; train without it, or with LIF"
            )
        self._add(node, synapse, neuron.module())
        self.ended = neuron.threshold is None

    def _add(self, node: NirNode, synapse: Synapse, neuron: nn.Module) -> None:
        if synapse.output_shape[1:] == (1, 1) and all(n.kind in ("Flatten", "Output") for n in self._behind()):
            synapse = as_dense(synapse, f"node {node.name}")  # scores are one number a class
        if not synapse.weight.any():
            raise UnsupportedError(f"node {node.name}: all weights of its layer are zero; nothing would ever reach it")
        name = node.name.replace("/", ".")
        self.stages.append(Stage(name, synapse_module(synapse), nn.Identity(), neuron))
        detail = "multiplied into the layer's weights" if len(self.waiting) > 1 else ""
        for index in self.waiting:
            self.reports[index] = replace(self.reports[index], layer=name, detail=detail)
        self.shape = synapse.output_shape
        self.synapse, self.waiting = None, []

    def _behind(self) -> Sequence[NirNode]:
        """The nodes behind the one that is being looked at."""
        return self.chain[len(self.reports) + 1 :]

    def _output(self, node: NirNode) -> None:
        given = tuple(int(n) for n in node.numbers["shape"].reshape(-1))
        last = node is self.chain[-1]
        if size(given) != size(self.shape):
            raise BundleError(f"node {node.name} states the shape {given}, but gets {self.shape}")
        if not last:
            self._report(node, "exact", "")
            return
        detail = ""
        if self.synapse is not None:
            self._add(self.chain[self.waiting[-1]], self.synapse, MembraneReadout())
            detail = "no neurons: the scores are the currents, summed over time"
        if not self.stages:
            raise BundleError("the graph holds neither weights nor neurons")
        if len(self.shape) != 1:
            raise UnsupportedError(
                f"node {node.name}: the output is a map of shape {self.shape}; end in a dense layer, one output a class"
            )
        self._report(node, "exact", detail)

    def _silent(self) -> bool:
        neuron = self.stages[-1].neuron
        return not isinstance(neuron, CurrentBased) or neuron.threshold is None

    def _skip(self, node: NirNode) -> bool:
        """Whether the nodes behind a refused neuron can still be looked at: its shape is that of its input."""
        if self.stages and self.stages[-1].name == node.name.replace("/", "."):
            return True
        self.synapse, self.waiting = None, []
        return False

    def _refuse(self, node: NirNode, error: SpikecutError) -> None:
        self.refusal = self.refusal or error
        self._report(node, "refused", str(error))

    def _report(self, node: NirNode, exactness: Exactness, detail: str) -> None:
        layer = self.stages[-1].name if node.kind in NEURONS and self.stages else ""
        self.reports.append(NodeReport(node.name, node.kind, self.shape, layer, exactness, detail))


def _input_shape(chain: Sequence[NirNode]) -> Shape:
    """(F,) or (C, H, W) of a frame: without a batch dimension that the exporter left in, and (C, 1, L) for (C, L)."""
    node, following = chain[0], chain[1:2]
    values = node.numbers["shape"].reshape(-1).tolist()
    shape = tuple(int(value) for value in values)
    if not 1 <= len(shape) <= 4 or list(shape) != values or min(shape) < 1 or max(shape) > MAXIMUM_NUMBERS:
        raise BundleError(
            f"node {node.name}: shape {values[:8]}, expected (features,), (channels, length) or (C, H, W)"
        )
    dense = any(other.kind in ("Affine", "Linear") for other in following)
    if shape[0] == 1 and (len(shape) == 4 or (len(shape) == 2 and dense)):
        shape = shape[1:]
    if len(shape) == 4:
        raise BundleError(f"node {node.name}: shape {shape} holds a batch of {shape[0]}; write the graph without batch")
    if len(shape) == 2:
        shape = (shape[0], 1, shape[1])
    if size(shape) > MAXIMUM_NUMBERS:
        raise BundleError(f"node {node.name}: an input of shape {shape} is absurdly large")
    return shape
