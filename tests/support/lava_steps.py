"""Lava's real ProcessModels of a network, stepped one after the other in this process, without Lava's runtime."""

import numpy as np
from threadpoolctl import threadpool_limits

from spikecut.deploy.backends.lava.axes import from_lava, to_lava
from spikecut.deploy.backends.lava.blocks import build_chain, require_lava, starts_of
from spikecut.export.network.arrays import size


class Wire:
    """A port at both ends: what was sent last, or what `source` gives when somebody asks for it."""

    def __init__(self, source=None):
        self.source = source

    def send(self, data):
        self.sent = np.array(data).astype(np.int32)

    def recv(self):
        return self.sent.copy() if self.source is None else self.source()


def make_model(process, config):
    """The model that the run configuration chooses, with its Vars as Lava's builder sets them."""
    from lava.magma.core.model.py.type import LavaPyType
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv
    from lava.proc.dense.models import PyDenseModelBitAcc
    from lava.proc.dense.process import Dense

    from spikecut.deploy.backends.lava.processes.relay import PyRelayModel, Relay

    own = {Conv: PyConvModelFixed, Dense: PyDenseModelBitAcc, Relay: PyRelayModel}
    chosen = config.exception_proc_model_map.get(type(process), own.get(type(process)))
    model = chosen(process.proc_params)
    for var in process.vars:
        kind = getattr(chosen, var.name)
        assert isinstance(kind, LavaPyType)
        value = var.init
        if issubclass(kind.cls, np.ndarray):
            value = np.zeros(var.shape, dtype=kind.d_type)
            value[:] = var.init
        setattr(model, var.name, value)
    return model


class Layer:
    """The models of one block."""

    def __init__(self, block, layer, config):
        self.synapse, self.neuron = (make_model(process, config) for process in (block.synapse, block.neuron))
        self.models = [self.synapse, self.neuron]
        self.synapse.s_in, self.synapse.a_out, self.neuron.s_out = Wire(), Wire(), Wire()
        self.recurrent = None
        if layer.recurrent is not None:
            self.recurrent = make_model(block.recurrent, config)
            self.models.append(self.recurrent)
            self.recurrent.a_out, self.recurrent.s_in = Wire(), Wire(self.fire)
        self.neuron.a_in = Wire(self.arriving)
        self.ways = []

    def join(self, way, config):
        """Take in the Processes of a path to this layer: its relay, and the synapse of a skip."""
        relay, around = (None if each is None else make_model(each, config) for each in (way.relay, way.synapse))
        if relay is not None:
            relay.s_in, relay.s_out = Wire(), Wire()
        if around is not None:
            around.s_in, around.a_out = Wire(), Wire()
        self.ways.append((way.path, relay, around))
        self.models += [model for model in (relay, around) if model is not None]

    def take(self, path, relay, messages):
        """What its source sends in this step, after the relay."""
        if relay is not None:
            relay.s_in.send(messages)
            relay.run_spk()
            messages = relay.s_out.recv()
        flattens = path.synapse.kind == "dense" and messages.ndim == 3
        return messages.transpose().reshape(-1) if flattens else messages

    def arriving(self):
        sums = self.synapse.a_out.recv()
        for _, _, around in self.ways[1:]:
            sums = sums + around.a_out.recv()
        return sums if self.recurrent is None else sums + self.recurrent.a_out.recv()

    def fire(self):
        self.neuron.run_spk()
        return self.neuron.s_out.recv()

    def step(self, step, points):
        """One hardware step; points: what the source and every layer send in it."""
        for model in self.models:
            model.time_step = step
        for path, relay, around in self.ways:
            model = self.synapse if around is None else around
            model.s_in.send(self.take(path, relay, points[path.source]))
            model.run_spk()
        if self.recurrent is None:
            return self.fire()
        self.recurrent.run_spk()  # asks for the spikes of this step, and thereby makes the neurons fire
        return self.neuron.s_out.recv()


class Blocks:
    """All layers of a graph of blocks."""

    def __init__(self, network, chain):
        blocks = getattr(chain.processes, "layers", chain.processes)
        self.layers = [Layer(*each, chain.config) for each in zip(blocks, network.layers, strict=True)]
        for way in chain.ways:
            self.layers[way.path.target - 1].join(way, chain.config)

    def step(self, step, messages):
        points = [messages]
        for layer in self.layers:
            points.append(layer.step(step, points))
        return points[-1]


class Fused:
    """The one process of a fused chain."""

    def __init__(self, chain):
        from spikecut.deploy.backends.lava.processes.fused import PyFusedChainModel

        self.model = PyFusedChainModel(chain.processes.proc_params)
        self.model.inp, self.model.out = Wire(), Wire()

    def step(self, step, messages):
        self.model.time_step = step
        self.model.inp.send(messages)
        self.model.run_spk()
        return self.model.out.recv()


def run_steps(network, inputs, gaps, models):
    """Stream samples [T, N, *shape], the next one gaps[n] steps after sample n: messages of every layer at every step.

    Returns starts, a list of hardware steps, and per layer int32 [steps, *output_shape]; row 0 is hardware step 1.
    """
    require_lava()
    from spikecut.deploy.backends.lava.processes.wave import (
        WaveParameters,
        announce,
        as_int32,
        as_int64,
        new_ring,
        shared_int32,
    )

    starts = (1 + np.cumsum([2, *gaps])[:-1]).tolist()
    total = starts[-1] + gaps[-1] + network.depth
    ring = new_ring(network.depth)
    records = [shared_int32((total + 1) * size(layer.output_shape)) for layer in network.layers]
    waves = [
        WaveParameters(ring, depth, record, total + 1, **starts_of(layer.neuron))
        for layer, record, depth in zip(network.layers, records, network.depths[1:], strict=True)
    ]
    chain = build_chain(network, waves, models)
    frames = np.zeros((total, *network.input_shape), dtype=np.int32)
    for n, (start, gap) in enumerate(zip(starts, gaps, strict=True)):
        played = min(gap, network.horizon)
        frames[start - 1 : start - 1 + played] = inputs[:played, n]
    frames = to_lava(frames)
    with threadpool_limits(1, user_api="blas"):  # the models set it too; here it ends with the steps
        graph = Fused(chain) if models == "fused" else Blocks(network, chain)
        for step in range(1, total + 1):
            if step in starts:
                announce(as_int64(ring), step)
            sent = graph.step(step, frames[step - 1])
            last = as_int32(records[-1]).reshape(total + 1, -1)[step]
            np.testing.assert_array_equal(sent.reshape(-1), last)
    rows = [as_int32(record).reshape(total + 1, -1)[1:] for record in records]
    return starts, [from_lava(row, layer.output_shape) for row, layer in zip(rows, network.layers, strict=True)]
