"""lava-dl's SLAYER blocks as stages: trained in torch with slayer's own quantised forward and surrogate gradient.

Shrestha, Orchard, "SLAYER: Spike layer error reassignment in time", NeurIPS 2018; lava-dl 0.6.0, lava.lib.dl.slayer.
What such a network computes in torch is already what the chip computes: weights enter rounded to even 8-bit integers,
decays to 12 bits, and u and v are integers. So there is no float network beside it and nothing to quantise:

    u[t] = trunc(u[t-1] · (4096 - decay_u) / 4096) + 64 Σ W s[t]
    v[t] = trunc(v[t-1] · (4096 - decay_v) / 4096) + u[t] + 64 b
    s[t] = v[t] > 64 θ;   v[t] ← 0 where s[t]

Lava is imported when the first block is made, not before: that takes seconds.
"""

import contextlib
import io
import math
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from spikecut import lava_repairs
from spikecut.errors import InputError, UnsupportedError
from spikecut.models.bodies import Body
from spikecut.models.network import SpikingNetwork, Stage

NEURON = {"threshold": 1.25, "current_decay": 0.75, "voltage_decay": 0.125, "tau_grad": 0.1, "scale_grad": 3.0}
"""Of the networks that spikecut trains: decays of 12 bits, a threshold in units of a weight of 1 (64 integer units)."""
INITIAL_SCALE = 3.0


def slayer_library() -> ModuleType:
    """lava.lib.dl.slayer, imported on demand. InputError with the remedy where it cannot be."""
    if sys.flags.optimize > 1:
        raise InputError("lava-dl works with its docstrings, which python -OO leaves out: use python -O, or none")
    lava_repairs.install()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            from lava.lib.dl import slayer
    except ImportError as exc:
        raise InputError(f"SLAYER networks need lava-dl ({exc}): spikecut install-lava") from exc
    library: ModuleType = slayer
    return library


def _hooked(synapse: Any) -> npt.NDArray[np.int64]:
    weight: npt.NDArray[np.int64] = synapse.pre_hook_fx(synapse.weight.detach(), descale=True).long().numpy()
    return weight


class SlayerStage(Stage):
    """A block of slayer (cuba Dense, Conv or Recurrent) in spikecut's layout: time first, one frame a step.

    A block whose `delay_shift` is set sends a step late, as a layer on the chip does. spikecut counts time by the
    sample's own wave, so the stage undoes it: it runs the block one step longer and leaves out the first.

    Attributes
    ----------
    block: slayer's own; its synapse and its neuron are the stage's, so that they are trained and saved.
    """

    def __init__(self, name: str, block: nn.Module) -> None:
        parts: Any = block
        synapse = parts.input_synapse if hasattr(parts, "input_synapse") else parts.synapse
        super().__init__(name, synapse, nn.Identity(), parts.neuron)
        self._block = (block,)  # in a tuple torch does not register it a second time

    @property
    def block(self) -> Any:
        """slayer's block."""
        return self._block[0]

    @property
    def convolutional(self) -> bool:
        """Whether the block convolves; a dense one flattens what comes as (C, H, W) in torch's order."""
        return type(self.block).__name__ == "Conv"

    def quantised_weight(self) -> npt.NDArray[np.int64]:
        """The weights as slayer's own hook rounds them, in integer units, of the synapse's shape."""
        return _hooked(self.synapse)

    def quantised_recurrent_weight(self) -> npt.NDArray[np.int64] | None:
        """The same of a recurrent block's second synapse; None of others."""
        return _hooked(self.block.recurrent_synapse) if hasattr(self.block, "recurrent_synapse") else None

    def delays(self) -> Tensor | None:
        """Whole steps by which each output is late, int64 [outputs]; None where none is."""
        if self.block.delay is None:
            return None
        steps: Tensor = self.block.delay.delay.detach().clamp(0, self.block.delay.max_delay).floor().long()
        return steps if bool(steps.any()) else None

    def forward(self, inputs: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """Spikes or graded messages [T, N, *] → spikes [T, N, *].

        responses: where given, spikes + max(v, 0) / threshold with v after the reset is appended, for RCS.
        """
        frames = inputs.movedim(0, -1)
        if not self.convolutional:
            width = self.synapse.weight.shape[1:-1]
            frames = frames.reshape(len(frames), *(width if math.prod(width[1:]) > 1 else (-1,)), len(inputs))
        if responses is not None:
            spikes, voltage = self._respond(frames)
            neuron: Any = self.neuron
            responses.append((spikes + voltage.relu() / neuron.threshold).movedim(-1, 0))
            return spikes.movedim(-1, 0)
        return run_block(self.block, frames, int(bool(self.block.delay_shift)), self.convolutional).movedim(-1, 0)

    def _respond(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and v after the reset, of a block without delays."""
        neuron: Any = self.neuron
        _, voltage = neuron.dynamics(self.synapse(frames))
        spikes = neuron.spike(voltage)
        return spikes, voltage * (1 - spikes)


def run_block(block: Any, frames: Tensor, shift: int, keeps_map: bool) -> Tensor:
    """A block, or a chain of them, on [N, *, T] from rest, `shift` steps longer than T, without the first `shift`."""
    forget(block)
    found = block(functional.pad(frames, (0, shift)))
    spikes: Tensor = (found[0] if isinstance(found, tuple) else found)[..., shift:]
    return spikes if keeps_map else spikes.flatten(1, -2)


def forget(module: nn.Module) -> None:
    """Set back what slayer's neurons keep from one call to the next."""
    for part in module.modules():
        if getattr(part, "persistent_state", False) and hasattr(part, "voltage_state"):
            neuron: Any = part
            neuron.current_state, neuron.voltage_state = torch.zeros(1), torch.zeros(1)
            if hasattr(part, "threshold_state"):
                neuron.threshold_state = torch.tensor([float(neuron.threshold)])
                neuron.refractory_state = torch.zeros(1)


class SlayerNetwork(SpikingNetwork):
    """A chain of SlayerStage; the score of a step is the output's spikes.

    Attributes
    ----------
    whole: the module that somebody else's blocks were taken from, None for a network of spikecut.
    shift: by how many steps `whole` is late.
    flat: `whole` takes [N, F, T], not [N, C, H, W, T].
    """

    def __init__(
        self,
        stages: list[SlayerStage],
        input_shape: tuple[int, ...],
        whole: nn.Module | None = None,
        shift: int = 0,
        flat: bool = False,
    ) -> None:
        super().__init__(list(stages), "count", input_shape)
        self._whole = (whole,)
        self.shift = shift
        self.flat = flat

    @property
    def whole(self) -> nn.Module | None:
        """See the class."""
        return self._whole[0]

    def record(self, frames: Tensor) -> dict[str, Tensor]:
        """What every stage sends, name → 0 or 1 [T, N, *]; frames: integers [T, N, *input_shape]."""
        sent, recorded = frames.float(), {}
        with torch.no_grad():
            for stage in self.chain():
                sent = stage(sent)
                recorded[stage.name] = sent
        return recorded

    def scores(self, frames: Tensor) -> Tensor:
        """Scores per step by the other's own module, in one piece; by the chain where there is none.

        UnsupportedError where the module cannot take the frames, or gives another shape.
        """
        inputs = frames.float().movedim(0, -1)
        with torch.no_grad():
            if self.whole is None:
                found: Tensor = self(frames.float())
                return found
            try:
                given = inputs.flatten(1, -2) if self.flat else inputs
                found = run_block(self.whole, given, self.shift, keeps_map=False).movedim(-1, 0)
            except (RuntimeError, IndexError, ValueError, TypeError, AssertionError, AttributeError) as exc:
                raise UnsupportedError(
                    f"the module's forward fails on {tuple(inputs.shape)} ({' '.join(str(exc).split())[:120]}): it "
                    "must be the chain of its blocks, [N, *, T] in and [N, classes, T] out"
                ) from exc
        if found.shape[:2] != frames.shape[:2]:
            raise UnsupportedError(
                f"the module gives {tuple(found.shape)} for {len(frames)} steps of {frames.shape[1]} samples: its "
                "forward must be the chain of its blocks, [N, *, T] in and [N, classes, T] out"
            )
        return found


def build_slayer(body: Body, input_shape: tuple[int, ...], classes: int) -> SlayerNetwork:
    """A fresh network of cuba blocks with random weights (torch's global generator), see architectures.build.

    InputError for a body with pooling, for which slayer would put neurons that no other method has.
    """
    if body.pool > 1 or any(layer.pool > 1 for layer in body.convolutions):
        raise InputError("slayer networks are made without pooling: choose digits, small, conv or mlp")
    if body.convolutions and len(input_shape) != 3:
        raise InputError(f"a convolutional architecture needs (channels, height, width), not {input_shape}: use an mlp")
    cuba = slayer_library().block.cuba
    common = {"delay_shift": False, "weight_scale": INITIAL_SCALE}
    stages, shape = [], input_shape
    for number, layer in enumerate(body.convolutions, 1):
        block = cuba.Conv(dict(NEURON), shape[0], layer.channels, 3, stride=layer.stride, padding=1, **common)
        stages.append(SlayerStage(f"conv{number}", block))
        shape = (layer.channels, *(-(-side // layer.stride) for side in shape[1:]))
    features = math.prod(shape)
    for number, width in enumerate(body.hidden, 1):
        name = "hidden" if len(body.hidden) == 1 else f"hidden{number}"
        stages.append(SlayerStage(name, cuba.Dense(dict(NEURON), features, width, **common)))
        features = width
    stages.append(SlayerStage("output", cuba.Dense(dict(NEURON), features, classes, **common)))
    return SlayerNetwork(stages, input_shape)
