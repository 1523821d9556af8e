"""Training: TET for leaky integrate-and-fire networks, QCFS for those that are converted."""

import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spikecut.errors import InputError
from spikecut.models.convert import qcfs_to_spiking
from spikecut.models.data import Dataset, Split
from spikecut.models.losses.tet import firing_rate_logits, tet_loss
from spikecut.models.network import SpikingNetwork
from spikecut.models.zoo import build

Method = Literal["lif", "qcfs"]
DIRECT_MAXIMUM = 31  # magnitude of a graded input: more bits would leave 24-bit currents no headroom
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Preset:
    """Hyper-parameters of one method. logit_scale: see firing_rate_logits; None where the output does not fire."""

    epochs: int
    timesteps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    logit_scale: float | None = None


PRESETS: dict[Method, Preset] = {
    "lif": Preset(epochs=25, timesteps=16, batch_size=64, learning_rate=5e-3, weight_decay=1e-2, logit_scale=40.0),
    "qcfs": Preset(epochs=40, timesteps=8, batch_size=32, learning_rate=5e-3, weight_decay=1e-2),
}


@dataclass(frozen=True)
class InputEncoding:
    """How samples enter the network; the fields are those of export's InputSpec.

    bernoulli: a spike with probability (x - zero) / scale at each step; direct: x itself at every step in the float
    network, round((x - zero) / scale) in the integer one.
    """

    encoding: Literal["bernoulli", "direct"]
    bits: int
    signed: bool
    scale: float
    zero: float
    seed: int


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained spiking network in evaluation mode.

    recipe: everything needed to rebuild and to export it, JSON-able. accuracy: on the test split when the prediction
    is taken at t = 1 … T.
    """

    network: SpikingNetwork
    recipe: dict[str, Any]
    accuracy: tuple[float, ...]


def encoding_for(method: Method, train: Split, seed: int) -> InputEncoding:
    """The encoding that fits these training samples. InputError if they are all the same number.

    lif: Bernoulli between the smallest (0 if none is negative) and the largest value. qcfs: the numbers themselves if
    they are integers of at most 5 bits, else in units of 1/31 of the largest magnitude; one bit more leaves room for
    samples beyond those seen in training.
    """
    lowest, highest = min(0.0, float(train.x.min())), float(train.x.max())
    if lowest == highest:
        raise InputError("the training samples are all the same number: nothing can be learned")
    if method == "lif":
        return InputEncoding("bernoulli", 0, False, highest - lowest, lowest, seed)
    largest = max(highest, -lowest)
    if largest <= DIRECT_MAXIMUM and np.array_equal(train.x, np.rint(train.x)):
        return InputEncoding("direct", int(largest).bit_length(), lowest < 0, 1.0, 0.0, seed)
    return InputEncoding("direct", DIRECT_MAXIMUM.bit_length() + 1, lowest < 0, largest / DIRECT_MAXIMUM, 0.0, seed)


def frames(x: Tensor, encoding: InputEncoding, timesteps: int, generator: torch.Generator) -> Tensor:
    """Samples [N, *shape] → what the float network sees, float32 [T, N, *shape]."""
    repeated = x.expand(timesteps, *x.shape)
    if encoding.encoding == "direct":
        return repeated
    probability = (repeated - encoding.zero) / encoding.scale
    return (torch.rand(repeated.shape, generator=generator) < probability).to(x.dtype)


class _Training(lightning.LightningModule):
    """Steps, loss and optimiser. Both methods share them but for the loss of a batch."""

    def __init__(self, network: SpikingNetwork, encoding: InputEncoding, preset: Preset, seed: int, steps: int) -> None:
        super().__init__()
        self.network = network
        self.encoding = encoding
        self.preset = preset
        self.steps = steps
        self.random = torch.Generator().manual_seed(seed)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """Loss of one batch: TET over fresh spikes, or cross entropy of the QCFS activations (a single step)."""
        x, labels = batch
        scale = self.preset.logit_scale
        if scale is None:
            return functional.cross_entropy(self.network(x[None])[0], labels)
        spikes = self.network(frames(x, self.encoding, self.preset.timesteps, self.random))
        return tet_loss(firing_rate_logits(spikes, scale), labels)

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule."""
        preset = self.preset
        optimiser = torch.optim.AdamW(self.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, preset.learning_rate, total_steps=self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's banner, and its advice about worker processes, which this small data does not need."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Run with this many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(training: _Training, split: Split, seed: int, progress: bool) -> None:
    loader = DataLoader(
        TensorDataset(torch.from_numpy(split.x), torch.from_numpy(split.y)),
        batch_size=training.preset.batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
    )
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=training.preset.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress,
        )
        trainer.fit(training, loader)


def accuracy_per_timestep(
    network: SpikingNetwork, split: Split, encoding: InputEncoding, timesteps: int, seed: int
) -> tuple[float, ...]:
    """Share of right predictions (largest running sum of the scores) at t = 1 … T."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.zeros(timesteps, dtype=torch.int64)
    with torch.no_grad():
        for start in range(0, len(split), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            scores = network(frames(torch.from_numpy(split.x[part]), encoding, timesteps, generator))
            right += (scores.cumsum(0).argmax(-1) == torch.from_numpy(split.y[part])).sum(1)
    return tuple(count / len(split) for count in right.tolist())


def _preset(method: str, epochs: int | None, timesteps: int | None) -> tuple[Method, Preset]:
    if method not in PRESETS:
        raise InputError(f"training method {method!r} is unknown: choose one of {', '.join(PRESETS)}")
    known: Method = "lif" if method == "lif" else "qcfs"
    default = asdict(PRESETS[known])
    chosen = {key: value for key, value in (("epochs", epochs), ("timesteps", timesteps)) if value is not None}
    return known, Preset(**default | chosen)


def train(
    method: str,
    dataset: Dataset,
    arch: str | None = None,
    *,
    epochs: int | None = None,
    timesteps: int | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: bool = False,
) -> TrainedNetwork:
    """Train on the CPU; the same arguments and versions give the same network.

    method: "lif" (TET, Deng et al., ICLR 2022; Bernoulli input; count readout) or "qcfs" (Bu et al., ICLR 2022; direct
        input; converted to integrate-and-fire; membrane readout).
    arch: of zoo.ARCHITECTURES; None takes the convolutional one for (C, H, W) samples, the mlp for (F,).
    epochs, timesteps: None takes the method's preset.
    threads: of torch. On networks as small as these a second one gains little, and on a busy machine two that wait for
        each other at every operation are ten times slower than one.

    InputError for an unknown method or arch, one that does not fit the other or the samples, or training that diverged.
    """
    for name, number in (("epochs", epochs), ("timesteps", timesteps), ("threads", threads)):
        if number is not None and number < 1:
            raise InputError(f"{name} {number}: expected at least 1")
    known, preset = _preset(method, epochs, timesteps)
    if arch is None:
        arch = f"{'digits' if len(dataset.shape) == 3 else 'mlp'}-{known}"
    if not arch.endswith(f"-{known}"):
        raise InputError(f"architecture {arch!r} does not fit the method {known}: choose one ending in -{known}")
    encoding = encoding_for(known, dataset.train, seed)
    arguments: dict[str, Any] = {"input_shape": dataset.shape, "classes": len(dataset.labels)}
    steps = preset.epochs * -(-len(dataset.train) // preset.batch_size)
    with torch.random.fork_rng(devices=[]), _torch_threads(threads):
        torch.manual_seed(seed)
        network = build(arch, **arguments)
        if known == "qcfs":
            _rescale_first(network, dataset.train)
        _fit(_Training(network, encoding, preset, seed, steps), dataset.train, seed, progress)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise InputError("the training diverged: a weight is not finite; try another seed or fewer epochs")
    if known == "qcfs":
        network = qcfs_to_spiking(network)
        arguments["converted"] = True
    network.eval().requires_grad_(False)
    with _torch_threads(threads):
        accuracy = accuracy_per_timestep(network, dataset.test, encoding, preset.timesteps, seed)
    recipe = _recipe(known, dataset, arch, arguments, preset, encoding, seed)
    return TrainedNetwork(network, recipe, accuracy)


def _rescale_first(network: SpikingNetwork, split: Split) -> None:
    """Divide the first weights by the samples' largest magnitude, so that raw units start as if they were 0..1."""
    synapse: nn.Conv2d | nn.Linear = next(network.chain()).synapse
    with torch.no_grad():
        synapse.weight.div_(float(np.abs(split.x).max()))


def _recipe(
    method: Method,
    dataset: Dataset,
    arch: str,
    arguments: dict[str, Any],
    preset: Preset,
    encoding: InputEncoding,
    seed: int,
) -> dict[str, Any]:
    return {
        "method": method,
        "arch": arch,
        "arch_arguments": arguments | {"input_shape": list(arguments["input_shape"])},
        "dataset": dataset.name,
        "horizon": preset.timesteps,
        "input": asdict(encoding),
        "labels": list(dataset.labels),
        "seed": seed,
        "epochs": preset.epochs,
        "optimiser": {
            "name": "AdamW",
            "schedule": "one-cycle",
            "learning_rate": preset.learning_rate,
            "weight_decay": preset.weight_decay,
            "batch_size": preset.batch_size,
            "logit_scale": preset.logit_scale,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("spikecut", "torch", "lightning", "numpy", "scikit-learn")},
        },
    }
