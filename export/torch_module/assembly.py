"""Layers of a Graph as the stages of a SpikingNetwork, with a line on every module."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from spikecut.errors import UnsupportedError
from spikecut.export.importers.base import PartReport
from spikecut.export.importers.linear import Synapse, as_dense
from spikecut.export.importers.neurons import StepNeuron, step_neuron
from spikecut.export.importers.recurrence import recurrent_weights
from spikecut.export.importers.synapse_modules import synapse_module
from spikecut.export.network.arrays import Array, Shape
from spikecut.export.network.geometry import Kind
from spikecut.export.network.parameters import FloatParameter, as_given
from spikecut.export.torch_module.adapters.base import Neuron
from spikecut.export.torch_module.fold import Entry, Folded, folded
from spikecut.export.torch_module.graph import Graph, LayerNode, place
from spikecut.export.torch_module.links import Link
from spikecut.export.torch_module.recording.values import Applied
from spikecut.models.network import JoiningStage, SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import MembraneReadout

OR = StepNeuron(1.0, 0.0, 0.5, 1.0, 1.0, "zero", False, False, ())
"""A neuron without memory that fires where any spike arrives: the maximum of spikes."""


@dataclass(frozen=True)
class Layer:
    """A layer as it is compared with its module.

    Attributes
    ----------
    name: of its stage. path: of its neuron's module; empty where the output has no neurons.
    synapse: with the neuron's gain in it. sources: paths of the layers it takes from, "" for the input: by its own
        synapse, and by each of `skips`. remedy: see Neuron. recurrent: from its own spikes of the timestep before; its
        biases are in `synapse`.
    neuron: None for the output's currents. shape: of what it sends.
    """

    name: str
    path: str
    synapse: Folded
    sources: tuple[str, ...]
    shape: Shape
    neuron: StepNeuron | None = None
    skips: tuple[Folded, ...] = ()
    pool: Applied | None = None
    remedy: str = ""
    recurrent: Folded | None = None


@dataclass(frozen=True)
class Assembled:
    """The float network, its layers, and what became of each module."""

    network: SpikingNetwork
    layers: tuple[Layer, ...]
    report: tuple[PartReport, ...]
    refusal: UnsupportedError | None = None


def assembled(graph: Graph, neurons: Mapping[str, Neuron], kinds: Mapping[str, str], entry: Entry) -> Assembled:
    """The network of a graph.

    neurons: by path. kinds: names of the modules' classes. entry: what the network takes.

    UnsupportedError for what no graph of layers equals, with the module's path and the remedy.
    """
    return _Assembly(graph, neurons, kinds, entry).run()


class _Assembly:
    def __init__(self, graph: Graph, neurons: Mapping[str, Neuron], kinds: Mapping[str, str], entry: Entry) -> None:
        self.graph, self.neurons, self.kinds = graph, neurons, kinds
        self.layers: list[Layer] = []
        self.entries: dict[str, Entry] = {"": entry}
        self.report: list[PartReport] = []
        self.refusal: UnsupportedError | None = None

    def run(self) -> Assembled:
        for node in self.graph.layers:
            self._layer(node)
        last = self.layers[-1]
        readout = last.neuron is None or last.neuron.threshold is None
        self._check_output(last)
        network = SpikingNetwork(
            self._stages(), "membrane" if readout else "count", self.layers[0].synapse.synapse.input_shape
        )
        network = network.double().eval().requires_grad_(False)
        return Assembled(network, tuple(self.layers), tuple(self.report), self.refusal)

    def _layer(self, node: LayerNode) -> None:
        main, *more = self._ordered(node)
        name = node.path or next((f.where for f in reversed(main.functions) if f.where), "output")
        where = place(name)
        whole = self._synapse(main, where, node)
        neuron = self._neuron(node, where, whole.synapse.output_shape)
        if neuron is not None and np.any(np.asarray(neuron.decay_u) < 1) and np.any(neuron.offset):
            neuron = neuron.driven(whole.synapse.output_shape)
        gain, offset = (1.0, 0.0) if neuron is None else (neuron.gain, neuron.offset)
        whole = _scaled(whole, gain, offset)
        sides = tuple(_scaled(self._synapse(link, where, node), gain) for link in more)
        back = self._recurrent(node, where, gain, whole)
        if back is not None:
            added = whole.synapse.bias + back.synapse.bias, whole.magnitudes.bias + back.magnitudes.bias
            whole = replace(
                whole,
                synapse=replace(whole.synapse, bias=added[0]),
                magnitudes=replace(whole.magnitudes, bias=added[1]),
            )
            back = replace(back, synapse=_unbiased(back.synapse), magnitudes=_unbiased(back.magnitudes))
        decay_u = np.asarray(1.0 if neuron is None else neuron.decay_u)
        biased = any(each.synapse.bias.any() for each in (whole, *sides))
        if neuron is not None and neuron.drive is not None and np.any(decay_u < 1) and biased:
            raise UnsupportedError(
                f"{where}: a v_leak that is not v_reset, and a bias in front of its current, which is not read; train "
                "without one of them"
            )
        if np.any(decay_u == 0) and biased:
            raise UnsupportedError(
                f"{where}: a bias in front of a current that never decays, which would grow for ever; train its "
                "weights without bias, or with a decay"
            )
        if not whole.synapse.weight.any():
            raise UnsupportedError(f"{where}: all weights of its layer are zero; nothing would ever reach it")
        sources = tuple(link.source.path for link in (main, *more))
        shape = whole.synapse.output_shape
        remedy = self.neurons[node.path].remedy if node.path in self.neurons else ""
        self.layers.append(Layer(name, node.path, whole, sources, shape, neuron, sides, node.pool, remedy, back))
        self._tell(node, name, (main, *more, *(link for link in node.links if link.late)), shape, neuron)
        value = self.graph.axes.get(node.path)
        features = node.pool.features if node.pool is not None else (shape if value is None else value.features)
        self.entries[node.path] = Entry(shape, flat=len(features) == 1 and len(shape) == 3)

    def _ordered(self, node: LayerNode) -> list[Link]:
        """The links of this timestep; first that from the layer before this one, if there is one."""
        links = [link for link in node.links if not link.late]
        if not links:
            raise UnsupportedError(
                f"{place(node.path)}: takes nothing but its own spikes of the timestep before; lead the input to it"
            )
        before = self.layers[-1].path if self.layers else ""
        return sorted(links, key=lambda link: link.source.path != before)

    def _neuron(self, node: LayerNode, where: str, shape: Shape) -> StepNeuron | None:
        if node.pool is not None:
            return OR
        if not node.path:
            return None
        neuron = step_neuron(self.neurons[node.path].model, shape, self.graph.axes[node.path].features)
        if neuron.refused is not None:
            self.refusal = self.refusal or UnsupportedError(neuron.refused)
        if neuron.threshold is None and node is not self.graph.layers[-1]:
            raise UnsupportedError(
                f"{where}: never fires, and feeds other layers; only the last one may send its membrane"
            )
        return neuron

    def _synapse(self, link: Link, where: str, node: LayerNode) -> Folded:
        functions = link.functions
        if node.pool is not None:
            functions = (*functions, replace(node.pool, function="sum_pool2d"))
        found = folded(functions, self.entries[link.source.path], where)
        if node is self.graph.layers[-1] and found.synapse.output_shape[1:] == (1, 1):
            found = replace(found, synapse=as_dense(found.synapse, where), magnitudes=as_dense(found.magnitudes, where))
        return found

    def _recurrent(self, node: LayerNode, where: str, gain: FloatParameter, whole: Folded) -> Folded | None:
        """The synapse from a layer's own spikes of the timestep before, in the neuron's module or around it."""
        links = [link for link in node.links if link.late]
        held = self.neurons[node.path].recurrent if node.path in self.neurons else None
        if not links and held is None:
            return None
        shape = whole.synapse.output_shape
        if len(links) + (held is not None) > 1:
            raise UnsupportedError(f"{where}: its spikes come back twice; add up the weights")
        found = _held(*held, shape) if held is not None else folded(links[0].functions, Entry(shape), where)
        if found.synapse.kind != whole.synapse.kind or found.synapse.output_shape != shape:
            raise UnsupportedError(
                f"{where}: its spikes come back by weights that do not keep their shape {shape}; use Linear for "
                "features, Conv2d for maps of channels"
            )
        recurrent_weights([found.synapse], shape, where)  # refuses what is no recurrence
        return _scaled(found, gain)

    def _check_output(self, last: Layer) -> None:
        where = place(last.path)
        if len(last.shape) != 1:
            raise UnsupportedError(
                f"{where}: the output is a map of shape {last.shape}; end in a dense layer, one output a class"
            )
        if last.neuron is None:
            if self.graph.how == "last":
                raise UnsupportedError(
                    "net: gives the last timestep's output alone; return those of all, or their mean"
                )
            return
        sends = self.neurons[last.path].sends if last.pool is None else ("spikes",)
        sent = sends[self.graph.part] if self.graph.part < len(sends) else "state"
        fires = last.neuron.threshold is not None
        if sent == "state" or (sent == "membrane" and fires):
            raise UnsupportedError(
                f"{where}: the output is a state of neurons that fire; return their spikes, which come first"
            )
        if sent == "spikes" and not fires:
            raise UnsupportedError(f"{where}: fires, but is never reset; return its membrane, or train with a reset")
        if fires and self.graph.how == "last":
            raise UnsupportedError(
                f"{where}: the output is the last timestep's spikes alone; return those of all timesteps, or their sum"
            )
        if not fires and self.graph.how in ("sum", "mean"):
            raise UnsupportedError(
                f"{where}: the output adds up its membrane over time, the chip what the membrane gains; return the "
                "membrane of every timestep, or the last one"
            )

    def _stages(self) -> list[Stage]:
        stages: list[Stage] = []
        names = {layer.path: layer.name for layer in self.layers} | {"": ""}
        before = ""
        for layer in self.layers:
            neuron: nn.Module = MembraneReadout() if layer.neuron is None else layer.neuron.module()
            if layer.recurrent is not None:
                back = recurrent_weights([layer.recurrent.synapse], layer.shape, place(layer.path))
                neuron.recurrent = torch.tensor(back)
            synapse, still = synapse_module(layer.synapse.synapse), nn.Identity()
            if layer.sources == (before,):
                stages.append(Stage(layer.name, synapse, still, neuron))
            else:
                branches = [
                    Stage(f"{layer.name}.skip{number}", synapse_module(skip.synapse), still, nn.Identity())
                    for number, skip in enumerate(layer.skips, start=1)
                ]
                sources = [names[path] for path in layer.sources]
                stages.append(JoiningStage(layer.name, synapse, still, neuron, sources, branches))
            before = layer.path
        return stages

    def _tell(
        self, node: LayerNode, name: str, links: tuple[Link, ...], shape: Shape, neuron: StepNeuron | None
    ) -> None:
        told = {part.name for part in self.report}
        for link in links:
            for applied in link.functions:
                label = applied.where or applied.function
                if label not in told:
                    told.add(label)
                    detail = "multiplied into the layer's weights" if len(link.functions) > 1 else ""
                    kind = self.kinds.get(applied.where, "") if applied.where else applied.function
                    self.report.append(PartReport(label, kind, applied.features, "exact", detail, name))
        if node.pool is not None:
            detail = "a layer of neurons that fire where any spike of their window arrives"
            self.report.append(PartReport(name, self.kinds.get(name, "max_pool2d"), shape, "exact", detail, name))
        elif neuron is not None:
            exactness = "approximate" if neuron.inexact else "exact"
            if neuron.refused is not None:
                self.report.append(PartReport(name, self.kinds[node.path], shape, "refused", neuron.refused, name))
            else:
                kind = self.kinds[node.path]
                self.report.append(PartReport(name, kind, shape, exactness, neuron.told, name))  # type: ignore[arg-type]


def _held(weight: Array, bias: Array, shape: Shape) -> Folded:
    """The synapse from neurons of this shape to themselves that their module holds; weights (1, 1): one for all."""
    geometry: dict[str, Any] = {"input_shape": shape, "output_shape": shape}
    if weight.shape == (1, 1):
        bias = np.zeros(shape[0])
        weight = weight * np.eye(shape[0]) if len(shape) == 1 else np.tile(weight[..., None, None], (shape[0], 1, 1, 1))
    if weight.ndim == 4:
        rows, columns = weight.shape[2:]
        geometry |= {"padding": (rows // 2, columns // 2), "groups": shape[0] // max(1, weight.shape[1])}
    kind: Kind = "dense" if weight.ndim == 2 else "conv"
    magnitudes = Synapse(kind, abs(weight), abs(bias), **geometry)
    return Folded(Synapse(kind, weight, bias, **geometry), magnitudes, 1 + weight[0].size)


def _scaled(found: Folded, gain: FloatParameter, offset: FloatParameter = 0.0) -> Folded:
    """gain · y + offset, and the same of magnitudes; both one number, or one per channel."""
    magnitudes = found.magnitudes.scaled(as_given(np.abs(gain)), as_given(np.abs(offset)))
    return replace(found, synapse=found.synapse.scaled(gain, offset), magnitudes=magnitudes)


def _unbiased(synapse: Synapse) -> Synapse:
    return replace(synapse, bias=np.zeros_like(synapse.bias))
