"""One neuron of another framework → one neuron in Loihi's timesteps: what moves into weights, biases and threshold.

NIR's nodes and torch modules tell what their neurons do in their own words; here that becomes a StepNeuron.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spikecut.errors import InputError, UnsupportedError
from spikecut.export.network.adaptation import FloatAdaptation
from spikecut.export.network.arrays import Array, Shape
from spikecut.export.network.parameters import FloatParameter, float_parameter, said, spread
from spikecut.fixed_point import DECAY_UNITY, REFRACTORY_MAXIMUM
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.leaky import Reset

EQUALITY = "fires at v ≥ threshold, the chip at v > threshold: they differ only where v hits the threshold exactly"


@dataclass(frozen=True)
class NeuronModel:
    """A neuron in its author's words:

        u[t] = (1 - decay_u) u[t-1] + gain x[t]
        v[t] = v[t-1] + decay_v (v_rest - v[t-1]) + u[t],   v[0] = v_init
        s[t] = v[t] > threshold                     (at_equality: ≥)
        v[t] ← v_reset, or v[t] - threshold         where s[t], by reset "zero" or "subtract"

    Every number is one for all neurons of a layer, or an array, float64, that broadcasts to them as torch's do.

    Attributes
    ----------
    where: "node lif1", for errors. threshold: None for a neuron that never fires and gives v.
    refractory: timesteps after a spike in which v stays as the reset left it and nothing fires; u goes on. A v that is
        set to v_reset in the timestep after a spike, whatever comes in, is 1.
    next_step: the threshold is subtracted in the next timestep, after the leak. delayed: what to do where v leaks whole
        by then.
    inexact: a line for everything that was found to be approximated so far.
    adaptation: of a threshold that rises with each spike, as export/network/adaptation.py has it; v is not reset then,
        and fires at v ≥ threshold + a + r.
    """

    where: str
    threshold: FloatParameter | None
    gain: FloatParameter = 1.0
    decay_u: FloatParameter = 1.0
    decay_v: FloatParameter = 0.0
    reset: Reset = "zero"
    at_equality: bool = False
    next_step: bool = False
    v_rest: FloatParameter = 0.0
    v_reset: FloatParameter = 0.0
    v_init: FloatParameter = 0.0
    delayed: str = ""
    refractory: int = 0
    inexact: tuple[str, ...] = ()
    adaptation: FloatAdaptation | None = None


@dataclass(frozen=True)
class StepNeuron:
    """A neuron per timestep; see models/neurons/current_based.py for its equations.

    Attributes
    ----------
    gain: what multiplies the weights and biases before it. offset: what is then added to the biases. Both are one
        number, or one per channel, as weights and biases are.
    threshold: None for a neuron that never fires. This and the next are one number, or one per channel, or per neuron.
    drive: what is added to v in each timestep beside, one per neuron. v_init: v before the first timestep.
    refractory, adaptation: see NeuronModel.
    decay_u, decay_v: multiples of 1/4096 where the file's precision cannot tell them from one.
    inexact: a line for everything that the integers do otherwise. refused: why no Process does this, and what to do.
    notes: a line for what was read otherwise than the file says it.
    """

    gain: FloatParameter
    offset: FloatParameter
    threshold: FloatParameter | None
    decay_u: FloatParameter
    decay_v: FloatParameter
    reset: Reset
    at_equality: bool
    delayed_reset: bool
    inexact: tuple[str, ...]
    refused: str | None = None
    notes: tuple[str, ...] = ()
    v_init: FloatParameter = 0.0
    refractory: int = 0
    adaptation: FloatAdaptation | None = None
    drive: Array | None = None

    def module(self) -> CurrentBased:
        """The neuron in torch, which takes currents that `gain` and `offset` are in already."""
        threshold = None if self.threshold is None else _tensor(self.threshold)
        decay_u, decay_v, v_init = (_tensor(each) for each in (self.decay_u, self.decay_v, self.v_init))
        reset = self.reset, self.at_equality, self.delayed_reset
        made = CurrentBased(threshold, decay_u, decay_v, *reset, v_init)
        made.refractory = self.refractory
        made.drive = None if self.drive is None else torch.tensor(self.drive)
        made.adaptation = None if self.adaptation is None else self.adaptation.numbers
        return made

    def driven(self, shape: Shape) -> "StepNeuron":
        """The same with its offset added to v beside u, where it would decay as the current does; shape: of neurons."""
        offset = np.asarray(spread(self.offset, len(shape)))
        return replace(self, offset=0.0, drive=np.array(np.broadcast_to(offset, shape), dtype=np.float64))

    @property
    def told(self) -> str:
        """What is inexact of it, or else what u and v lose per timestep."""
        lost = [f"{name} loses {_share(d)} per timestep" for name, d in (("u", self.decay_u), ("v", self.decay_v))]
        lines = self.inexact or (f"{lost[0]}, {lost[1]}" if np.any(np.asarray(self.decay_u) < 1) else lost[1],)
        if self.threshold is not None and isinstance(self.threshold, np.ndarray):
            lines = (*lines, f"thresholds of {said(self.threshold, '.5g')}, each neuron its own")
        if self.refractory:
            lines = (*lines, f"rests after a spike, timesteps: {self.refractory}")
        if self.adaptation is not None:
            lines = (*lines, f"each spike raises its threshold by {self.adaptation.threshold_step:g}")
        if self.delayed_reset and self.refused is None:
            amount = said(1 / (1 - np.asarray(self.decay_v)), ".5g")
            lines = (*lines, f"a reset after the leak is one by {amount} thresholds before it")
        return "; ".join((*lines, *self.notes))


NUMBERS = ("threshold", "gain", "decay_u", "decay_v", "v_rest", "v_reset", "v_init")


def step_neuron(model: NeuronModel, shape: Shape, features: Shape | None = None) -> StepNeuron:
    """The neuron in timesteps, counted from the v that it is reset to.

    shape: of the layer's neurons, (F,) or (C, H, W). features: as the model's arrays broadcast to it; None for `shape`.

    InputError for an array that does not fit. UnsupportedError for what no Process does, with the reason and a remedy.
    """
    model = _whole(model, shape, features or shape)
    offset = model.decay_v * model.v_rest
    if model.threshold is None:
        return _silent(model, offset)
    shift = _shift(model)
    threshold = model.threshold - shift
    if np.any(threshold <= 0):
        raise UnsupportedError(
            f"{model.where}: the threshold lies {-np.min(threshold):g} below what v is reset to, or at it: it would "
            "fire for ever; train with a positive threshold"
        )
    soft = model.reset == "subtract"
    _check_refractory(model)
    delayed = model.next_step and soft and bool(np.any(model.decay_v))
    refused = None
    if delayed and np.any(np.rint(np.asarray(model.decay_v) * DECAY_UNITY) == DECAY_UNITY):
        refused = (
            f"{model.where}: v leaks whole, and the threshold is subtracted from it in the next timestep (snnTorch's "
            f'reset_mechanism="subtract" with beta = 0), which no Process does; {model.delayed}'
        )
    inexact = model.inexact
    if model.at_equality and model.adaptation is None and not (soft and not np.any(model.decay_v)):
        inexact = (*inexact, EQUALITY)
    gain, offset, threshold, v_init = _by_channel(
        model, offset - model.decay_v * shift, threshold, model.v_init - shift
    )
    offset, drive = _driven(offset)
    return StepNeuron(
        gain=gain,
        offset=offset,
        threshold=threshold,
        decay_u=float_parameter(model.decay_u),
        decay_v=float_parameter(model.decay_v),
        reset=model.reset,
        at_equality=model.at_equality,
        delayed_reset=delayed,
        inexact=inexact,
        refused=refused,
        v_init=v_init,
        refractory=model.refractory,
        adaptation=model.adaptation,
        drive=drive,
    )


def _silent(model: NeuronModel, offset: FloatParameter) -> StepNeuron:
    """A neuron that never fires and gives v."""
    if np.any(model.v_init):
        start = said(float_parameter(model.v_init), "g")
        raise UnsupportedError(f"{model.where}: its membrane starts at v_leak = {start}; set v_leak to 0")
    numbers = _by_channel(model, offset, None, 0.0)
    decays = float_parameter(model.decay_u), float_parameter(model.decay_v)
    offset, drive = _driven(numbers[1])
    made = StepNeuron(numbers[0], offset, None, *decays, "zero", False, False, model.inexact)
    return replace(made, drive=drive)


def _driven(offset: FloatParameter) -> tuple[FloatParameter, Array | None]:
    """An offset of each channel, or else of each neuron of a map."""
    return (0.0, offset) if isinstance(offset, np.ndarray) and offset.ndim > 1 else (offset, None)


def _check_refractory(model: NeuronModel) -> None:
    if not 0 <= model.refractory <= REFRACTORY_MAXIMUM:
        raise UnsupportedError(
            f"{model.where}: a refractory period of {model.refractory} timesteps; at most {REFRACTORY_MAXIMUM}"
        )
    if model.refractory and model.next_step and model.reset == "subtract":
        raise UnsupportedError(
            f"{model.where}: a refractory period and a reset in the next timestep, which no Process has; train with one"
        )


def _whole(model: NeuronModel, shape: Shape, features: Shape) -> NeuronModel:
    """The model with arrays of the layer's whole shape."""
    found: dict[str, Any] = {}
    for name in NUMBERS:
        value = getattr(model, name)
        if not isinstance(value, np.ndarray):
            continue
        while value.ndim > len(features) and len(value) == 1:  # an axis of samples
            value = value[0]
        try:
            found[name] = np.broadcast_to(value, features).reshape(shape)
        except ValueError:
            raise InputError(
                f"{model.where}: {name} of shape {value.shape} does not fit its neurons, of shape {features}"
            ) from None
    return replace(model, **found)


def _by_channel(
    model: NeuronModel, offset: FloatParameter, threshold: Any, v_init: FloatParameter
) -> tuple[FloatParameter, FloatParameter, FloatParameter, FloatParameter]:
    """Gain, offset, threshold and v(0), where what differs inside a channel counts its neurons' v in parts of the gain.

    v / gain, for the weights of a map are those of all neurons of a channel. UnsupportedError where the gain is not
    positive.
    """
    gain = float_parameter(model.gain)
    if np.ndim(gain) > 1:
        if np.min(gain) <= 0:
            raise UnsupportedError(
                f"{model.where}: the gain of its input differs inside a channel and is {np.min(gain):g} somewhere; "
                "train with positive ones"
            )
        if model.adaptation is not None:
            raise UnsupportedError(
                f"{model.where}: a threshold that adapts behind a gain that differs inside a channel: its step would "
                "differ, too, and a layer has one; train with one gain a channel"
            )
        offset, v_init, threshold = offset / gain, v_init / gain, None if threshold is None else threshold / gain
        gain = 1.0
    offset = float_parameter(offset)
    level = 0.0 if threshold is None else float_parameter(threshold)
    return gain, offset, level, float_parameter(v_init)


def _shift(model: NeuronModel) -> FloatParameter:
    """What is subtracted from v, v_rest and the threshold, so that v is reset to 0."""
    if model.reset == "zero":
        return model.v_reset
    if np.any(model.v_reset):
        raise UnsupportedError(
            f"{model.where}: v_reset = {said(float_parameter(model.v_reset), 'g')} with a soft reset; a Process "
            "subtracts the threshold and resets to nothing: train with 0"
        )
    return 0.0


def chip_decay(
    what: str, lost: FloatParameter, source: str, precision: float
) -> tuple[FloatParameter, tuple[str, ...]]:
    """The multiple of 1/4096 that numbers of this precision cannot tell from `lost`; or `lost` itself, and a line.

    what: "u" or "v". lost: one, or an array, each by itself. source: the parameter's name.
    """
    given = np.asarray(lost, dtype=np.float64)
    nearest = np.rint(given * DECAY_UNITY) / DECAY_UNITY
    close = np.abs(nearest - given) <= 4 * precision * np.maximum(given, 1 - given)
    found = np.where(close, nearest, given)
    decay = float(found) if found.ndim == 0 else found
    if close.all():
        return decay, ()
    error = np.abs(nearest - given).max()
    if given.size > 1:
        chip = f"the nearest of {said(np.rint(given * DECAY_UNITY), '.0f')} 4096ths: an error of up to {error:.2g}"
        return decay, (f"{what} loses {said(given, '.8g')} per timestep ({source}), the chip {chip}",)
    line = (
        f"{what} loses {float(given.min()):.8g} per timestep ({source}), the chip "
        f"{round(float(nearest.min()) * DECAY_UNITY)}/4096: an error of {error:.2g}"
    )
    return decay, (line,)


def _tensor(parameter: FloatParameter) -> float | torch.Tensor:
    return torch.tensor(parameter) if isinstance(parameter, np.ndarray) else parameter


def _share(lost: FloatParameter) -> str:
    if isinstance(lost, np.ndarray):
        return f"{said(np.rint(lost * DECAY_UNITY), '.0f')} 4096ths"
    return {0.0: "nothing", 1.0: "all"}.get(lost, f"{round(lost * DECAY_UNITY)}/{DECAY_UNITY}")
