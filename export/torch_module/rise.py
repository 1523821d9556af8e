"""Thresholds that rise with the spikes of the module itself, and how far its float32 may be from them."""

from torch import Tensor, zeros_like

from spikecut.export.network.adaptation import FloatAdaptation

ROUNDINGS = 16
"""Of either state in a timestep, none of a number larger than those that are added up."""


class Rise:
    """a and r of export/network/adaptation.py, float64 [N, *shape], and how far float32's sum may lie from theirs.

    unit: the largest rounding of a number, as a part of it.
    """

    def __init__(self, adaptation: FloatAdaptation, like: Tensor, unit: float) -> None:
        decay, self.step, refractory_decay = adaptation.numbers
        self.keep, self.keep_held = 1 - decay, 1 - refractory_decay
        self.unit = ROUNDINGS * unit
        self.raised = self.held = self.doubt_raised = self.doubt_held = zeros_like(like)

    def level(self, threshold: Tensor) -> Tensor:
        """What v is compared with at the next timestep."""
        self.raised, self.held = self.keep * self.raised, self.keep_held * self.held
        self.doubt_raised = self.keep * self.doubt_raised + self.unit * (threshold + self.raised)
        self.doubt_held = self.keep_held * self.doubt_held + self.unit * self.held
        return threshold + self.raised + self.held

    @property
    def doubt(self) -> Tensor:
        """How far the level may lie from float32's."""
        return self.doubt_raised + self.doubt_held

    def add(self, fired: Tensor, threshold: Tensor) -> None:
        """What the module sent at this timestep, 0 or 1."""
        fired = (fired != 0).to(self.raised.dtype)
        self.held = self.held + 2 * (threshold + self.raised) * fired
        self.doubt_held = self.doubt_held + (2 * self.doubt_raised + self.unit * self.held) * fired
        self.raised = self.raised + self.step * fired
        self.doubt_raised = self.doubt_raised + self.unit * self.raised * fired
