"""Training: QCFS for networks that are converted; TET, TEBN and mean cross entropy for leaky neurons; SLAYER."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from spikecut.errors import InputError
from spikecut.models.architectures import build
from spikecut.models.conversion import qcfs_to_spiking
from spikecut.models.data import Dataset, Split
from spikecut.models.network import SpikingNetwork
from spikecut.models.neurons.leaky import reset_named
from spikecut.models.training.bias_correction import correct_biases
from spikecut.models.training.encoding import InputEncoding, encoding_for, frames
from spikecut.models.training.presets import NEURONS, Preset, preset_for
from spikecut.models.training.quantisation_aware import keep_rounded, round_while_training
from spikecut.models.training.trainer import Session, fit
from spikecut.text import brief

EVALUATION_BATCH = 256
OPTIMISERS = {"adamw": "AdamW", "sgd": "SGD, Nesterov momentum 0.9"}


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained spiking network in evaluation mode.

    recipe: everything needed to rebuild and to export it, JSON-able. accuracy: on the test split when the prediction
    is taken at t = 1 … T.
    """

    network: SpikingNetwork
    recipe: dict[str, Any]
    accuracy: tuple[float, ...]

    __repr__ = brief


def scores_per_timestep(
    network: SpikingNetwork, split: Split, encoding: InputEncoding, timesteps: int, seed: int
) -> npt.NDArray[np.float32]:
    """What each step adds to each class, float32 [T, N, classes]; spikes are drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    with torch.no_grad():
        for start in range(0, len(split), EVALUATION_BATCH):
            x = torch.from_numpy(split.x[start : start + EVALUATION_BATCH])
            parts.append(network(frames(x, encoding, timesteps, generator)))
    scores: npt.NDArray[np.float32] = torch.cat(parts, dim=1).numpy()
    return scores


def accuracy_per_timestep(
    network: SpikingNetwork, split: Split, encoding: InputEncoding, timesteps: int, seed: int
) -> tuple[float, ...]:
    """Share of right predictions (largest running sum of the scores) at t = 1 … T."""
    totals = torch.from_numpy(scores_per_timestep(network, split, encoding, timesteps, seed)).cumsum(0)
    right = (totals.argmax(-1) == torch.from_numpy(split.y)).sum(1)
    return tuple(count / len(split) for count in right.tolist())


def train(
    method: str,
    dataset: Dataset,
    arch: str | None = None,
    *,
    seed: int = 0,
    preset: Preset | None = None,
    session: Session | None = None,
    start: SpikingNetwork | None = None,
    **changes: Any,
) -> TrainedNetwork:
    """Train; on the CPU the same arguments and versions give the same network.

    method: one of presets.METHODS; without meaning if a preset is given.
    arch: of architectures.ARCHITECTURES; None takes the preset's. changes: other fields of the preset, such as epochs.
    preset: None takes that of the method and the data set.
    start: a trained network with the same tensors, by name and shape, whose weights are trained further.

    InputError for an unknown method or arch, one that does not fit the other, the samples or `start`, or training that
    diverged.
    """
    preset = preset or preset_for(method, dataset)
    chosen = {"arch": arch, **changes}
    preset = replace(preset, **{name: value for name, value in chosen.items() if value is not None})
    preset = replace(preset, reset=reset_named(preset.reset))
    session = session or Session()
    _check(preset, dataset, session)
    samples = _chosen_samples(dataset.train, preset.train_samples)
    if preset.bias_samples > len(samples):
        raise InputError(
            f"{preset.bias_samples} training samples are wanted to correct biases, there are {len(samples)}: take fewer"
        )
    encoding = encoding_for(preset.encoding, samples, seed)
    arguments = _arguments(preset, dataset)
    with torch.random.fork_rng(devices=[]), _torch_threads(session.threads):
        torch.manual_seed(seed)
        network = build(preset.arch, **arguments)
        if start is not None:
            _begin_with(network, start)
        elif encoding.encoding == "direct":
            _rescale_first(network, samples)
        if preset.weight_bits is not None:
            round_while_training(network, preset.weight_bits)
        fit(network, samples, encoding, preset, seed, session)
        keep_rounded(network)
    return _finished(network, dataset, preset, session, _Input(samples, encoding, arguments, seed))


def _check(preset: Preset, dataset: Dataset, session: Session) -> None:
    """InputError for a preset that contradicts itself, its samples or its session."""
    neuron = NEURONS.get(preset.method, "lif")
    if not preset.arch.endswith(f"-{neuron}"):
        raise InputError(
            f"architecture {preset.arch!r} does not fit the method {preset.method}: choose one ending in -{neuron}"
        )
    if preset.method == "slayer" and preset.weight_bits is not None:
        raise InputError("--weight-bits: slayer rounds its weights itself while it learns; leave it out")
    if preset.method == "slayer" and preset.encoding == "direct":
        raise InputError("slayer's blocks take spikes, not floats: choose the encoding bernoulli, or events")
    if session.resume and session.state is None:
        raise InputError("a training is resumed from its state: name the file")
    if dataset.frames not in (None, preset.timesteps):
        raise InputError(f"{dataset.name} has {dataset.frames} frames, but T is {preset.timesteps}: make them equal")
    if preset.weight_bits is not None and session.devices > 1:
        raise InputError("--weight-bits: rounded weights cannot be sent to other processes; train on one device")


@dataclass(frozen=True)
class _Input:
    """What was trained on: samples, their encoding, arguments of the architecture, seed."""

    samples: Split
    encoding: InputEncoding
    arguments: dict[str, Any]
    seed: int


def _finished(
    network: SpikingNetwork, dataset: Dataset, preset: Preset, session: Session, given: _Input
) -> TrainedNetwork:
    """The network in the form in which it spikes, measured on the test split, with its recipe."""
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise InputError("the training diverged: a weight is not finite; try another seed or fewer epochs")
    arguments = dict(given.arguments)
    if preset.method == "qcfs":
        network = _converted(network, given.samples, preset, session)
        arguments["converted"] = True
    network.eval().requires_grad_(False)
    with _torch_threads(session.threads):
        accuracy = accuracy_per_timestep(network, dataset.test, given.encoding, preset.timesteps, given.seed)
    recipe = _recipe(dataset, arguments, preset, given.encoding, given.seed) | {
        "precision": session.precision,
        "devices": session.devices,
        "threads": session.threads,
    }
    if session.state is not None and not session.leaves_state:  # only now: all before may be interrupted, too
        session.state.unlink(missing_ok=True)
    return TrainedNetwork(network, recipe, accuracy)


def _arguments(preset: Preset, dataset: Dataset) -> dict[str, Any]:
    """Arguments of architectures.build."""
    arguments: dict[str, Any] = {
        "input_shape": dataset.shape,
        "classes": len(dataset.labels),
        "readout": preset.readout,
        "norm": preset.norm,
    }
    if preset.method == "qcfs":
        return arguments | {"levels": preset.levels}
    if preset.method == "slayer":
        return arguments | {"reset": preset.reset}
    tebn = {"timesteps": preset.timesteps} if preset.norm == "tebn" else {}
    return arguments | {"reset": preset.reset, "surrogate": preset.surrogate} | tebn


def _converted(network: SpikingNetwork, samples: Split, preset: Preset, session: Session) -> SpikingNetwork:
    """The network that spikes in the place of a QCFS network, its biases corrected if the preset says so."""
    spiking = qcfs_to_spiking(network)
    if preset.bias_samples:
        x = torch.from_numpy(_spread_samples(samples, preset.bias_samples).x)
        with _torch_threads(session.threads):
            correct_biases(spiking, network, x, preset.timesteps)
    return spiking


def _spread_samples(split: Split, count: int) -> Split:
    """So many samples, evenly from the whole split: files may come class by class."""
    return split.take(np.linspace(0, len(split) - 1, count).round().astype(np.int64))


def _chosen_samples(split: Split, count: int | None) -> Split:
    if count is None or count == len(split):
        return split
    if count > len(split):
        raise InputError(f"{count} training samples are wanted, the data set has {len(split)}: take fewer")
    return split.take(np.arange(count, dtype=np.int64))


def _begin_with(network: SpikingNetwork, start: SpikingNetwork) -> None:
    """Take over the weights of a trained network, a converted one too: its thresholds are the λ that were trained.

    Biases that were corrected after a conversion stay corrected; training goes on from them.
    """
    wanted = network.state_dict()
    given = {
        name: tensor
        for name, tensor in start.state_dict().items()
        if name in wanted or not name.endswith((".neuron.v_init", ".neuron.amplitude"))
    }
    if {name: tensor.shape for name, tensor in given.items()} != {name: each.shape for name, each in wanted.items()}:
        raise InputError(
            "the checkpoint to begin with is of another architecture, or of samples or classes of another shape"
        )
    network.load_state_dict(given)


def _rescale_first(network: SpikingNetwork, split: Split) -> None:
    """Divide the first weights by the samples' largest magnitude, so that raw units start as if they were 0..1."""
    synapse: nn.Conv2d | nn.Linear = next(network.chain()).synapse
    with torch.no_grad():
        synapse.weight.div_(float(np.abs(split.x).max()))


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Run with this many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _recipe(
    dataset: Dataset, arguments: dict[str, Any], preset: Preset, encoding: InputEncoding, seed: int
) -> dict[str, Any]:
    return {
        "method": preset.method,
        "arch": preset.arch,
        "arch_arguments": arguments | {"input_shape": list(arguments["input_shape"])},
        "dataset": dataset.name,
        "note": dataset.note,
        "horizon": preset.timesteps,
        "input": asdict(encoding),
        "labels": list(dataset.labels),
        "seed": seed,
        "epochs": preset.epochs,
        "rcs_alpha": preset.rcs_alpha,
        "train_samples": preset.train_samples or len(dataset.train),
        "augment": preset.augment,
        "cutout": preset.cutout,
        "label_smoothing": preset.label_smoothing,
        "bias_samples": preset.bias_samples,
        "weight_bits": preset.weight_bits,
        "optimiser": {
            "name": OPTIMISERS[preset.optimiser],
            "schedule": "one-cycle",
            "learning_rate": preset.learning_rate,
            "weight_decay": preset.weight_decay,
            "batch_size": preset.batch_size,
            "logit_scale": preset.logit_scale if preset.readout == "count" else None,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("spikecut", "torch", "lightning", "numpy", "scikit-learn")},
        },
    }
