"""Networks trained on events, from training to a halted run on Lava."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from spikecut.deploy.bundle import open_bundle
from spikecut.models.data import load_dataset

T = 4
SAME = ("label", "prediction", "timesteps", "hardware_steps", "reason", "scores", "loihi2_energy_j")


@pytest.fixture(scope="module")
def own_events(tmp_path_factory):
    """A user's own file of events: the emulated digits, counted in T frames."""
    path = tmp_path_factory.mktemp("events") / "mine.npz"
    data = load_dataset("emulated-digits", frames=T)
    parts = {part: getattr(data, part) for part in ("train", "calibration", "test")}
    np.savez(path, **{f"x_{k}": v.x for k, v in parts.items()}, **{f"y_{k}": v.y for k, v in parts.items()})
    return path


@pytest.mark.filterwarnings("ignore:`?torch.nn.utils.weight_norm`? is deprecated")
@pytest.mark.parametrize("method", ["tet", "tebn", "slayer"])
def test_from_training_to_a_halted_run(command, tmp_path, own_events, method):
    checkpoint, bundle = tmp_path / "c.safetensors", tmp_path / "bundle"
    preset = ("--preset", f"emulated-digits-{method}", "--timesteps", T, "--train-samples", 400, "--batch-size", 16)
    assert command("train", *preset, "--epochs", 3, "--out", checkpoint)[0] == 0
    assert command("export", checkpoint, "--out", bundle)[0] == 0
    network = open_bundle(bundle).network
    assert (network.input.encoding, network.horizon, network.input_shape) == ("events", T, (2, 8, 8))
    code, out, _ = command("verify", bundle, "--samples", 3, "--json")
    checks = {(check["engine"], check["layer"]): check for check in json.loads(out)["checks"]}
    assert code == 0 and all(checks["lava", layer.name]["spikes"] > 20 for layer in network.layers[:-1])
    assert command("calibrate", bundle, "--dataset", "emulated-digits", "--epsilon", 0.2)[0] == 0
    results = {}
    for dataset, backends in (("emulated-digits", ("batched", "lava")), (own_events, ("batched",))):
        for backend in backends:
            arguments = ("--dataset", dataset, "--backend", backend, "--samples", 4, "--out", tmp_path / "run")
            code, _, error = command("run", bundle, *arguments, "--overwrite")
            assert code == 0, error
            rows = pq.read_table(tmp_path / "run" / "samples.parquet").to_pydict()
            results[dataset, backend] = {key: rows[key] for key in SAME}
    first, *others = results.values()
    assert len(first["label"]) == 4 and all(other == first for other in others)
    code, _, error = command("sweep", bundle, "--dataset", own_events, "--samples", 20, "--policy", "topk")
    assert code == 0, error


def test_own_events_are_trained_and_fit_only_their_own_number_of_frames(command, tmp_path, own_events):
    checkpoint, bundle = tmp_path / "c.safetensors", tmp_path / "bundle"
    small = ("--epochs", 1, "--train-samples", 64)
    code, _, error = command("train", "--dataset", own_events, *small, "--timesteps", 5, "--out", checkpoint)
    assert code == 2 and "make them equal" in error
    code, _, error = command("train", "--dataset", own_events, *small, "--timesteps", T, "--out", checkpoint)
    assert code == 0, error
    code, _, error = command("export", checkpoint, "--dataset", own_events, "--out", bundle)
    assert code == 0, error
    floats = tmp_path / "floats.npz"
    np.savez(floats, x=np.zeros((10, T, 2, 8, 8)), y=np.zeros(10, dtype=np.int64))
    code, _, error = command("run", bundle, "--dataset", floats, "--no-cutoff")
    assert code == 2 and "float64" in error and "uint8" in error
    frames = tmp_path / "more.npz"
    np.savez(frames, x=np.zeros((10, T + 1, 2, 8, 8), dtype=np.uint8), y=np.zeros(10, dtype=np.int64))
    code, _, error = command("run", bundle, "--dataset", frames, "--no-cutoff")
    assert code == 2 and f"{T} frames" in error
