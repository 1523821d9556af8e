"""Congestion on the mesh: SANA-FE's three models of time beside ours, on three networks that the tests replay there.

SANA-FE's totals are recorded in tests/golden/sanafe_cycle.json (sanafe 2.2.9; `cycle` is its cycle-accurate mesh).
"""

import json
import sys
from pathlib import Path

import numpy as np

from spikecut.deploy.cost.links import MeshLinks
from spikecut.deploy.cost.pricing import Pricer, barrier_ns
from spikecut.deploy.cost.traffic import link_loads, routes_of

TESTS = Path(__file__).resolve().parents[2] / "tests"
RECORDED = TESTS / "golden" / "sanafe_cycle.json"


def congestion_table() -> str:
    """Microseconds of each run, and what its busiest core and link take in a mean step."""
    folders = [str(TESTS / "deploy" / "cost"), str(TESTS / "support")]
    sys.path[:0] = folders
    try:
        import test_sanafe as replayed
    finally:
        del sys.path[: len(folders)]
    lines = [
        "| network | cores, steps | ours | SANA-FE simple | detailed | cycle | cycle / ours | busiest core, link |",
        "|---|---|---|---|---|---|---|---|",
    ]
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    for kind, neurons in (("dense", 24), ("conv", 40), ("recurrent", 20)):
        trace, chip, placement = replayed.placed_run(kind, neurons)
        theirs = recorded[kind]
        if replayed.digest(json.dumps(replayed.asked(trace, chip, placement))) != theirs["request"]:
            raise SystemExit(f"{RECORDED.name}: {kind} was recorded on another placement: record it anew")
        routes = routes_of(trace.network, placement)
        pricer = Pricer(chip, placement, routes, MeshLinks.of(routes))
        cores, links = [], []
        for _, counts in pricer.chunks(trace):
            sides = [pricer.slowest_ns("value", *each) for each in zip(routes, counts, strict=True)]
            cores.append(np.max([np.maximum(*np.broadcast_arrays(*each)) for each in sides], axis=0))
            loads = link_loads(counts)
            links.append(np.zeros(1) if loads is None else pricer.busiest_link_ns("value", loads))
        core, link = np.concatenate(cores), np.concatenate(links)
        floor = barrier_ns(chip.barrier, placement.tiles, "value")
        ours = float((np.maximum(core, link) + floor).sum()) * 1e-9
        times = [f"{1e6 * each:.1f}" for each in (ours, theirs["simple_s"], theirs["detailed_s"], theirs["cycle_s"])]
        cells = [kind, f"{placement.cores}, {core.size}", *times, f"{theirs['cycle_s'] / ours:.3f}"]
        lines.append("| " + " | ".join([*cells, f"{core.mean():,.0f} ns, {link.mean():,.0f} ns"]) + " |")
    return "\n".join(lines)
