"""Lava's own ProcessModels of one layer, driven by hand: its untouched Dense, DelayDense, Conv and LIF, no runtime.

Soft reset and the membrane readout have no model in Lava. They run under spikecut's Processes, whose synapse, current
and membrane are Lava's `AbstractPyLifModelFixed` all the same. Lava has no gain per timestep either: the oracle
multiplies the current that Lava gives, and Lava integrates the product as a bias. Its LIFRefractory computes in floats
alone: Lava's LIF steps, and the neurons that rest are put back to where they were. Thresholds that
adapt are lava-dl's, not Lava's: here they are compared with its membrane without a reset.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from lava_steps import Wire, make_model
from oracle import gained

from spikecut.deploy.backends.lava.axes import to_lava
from spikecut.deploy.backends.lava.blocks import own_block, require_lava, starts_of
from spikecut.deploy.backends.lava.models import beyond_int8
from spikecut.deploy.backends.lava.paths import skip_synapse
from spikecut.fixed_point import STATE_LIMIT, keep


@dataclass
class LavaRun:
    """What a layer did with one sample: int64 [T, elements] each, channels last; `sums` as the synapse gave them.

    wraps, clips: neurons and steps in which u left 24 bits and wrapped, v left them and was clipped.
    """

    sums: np.ndarray
    u: np.ndarray
    v: np.ndarray
    messages: np.ndarray
    wraps: int
    clips: int


class LavaLayer:
    """A layer's models; message_bits: width of graded messages that it receives, 0 for spikes; input_bits: of those of
    the network's input.
    """

    # Longer: every Process that a layer may have stands beside the model of it that Lava has, untouched.
    def __init__(self, layer, message_bits, input_bits=0):
        require_lava()
        from lava.proc.conv.models import PyConvModelFixed
        from lava.proc.conv.process import Conv
        from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
        from lava.proc.dense.process import DelayDense
        from lava.proc.lif.models import PyLifModelBitAcc
        from lava.proc.lif.process import LIF

        from spikecut.deploy.backends.lava.processes.neurons import (
            MembraneReadout,
            PyMembraneReadoutModel,
            PySoftResetLifModel,
            SoftResetLIF,
        )
        from spikecut.deploy.backends.lava.processes.synapses import (
            RecurrentConvolution,
            RecurrentSynapse,
            WideConvModel,
        )
        from spikecut.deploy.backends.lava.processes.wave import Wave, WaveParameters, new_ring

        synapses = filter(None, (layer, layer.loop, *layer.skips))
        own_conv = WideConvModel if any(map(beyond_int8, synapses)) else PyConvModelFixed
        models = {
            Conv: own_conv,
            LIF: PyLifModelBitAcc,
            SoftResetLIF: PySoftResetLifModel,
            MembraneReadout: PyMembraneReadoutModel,
            DelayDense: PyDelayDenseModelBitAcc,
            RecurrentSynapse: PyDenseModelBitAcc,
            RecurrentConvolution: own_conv,
        }
        config = SimpleNamespace(exception_proc_model_map=models)
        plain = replace(layer.neuron, gain=None, refractory=0)
        if plain.adaptation is not None:
            plain = replace(plain, reset="none", adaptation=None)
        block = own_block(replace(layer, neuron=plain), message_bits)
        block.neuron.proc_params[Wave.KEY] = WaveParameters(new_ring(1), 1, None, 1)  # in which nothing ever starts
        self.layer = layer
        self.synapse, self.neuron = make_model(block.synapse, config), make_model(block.neuron, config)
        self.loop = None if layer.recurrent is None else make_model(block.recurrent, config)
        self.around = [
            make_model(skip_synapse(skip, input_bits if skip.source == "input" else 0), config) for skip in layer.skips
        ]
        self.held = "a_buf" if layer.kind == "conv" else "a_buff"
        for model in filter(None, (self.synapse, self.neuron, self.loop, *self.around)):
            model.time_step = 1
        self.synapse.s_in, self.synapse.a_out, self.neuron.s_out = Wire(), Wire(), Wire()
        self.neuron.a_in = Wire()
        self.bias = self.neuron.bias_mant, self.neuron.bias_exp
        for model in filter(None, (self.loop, *self.around)):
            model.s_in, model.a_out = Wire(), Wire()

    def run(self, frames, around=()):
        """One sample from rest: frames [T, *input_shape], and those that each skip takes → LavaRun."""
        neuron, starts = self.neuron, starts_of(self.layer.neuron)
        decays = [np.transpose(decay) for decay in (self.layer.neuron.decay_u, self.layer.neuron.decay_v)]
        neuron.u[:], neuron.v[:] = starts["u_init"], starts["v_init"]
        self.waits, self.raised, self.kept = np.zeros((3, *neuron.v.shape), dtype=np.int64)
        for model in (self.synapse, self.loop, *self.around):
            if model is not None:
                setattr(model, self.held, np.zeros_like(getattr(model, self.held)))
        messages = frames.reshape(len(frames), -1) if self.layer.kind == "dense" else to_lava(frames)
        run = LavaRun([], [], [], [], 0, 0)
        others = [
            (model, to_lava(taken) if skip.kind == "conv" else taken.reshape(len(frames), -1))
            for model, skip, taken in zip(self.around, self.layer.skips, around, strict=True)
        ]
        self._step(self.synapse, messages[0])
        for model, taken in others:
            self._step(model, taken[0])
        for t, following in enumerate([*messages[1:], np.zeros_like(messages[0])]):
            sums = self._step(self.synapse, following)
            for model, taken in others:
                sums = sums + self._step(model, taken[min(t + 1, len(frames) - 1)])
            arriving = sums if self.loop is None else sums + getattr(self.loop, self.held)
            u, v = keep(neuron.u.astype(np.int64), decays[0]), keep(neuron.v.astype(np.int64), decays[1])
            v_before = neuron.v.copy()
            current = self._integrate(arriving, t)
            u = u + np.left_shift(arriving.astype(np.int32), 6)
            run.wraps += int(((u > STATE_LIMIT) | (u <= -STATE_LIMIT)).sum())
            run.clips += int((np.abs(v + neuron.u + neuron.effective_bias) >= STATE_LIMIT).sum())
            neuron.u[:] = current
            sent = self.rested(v_before, neuron.s_out.recv())
            if self.loop is not None:
                self.loop.s_in.send(sent)
                self.loop.run_spk()
            for rows, values in ((run.sums, arriving), (run.u, neuron.u), (run.v, neuron.v), (run.messages, sent)):
                rows.append(_row(values))
        for key in ("sums", "u", "v", "messages"):
            setattr(run, key, np.array(getattr(run, key), dtype=np.int64))
        return run

    def rested(self, before, sent):
        """What is sent; neurons that rest after a spike keep the v of before."""
        if self.layer.neuron.adaptation is not None:
            return self.adapted(self.layer.neuron.adaptation)
        rests = self.waits > 0
        self.neuron.v[:] = np.where(rests, before, self.neuron.v)
        sent = np.where(rests, 0, sent)
        self.waits = np.where(sent != 0, self.layer.neuron.refractory, np.maximum(self.waits - 1, 0))
        return sent

    def adapted(self, adaptation):
        """Spikes of neurons whose v no spike resets, while each raises the threshold."""
        decay, step, refractory_decay = adaptation.numbers
        level = (np.transpose(self.layer.neuron.threshold) * 64) + (self.raised * (4096 - decay)) // 4096
        held = (self.kept * (4096 - refractory_decay)) // 4096
        fired = self.neuron.v >= level + held
        self.raised = level - np.transpose(self.layer.neuron.threshold) * 64 + 64 * step * fired
        self.kept = held + 2 * level * fired
        return fired.astype(np.int32)

    def _integrate(self, arriving, t):
        """One step of the neurons; their current, in whose place u is 0 where the product has entered as a bias."""
        neuron, own = self.neuron, self.layer.neuron
        if own.gain is not None:
            before = neuron.v.copy()
            neuron.bias_mant, neuron.bias_exp = self.bias
            neuron.scale_bias()
            neuron.subthr_dynamics(arriving)
            current, neuron.v = neuron.u.copy(), before
            driven = gained((current.astype(np.int64) + neuron.effective_bias).reshape(-1), own.gain, t)
            neuron.bias_mant, neuron.bias_exp = np.reshape(driven, neuron.v.shape), np.zeros_like(neuron.bias_exp)
            arriving = np.zeros_like(arriving)
        neuron.a_in.send(arriving)
        neuron.run_spk()
        return neuron.u.copy() if own.gain is None else current

    def _step(self, synapse, message):
        """One step: what the synapse held, while it takes this message."""
        synapse.s_in.send(message)
        synapse.run_spk()
        return synapse.a_out.recv()


def _row(values):
    """Lava's (W, H, C) or (F,) as elements, channels last."""
    return np.array(values.transpose(1, 0, 2) if values.ndim == 3 else values).reshape(-1)
