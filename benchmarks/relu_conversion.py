"""A plain ReLU CNN on Fashion-MNIST, trained, converted and cut off: the table of docs/conversion.md.

    python benchmarks/relu_conversion.py train FOLDER --data FASHION-MNIST      a few minutes, one thread
    python benchmarks/relu_conversion.py table FOLDER --data FASHION-MNIST

`train` leaves FOLDER/cnn.safetensors and FOLDER/cnn.json (torch's state dict and the layer spec).
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.convert import ConversionOptions, convert_files
from spikecut.export.encode import encode
from spikecut.export.importers.relu import read_relu
from spikecut.models.data import FOLDER_VARIABLE, Split, load_dataset

EPOCHS, BATCH, LEARNING_RATE, SEED = 6, 100, 4e-3, 0
HORIZONS, EPSILON = (16, 8), 0.01


def cnn() -> nn.Sequential:
    """conv 16, pool, conv 32, pool, dense 64, dense 10."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 10),
    )


SPEC = {
    "input_shape": [1, 28, 28],
    "layers": [
        {"type": "Conv2d", "in_channels": 1, "out_channels": 16, "kernel_size": 3, "padding": 1, "bias": False},
        {"type": "BatchNorm2d", "num_features": 16},
        {"type": "ReLU"},
        {"type": "AvgPool2d", "kernel_size": 2},
        {"type": "Conv2d", "in_channels": 16, "out_channels": 32, "kernel_size": 3, "padding": 1, "bias": False},
        {"type": "BatchNorm2d", "num_features": 32},
        {"type": "ReLU"},
        {"type": "AvgPool2d", "kernel_size": 2},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 1568, "out_features": 64},
        {"type": "ReLU"},
        {"type": "Dropout", "p": 0.1},
        {"type": "Linear", "in_features": 64, "out_features": 10},
    ],
}


def accuracy(network: nn.Module, split: Split) -> float:
    """Share of right predictions."""
    with torch.no_grad():
        scores = torch.cat([network(part) for part in torch.from_numpy(split.x).split(500)])
    return float((scores.argmax(1) == torch.from_numpy(split.y)).double().mean())


def train(folder: Path, data: Path) -> None:
    """AdamW, one cycle, images mirrored at random."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    dataset = load_dataset("fashion-mnist", folder=data)
    x, y = torch.from_numpy(dataset.train.x), torch.from_numpy(dataset.train.y)
    network = cnn()
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=EPOCHS * len(x) // BATCH)
    for epoch in range(EPOCHS):
        began = time.perf_counter()
        for chosen in torch.randperm(len(x)).split(BATCH):
            images = torch.where(torch.rand(len(chosen), 1, 1, 1) < 0.5, x[chosen].flip(3), x[chosen])
            loss = functional.cross_entropy(network(images), y[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.perf_counter() - began:.0f} s", flush=True)
    network.eval()
    print(f"test accuracy {100 * accuracy(network, dataset.test):.2f} %")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "cnn.safetensors")
    (folder / "cnn.json").write_text(json.dumps(SPEC, indent=1) + "\n", encoding="utf-8")


def table(folder: Path, data: Path) -> None:
    """Convert, calibrate, and run all test samples on the batched engine, with the cutoff and without."""
    os.environ[FOLDER_VARIABLE] = str(data)
    torch.set_num_threads(1)
    dataset = load_dataset("fashion-mnist")
    relu = read_relu(folder / "cnn.safetensors", folder / "cnn.json").scores(torch.from_numpy(dataset.test.x))
    own = float((relu.argmax(1).numpy() == dataset.test.y).mean())
    print("| T | weights (bits) | ReLU | integers at T | lost (points) | with the cutoff | mean timesteps |")
    print("|---|---|---|---|---|---|---|")
    for timesteps in HORIZONS:
        out = folder / f"bundle{timesteps}"
        how = ConversionOptions("fashion-mnist", timesteps)
        convert_files(folder / "cnn.safetensors", folder / "cnn.json", out, how, overwrite=True)
        bundle = open_bundle(out)
        calibrate_split(bundle, dataset.calibration, "fashion-mnist", CalibrationOptions(epsilon=EPSILON))
        inputs = encode(dataset.test.x, bundle.network)
        scores = run_batched(bundle.network, inputs).scores
        full = float((scores.sum(0).argmax(1) == dataset.test.y).mean())
        cut = run_batched(bundle.network, inputs, bundle.cutoff())
        halted = float((cut.predictions == dataset.test.y).mean())
        bits = ", ".join(str(layer.weight_bits) for layer in bundle.manifest.layers)
        print(
            f"| {timesteps} | {bits} | {100 * own:.2f} % | {100 * full:.2f} % | {100 * (own - full):.2f} | "
            f"{100 * halted:.2f} % | {cut.timesteps.mean():.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    (train if given.what == "train" else table)(given.folder, given.data)
