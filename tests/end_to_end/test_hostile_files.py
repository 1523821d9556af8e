"""Files from strangers, through every command that reads them: one line, exit code 2, and nothing of theirs runs."""

import json
import os

import h5py
import numpy as np
import pytest
import torch
import yaml
from hostile_files import DISGUISES, torchscript
from safetensors.torch import save_file

from spikecut.deploy.cli.options import MOST_TIMESTEPS
from spikecut.errors import DataError
from spikecut.models.checkpoint import FORMAT
from spikecut.models.data import MAXIMUM_HORIZON
from spikecut.models.data.event_files import read_event_file

SLAYER = {
    "input_shape": [1, 8, 8],
    "neuron": {"threshold": 1.25},
    "blocks": [{"block": "Dense", "in_neurons": 64, "out_neurons": 10}],
}
RELU = {
    "input_shape": [1, 8, 8],
    "layers": [
        {"type": "Flatten"},
        {"type": "Linear", "name": "a", "in_features": 64, "out_features": 16},
        {"type": "ReLU"},
        {"type": "Linear", "name": "b", "in_features": 16, "out_features": 10},
    ],
}


@pytest.fixture
def specs(tmp_path):
    """The two specs as files."""
    (tmp_path / "blocks.yaml").write_text(yaml.safe_dump(SLAYER))
    (tmp_path / "layers.json").write_text(json.dumps(RELU))
    return tmp_path


DOORS = {
    "export --slayer": lambda f, t: ("export", f, "--slayer", t / "blocks.yaml", "--horizon", 4, "--out", t / "out"),
    "inspect --slayer": lambda f, t: ("inspect", f, "--slayer", t / "blocks.yaml", "--horizon", 4),
    "convert": lambda f, t: ("convert", f, "--spec", t / "layers.json", "--out", t / "out"),
    "inspect --spec": lambda f, t: ("inspect", f, "--spec", t / "layers.json"),
    "train --resume": lambda f, t: ("train", "--out", t / "hostile.safetensors", "--epochs", 1, "--resume"),
}


def refused(command, arguments, message):
    code, out, error = command(*arguments)
    assert code == 2 and out == "" and message in error, error
    assert error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("door", DOORS)
def test_torchscript_never_runs(command, specs, door, disguise):
    resume = door == "train --resume"
    file, marker = torchscript(specs, disguise, "hostile.safetensors.training" if resume else "hostile.pt")
    refused(command, (*DOORS[door](file, specs), "--dataset", "digits"), "TorchScript, which is a program")
    assert not marker.exists() and not (specs / "out").exists()


@pytest.mark.parametrize("door", [door for door in DOORS if door != "train --resume"])
def test_specs_that_are_pipes_devices_or_too_deep(command, specs, door):
    torch.save({"a": torch.zeros(3)}, specs / "net.pt")
    spec = specs / ("blocks.yaml" if "slayer" in door else "layers.json")
    arguments = (*DOORS[door](specs / "net.pt", specs), "--dataset", "digits")
    for text in ("[" * 20_000 + "]" * 20_000, "[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300):
        spec.write_text(text)
        refused(command, arguments, "nested too deeply")
    spec.unlink()
    os.mkfifo(spec)
    refused(command, arguments, "a pipe or a device")
    spec.unlink()
    spec.symlink_to("/dev/zero")
    refused(command, arguments, "a pipe or a device")


def test_damaged_values_in_a_spec_of_blocks(command, specs):
    torch.save({"a": torch.zeros(3)}, specs / "net.pt")
    arguments = (*DOORS["export --slayer"](specs / "net.pt", specs), "--dataset", "digits")
    for text in ("!!int ''", "!!float ''", "!!bool maybe", "!!timestamp never", "&a [*a]", "1e999: 3", "!!int '_'"):
        (specs / "blocks.yaml").write_text(text)
        refused(command, arguments, "blocks.yaml")
    for change, message in (
        ({"block": "Dense", "in_neurons": 0, "out_neurons": 10**9}, "in_neurons"),
        ({"block": "Conv", "in_features": 1, "out_features": 10**9, "kernel_size": 1, "groups": 2}, "groups 2"),
        ({"block": "Dense", "in_neurons": 64.0, "out_neurons": 10}, "in_neurons"),
    ):
        (specs / "blocks.yaml").write_text(yaml.safe_dump({**SLAYER, "blocks": [change]}))
        refused(command, arguments, message)
    (specs / "blocks.yaml").write_text(yaml.safe_dump({**SLAYER, "input_shape": [1.0, 8, 8]}))
    refused(command, arguments, "input_shape.0")


def test_sizes_that_only_a_state_dict_claims(command, specs):
    """A block is built only if its numbers are really stored."""
    block = {"block": "Dense", "in_neurons": 2**14, "out_neurons": 2**14}
    (specs / "blocks.yaml").write_text(yaml.safe_dump({**SLAYER, "blocks": [block]}))
    torch.save({"blocks.0.synapse.weight": torch.zeros(1).expand(2**14, 2**14, 1, 1, 1)}, specs / "net.pt")
    arguments = (*DOORS["export --slayer"](specs / "net.pt", specs), "--dataset", "digits")
    refused(command, arguments, "claims more numbers than the file holds")
    (specs / "blocks.yaml").write_text(yaml.safe_dump(SLAYER))
    torch.save({"blocks.0.synapse.weight": torch.zeros(10, 64, 1, 1, 1, dtype=torch.uint8)}, specs / "net.pt")
    refused(command, arguments, "blocks.0.")


@pytest.mark.parametrize(
    ("horizon", "door"),
    [("--horizon", "export --slayer"), ("--horizon", "inspect --slayer"), ("--timesteps", "convert"),
     ("--horizon", "inspect --spec"), ("--timesteps", "train --resume")],
)  # fmt: skip
def test_an_absurd_horizon(command, specs, horizon, door):
    torch.manual_seed(0)
    shapes = {"a.weight": (16, 64), "a.bias": (16,), "b.weight": (10, 16), "b.bias": (10,)}
    torch.save({name: torch.randn(shape) for name, shape in shapes.items()}, specs / "net.pt")
    if "slayer" in door:
        from spikecut.models.slayer.network import slayer_library

        made = slayer_library().block.cuba.Dense(SLAYER["neuron"] | {"current_decay": 1, "voltage_decay": 0}, 64, 10)
        torch.save({f"blocks.0.{name}": tensor for name, tensor in made.state_dict().items()}, specs / "net.pt")
    arguments = [str(part) for part in DOORS[door](specs / "net.pt", specs) if part != "--resume"]
    if "--horizon" in arguments:
        del arguments[arguments.index("--horizon") : arguments.index("--horizon") + 2]
    for dataset in ("digits", "emulated-digits") if door == "train --resume" else ("digits",):
        refused(command, (*arguments, "--dataset", dataset, horizon, 10**9), "16384")


def test_an_absurd_horizon_of_a_netx_file(command, workshop):
    assert MOST_TIMESTEPS == MAXIMUM_HORIZON
    refused(command, ("inspect", workshop / "lif" / "network.net", "--horizon", 10**9), "16384")


def test_a_recipe_with_what_is_no_number(command, tmp_path):
    path, out = tmp_path / "net.safetensors", tmp_path / "out"
    for change, message in (
        ('"seed": NaN', "NaN is no finite number"),
        ('"seed": 1e999', "1e999 is no finite number"),
        ('"note": ' + "[" * 400 + "]" * 400, "nested too deeply"),
        ('"arch": "mlp-lif", "arch_arguments": {"input_shape": [1.0, 8, 8]}', "1.0 in input_shape"),
        ('"arch": "mlp-lif", "arch_arguments": {"input_shape": [1, 8, 8], "classes": 10.0}', "10.0 in input_shape or"),
        ('"arch": "mlp-lif", "arch_arguments": {"input_shape": [true, 8, 8]}', "True in input_shape"),
    ):
        save_file({"a": torch.zeros(1)}, path, metadata={"format": FORMAT, "recipe": f"{{{change}}}"})
        refused(command, ("export", path, "--out", out), message)
    assert not out.exists()


def test_data_that_is_a_pipe_a_device_or_not_stored(command, workshop, tmp_path):
    run = ("run", workshop / "lif", "--backend", "batched", "--dataset")
    for suffix in (".npz", ".h5"):
        path = tmp_path / f"a{suffix}"
        os.mkfifo(path)
        refused(command, (*run, path), "a pipe or a device")
        path.unlink()
        path.symlink_to("/dev/zero")
        refused(command, (*run, path), "a pipe or a device")
        path.unlink()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (7 * 2**24, 8, 8), dtype="u1", chunks=(2**14, 8, 8), compression="gzip")
        file["y"] = np.zeros(7 * 2**24, dtype="u1")
    refused(command, (*run, tmp_path / "a.h5"), "claims")


def test_samples_that_are_split_are_said_to_be(command, workshop, digits, tmp_path):
    x = np.concatenate([part.x for part in (digits.train, digits.calibration, digits.test)])
    y = np.concatenate([part.y for part in (digits.train, digits.calibration, digits.test)])
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    parts = {"train": digits.train, "calibration": digits.calibration, "test": digits.test}
    np.savez(
        tmp_path / "parts.npz",
        **{f"{axis}_{name}": getattr(part, axis) for name, part in parts.items() for axis in "xy"},
    )
    said = (
        "mine.npz holds x and y alone: split by class, in file order, into 60 % train, 20 % calibration and 20 % test"
    )
    run = ("run", workshop / "lif", "--backend", "batched", "--samples", 20, "--json", "--dataset")
    for arguments in (
        (*run, tmp_path / "mine.npz"),
        ("calibrate", workshop / "qcfs", "--epsilon", 0.02, "--dataset", tmp_path / "mine.npz"),
        ("export", workshop / "qcfs.safetensors", "--out", tmp_path / "bundle", "--dataset", tmp_path / "mine.npz"),
        ("train", "--epochs", 1, "--out", tmp_path / "a.safetensors", "--dataset", tmp_path / "mine.npz"),
        ("sweep", workshop / "lif", "--samples", 20, "--policy", "fixed", "--dataset", tmp_path / "mine.npz"),
    ):
        if arguments[0] == "calibrate":
            from shutil import copytree

            arguments = (arguments[0], copytree(arguments[1], tmp_path / "copy"), *arguments[2:])
        code, out, error = command(*arguments)
        line = "all 1797 samples are the test" if arguments[0] == "run" else said  # of a bundle that has not seen it
        told = [each for each in error.splitlines() if not each.startswith("next: ")]
        assert code == 0 and error.count(line) == 1 and len(told) == 1, error
        if arguments[0] == "run":
            assert line in json.loads(out)["config"]["split"]
    code, out, error = command("run", tmp_path / "bundle", *run[2:], tmp_path / "mine.npz", "--no-cutoff")
    assert code == 0 and said in error and said in json.loads(out)["config"]["split"]  # its golden samples are of it
    code, out, error = command(*run, tmp_path / "parts.npz")
    assert code == 0 and error == "" and "split" not in json.loads(out)["config"]


def test_a_folder_in_a_files_place(command, workshop, tmp_path):
    for name in ("a.aedat", "a.bs2", "a.npz", "a.yaml", "a.nir", "a.net", "a.pt", "a.safetensors"):
        (tmp_path / name).mkdir()
    for name in ("a.aedat", "a.bs2"):
        with pytest.raises(DataError, match="a folder, expected a file"):
            read_event_file(tmp_path / name)
    refused(command, ("hardware", "check", tmp_path / "a.yaml"), "a.yaml: a folder, expected a file")
    refused(command, ("run", workshop / "lif", "--dataset", tmp_path / "a.npz", "--backend", "batched"), "a.npz")
    for name in ("a.nir", "a.net", "a.pt", "a.safetensors"):
        refused(command, ("inspect", tmp_path / name), name)
