"""Make a ready checkpoint of a trained one: round its weights to float16, measure, and write file and card.

    spikecut train --preset fashion-mnist-qcfs --seed 0 --data FOLDER --out trained.safetensors
    python scripts/ready.py fashion-mnist-qcfs trained.safetensors --data FOLDER

The figures on the card are those of the rounded network: in float, and as exported, on the batched engine, without and
with a Top-K cutoff whose thresholds come from the calibration split.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.base import LabelledScores, exit_timesteps
from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.deploy.pipeline.pretrained import EPSILON
from spikecut.export.encode import encode
from spikecut.files import sha256, write_json
from spikecut.models.checkpoint import load_checkpoint, round_weights, save_checkpoint
from spikecut.models.data import FOLDER_VARIABLE, Dataset, load_dataset
from spikecut.models.network import SpikingNetwork
from spikecut.models.pretrained import FOLDER, HASHES
from spikecut.models.training.encoding import InputEncoding
from spikecut.models.training.train import accuracy_per_timestep

LARGEST = 2 * 1024 * 1024
METHODS = {
    "qcfs": "QCFS conversion (Bu et al., ICLR 2022)",
    "tet": "direct training with the TET loss (Deng et al., ICLR 2022)",
    "tebn": "TET loss under temporal effective batch norm (Duan et al., NeurIPS 2022)",
    "ce": "direct training with cross entropy of the mean output",
    "slayer": "SLAYER (Shrestha and Orchard, NeurIPS 2018), lava-dl",
}


def integers(name: str, network: SpikingNetwork, recipe: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """Figures of the exported network on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        export_to_bundle(network, recipe, Path(folder) / "bundle", recipe["dataset"], name)
        bundle = open_bundle(Path(folder) / "bundle")
        chosen = CalibrationOptions(epsilon=EPSILON)
        policy = calibrate_split(bundle, data.calibration, recipe["dataset"], chosen).policy
        scores = run_batched(bundle.network, encode(data.test.x, bundle.network)).scores
    labelled = LabelledScores.of(scores, data.test.y)
    timesteps = exit_timesteps(policy, labelled.totals)
    return {
        "accuracy": labelled.right.mean(axis=1),
        "oct": optimal_cutoff(labelled).mean_timesteps,
        "cutoff": float(labelled.right_at(timesteps).mean()),
        "timesteps": float(timesteps.mean()),
    }


def regularisation(recipe: dict[str, Any]) -> str:
    """What else the training did, as sentences."""
    said = ""
    side = recipe.get("cutout", 0)
    if recipe["augment"]:
        square = f", a square of {side} × {side} hidden" if side else ""
        said += f" Images were shifted and mirrored at random{square}."
    if recipe.get("label_smoothing"):
        said += f" Labels smoothed by {recipe['label_smoothing']:g}."
    if recipe.get("bias_samples"):
        said += f" Biases corrected after the conversion on {recipe['bias_samples']} training samples."
    return said


def card(name: str, size: int, recipe: dict[str, Any], data: Dataset, floats: Any, found: dict[str, Any]) -> str:
    """The card, in Markdown."""
    horizon = recipe["horizon"]
    alpha, optimiser = recipe["rcs_alpha"], recipe["optimiser"]
    command = f"spikecut train --preset {recipe['preset']} --seed {recipe['seed']}"
    command += f" --rcs-alpha {alpha:g}" if alpha else ""
    command += f" --precision {recipe['precision']}" if recipe.get("precision", "32-true") != "32-true" else ""
    command += f" --devices {recipe['devices']}" if recipe.get("devices", 1) != 1 else ""
    command += f" --threads {recipe['threads']}" if recipe.get("threads", 1) != 1 else ""
    source = "" if recipe["dataset"] == "digits" else " --data FOLDER"
    rows = [("float", floats), ("exported integers", found["accuracy"])]
    note = f" {data.note[0].upper()}{data.note[1:]}." if data.note else ""
    named = "" if recipe["preset"] == name.removesuffix("-rcs") else f" --preset {recipe['preset']}"
    searched = recipe.get("searched", "were not searched")
    lines = [
        f"# {name}",
        "",
        f"- Data: {data.name}, {recipe['train_samples']} training samples, {len(data.calibration)} held out for "
        f"calibration, {len(data.test)} for the test.{note}",
        f"- Training: {METHODS[recipe['method']]}, {recipe['epochs']} epochs, {optimiser['name']}, one-cycle to "
        f"{optimiser['learning_rate']:g}, batches of {optimiser['batch_size']}, seed {recipe['seed']}, RCS "
        + (f"with α = {alpha:g}." if alpha else "off.")
        + regularisation(recipe),
        f"- Network: {recipe['arch']}, T = {horizon}, input {recipe['input']['encoding']}; {size:,} bytes, synapses as "
        "float16.",
        f"- Train it again: `{command}{source} --out {name}.safetensors`, then `python scripts/ready.py {name} "
        f"{name}.safetensors{named}{source}`. Another processor rounds differently and gives a "
        "slightly different network.",
        "",
        "Test accuracy in %, read at each timestep:",
        "",
        "| | " + " | ".join(f"t = {t}" for t in range(1, horizon + 1)) + " |",
        "|---" * (horizon + 1) + "|",
        *(f"| {what} | " + " | ".join(f"{100 * value:.2f}" for value in values) + " |" for what, values in rows),
        "",
        f"Exported, with Top-K at ε = {EPSILON:g} fitted to the calibration split: {100 * found['cutoff']:.2f} % in "
        f"{found['timesteps']:.2f} of {horizon} timesteps on average (mean OCT, which needs the labels: "
        f"{found['oct']:.2f}).",
        "",
        "What it is not: a record. It is small, trained once with one seed on a CPU, and its hyper-parameters "
        f"{searched}. It knows nothing but this data set, and has seen no noise, shift or attack.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write models/pretrained/NAME.safetensors, its card and the hashes of all such files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--preset", help="that it was trained with; by default NAME without -rcs")
    parser.add_argument("--searched", help='how its hyper-parameters were found; by default "were not searched"')
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    network, recipe = load_checkpoint(given.checkpoint)
    round_weights(network)
    recipe["preset"] = given.preset or given.name.removesuffix("-rcs")
    if given.searched is not None:
        recipe["searched"] = given.searched
    if given.data is not None:
        os.environ[FOLDER_VARIABLE] = str(given.data)
    data = load_dataset(recipe["dataset"])
    target = FOLDER / f"{given.name}.safetensors"
    save_checkpoint(target, network, recipe, half=True)
    size = target.stat().st_size
    if size > LARGEST:
        target.unlink()
        sys.exit(f"{target}: {size:,} bytes, more than {LARGEST:,}: take a smaller architecture")
    encoding = InputEncoding(**recipe["input"])
    floats = accuracy_per_timestep(network, data.test, encoding, recipe["horizon"], recipe["seed"])
    text = card(given.name, size, recipe, data, floats, integers(given.name, network, recipe, data))
    target.with_suffix(".md").write_text(text, encoding="utf-8")
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in (".md", ".safetensors"))
    write_json(FOLDER / HASHES, {path.name: sha256(path) for path in files})
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
