"""The three ratios of a cutoff, as steps, for any exits and any delay of the monitor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecut.deploy.cost.savings import savings
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def two_layers(horizon: int) -> IntegerNetwork:
    """A network of depth 2."""
    neuron = IntegerNeuron(threshold=10, bias_mantissa=np.zeros(2, dtype=int))
    layers = (IntegerLayer(name, "dense", [[2, 2], [4, 2]], neuron, (2,), (2,)) for name in ("hidden", "output"))
    return IntegerNetwork(tuple(layers), InputSpec((2,), "events"), "count", horizon=horizon)


def steps_trace(timesteps: list[int], delay: int, horizon: int = 10) -> RunTrace:
    """A trace without events whose samples used these timesteps."""
    used = np.array(timesteps)
    return RunTrace(
        scores=np.zeros((horizon, used.size, 2), dtype=np.int64),
        valid=np.arange(horizon)[:, None] < used,
        timesteps=used,
        hardware_steps=np.minimum(used + delay, horizon) + 2,
        reason=tuple(ExitReason.CUTOFF if t < horizon else ExitReason.HORIZON for t in timesteps),
        network=two_layers(horizon),
        backend="by hand",
    )


@given(timesteps=st.lists(st.integers(1, 10), min_size=1, max_size=20), delay=st.integers(0, 4))
def test_ratios_of_steps(timesteps: list[int], delay: int) -> None:
    saved = savings(steps_trace([10] * len(timesteps), 0), steps_trace(timesteps, delay))
    count = len(timesteps)
    assert saved.naive["steps"] == pytest.approx(sum(timesteps) / count / 10, rel=1e-14)
    isolated = sum(min(t + delay, 10) + 2 for t in timesteps) / count / 12
    assert saved.isolated["steps"] == pytest.approx(isolated, rel=1e-14)
    streaming = sum(min(t + 2 + delay, 10) for t in timesteps) / count / 10
    assert saved.streaming["steps"] == pytest.approx(streaming, rel=1e-14)
    assert bool(saved.notes) == all(t + 2 + delay >= 10 for t in timesteps)
