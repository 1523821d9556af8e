"""Checks on what a backend is to run: whole samples, or streams of frames, and what ends them."""

import numpy as np

from spikecut.deploy.cutoff.base import CutoffPolicy, check_classes
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.errors import DataError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


def check_inputs(network: IntegerNetwork, inputs: Integers) -> None:
    """Raise DataError unless inputs are integers [T, N, *shape] within the input's range."""
    want = network.input_shape
    if inputs.dtype.kind not in "iub" or inputs.ndim != len(want) + 2 or inputs.shape[2:] != want:
        raise DataError(f"inputs of shape {inputs.shape}, type {inputs.dtype}: encode samples of shape {want} first")
    if inputs.shape[0] != network.horizon:
        raise DataError(f"inputs of {inputs.shape[0]} timesteps, the network's horizon is {network.horizon}")
    if inputs.shape[1] == 0:
        raise DataError("no samples to run")
    if _outside(inputs, network.input.minimum, network.input.maximum):
        raise DataError(f"an input message lies outside [{network.input.minimum}, {network.input.maximum}]")


def check_policy(network: IntegerNetwork, policy: CutoffPolicy | None) -> None:
    """Raise InputError for a policy of another horizon, or one that judges classes where a regression has none."""
    if policy is not None:
        policy.check_horizon(network.horizon)
        if not isinstance(policy, FixedTimestep):
            check_classes(network, f"a cutoff by {type(policy).__name__}")


def check_frames(network: IntegerNetwork, frames: Integers) -> None:
    """Raise DataError unless streams of frames are integers [F, N, *shape] within the input's range."""
    shape = network.input_shape
    if frames.ndim != len(shape) + 2 or frames.shape[2:] != shape or frames.dtype.kind not in "iub":
        raise DataError(
            f"stream frames of shape {frames.shape}, type {frames.dtype}: encode frames of shape {shape} first"
        )
    if 0 in frames.shape[:2]:
        raise DataError("no frames to run")
    if frames.min() < network.input.minimum or frames.max() > network.input.maximum:
        raise DataError(f"a frame's message lies outside [{network.input.minimum}, {network.input.maximum}]")


def _outside(inputs: Integers, minimum: int, maximum: int) -> bool:
    """Whether a value leaves the range; types that cannot are not searched."""
    if inputs.dtype.kind == "b":
        return maximum < 1 and bool(inputs.any())
    limits = np.iinfo(inputs.dtype)
    return bool((limits.min < minimum and inputs.min() < minimum) or (limits.max > maximum and inputs.max() > maximum))
