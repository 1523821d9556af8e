"""The training loop, by Lightning: one optimiser, a loss per method, progress, logs, and a state to go on from."""

import hashlib
import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import lightning.pytorch as lightning
import torch
import torch.nn.functional as functional
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.data import DataLoader, Dataset, DistributedSampler, TensorDataset
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms.v2 import Compose, RandomCrop, RandomErasing, RandomHorizontalFlip

from spikecut.errors import CheckpointError, InputError, Interrupted
from spikecut.models.data import Split
from spikecut.models.data.dataset import IntArray
from spikecut.models.encoding import InputEncoding, frames
from spikecut.models.losses.mean_output import mean_output_loss
from spikecut.models.losses.rcs import rcs_conversion, rcs_direct
from spikecut.models.losses.spike_rate import spike_rate_loss
from spikecut.models.losses.tet import firing_rate_logits, tet_loss
from spikecut.models.network import SpikingNetwork
from spikecut.models.presets import Preset

Log = Literal["csv", "tensorboard"]
SHIFT = 4
MOMENTUM = 0.9
UNREADABLE = (pickle.UnpicklingError, RuntimeError, KeyError, EOFError, TypeError, ValueError, ProcessRaisedException)
"""What reading the state of another training, or a broken one, raises."""


@dataclass(frozen=True)
class Session:
    """How a training is run, without influence on what it should compute.

    Attributes
    ----------
    state: file that the state is kept in after every epoch, and that is removed at the end; None keeps none.
    resume: go on from that file.
    logs, log_folder: "csv" and "tensorboard" write loss and training accuracy of each epoch below log_folder.
    patience: stop when the training loss has not fallen for so many epochs; None never does.
    accelerator, precision: Lightning's ("cpu", "gpu", "auto"; "32-true", "bf16-mixed", "16-mixed").
    devices: that share each batch (Lightning's ddp_spawn; on the CPU, processes). Each normalises its own part, and RCS
        looks for the worst sample of its own part, so more devices give another network.
    threads: of torch. On networks as small as the digits' a second one gains little, and on a busy machine two that
        wait for each other at every operation are ten times slower than one.
    progress: show a progress bar.
    """

    state: Path | None = None
    resume: bool = False
    logs: tuple[Log, ...] = ()
    log_folder: Path = Path("logs")
    patience: int | None = None
    accelerator: str = "cpu"
    precision: str = "32-true"
    devices: int = 1
    threads: int = 1
    progress: bool = False

    def __post_init__(self) -> None:
        for log in self.logs:
            if log not in get_args(Log):
                raise InputError(f"log {log!r} is unknown: choose one of {', '.join(get_args(Log))}")
        for name in ("patience", "threads", "devices"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name} {number}: expected at least 1")
        if self.resume and (self.state is None or not self.state.is_file()):
            raise InputError(f"{self.state}: no state to go on from; train anew")


class _Training(lightning.LightningModule):
    """Steps, loss and optimiser. The methods share them but for the loss of a batch."""

    def __init__(
        self,
        network: SpikingNetwork,
        samples: Any,
        labels: IntArray,
        encoding: InputEncoding,
        preset: Preset,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.samples = samples
        self.encoding = encoding
        self.preset = preset
        self.seed = seed
        self.steps = preset.epochs * -(-len(labels) // preset.batch_size)
        begins = hashlib.sha256(labels.tobytes())
        for tensor in network.state_dict().values():  # another --from is another training
            begins.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.identity = repr((preset, encoding, seed, begins.hexdigest()))
        classes = list(network.chain())[-1].synapse.weight.shape[0]
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def setup(self, stage: str) -> None:
        """What each process makes for itself: generators cannot be sent to another, and each has its own loggers."""
        _lightning_logger().setLevel(logging.ERROR)
        self.random = torch.Generator().manual_seed(self.seed)
        self.order = torch.Generator().manual_seed(self.seed)

    def train_dataloader(self) -> Any:
        """Batches in an order drawn from the seed; of several devices each takes its part of a batch."""
        count, size = self.trainer.world_size, self.preset.batch_size
        if count == 1:
            return DataLoader(self.samples, batch_size=size, shuffle=True, generator=self.order)
        sampler: Any = DistributedSampler(self.samples, count, self.trainer.global_rank, seed=self.seed)
        return DataLoader(self.samples, batch_size=size // count, sampler=sampler)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """Loss of one batch: the method's, plus α times RCS."""
        x, labels = batch
        responses: list[Tensor] | None = [] if self.preset.rcs_alpha else None
        if self.preset.method == "qcfs":
            scores = self.network(x[None], responses)
            loss = functional.cross_entropy(scores[0], labels, label_smoothing=self.preset.label_smoothing)
        else:
            sent = self.network(frames(x, self.encoding, self.preset.timesteps, self.random), responses)
            scores = sent.cumsum(0)
            loss = self._loss(sent, labels)
        if responses is not None:
            rcs = self._regulariser(responses, scores, labels)
            self.log("rcs", rcs, on_step=False, on_epoch=True, sync_dist=True)
            loss = loss + self.preset.rcs_alpha * rcs
        self.accuracy(scores[-1], labels)
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        self.log("accuracy", self.accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def _loss(self, sent: Tensor, labels: Tensor) -> Tensor:
        method, scale, smoothing = self.preset.method, self.preset.logit_scale, self.preset.label_smoothing
        if method == "slayer":
            return spike_rate_loss(sent, labels, scale, smoothing)
        outputs = firing_rate_logits(sent, scale) if self.network.readout == "count" else sent
        if method == "ce":
            return mean_output_loss(outputs, labels, smoothing)
        return tet_loss(outputs, labels, label_smoothing=smoothing)

    def _regulariser(self, responses: list[Tensor], scores: Tensor, labels: Tensor) -> Tensor:
        if self.preset.method == "qcfs":
            return rcs_conversion([response[0] for response in responses], scores[0], labels)
        return rcs_direct(responses, scores, labels)

    def configure_optimizers(self) -> Any:
        """AdamW, or SGD, under a one-cycle schedule; under SGD biases, norms and thresholds do not decay."""
        highest, decay, adam = self.preset.learning_rate, self.preset.weight_decay, self.preset.optimiser == "adamw"
        optimiser: torch.optim.Optimizer
        if adam:
            optimiser = torch.optim.AdamW(self.parameters(), lr=highest, weight_decay=decay)
        else:
            weights = [parameter for parameter in self.parameters() if parameter.ndim > 1]
            others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
            groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
            optimiser = torch.optim.SGD(groups, lr=highest, weight_decay=decay, momentum=MOMENTUM, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, self.steps, cycle_momentum=adam)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is trained, and what the spikes, the order of the samples and the augmentation are drawn from."""
        checkpoint["training"] = self.identity
        for schedule in checkpoint["lr_schedulers"]:  # its functions would need a pickle with code
            for name in [name for name, value in schedule.items() if callable(value)]:
                del schedule[name]
        checkpoint["random"] = [self.random.get_state(), self.order.get_state(), torch.get_rng_state()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on drawing where the state was kept. ValueError for the state of another training."""
        if checkpoint["training"] != self.identity:
            raise ValueError("another training")
        spikes, order, everything_else = checkpoint["random"]
        self.random.set_state(spikes)
        self.order.set_state(order)
        torch.set_rng_state(everything_else)


class _KeepState(Callback):
    """Writes the state after every epoch; the file appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Called by Lightning."""
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        try:
            trainer.save_checkpoint(partial)  # all processes take part, the first one writes
            if trainer.is_global_zero:
                os.replace(partial, self.path)
        except OSError as exc:
            raise InputError(f"{self.path}: the state cannot be written: {exc.strerror}") from exc
        finally:
            partial.unlink(missing_ok=True)


class _Augmented(Dataset[tuple[Tensor, ...]]):
    """Images [N, C, H, W], each shifted by up to 4 pixels and mirrored or not, anew at each reading.

    cutout: side of a square that is painted in the images' mean colour, anywhere; 0 for none. After DeVries and Taylor,
    "Improved regularization of convolutional neural networks with cutout", 2017; here the square lies wholly inside.
    """

    def __init__(self, samples: TensorDataset, sides: tuple[int, ...], cutout: int) -> None:
        self.samples = samples
        changes: list[torch.nn.Module] = [RandomCrop(list(sides), padding=SHIFT), RandomHorizontalFlip()]
        if cutout:
            share = cutout**2 / (sides[0] * sides[1])
            colour = samples.tensors[0].mean((0, 2, 3)).tolist()
            changes.append(RandomErasing(1.0, scale=(share, share), ratio=(1.0, 1.0), value=colour))
        self.change = Compose(changes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        x, label = self.samples[position]
        return self.change(x), label


def fit(
    network: SpikingNetwork, split: Split, encoding: InputEncoding, preset: Preset, seed: int, session: Session
) -> None:
    """Train the network in place, and leave it on the CPU.

    Raises
    ------
    Interrupted: Ctrl-C, where the state after the last epoch was kept.
    CheckpointError: the state to go on from is foreign, broken, or of another training.
    InputError: samples cannot be augmented, devices cannot share a batch evenly, or tensorboard is not installed.
    """
    samples: Any = TensorDataset(torch.from_numpy(split.x), torch.from_numpy(split.y))
    if preset.augment:
        if split.events or len(split.shape) != 3:
            raise InputError("only images [N, C, H, W] can be shifted and mirrored: train without augmentation")
        if preset.cutout >= min(split.shape[1:]):
            raise InputError(f"cutout {preset.cutout}: the images are {split.shape[1:]}; take a smaller square")
        samples = _Augmented(samples, split.shape[1:], preset.cutout)
    if preset.batch_size % session.devices:
        raise InputError(f"{session.devices} devices cannot share batches of {preset.batch_size}: give --batch-size")
    if session.precision != "32-true":  # what the kernels of half the width are made for
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = _Training(network, samples, split.y, encoding, preset, seed)
    with _quiet_lightning(), _interrupts(session):
        _run(_trainer(preset.epochs, session), training, session)
    network.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if session.state is not None:
        session.state.unlink(missing_ok=True)


def _trainer(epochs: int, session: Session) -> lightning.Trainer:
    loggers, callbacks = _loggers(session), _callbacks(session)
    try:
        return lightning.Trainer(
            accelerator=session.accelerator,
            devices=session.devices,
            strategy="ddp_spawn" if session.devices > 1 else "auto",
            precision=session.precision,  # type: ignore[arg-type]
            max_epochs=epochs,
            logger=loggers or False,
            callbacks=callbacks,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=session.progress,
        )
    except (MisconfigurationException, ValueError) as exc:
        raise InputError(
            f"accelerator {session.accelerator!r} with precision {session.precision!r} is not to be had here: {exc}"
        ) from exc


def _run(trainer: lightning.Trainer, training: _Training, session: Session) -> None:
    try:
        if session.resume:  # weights_only: torch reads tensors and plain data, and refuses code
            trainer.fit(training, ckpt_path=session.state, weights_only=True)
        else:
            trainer.fit(training)
    except UNREADABLE as exc:
        if session.resume:
            raise CheckpointError(
                f"{session.state}: not the state of this training ({type(exc).__name__}); give the same arguments, or "
                "train anew without --resume"
            ) from exc
        if isinstance(exc, ProcessRaisedException):
            raise InputError(f"one of {session.devices} processes failed: {str(exc).strip().splitlines()[-1]}") from exc
        raise


def _callbacks(session: Session) -> list[Any]:
    callbacks: list[Any] = []
    if session.state is not None:
        callbacks.append(_KeepState(session.state))
    if session.patience is not None:
        callbacks.append(EarlyStopping("loss", patience=session.patience, check_on_train_epoch_end=True))
    return callbacks


def _loggers(session: Session) -> list[Logger]:
    makers: dict[Log, Any] = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}
    try:
        return [makers[log](session.log_folder, name="") for log in session.logs]
    except ModuleNotFoundError as exc:
        raise InputError(
            "--log tensorboard needs tensorboard, which is not installed: pip install tensorboard"
        ) from exc


def _lightning_logger() -> logging.Logger:
    return logging.getLogger("lightning.pytorch")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's banner, and its advice about worker processes, which this small data does not need."""
    logger = _lightning_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interrupts(session: Session) -> Iterator[None]:
    """Ctrl-C as everywhere else: Lightning would exit with code 1 and leave Ctrl-C without effect."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as exc:
        if session.state is not None and session.state.is_file():
            raise Interrupted("interrupted; the finished epochs are kept: the same command with --resume") from exc
        raise KeyboardInterrupt from exc
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)
