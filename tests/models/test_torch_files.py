"""Files of torch.save are data: nothing in them runs, and no tensor is larger than what is stored of it."""

import ast
import contextlib
import os
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hostile_files import DISGUISES, renamed, torchscript
from safetensors.torch import save_file

from spikecut.errors import CheckpointError
from spikecut.models.torch_files import read_tensors, read_torch


def test_a_state_dict_comes_back_as_it_was(tmp_path):
    base = torch.arange(12, dtype=torch.float64)
    state = OrderedDict(
        w=torch.nn.Parameter(torch.randn(3, 4, 1)),
        transposed=base.reshape(3, 4).T,
        shared=base[5:],
        half=torch.randn(7).half(),
        wide=torch.randn(5).bfloat16(),
        count=torch.tensor(2**40),
        flag=torch.tensor([True, False]),
        empty=torch.zeros(0, 3),
    )
    state._metadata = {"": {"version": 1}}
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "b.pt")
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, tmp_path / "c.safetensors"
    )
    for name in ("a.pt", "b.pt", "c.safetensors"):
        found = read_tensors(tmp_path / name)
        assert found.keys() == state.keys()
        for key, tensor in state.items():
            assert found[key].dtype == tensor.dtype and torch.equal(found[key], tensor) and not found[key].requires_grad
    assert read_torch(tmp_path / "b.pt")["epoch"] == 3


@pytest.mark.parametrize("disguise", DISGUISES)
def test_torchscript_is_refused_and_never_runs(tmp_path, disguise):
    path, marker = torchscript(tmp_path, disguise)
    for read in (read_tensors, read_torch):
        with pytest.raises(CheckpointError, match="TorchScript, which is a program"):
            read(path)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file")
@pytest.mark.skipif(torch.__version__ >= "2.6", reason="torch.load refuses TorchScript since 2.6")
def test_the_hostile_file_does_run_in_torch_load(tmp_path):
    """The witness of the tests beside it: these files are no empty threat."""
    for disguise in ("none", "a name of over 511 characters"):
        path, marker = torchscript(tmp_path, disguise)
        torch.load(path, weights_only=True)
        assert marker.exists()
        marker.unlink()


class Exploit:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def edited(path, change):
    """The same file with another pickle in it."""
    target = path.with_name("edited.pt")
    renamed(path, target, lambda name: [] if name.endswith("data.pkl") else [name])
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "a") as copy:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(name)
        assert change(content) != content
        copy.writestr(name, change(content))
    return target


def test_numbers_that_are_not_stored_are_refused(tmp_path):
    """torch.load itself reads beyond the record here."""
    path = tmp_path / "state.pt"
    torch.save({"w": torch.arange(1000.0)}, path)
    longer = edited(path, lambda content: content.replace(b"M\xe8\x03", b"J\x00\x00\x00\x10"))
    with pytest.raises(CheckpointError, match="holds 4000 bytes, but 268435456 numbers"):
        read_tensors(longer)
    head, tail = b"M\xe8\x03", b"J\x00\x00\x00\x10"  # 1000 and 2^28, as pickle writes them

    def second(content):  # the shape alone
        first, *others = content.split(head)
        return first + head + tail.join(others)

    with pytest.raises(CheckpointError, match="truncated, or not written"):
        read_tensors(edited(path, second))
    torch.save({"w": torch.zeros(1).expand(2**20, 2**20)}, path)
    with pytest.raises(CheckpointError, match="claims more numbers than the file holds"):
        read_tensors(path)
    shared = torch.zeros(2**18)
    torch.save({str(number): shared for number in range(1100)}, path)
    with pytest.raises(CheckpointError, match="all together more than"):
        read_tensors(path)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_what_is_no_dense_tensor_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    for value, named in (
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.empty(3, device="meta"), "_rebuild_meta_tensor"),
        (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "_rebuild_qtensor"),
        (torch.zeros(2, dtype=torch.complex64), "ComplexFloatStorage"),
        (Exploit(tmp_path / "made"), "mkdir"),
    ):
        torch.save({"w": value}, path)
        with pytest.raises(CheckpointError, match=f"holds pickled objects, which are not opened.*{named}"):
            read_tensors(path)
    for protocol in (3, 4, 5):  # also where the pickle names what it calls in a way that torch warns of
        torch.save({"w": Exploit(tmp_path / "made")}, path, pickle_protocol=protocol)
        with pytest.raises(CheckpointError), warnings.catch_warnings():
            warnings.simplefilter("error")
            read_tensors(path)
    assert not (tmp_path / "made").exists()
    torch.save({"w": 3}, path)
    with pytest.raises(CheckpointError, match="not a state dict"):
        read_tensors(path)


def test_files_from_before_torch_1_6_are_read_as_they_were_and_never_beyond_their_bytes(tmp_path):
    path = tmp_path / "state.th"
    base = torch.arange(12, dtype=torch.float64)
    state = {"w": torch.nn.Parameter(torch.randn(3, 4)), "part": base.reshape(3, 4).T, "tail": base[5:]}
    state |= {"flag": torch.tensor([True, False]), "empty": torch.zeros(0, 3)}
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=False)
    found = read_tensors(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in state.items())
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 23):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_tensors(path)
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(CheckpointError):
            read_tensors(path)
    torch.save({"w": Unknown()}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="holds pickled objects, which are not opened"):
        read_tensors(path)


class Unknown:
    """No tensor."""


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "state.pt"
    path.write_bytes(b"text")
    with pytest.raises(CheckpointError, match=r"not written by torch.save .*save it again"):
        read_tensors(path)
    torch.save({"w": torch.ones(300)}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 61):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_tensors(path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = read_tensors(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
        else:
            assert torch.equal(found["w"], torch.ones(300))


def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    for path in (pipe, Path("/dev/zero"), tmp_path / "zero.safetensors"):
        with pytest.raises(CheckpointError, match="a pipe or a device"):
            read_tensors(path)


def test_no_other_place_opens_files_of_torch(repository):
    """torch.load and torch.jit.load run TorchScript, pickle whatever it is given: none is called anywhere."""
    found = []
    for folder in ("models", "export", "deploy", "scripts", "benchmarks"):
        for path in sorted((repository / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    if re.fullmatch(r"(torch|jit|torch\.jit|pickle|joblib|dill)\.loads?", called):
                        found.append(f"{path}:{node.lineno} {called}")
            if re.search(
                r"^\s*(import pickle\b|from pickle\b|from torch(\.jit)? import .*\bload\b)", text, re.MULTILINE
            ):
                found.append(f"{path}: imports")
    assert found == []
