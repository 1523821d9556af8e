"""Write tests/golden/format_1: what spikecut wrote before its formats changed, so that it stays readable.

The files are made by the `spikecut` command of that time, never by this tree's own:

    python scripts/golden/format.py /path/to/an/older/environment/bin/spikecut

Two networks are trained on made-up samples: lif, whose bundle lava-dl's netx loads, and qcfs, which needs
spikecut's own Processes. Both are exported and calibrated, qcfs with the guarantee. The lif bundle is run and swept.
Figures are left out: nothing reads them, and they are larger than all the rest.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "format_1"
SPLITS = {"train": 150, "calibration": 60, "test": 24}
COMMANDS = (
    "train --method tet --arch mlp-lif --dataset samples.npz --timesteps 4 --epochs 6 --out lif.safetensors",
    "export lif.safetensors --out bundle",
    "calibrate bundle --dataset samples.npz --epsilon 0.05",
    "run bundle --dataset samples.npz --backend batched --also-full --out run",
    "sweep bundle --dataset samples.npz --out sweep --epsilon 0.05 --epsilon 0.1",
    "train --method qcfs --arch mlp-qcfs --dataset samples.npz --timesteps 4 --epochs 6 --out qcfs.safetensors",
    "export qcfs.safetensors --out bundle_qcfs",
    "calibrate bundle_qcfs --dataset samples.npz --epsilon 0.2 --minimum-count 5 --guarantee --delta 0.1",
)


def samples() -> dict[str, np.ndarray]:
    """4 × 4 images of three classes: noise, and a bright row that names the class."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, number in SPLITS.items():
        labels = np.arange(number) % 3
        images = rng.random((number, 1, 4, 4)) / 2
        images[np.arange(number), 0, labels] += 0.5
        arrays[f"x_{split}"], arrays[f"y_{split}"] = (np.round(8 * images) / 8).astype(np.float32), labels
    return arrays


def main() -> None:
    """Run the commands in a folder of their own, and keep what they left."""
    command = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        np.savez_compressed(Path(folder, "samples.npz"), **samples())
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for line in COMMANDS:
            subprocess.run([command, *line.split()], check=True, cwd=folder, env=environment)
        for figures in Path(folder).glob("*/figures"):
            shutil.rmtree(figures)
        shutil.rmtree(OUT, ignore_errors=True)
        shutil.copytree(folder, OUT)


if __name__ == "__main__":
    main()
