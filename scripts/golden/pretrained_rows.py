"""Writes tests/golden/pretrained.json: what Lava's own models say of twenty samples of every pretrained network.

    PYTHONPATH=tests/support python scripts/golden/pretrained_rows.py

The networks' integers are exported anew; Lava runs them by its own arithmetic ("stock"), not by spikecut's. A digest or
row that changes is a change of results: say why in CHANGELOG.md.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import ready_rows

from spikecut.deploy.backends.lava.blocks import require_lava

TARGET = Path(__file__).resolve().parents[2] / "tests" / "golden" / "pretrained.json"


def main() -> None:
    """Export, run, write."""
    require_lava()  # before torch
    from spikecut.deploy.backends.lava.cpu import run_lava
    from spikecut.deploy.bundle import open_bundle
    from spikecut.deploy.pipeline.export import export_to_bundle
    from spikecut.export.encode import encode
    from spikecut.models.checkpoint import load_checkpoint
    from spikecut.models.pretrained import ready_checkpoint, ready_names

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(ready_names(), key=lambda name: name.split("-")[0] != "digits"):
            network, recipe = load_checkpoint(ready_checkpoint(name))
            x, y = ready_rows.drawn(recipe, 200)
            samples = Path(folder, f"{name}.npz")
            np.savez(samples, x=x, y=y)
            export_to_bundle(network, recipe, Path(folder, name), dataset=str(samples), name=name)
            exported = open_bundle(Path(folder, name)).network
            x, y = ready_rows.chosen(recipe)
            scores = run_lava(exported, encode(x, exported), models="stock").scores
            found[name] = ready_rows.table(scores, y)
            print(name, found[name]["margin"], flush=True)
    lines = [f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(found.items())]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
