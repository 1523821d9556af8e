"""What bounds the steps of a run: busiest core, busiest link, barrier."""

from dataclasses import replace

import numpy as np
import pytest

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.attribution import attribute
from spikecut.deploy.cost.summary import attribution_summary
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def ran() -> RunTrace:
    one = IntegerNeuron(1, np.zeros(12, dtype=int))
    layers = tuple(IntegerLayer(f"layer{n}", "dense", np.full((12, 12), 2), one, (12,), (12,)) for n in range(2))
    network = IntegerNetwork(layers, InputSpec((12,), "events"), "count", horizon=6)
    return run_batched(network, np.ones((6, 2, 12), dtype=np.int64), record="all")


def chip(link_ns: float, floor_ns: float) -> Chip:
    """Loihi 2 with one core a tile, four neurons a core, and these times of a link and of the barrier."""
    found = load_hardware("loihi2")
    assert isinstance(found, Chip)
    limits = {"neurons_per_core": 4, "cores_per_tile": 1, "cores_per_chip": 32}
    changed = {name: getattr(found.limits, name).model_copy(update={"value": count}) for name, count in limits.items()}

    def exactly(value: float) -> dict[str, float]:
        return {"value": value, "low": value, "high": value}

    hops = {
        name: getattr(found.costs, name).model_copy(
            update={"time_ns": getattr(found.costs, name).time_ns.model_copy(update=exactly(link_ns))}
        )
        for name in ("hop_east_west", "hop_north_south")
    }
    table = {n: knot.model_copy(update=exactly(floor_ns)) for n, knot in found.barrier.time_ns_by_tiles.items()}
    return found.model_copy(
        update={
            "limits": found.limits.model_copy(update=changed),
            "costs": found.costs.model_copy(update=hops),
            "barrier": found.barrier.model_copy(update={"time_ns_by_tiles": table}),
        }
    )


@pytest.mark.parametrize(("link_ns", "floor_ns", "most"), [(0.0, 0.0, 0), (1e4, 0.0, 1), (0.0, 1e9, 2)])
def test_what_takes_longest_bounds_the_steps(link_ns: float, floor_ns: float, most: int) -> None:
    trace = ran()
    found = attribute(trace, chip(link_ns, floor_ns))
    assert [bound.name for bound in found.bounds] == ["busiest core", "busiest link", "barrier"]
    shares = [bound.steps for bound in found.bounds]
    assert sum(shares) == pytest.approx(1) and max(shares) == shares[most] > 0.5
    core, link, barrier = found.bounds
    assert core.where.startswith("layer") and "core " in core.where and link.where.startswith("from tile (")
    assert barrier.mean_s == pytest.approx(floor_ns * 1e-9) and (link.mean_s > 0) == (link_ns > 0)
    assert [entry["name"] for entry in attribution_summary(found)["bounds"]] == [bound.name for bound in found.bounds]


def test_a_sum_of_times_has_no_links() -> None:
    one = chip(1.0, 1.0).model_copy(update={"timing": "sum"})
    (core,) = attribute(replace(ran()), one).bounds
    assert core.steps == 1.0 and core.mean_s > 0
