"""Other people's networks: a NIR file → stages in torch, with a line on every node, and its witness.

NIR: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 15 (2024); the primitives are those of the package nir 1.0.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from spikecut.errors import BundleError, ExportError, InputError, SpikecutError, UnsupportedError
from spikecut.export.importers.linear import (
    Convolution,
    Dense,
    Synapse,
    after,
    as_dense,
    identity,
)
from spikecut.export.importers.neurons import StepNeuron
from spikecut.export.importers.recurrence import recurrent_weights
from spikecut.export.importers.synapse_modules import synapse_module
from spikecut.export.network.arrays import IntArray, Shape, size
from spikecut.export.nir.complete import Sample, completed, stated
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import NirNode
from spikecut.export.nir.neurons import NEURONS, step_neuron
from spikecut.export.nir.order import Placed, first_nodes, ordered
from spikecut.export.nir.sandbox import read_graph
from spikecut.export.nir.support import Exactness, NodeReport
from spikecut.export.nir.synapses import (
    LATE,
    SYNAPSES,
    delays_of,
    flattening,
    giving_late,
    input_shape,
    operation_of,
    taking_late,
)
from spikecut.export.nir.witness import NirWitness
from spikecut.models.network import JoiningStage, Readout, SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.integrate_fire import MembraneReadout


@dataclass(frozen=True)
class Imported:
    """A NIR file, read.

    Attributes
    ----------
    nodes: one report a node, each behind those that feed it.
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


def read_nir(path: Path, time: Discretisation, sample: Sample | None = None, first: int | None = None) -> Imported:
    """Read a NIR file, node by node, or its first nodes; sample: gives the samples' shape where the file does not.

    BundleError: a file that is missing, foreign, damaged or contradicts itself; see file.py, order.py.
    UnsupportedError: a graph with a cycle, a part with several ends. (Refused nodes are reported, see `checked`.)
    """
    placed = ordered(read_graph(path))
    try:
        found = _Assembly(*completed(first_nodes(placed, first), sample), time).run()
    except SpikecutError as error:
        raise type(error)(f"{path}: {error}") from error
    rest = [] if first is None else [each.node for each in placed[first:]]
    left = (NodeReport(node.name, node.kind, (), "", "not reached", "left out by --layers") for node in rest)
    return replace(found, nodes=(*found.nodes[: first or len(placed)], *left))


@dataclass(frozen=True)
class _Term:
    """What a node sends, or a part of it, which adds up with the others.

    Attributes
    ----------
    source: name of the stage whose spikes it comes from; "" for the input. synapse: what was made of them, None for
        nothing yet. shape: of it. flat: whether it has been flattened since. waiting: reports of linear nodes that do
        not know their layer yet. silent: whether the stage sends a membrane. back: whether it was sent in the timestep
        before. late: timesteps by which each of its numbers is late, without a synapse so far.
    """

    source: str
    shape: Shape
    synapse: Synapse | None = None
    flat: bool = False
    waiting: tuple[int, ...] = ()
    silent: bool = False
    back: bool = False
    late: IntArray | None = None


class _Assembly:
    """Walks the graph and makes a stage at every neuron."""

    def __init__(self, placed: Sequence[Placed], lines: Sequence[str], time: Discretisation) -> None:
        self.placed, self.lines, self.time = placed, list(lines), time
        self.sent: list[tuple[_Term, ...]] = []
        self.reports: list[NodeReport] = []
        self.stages: list[Stage] = []
        self.refusal: SpikecutError | None = None

    def run(self) -> Imported:
        shape = input_shape([each.node for each in self.placed])
        complete = True
        for each in self.placed:
            terms = tuple(term for source in each.sources for term in self.sent[source]) if complete else ()
            if not complete:
                self._report(each.node, "not reached", "stands behind a node that is refused", ())
                continue
            try:
                terms = terms if each.sources or each.back else (_Term("", shape),)
                terms += self._back(each, terms)
                self._check_alike(each.node, terms)
                self.sent.append(self._node(each.node, terms))
            except BundleError:
                raise
            except (UnsupportedError, InputError) as error:
                self._refuse(each.node, error, terms)
                complete = each.node.kind in NEURONS and self._goes_on(each.node)
                self.sent.append(self._fired(each.node) if complete else ())
        network = witness = None
        if complete and self.stages:
            readout: Readout = "membrane" if self._silent() else "count"
            network = SpikingNetwork(self.stages, readout, shape).double().eval().requires_grad_(False)
            witness = NirWitness(self.placed, self.time, shape)
        return Imported(tuple(self.reports), (*self.time.assumed, *self.lines), shape, self.refusal, network, witness)

    def _check_alike(self, node: NirNode, terms: tuple[_Term, ...]) -> None:
        shapes = {term.shape if not term.flat else (size(term.shape),) for term in terms}
        if len(shapes) > 1:
            raise BundleError(f"node {node.name} adds up messages of the shapes {sorted(shapes)}; they must be alike")

    def _back(self, placed: Placed, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        """What comes back from neurons, one timestep later, to a node that gets these terms beside it."""
        found = []
        for place in placed.back:
            neurons = self.placed[place]
            before = (source for source in neurons.sources if source < len(self.sent))
            known = terms or [term for source in before for term in self.sent[source]]
            shapes = [(size(term.shape),) if term.flat else term.shape for term in known]
            weight = placed.node.numbers.get("weight")
            if not shapes and (weight is None or weight.ndim != 2):
                raise UnsupportedError(
                    f"node {placed.node.name}: how many neurons of {neurons.node.name} feed it is not told before "
                    "them; use a Linear"
                )
            shape = shapes[0] if shapes or weight is None else weight.shape[1:]
            found.append(_Term(neurons.node.layer, shape, back=True))
        return tuple(found)

    def _node(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        silent = next((term.source for term in terms if term.silent), None)
        if silent is not None and node.kind not in ("Output", "Flatten"):
            raise UnsupportedError(
                f"node {node.name} gets the membrane of {silent}, which does not fire; only the last "
                "layer may send its membrane: put a spiking neuron there"
            )
        if node.kind == "Input":
            return self._input(node, terms)
        if node.kind == "Output":
            return self._output(node, terms)
        if node.kind == "Flatten":
            return self._flatten(node, terms)
        if node.kind == "Delay":
            return self._delay(node, terms)
        if node.kind in SYNAPSES:
            return self._weights(node, terms)
        return self._neuron(node, terms)

    def _weights(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        """A linear node; of what it adds up it makes the sum of its products, and adds its bias once."""
        found = []
        for number, term in enumerate(terms):
            operation = operation_of(node, term.shape, term.flat)
            if number and isinstance(operation, Dense | Convolution):
                operation = replace(operation, bias=None)
            synapse = after(term.synapse, operation, term.shape, term.flat)
            synapse = taking_late(synapse, term.late, f"node {node.name}")
            waiting = (*term.waiting, len(self.reports))
            shape = synapse.output_shape
            found.append(replace(term, synapse=synapse, shape=shape, flat=False, waiting=waiting, late=None))
        self._report(node, "exact", "", found)
        return tuple(found)

    def _input(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        first, shape = not self.reports, terms[0].shape
        given = stated(node, shape, self.lines)
        if not first and size(given) != size(shape):
            raise BundleError(f"node {node.name} states the shape {given}, but gets {shape}")
        detail = ""
        if first and given != shape:
            batch = len(given) == len(shape) + 1 or len(given) == 4
            detail = f"shape {given}: " + ("the leading 1 counts a batch" if batch else f"give data as {shape}")
        self._report(node, "exact", detail, terms)
        return terms

    def _flatten(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        detail = flattening(node, terms[0].shape, self._behind())
        self._report(node, "exact", detail, terms)
        return tuple(replace(term, flat=True) for term in terms)

    def _delay(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        late = delays_of(node, self.time, size(terms[0].shape))
        if late is None:
            self._report(node, "exact", "no delay", terms)
            return terms
        found = []
        for term in terms:
            if term.back:
                raise UnsupportedError(f"node {node.name}: what comes back is late; {LATE}")
            if term.synapse is None:
                found.append(replace(term, late=late if term.late is None else late + term.late))
            else:
                found.append(replace(term, synapse=giving_late(term.synapse, late, f"node {node.name}")))
        self._report(node, "exact", f"delays of synapses, up to {late.max()} timesteps", terms)
        return tuple(found)

    def _synapse(self, term: _Term, node: NirNode) -> Synapse:
        """What was made of a term, or the term as it is."""
        where = f"node {node.name}"
        return term.synapse or taking_late(identity(term.shape, where), term.late, where)

    def _neuron(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        fed = any(term.back for term in terms)
        neuron = step_neuron(node, self.time, terms[0].shape, fed)
        if fed:
            self._check_recurrent(node, neuron)
        self._stage(node, neuron, terms)
        sent = self._fired(node)
        if neuron.refused is not None:
            self._refuse(node, UnsupportedError(neuron.refused), sent)
        else:
            told = f"{neuron.told}; feeds itself" if fed else neuron.told
            self._report(node, "approximate" if neuron.inexact else "exact", told, sent)
        return tuple(replace(term, silent=neuron.threshold is None) for term in sent)

    def _check_recurrent(self, node: NirNode, neuron: StepNeuron) -> None:
        """UnsupportedError for neurons whose own messages of the timestep before cannot come back."""
        if neuron.threshold is None:
            raise UnsupportedError(f"node {node.name}: its membrane comes back to it; let spikes come back")

    def _stage(self, node: NirNode, neuron: StepNeuron, terms: tuple[_Term, ...]) -> None:
        given = [self._synapse(term, node).scaled(neuron.gain) for term in terms]
        forward = [each for each, term in zip(given, terms, strict=True) if not term.back]
        back = [each for each, term in zip(given, terms, strict=True) if term.back]
        for each in back:
            if {each.input_shape, each.output_shape} != {terms[0].shape}:
                count = f"{size(each.input_shape)} neurons, but {node.name} has {size(terms[0].shape)}"
                raise BundleError(f"node {node.name}: what comes back to it is of {count}")
        # A bias on the way back counts in every timestep, as that of a layer does.
        added = neuron.offset + sum(each.bias for each in back)
        synapses = [forward[0].scaled(1.0, added), *forward[1:]]
        if np.any(np.asarray(neuron.decay_u) < 1) and np.any(neuron.offset):
            synapses[0] = forward[0].scaled(1.0, sum((each.bias for each in back), np.zeros(1)))
            neuron = neuron.driven(synapses[0].output_shape)
        biased = any(synapse.bias.any() for synapse in synapses)
        offset, keeps = biased and neuron.drive is not None, np.asarray(neuron.decay_u) == 0
        if np.any(np.asarray(neuron.decay_u) < 1) and (offset or (keeps.any() and biased)):
            what = "a v_leak that is not v_reset, and a bias in front of its current, which is not read"
            never = "a bias in front of a current that never decays, which would grow for ever"
            raise UnsupportedError(f"node {node.name}: {what if offset else never}; train without it, or with LIF")
        self._add(node, synapses, terms, neuron.module(), back)

    def _add(
        self,
        node: NirNode,
        synapses: list[Synapse],
        terms: tuple[_Term, ...],
        neuron: nn.Module,
        back: Sequence[Synapse] = (),
    ) -> None:
        """A stage of these synapses of the terms, whose sums the neuron integrates; back: those of its own spikes."""
        where = f"node {node.name}"
        if synapses[0].output_shape[1:] == (1, 1) and all(n.kind in ("Flatten", "Output") for n in self._behind()):
            synapses = [as_dense(synapse, where) for synapse in synapses]  # one score a class
            back = [as_dense(synapse, where) for synapse in back]
        if back:
            neuron.recurrent = torch.tensor(recurrent_weights(back, synapses[0].output_shape, where))
        if not any(synapse.weight.any() for synapse in synapses):
            raise UnsupportedError(f"node {node.name}: all weights of its layer are zero; nothing would ever reach it")
        name, still = node.layer, nn.Identity()
        before = self.stages[-1].name if self.stages else ""
        # The layer before comes first: a chain stays one.
        sent = [term for term in terms if not term.back]
        pairs = sorted(
            zip(sent, synapses, strict=True), key=lambda pair: (pair[1].delay is None, pair[0].source != before)
        )
        if sum(synapse.delay is not None for synapse in synapses) > 1:
            raise UnsupportedError(f"{where}: adds up several sums that are late; one of them may be")
        first, *more = (synapse_module(synapse) for _, synapse in pairs)
        if [term.source for term in sent] == [before]:
            self.stages.append(Stage(name, first, still, neuron))
        else:
            branches = [Stage(f"{name}.skip{n}", each, still, nn.Identity()) for n, each in enumerate(more, start=1)]
            sources = [term.source for term, _ in pairs]
            self.stages.append(JoiningStage(name, first, still, neuron, sources, branches))
        for term in terms:
            detail = "multiplied into the layer's weights" if len(term.waiting) > 1 else ""
            detail = "comes back in the next timestep" if term.back else detail
            for index in term.waiting:
                self.reports[index] = replace(self.reports[index], layer=name, detail=detail)
        self.shape = synapses[0].output_shape

    def _fired(self, node: NirNode) -> tuple[_Term, ...]:
        """What the stage that was made last sends."""
        return (_Term(node.layer, self.shape),)

    def _behind(self) -> Sequence[NirNode]:
        """The nodes behind the one that is being looked at."""
        return [each.node for each in self.placed[len(self.reports) + 1 :]]

    def _output(self, node: NirNode, terms: tuple[_Term, ...]) -> tuple[_Term, ...]:
        shape = terms[0].shape
        given = stated(node, shape, self.lines)
        last = node is self.placed[-1].node
        if size(given) != size(shape):
            raise BundleError(f"node {node.name} states the shape {given}, but gets {shape}")
        if not last:
            self._report(node, "exact", "", terms)
            return terms
        detail = ""
        if any(term.synapse is not None for term in terms):
            weights = next(term for term in terms if term.waiting)
            synapses = [self._synapse(term, node) for term in terms]
            self._add(self.placed[weights.waiting[-1]].node, synapses, terms, MembraneReadout())
            shape, detail = self.shape, "no neurons: the scores are the currents, summed over time"
        elif any(term.late is not None for term in terms):
            raise UnsupportedError(f"node {node.name}: the scores come late; put the delay in front of weights")
        elif len(terms) > 1:
            raise UnsupportedError(
                f"node {node.name} adds up what {', '.join(sorted(term.source for term in terms))} send: several "
                "readouts, and a network has one; put a dense layer behind them"
            )
        if not self.stages:
            raise BundleError("the graph holds neither weights nor neurons")
        if len(shape) != 1:
            raise UnsupportedError(
                f"node {node.name}: the output is a map of shape {shape}; end in a dense layer, one output a class"
            )
        sent = (_Term(self.stages[-1].name, shape),)
        self._report(node, "exact", detail, sent)
        return sent

    def _silent(self) -> bool:
        neuron = self.stages[-1].neuron
        return not isinstance(neuron, CurrentBased) or neuron.threshold is None

    def _goes_on(self, node: NirNode) -> bool:
        """Whether the nodes behind a refused neuron can still be looked at: its shape is that of its input."""
        return bool(self.stages) and self.stages[-1].name == node.layer

    def _refuse(self, node: NirNode, error: SpikecutError, terms: Sequence[_Term]) -> None:
        self.refusal = self.refusal or error
        self._report(node, "refused", str(error), terms)

    def _report(self, node: NirNode, exactness: Exactness, detail: str, terms: Sequence[_Term]) -> None:
        layer = self.stages[-1].name if node.kind in NEURONS and self.stages else ""
        shape = terms[0].shape if terms else ()
        self.reports.append(NodeReport(node.name, node.kind, shape, layer, exactness, detail))
