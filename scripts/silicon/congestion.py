"""Congestion on the mesh: SANA-FE's three models of time beside ours, on five networks whose spikes it replays.

SANA-FE's answers lie in tests/golden/sanafe_cycle.json, see sanafe_cycle.py. Its `cycle` model
always simulates one and the same mesh, Loihi's 8 x 4 tiles of four cores, at a message a nanosecond and link; hop times
do not enter it. So this mesh it is here, and ours is given that time of a link, too.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.links import MeshLinks
from spikecut.deploy.cost.pricing import LINK_AXES, Pricer, barrier_ns
from spikecut.deploy.cost.traffic import link_loads, routes_of
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import RunTrace

FloatArray = npt.NDArray[np.float64]

TESTS = Path(__file__).resolve().parents[2] / "tests"
RECORDED = TESTS / "golden" / "sanafe_cycle.json"
CASES = {"dense": 8, "conv": 8, "recurrent": 8, "one link": 4, "crossing": 4}
"""Networks of tests/support/sanafe_networks.py, and how many neurons a core may hold."""
LINK_NS = 1.0
"""How long a message keeps a link busy in `cycle`: what the library's configuration of Booksim says (clock_period 1e-9,
packet_size 1), and what the traffic of `one link` takes by itself."""


@dataclass(frozen=True)
class Case:
    """A run of a network on its cores, and what SANA-FE is asked about it."""

    trace: RunTrace
    chip: Chip
    placement: Placement
    request: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the request, by which a recorded answer is known to be an answer to it."""
        return hashlib.sha256(json.dumps(self.request).encode()).hexdigest()


def case(name: str) -> Case:
    """The network of this name in CASES, on Loihi 1's fitted times and its mesh, with small cores."""
    folders = [str(TESTS / "deploy" / "cost"), str(TESTS / "support")]
    sys.path[:0] = folders
    try:
        import sanafe_networks
        import test_sanafe as replayed
    finally:
        del sys.path[: len(folders)]
    random = np.random.default_rng(7)
    loihi = load_hardware("loihi1")
    assert isinstance(loihi, Chip)
    small = loihi.limits.neurons_per_core.model_copy(update={"value": CASES[name]})
    chip = loihi.model_copy(update={"limits": loihi.limits.model_copy(update={"neurons_per_core": small})})
    trace = replayed.spikes_of(sanafe_networks.network_of(name, random), random)
    placement = place(trace.network, chip)
    return Case(trace, chip, placement, replayed.asked(trace, chip, placement))


@dataclass(frozen=True)
class Compared:
    """What bounds every step of a case, in ns, and SANA-FE's seconds.

    Attributes
    ----------
    core, link: of the busiest core, of the busiest link at LINK_NS a message. by_hops: of that at its hop's time.
    floor: the barrier. theirs: what SANA-FE said, by timing model.
    """

    asked: Case
    core: FloatArray
    link: FloatArray
    by_hops: FloatArray
    floor: float
    theirs: dict[str, Any]

    @classmethod
    def of(cls, name: str, theirs: dict[str, Any]) -> "Compared":
        """The case of this name, with its recorded answers."""
        asked = case(name)
        if asked.digest != theirs["request"]:
            raise SystemExit(f"{RECORDED.name}: {name} was recorded on another placement: record it anew")
        (core, link), (_, by_hops) = _bounds(asked, LINK_NS), _bounds(asked, None)
        return cls(asked, core, link, by_hops, barrier_ns(asked.chip.barrier, asked.placement.tiles, "value"), theirs)

    def seconds(self, link: FloatArray | float) -> float:
        """Of all steps, where a link takes so long, in ns."""
        return float((np.maximum(self.core, link) + self.floor).sum()) * 1e-9

    def ratio(self, link: FloatArray | float) -> float:
        """SANA-FE's `cycle` over ours with such links."""
        return float(self.theirs["cycle_s"]) / self.seconds(link)


def compared() -> dict[str, Compared]:
    """All cases, by name."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {name: Compared.of(name, recorded[name]) for name in CASES}


def congestion_table(cases: dict[str, Compared]) -> str:
    """Microseconds of each run, and what its busiest core and link take in a mean step."""
    columns = ("network", "cores, steps", "busiest core, link", "steps bound by a link", "ours", "SANA-FE simple")
    columns += ("detailed", "cycle", "cycle / ours")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, each in cases.items():
        cells = [name, f"{each.asked.placement.cores}, {each.core.size}"]
        cells += [f"{each.core.mean():,.0f} ns, {each.link.mean():,.0f} ns", f"{(each.link > each.core).sum()}"]
        seconds = [each.seconds(each.link), *(each.theirs[f"{model}_s"] for model in ("simple", "detailed", "cycle"))]
        cells += [*(f"{1e6 * time:.1f}" for time in seconds), f"{each.ratio(each.link):.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def congestion_figures(cases: dict[str, Compared]) -> dict[str, str]:
    """What the text says of the table, and of the messages of `one link` without the cores' times."""
    longer = [100 * (each.ratio(each.link) - 1) for each in cases.values() if (each.link <= each.core).all()]
    one, crossing = cases["one link"], cases["crossing"]
    messages = one.link.sum() / LINK_NS
    return {
        "cores_low": f"{min(longer):.1f}",
        "cores_high": f"{max(longer):.1f}",
        "without_links": f"{one.ratio(0.0):.2f}",
        "one_link": f"{one.ratio(one.link):.2f}",
        "crossing": f"{crossing.ratio(crossing.link):.2f}",
        "per_message": f"{1e9 * one.theirs['links_alone_s'] / messages:.2f}",
        "tenfold": f"{one.theirs['tenfold_hops_s'] / one.theirs['cycle_s']:.2f}",
        "by_hops": f"{one.ratio(one.by_hops):.2f}",
    }


def _bounds(asked: Case, link_ns: float | None) -> tuple[FloatArray, FloatArray]:
    """The busiest core's and the busiest link's time in every step, ns; link_ns: of a message, None for the hop's."""
    routes = routes_of(asked.trace.network, asked.placement)
    pricer = Pricer(_linked(asked.chip, link_ns), asked.placement, routes, MeshLinks.of(routes))
    cores, links = [], []
    for _, counts in pricer.chunks(asked.trace):
        sides = [pricer.slowest_ns("value", *each) for each in zip(routes, counts, strict=True)]
        cores.append(np.max([np.maximum(*np.broadcast_arrays(*each)) for each in sides], axis=0))
        loads = link_loads(counts)
        links.append(np.zeros(1) if loads is None else pricer.busiest_link_ns("value", loads))
    return np.concatenate(cores), np.concatenate(links)


def _linked(chip: Chip, link_ns: float | None) -> Chip:
    """The chip, whose links are busy so long with a message."""
    if link_ns is None:
        return chip
    changed = {}
    for axis in LINK_AXES:
        cost = getattr(chip.costs, f"hop_{axis}")
        time = cost.time_ns.model_copy(update={"value": link_ns})
        changed[f"hop_{axis}"] = cost.model_copy(update={"time_ns": time})
    return chip.model_copy(update={"costs": chip.costs.model_copy(update=changed)})
