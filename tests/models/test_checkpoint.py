import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from spikecut.errors import CheckpointError
from spikecut.models.architectures import build
from spikecut.models.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from spikecut.models.conversion import qcfs_to_spiking

RECIPE = {"arch": "mlp-lif", "arch_arguments": {"input_shape": [6], "classes": 3}, "labels": ["a", "b", "ç"]}
QCFS_RECIPE = {"arch": "mlp-qcfs", "arch_arguments": {"input_shape": [6], "classes": 3, "converted": True}}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "network.safetensors"
    network = build("mlp-lif", input_shape=(6,), classes=3)
    network(torch.rand(2, 5, 6))
    save_checkpoint(path, network.eval(), RECIPE)
    return path, network


def rewrite(path, recipe=RECIPE, **changes):
    """Write the file again with some tensors changed (None: left out)."""
    tensors = load_file(path) | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, metadata={"format": FORMAT, "recipe": json.dumps(recipe)})


def test_round_trip(saved):
    path, network = saved
    loaded, recipe = load_checkpoint(path)
    assert recipe == RECIPE and not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in network.state_dict().items())
    frames = (torch.rand(4, 7, 6) < 0.5).float()
    assert torch.equal(loaded(frames), network(frames))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_thresholds_of_a_converted_network_come_back(tmp_path):
    network = build("mlp-qcfs", input_shape=(6,), classes=3)
    with torch.no_grad():
        next(network.chain()).neuron.threshold.fill_(1.7)
    spiking = qcfs_to_spiking(network)
    save_checkpoint(tmp_path / "network.safetensors", spiking, QCFS_RECIPE)
    loaded, _ = load_checkpoint(tmp_path / "network.safetensors")
    frames = torch.rand(5, 7, 6) * 8
    assert torch.equal(loaded(frames), spiking(frames))


class Exploit:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_executed(tmp_path, write):
    path, target = tmp_path / "network.pt", tmp_path / "executed"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Exploit(target)))
    else:
        torch.save({"state": Exploit(target)}, path)
    with pytest.raises(CheckpointError, match="not a spikecut checkpoint"):
        load_checkpoint(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Exploit(target)))
    assert target.exists()  # the exploit works where something unpickles it


def test_truncated_files_are_refused(saved):
    path, _ = saved
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated"):
            load_checkpoint(path)


def test_missing_files_folders_and_other_safetensors_are_refused(tmp_path):
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match=r"no such file|a folder, expected a file"):
            load_checkpoint(path)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="but not a spikecut checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")


NAME = "stages.0.synapse.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({NAME: None}, f"tensor {NAME} is missing"),
        ({"stages.9.synapse.weight": torch.zeros(1)}, "does not belong"),
        ({NAME: torch.zeros(128, 7)}, r"\(128, 7\), expected torch.float32 \(128, 6\)"),
        ({NAME: torch.zeros(128, 6, dtype=torch.float64)}, "is torch.float64"),
        ({NAME: torch.full((128, 6), torch.nan)}, "holds a NaN"),
        ({"stages.0.norm.running_var": torch.full((128,), -1.0)}, "negative variance"),
    ],
)
def test_unfit_tensors_are_refused_in_one_line(saved, changes, message):
    path, _ = saved
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["threshold", "amplitude"])
def test_a_threshold_or_amplitude_that_is_not_positive_is_refused(tmp_path, name):
    path = tmp_path / "network.safetensors"
    save_checkpoint(path, build("mlp-qcfs", input_shape=(6,), classes=3, converted=True), QCFS_RECIPE)
    rewrite(path, QCFS_RECIPE, **{f"stages.0.neuron.{name}": torch.tensor(0.0)})
    with pytest.raises(CheckpointError, match=f"{name} 0.0, not positive"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "recipe",
    [
        [],
        {},
        {"arch": "mlp-lif"},
        {"arch": "unknown", "arch_arguments": {"input_shape": [6]}},
        {"arch": "mlp-lif", "arch_arguments": {"input_shape": [6], "shell": "yes"}},
        {"arch": "mlp-lif", "arch_arguments": {"input_shape": 6}},
        {"arch": "mlp-lif", "arch_arguments": {"input_shape": ["6"]}},
        {"arch": ["mlp-lif"], "arch_arguments": {"input_shape": [6]}},
        {"arch": "mlp-lif", "arch_arguments": {"input_shape": [10**12], "classes": 3}},
        {"arch": "mlp-lif", "arch_arguments": {"input_shape": [10**25], "classes": 3}},
    ],
)
def test_a_recipe_that_builds_no_such_network_is_refused(saved, recipe):
    path, _ = saved
    rewrite(path, recipe)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_saved_is_refused_and_leaves_nothing(tmp_path):
    network = build("mlp-lif", input_shape=(6,), classes=3)
    path = tmp_path / "network.safetensors"
    with pytest.raises(CheckpointError, match="is missing"):
        save_checkpoint(path, network, QCFS_RECIPE)
    with pytest.raises(CheckpointError, match="not plain JSON"):
        save_checkpoint(path, network, RECIPE | {"note": object()})
    with pytest.raises(CheckpointError, match="cannot be written"):
        (tmp_path / "file").touch()
        save_checkpoint(tmp_path / "file" / "network.safetensors", network, RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_under_a_guessed_temporary_name_is_not_written_through(tmp_path):
    path, victim = tmp_path / "network.safetensors", tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".{path.name}.{os.getpid()}.partial").symlink_to(victim)
    save_checkpoint(path, build("mlp-lif", input_shape=(6,), classes=3), RECIPE)
    assert victim.read_text() == "kept" and path.is_file()


def test_a_file_of_a_terabyte_that_holds_nothing_is_refused_for_its_size(tmp_path):
    with (tmp_path / "net.safetensors").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=f"at most {2**30} are read"):
        load_checkpoint(tmp_path / "net.safetensors")
