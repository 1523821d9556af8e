"""Records tests/golden/sanafe_cycle.json: what SANA-FE says of the networks of congestion.py.

`python scripts/validation.py --record` does it, and needs the extra sanafe, in this Python or in the one that
SPIKECUT_SANAFE_PYTHON names. Each answer comes from a process of its own, for Booksim's random choices go on from one
run to the next.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from silicon.congestion import CASES, RECORDED, TESTS, case

PYTHON = os.environ.get("SPIKECUT_SANAFE_PYTHON", sys.executable)
MODELS = ("simple", "detailed", "cycle")
FAST_NS = 0.1
"""Costs of a core that never holds up a link; without any SANA-FE counts no messages."""


def answered(request: dict[str, Any], model: str) -> float:
    """Seconds of all steps, by SANA-FE in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [PYTHON, str(TESTS / "support" / "sanafe_replay.py"), str(asked), str(answer), model]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return float(sum(json.loads(answer.read_text(encoding="utf-8"))[f"{model}_s"]))


def links_alone(request: dict[str, Any]) -> dict[str, Any]:
    """The same messages, of cores that take no time, and no barrier."""
    costs = {name: (pair[0], FAST_NS if name.startswith("axon") else 0.0) for name, pair in request["costs"].items()}
    return request | {"costs": costs, "barrier_ns": {1: 0.0}}


def tenfold_hops(request: dict[str, Any]) -> dict[str, Any]:
    """The same with hops that take ten times as long."""
    costs = request["costs"]
    slow = {name: (pair[0], 10 * pair[1]) for name, pair in costs.items() if name.startswith("hop")}
    return request | {"costs": costs | slow}


def record() -> None:
    """Ask about all networks, and write the answers."""
    golden: dict[str, dict[str, Any]] = {}
    for name in CASES:
        asked = case(name)
        golden[name] = {"request": asked.digest, **{f"{model}_s": answered(asked.request, model) for model in MODELS}}
        if name == "one link":
            golden[name]["links_alone_s"] = answered(links_alone(asked.request), "cycle")
            golden[name]["tenfold_hops_s"] = answered(tenfold_hops(asked.request), "cycle")
    RECORDED.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
