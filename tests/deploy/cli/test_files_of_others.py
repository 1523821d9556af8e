"""Files that spikecut cannot read: one line that says what they are, and what to do."""

import h5py
import numpy as np
import pytest
import torch

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"


def refused(command, *arguments):
    code, out, error = command(*arguments)
    assert code == 2 and out == "" and error.count("\n") == 1
    return error


@pytest.mark.parametrize("suffix", ["net", "nir", "h5", "pt", "safetensors", "npz", "json"])
def test_a_pointer_of_git_lfs_is_called_what_it_is(command, tmp_path, suffix):
    path = tmp_path / f"network.{suffix}"
    path.write_text(LFS)
    arguments = {
        "pt": ("inspect", path, "--slayer", path),
        "npz": ("train", "--dataset", path, "--out", tmp_path / "a.safetensors"),
        "json": ("convert", path.with_suffix(".pt"), "--spec", path, "--dataset", "digits", "--out", tmp_path / "b"),
    }.get(suffix, ("inspect", path))
    error = refused(command, *arguments)
    assert "git lfs pull" in error and str(path) in error and "truncated" not in error


def test_a_missing_file_is_missing_whatever_is_said_of_it(command, tmp_path):
    path = tmp_path / "absent.pt"
    for arguments in (("inspect", path, "--slayer", path), ("export", path, "--slayer", path, "--out", tmp_path / "b")):
        assert f"{path}: no such file" in refused(command, *arguments)


def test_foreign_files_are_not_told_to_be_trained(command, tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["model_weights/dense/kernel"] = np.ones((3, 3))
    found = {name: refused(command, "export", tmp_path / name, "--out", tmp_path / "b") for name in TELL}
    for name, message in TELL.items():
        assert message in found[name] and "train one" not in found[name]


TELL = {
    "a.pt": "with --spec SPEC.json (of convert and inspect)",
    "b.safetensors": "truncated or not a spikecut checkpoint",
    "c.h5": "HDF5 without /layer, so no netx file",
}


def test_a_file_in_the_place_of_a_bundle_is_told_what_can_be_done_with_it(command, tmp_path):
    (tmp_path / "a.net").write_bytes(b"")
    for arguments in (("verify", tmp_path / "a.net"), ("run", tmp_path / "a.net", "--dataset", "digits")):
        assert "a file, no bundle" in refused(command, *arguments)


def test_too_few_golden_samples_say_how_many_the_data_set_must_hold(command, tmp_path, repository):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", x=rng.random((20, 1, 8, 8)), y=np.arange(20) % 4)
    wanted = ("--dataset", tmp_path / "few.npz", "--horizon", 4, "--framework", "norse", "--out", tmp_path / "bundle")
    error = refused(command, "export", repository / "tests" / "golden" / "nir" / "norse.nir", *wanted)
    assert "4 golden samples: at least 32 are needed" in error and "about 160 samples" in error
