"""One neuron of another framework → one neuron in Loihi's timesteps: what moves into weights, biases and threshold.

NIR's nodes and torch modules tell what their neurons do in their own words; here that becomes a StepNeuron.
"""

from dataclasses import dataclass

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.fixed_point import DECAY_UNITY
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.leaky import Reset

EQUALITY = "fires at v ≥ threshold, the chip at v > threshold: they differ only where v hits the threshold exactly"


@dataclass(frozen=True)
class NeuronModel:
    """A neuron in its author's words, one value for all neurons of a layer:

        u[t] = (1 - decay_u) u[t-1] + gain x[t]
        v[t] = v[t-1] + decay_v (v_rest - v[t-1]) + u[t],   v[0] = v_init
        s[t] = v[t] > threshold                     (at_equality: ≥)
        v[t] ← v_reset, or v[t] - threshold         where s[t], by reset "zero" or "subtract"

    Attributes
    ----------
    where: "node lif1", for errors. threshold: None for a neuron that never fires and gives v.
    next_step: the threshold is subtracted in the next timestep, after the leak. delayed: what to do where v leaks whole
        by then.
    inexact: a line for everything that was found to be approximated so far.
    """

    where: str
    threshold: float | None
    gain: float = 1.0
    decay_u: float = 1.0
    decay_v: float = 0.0
    reset: Reset = "zero"
    at_equality: bool = False
    next_step: bool = False
    v_rest: float = 0.0
    v_reset: float = 0.0
    v_init: float = 0.0
    delayed: str = ""
    inexact: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepNeuron:
    """A neuron per timestep; see models/neurons/current_based.py for its equations.

    Attributes
    ----------
    gain: what multiplies the weights and biases before it. offset: what is then added to the biases.
    threshold: None for a neuron that never fires.
    decay_u, decay_v: multiples of 1/4096 where the file's precision cannot tell them from one.
    inexact: a line for everything that the integers do otherwise. refused: why no Process does this, and what to do.
    notes: a line for what was read otherwise than the file says it.
    """

    gain: float
    offset: float
    threshold: float | None
    decay_u: float
    decay_v: float
    reset: Reset
    at_equality: bool
    delayed_reset: bool
    inexact: tuple[str, ...]
    refused: str | None = None
    notes: tuple[str, ...] = ()

    def module(self) -> CurrentBased:
        """The neuron in torch, which takes currents that `gain` and `offset` are in already."""
        return CurrentBased(
            self.threshold, self.decay_u, self.decay_v, self.reset, self.at_equality, self.delayed_reset
        )

    @property
    def told(self) -> str:
        """What is inexact of it, or else what u and v lose per timestep."""
        lost = [f"{name} loses {_share(d)} per timestep" for name, d in (("u", self.decay_u), ("v", self.decay_v))]
        said = self.inexact or (f"{lost[0]}, {lost[1]}" if self.decay_u < 1 else lost[1],)
        if self.delayed_reset and self.refused is None:
            said = (*said, f"a reset after the leak is one by {1 / (1 - self.decay_v):.5g} thresholds before it")
        return "; ".join((*said, *self.notes))


def step_neuron(model: NeuronModel) -> StepNeuron:
    """The neuron in timesteps, counted from the v that it is reset to.

    UnsupportedError for what no Process does, with the reason and what to do.
    """
    offset = model.decay_v * model.v_rest
    if model.threshold is None:
        if model.v_init != 0:
            raise UnsupportedError(f"{model.where}: its membrane starts at v_leak = {model.v_init:g}; set v_leak to 0")
        return StepNeuron(model.gain, offset, None, model.decay_u, model.decay_v, "zero", False, False, model.inexact)
    shift = _shift(model)
    threshold = model.threshold - shift
    if threshold <= 0:
        raise UnsupportedError(
            f"{model.where}: the threshold lies {-threshold:g} below what v is reset to, or at it: it would "
            "fire for ever; train with a positive threshold"
        )
    soft = model.reset == "subtract"
    delayed = model.next_step and soft and model.decay_v > 0
    refused = None
    if delayed and np.rint(model.decay_v * DECAY_UNITY) == DECAY_UNITY:
        refused = (
            f"{model.where}: v leaks whole, and the threshold is subtracted from it in the next timestep (snnTorch's "
            f'reset_mechanism="subtract" with beta = 0), which no Process does; {model.delayed}'
        )
    inexact = model.inexact
    if model.at_equality and not (soft and model.decay_v == 0):
        inexact = (*inexact, EQUALITY)
    return StepNeuron(
        gain=model.gain,
        offset=offset - model.decay_v * shift,
        threshold=threshold,
        decay_u=model.decay_u,
        decay_v=model.decay_v,
        reset=model.reset,
        at_equality=model.at_equality,
        delayed_reset=delayed,
        inexact=inexact,
        refused=refused,
    )


def _shift(model: NeuronModel) -> float:
    """What is subtracted from v, v_rest and the threshold, so that v starts at 0 and is reset to 0."""
    if model.reset == "subtract":
        if model.v_reset or model.v_init:
            raise UnsupportedError(
                f"{model.where}: v_reset = {model.v_reset:g} and v(0) = {model.v_init:g} with a soft reset; a Process "
                "subtracts the threshold from a v that starts at 0: train with both 0"
            )
        return 0.0
    if model.v_init != model.v_reset:
        raise UnsupportedError(
            f"{model.where}: v starts at {model.v_init:g} but is reset to {model.v_reset:g}; only where both are the "
            "same can v be counted from there: train with v_reset = 0"
        )
    return model.v_reset


def chip_decay(what: str, lost: float, source: str, precision: float) -> tuple[float, tuple[str, ...]]:
    """The multiple of 1/4096 that numbers of this precision cannot tell from `lost`; or `lost` itself, and a line.

    what: "u" or "v". source: the parameter's name.
    """
    nearest = float(np.rint(lost * DECAY_UNITY)) / DECAY_UNITY
    if abs(nearest - lost) <= 4 * precision * max(lost, 1 - lost):
        return nearest, ()
    line = (
        f"{what} loses {lost:.8g} per timestep ({source}), the chip {round(nearest * DECAY_UNITY)}/4096: an error of "
        f"{abs(nearest - lost):.2g}"
    )
    return lost, (line,)


def _share(lost: float) -> str:
    return {0.0: "nothing", 1.0: "all"}.get(lost, f"{round(lost * DECAY_UNITY)}/{DECAY_UNITY}")


def shared_value(lowest: float, highest: float, name: str, where: str) -> float:
    """A parameter that all neurons of a layer share, of its extremes; UnsupportedError where these differ."""
    if lowest != highest:
        raise UnsupportedError(
            f"{where}: {name} differs between neurons ({lowest:g} to {highest:g}); a layer's neurons share one value "
            "on the chip: train with one, or split the layer"
        )
    return lowest
