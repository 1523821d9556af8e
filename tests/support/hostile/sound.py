"""Sound files of every reader, made by spikecut itself and by the libraries whose formats they are.

The networks of tests/golden/format_1 are exported and calibrated anew, one is run, and a run is left as one that broke
off; a training is broken off after its first epoch. All of it is small: a command takes hundredths of a second.
"""

import hashlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from seals import seal_cutoff, seal_manifest, seal_part, seal_run

from hostile.reader import Reader

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
RUN = ("run", "bundle", "--backend", "batched", "--hardware", "loihi1", "--json", "--dataset")
STATE = ("train", "--out", "net.safetensors", "--dataset", "samples.npz", "--timesteps", "2", "--epochs", "2",
         "--method", "tet", "--arch", "mlp-lif", "--train-samples", "20", "--json")  # fmt: skip
DEFAULTS = """
[run]
backend = "batched"
samples = 4
hardware = ["loihi1"]

[calibrate]
epsilon = 0.02
policy = "topk"

[train]
epochs = 3
learning-rate = 0.01
"""


def _command(*arguments: object) -> int:
    from spikecut.deploy.cli import main as cli

    sys.argv = ["spikecut", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def _in_child(work: Callable[[], None]) -> None:
    """Do something in a process of its own, which leaves no thread and no Lava in this one."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError("the sound files could not be made")


def make(folder: Path, quick: bool = False) -> None:
    """Write the sound files of all readers, or of the quick ones; `readers` names them."""
    folder.mkdir(parents=True)
    here = os.getcwd()
    os.chdir(folder)
    try:
        for step in (_networks, _run, _data, _texts) if quick else EVERY:
            _in_child(step)
    finally:
        os.chdir(here)


def _networks() -> None:
    shutil.copy(GOLDEN / "format_1" / "lif.safetensors", "lif.safetensors")
    shutil.copy(GOLDEN / "format_1" / "samples.npz", "samples.npz")
    shutil.copy(GOLDEN / "nir" / "norse.nir", "net.nir")
    assert _command("export", "lif.safetensors", "--out", "bundle") == 0
    assert _command("calibrate", "bundle", "--dataset", "samples.npz", "--epsilon", 0.05) == 0
    shutil.copy("bundle/network.net", "net.net")
    Path("zoo").mkdir()
    shutil.copy("lif.safetensors", "zoo/tiny.safetensors")


def _run() -> None:
    assert _command(*RUN, "samples.npz", "--out", "run") == 0


def _journal() -> None:
    from spikecut.deploy.run import journal

    journal.Journal.remove = lambda self: None  # as if it had been killed with all samples finished
    assert _command("run", "bundle", "--dataset", "samples.npz", "--samples", 6, "--hardware", "loihi1",
                    "--out", "broken") == 0  # fmt: skip
    shutil.rmtree("broken")
    path = Path("broken.partial/request.json")
    assert path.is_file() and (path.parent / "cut-00000000.h5").is_file()


def _training() -> None:
    from spikecut.models.training import trainer

    step = trainer._Training.training_step

    def stops(self, batch, batch_index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_index)

    trainer._Training.training_step = stops
    assert _command(*STATE) == 130
    trainer._Training.training_step = step
    rng = np.random.default_rng(5)
    labels = np.arange(200) % 2
    frames = rng.integers(0, 2, (200, 4, 2, 4, 4)).astype(np.uint8)
    frames[np.arange(200), :, labels] += 1
    np.savez("frames.npz", x=frames, y=labels)
    assert _command("train", "--out", "events.safetensors", "--dataset", "frames.npz", "--timesteps", 4,
                    "--epochs", 1, "--method", "tet", "--arch", "mlp-lif") == 0  # fmt: skip
    assert _command("export", "events.safetensors", "--out", "events", "--dataset", "frames.npz") == 0
    assert _command("calibrate", "events", "--dataset", "frames.npz", "--policy", "fixed") == 0


def _slayer() -> None:
    import torch
    import yaml

    from spikecut.models.slayer.network import slayer_library

    torch.manual_seed(0)
    neuron = {"threshold": 1.25, "current_decay": 0.75, "voltage_decay": 0.125}
    block = {"block": "Dense", "in_neurons": 16, "out_neurons": 3}
    made = slayer_library().block.cuba.Dense(neuron, 16, 3)
    torch.save({f"blocks.0.{name}": tensor for name, tensor in made.state_dict().items()}, "slayer.pt")
    Path("blocks.yaml").write_text(yaml.safe_dump({"input_shape": [1, 4, 4], "neuron": neuron, "blocks": [block]}))


def _relu() -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shapes = {"a.weight": (8, 16), "a.bias": (8,), "b.weight": (3, 8), "b.bias": (3,)}
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    torch.save(state, "relu.pt")
    torch.save(state, "old.pt", _use_new_zipfile_serialization=False)  # as before torch 1.6
    save_file(state, "relu.safetensors")
    layers = [
        {"type": "Flatten"},
        {"type": "Linear", "name": "a", "in_features": 16, "out_features": 8},
        {"type": "ReLU"},
        {"type": "Linear", "name": "b", "in_features": 8, "out_features": 3},
    ]
    Path("layers.json").write_text(json.dumps({"input_shape": [1, 4, 4], "layers": layers}))


def _keras() -> None:
    """As Keras' model.save writes it: the configuration as an attribute, tensors below model_weights/layer/layer."""
    import h5py

    rng, sizes = np.random.default_rng(2), {"a": (16, 8), "b": (8, 3)}
    layers = [{"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 4, 4, 1]}},
              {"class_name": "Flatten", "config": {"name": "flat"}}]  # fmt: skip
    for name, kind in (("a", "relu"), ("b", "softmax")):
        config = {"name": name, "units": sizes[name][1], "activation": kind}
        layers.append({"class_name": "Dense", "config": config})
    with h5py.File("keras.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}}).encode()
        for name, shape in sizes.items():
            group = file.create_group(f"model_weights/{name}/{name}")
            group["kernel:0"] = rng.normal(size=shape).astype(np.float32)
            group["bias:0"] = rng.normal(size=shape[1]).astype(np.float32)


def _data() -> None:
    import gzip

    import h5py
    from PIL import Image

    with np.load("samples.npz") as arrays, h5py.File("samples.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
    rng = np.random.default_rng(1)
    for part in ("train", "test"):
        for label in range(10):
            place = Path("images", "cifar10", part, f"class{label}")
            place.mkdir(parents=True)
            for number in range(10 if label == 0 else 1):
                image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
                image.save(place / f"{number}.{'jpg' if label % 2 else 'png'}")
    mnist = Path("idx", "mnist")
    mnist.mkdir(parents=True)
    for stem, count in (("train", 20), ("t10k", 2)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        content = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes() + images.tobytes()
        (mnist / f"{stem}-images-idx3-ubyte").write_bytes(content)
        labels = bytes([0, 0, 8, 1]) + np.array([count], ">i4").tobytes() + bytes(count)
        (mnist / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    binary = Path("binary", "cifar-10-batches-bin")
    binary.mkdir(parents=True)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (binary / name).write_bytes(
            (rng.integers(0, 256, (20, 3073)) * (np.arange(3073) > 0)).astype(np.uint8).tobytes()
        )
    _events()


def _events() -> None:
    number = np.arange(60)
    t, x, y, p = 60 * number, number % 4, number // 4 % 4, number // 16 % 2  # at most one event a pixel and frame
    np.savez("recorded.npz", t=t, x=x, y=y, p=p)
    words = zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True)
    packed = b"".join((a << 32 | b << 24 | c << 23 | when).to_bytes(5, "big") for when, a, b, c in words)
    Path("recorded.bs2").write_bytes(packed)
    head = np.array([1, 1], "<u2").tobytes() + np.array([8, 4, 0, 60, 60, 60], "<u4").tobytes()
    events = np.stack([1 | p << 1 | y << 2 | x << 17, t], axis=1).astype("<u4").tobytes()
    Path("recorded.aedat").write_bytes(b"#!AER-DAT3.1\r\n#End Of ASCII Header\r\n" + head + events)
    listed = Path("listed")
    listed.mkdir()
    for number in range(1, 14):
        (listed / f"{number}.bs2").write_bytes(packed)
    for name, numbers in (("train1K.txt", range(1, 13)), ("test100.txt", (13,))):
        (listed / name).write_text("#sample #class\n" + "".join(f"{number}\t0\n" for number in numbers))


def _texts() -> None:
    shutil.copy(ROOT / "hardware_configs" / "loihi2.yaml", "chip.yaml")
    Path("spikecut.toml").write_text(DEFAULTS)
    Path("zoo/tiny.md").write_text("# tiny\n\nA card.\n")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path("zoo").iterdir()}
    Path("zoo/sha256.json").write_text(json.dumps(hashes))


EVERY = (_networks, _run, _journal, _training, _slayer, _relu, _keras, _data, _texts)
SLOW = ("SLAYER", "training", "journal", "part", "events", "checkpoint", "ReLU", "Keras", "data: PNG", "data: JPEG",
        "pretrained: network", "NIR")  # fmt: skip
"""Readers that need a training, Lava or torch, by how their names begin."""


def readers(folder: Path, quick: bool = False) -> list[Reader]:
    """What is mutated, of the sound files in `folder`; quick: those alone that need no training and no Lava."""
    found = _readers(folder)
    return [each for each in found if not (quick and each.name.startswith(SLOW))]


# A table, a line or two for each reader.
def _readers(folder: Path) -> list[Reader]:

    def reader(name: str, target: str, kind: str, *command: str, needs: str = "", **more: Any) -> Reader:
        return Reader(name, folder, target, kind, command, (*needs.split(), target.split("/")[0]), **more)

    inspect = ("inspect", "--json")
    resume = ("run", "--resume", "broken", "--json")
    part = "broken.partial/cut-00000000.h5"
    samples = "samples.npz"
    slayer = (*inspect, "slayer.pt", "--slayer", "blocks.yaml", "--horizon", "3", "--dataset", samples)
    relu = (*inspect, "--spec", "layers.json", "--horizon", "3", "--dataset", samples)
    return [
        reader("checkpoint", "lif.safetensors", "safetensors", *inspect, "lif.safetensors", "--dataset", samples,
               needs=samples),
        reader("SLAYER .pt", "slayer.pt", "torch", *slayer, needs=f"{samples} blocks.yaml"),
        reader("SLAYER spec", "blocks.yaml", "yaml", *slayer, needs=f"{samples} slayer.pt"),
        reader("ReLU .pt", "relu.pt", "torch", *relu, "relu.pt", needs=f"{samples} layers.json"),
        reader("ReLU .safetensors", "relu.safetensors", "safetensors", *relu, "relu.safetensors",
               needs=f"{samples} layers.json"),
        reader("ReLU .pt before torch 1.6", "old.pt", "bytes", *relu, "old.pt", needs=f"{samples} layers.json"),
        reader("Keras .h5", "keras.h5", "hdf5", "convert", "keras.h5", "--out", "out", "--json", "--timesteps", "3",
               "--dataset", samples, needs=samples),
        reader("ReLU spec", "layers.json", "json", *relu, "relu.pt", needs=f"{samples} relu.pt"),
        reader("training state", "net.safetensors.training", "torch", *STATE, "--resume", needs=samples),
        reader(".net of lava-dl", "net.net", "hdf5", *inspect, "net.net"),
        reader("NIR", "net.nir", "hdf5", *inspect, "net.nir", "--framework", "norse", tells=True),
        reader("bundle: manifest", "bundle/manifest.json", "json", *RUN, samples, needs=samples, protected=True),
        reader("bundle: network", "bundle/network.net", "hdf5", *RUN, samples, needs=samples, protected=True),
        reader("bundle: golden", "bundle/golden.h5", "hdf5", "verify", "bundle", "--backend", "batched", "--json",
               protected=True),
        reader("bundle: cutoff", "bundle/cutoff.json", "json", *RUN, samples, needs=samples, protected=True),
        reader("run: summary", "run/summary.json", "json", "read-run", "run", protected=True),
        reader("run: samples", "run/samples.parquet", "parquet", "read-run", "run", protected=True),
        reader("journal: request", "broken.partial/request.json", "json", *resume, needs=f"{samples} bundle",
               protected=True),
        reader("journal: part", part, "hdf5", *resume, needs=f"{samples} bundle", protected=True),
        reader("hardware file", "chip.yaml", "yaml", "hardware", "check", "chip.yaml", "--json", tells=True),
        reader("data: .npz", samples, "npz", *RUN, samples, needs="bundle"),
        reader("data: .h5", "samples.h5", "hdf5", *RUN, "samples.h5", needs="bundle"),
        reader("data: PNG", "images/cifar10/train/class0/3.png", "image", "load", "cifar10", "images"),
        reader("data: JPEG", "images/cifar10/train/class1/0.jpg", "image", "load", "cifar10", "images"),
        reader("data: IDX", "idx/mnist/train-images-idx3-ubyte", "bytes", "load", "mnist", "idx"),
        reader("data: IDX, packed", "idx/mnist/train-labels-idx1-ubyte.gz", "gzip", "load", "mnist", "idx"),
        reader("data: CIFAR, binary", "binary/cifar-10-batches-bin/data_batch_2.bin", "bytes", "load", "cifar10",
               "binary"),
        reader("data: N-MNIST's list", "listed/train1K.txt", "bytes", "load", "n-mnist", "listed"),
        reader("events: .npz", "recorded.npz", "npz", "stream", "events", "recorded.npz", "--json", needs="events"),
        reader("events: .bs2", "recorded.bs2", "bytes", "stream", "events", "recorded.bs2", "--json", needs="events"),
        reader("events: .aedat", "recorded.aedat", "bytes", "stream", "events", "recorded.aedat", "--json",
               needs="events"),
        reader("pretrained: network", "zoo/tiny.safetensors", "safetensors", *inspect, "zoo:tiny",
               needs=samples, protected=True),
        reader("pretrained: card", "zoo/tiny.md", "bytes", "zoo", "tiny", protected=True),
        reader("network, sealed", "bundle/network.net", "hdf5", *RUN, samples, needs=samples,
               sealed=lambda work: seal_manifest(work / "bundle", "network.net")),
        reader("golden, sealed", "bundle/golden.h5", "hdf5", "verify", "bundle", "--backend", "batched", "--json",
               sealed=lambda work: seal_manifest(work / "bundle", "golden.h5")),
        reader("manifest, sealed", "bundle/manifest.json", "json", *RUN, samples, needs=samples,
               sealed=lambda work: seal_manifest(work / "bundle")),
        reader("cutoff, sealed", "bundle/cutoff.json", "json", *RUN, samples, needs=samples,
               sealed=lambda work: seal_cutoff(work / "bundle")),
        reader("summary, sealed", "run/summary.json", "json", "read-run", "run",
               sealed=lambda work: seal_run(work / "run")),
        reader("samples, sealed", "run/samples.parquet", "parquet", "read-run", "run",
               sealed=lambda work: seal_run(work / "run")),
        reader("part, sealed", part, "hdf5", *resume, needs=f"{samples} bundle",
               sealed=lambda work: seal_part(work / part)),
        reader("spikecut.toml", "spikecut.toml", "toml", *RUN[:2], "--dataset", samples, "--json",
               needs=f"{samples} bundle", tells=True),
    ]  # fmt: skip
