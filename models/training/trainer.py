"""The training loop, by Lightning: one optimiser, a loss per method, progress, logs, and a state to go on from."""

import hashlib
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import lightning.pytorch as lightning
import torch
import torch.nn.functional as functional
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from spikecut.errors import CheckpointError, InputError, Interrupted
from spikecut.models.data import Split
from spikecut.models.data.dataset import IntArray
from spikecut.models.losses.mean_output import mean_output_loss
from spikecut.models.losses.rcs import rcs_conversion, rcs_direct
from spikecut.models.losses.spike_rate import spike_rate_loss
from spikecut.models.losses.tet import firing_rate_logits, tet_loss
from spikecut.models.network import SpikingNetwork
from spikecut.models.training.augment import AugmentedImages
from spikecut.models.training.devices import SpawnedProcesses, processes_ended, seed_of
from spikecut.models.training.encoding import InputEncoding, frames
from spikecut.models.training.presets import Preset
from spikecut.models.training.state import KeepState, StateFiles, read_state

Log = Literal["csv", "tensorboard"]
MOMENTUM = 0.9
LIGHTNING = "lightning.pytorch"
FEW_WORKERS = ".*does not have many workers.*"
LEAVES = r"`isinstance\(treespec, LeafSpec\)`"
"""How torch from 2.9 on warns of a class that Lightning (2.6) still makes of every batch."""


@dataclass(frozen=True)
class Session:
    """How a training is run. What it computes is the same but for devices and precision, and rounding.

    Attributes
    ----------
    state: file that the state is kept in after every epoch; `train` removes it at its end, unless `leaves_state`: for
        whoever writes the network, and then removes it. None keeps none.
    resume: from that file, which `train` needs then.
    logs, log_folder: "csv" and "tensorboard" write loss and training accuracy of each epoch below log_folder.
    patience: stop when the training loss has not fallen for so many epochs; None never does.
    accelerator, precision: Lightning's ("cpu", "gpu", "auto"; "32-true", "bf16-mixed", "16-mixed").
    devices: that share each batch (Lightning's DDP; on the CPU, processes). Each normalises its own part, and RCS
        looks for the worst sample of its own part, so more devices give another network. A script that trains so needs
        `if __name__ == "__main__"`.
    threads: of torch. On networks as small as the digits' a second one gains little, and on a busy machine two that
        wait for each other at every operation are ten times slower than one.
    progress: show a progress bar.
    after_epoch: called after every epoch, where one device trains.
    """

    state: Path | None = None
    leaves_state: bool = False
    resume: bool = False
    logs: tuple[Log, ...] = ()
    log_folder: Path = Path("logs")
    patience: int | None = None
    accelerator: str = "cpu"
    precision: str = "32-true"
    devices: int = 1
    threads: int = 1
    progress: bool = False
    after_epoch: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        for log in self.logs:
            if log not in get_args(Log):
                raise InputError(f"log {log!r} is unknown: choose one of {', '.join(get_args(Log))}")
        for name in ("patience", "threads", "devices"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name} {number}: expected at least 1")
        if self.resume and self.state is not None and not self.state.is_file():
            raise InputError(f"{self.state}: no state to resume from; train anew")


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
        session: Session,
    ) -> None:
        super().__init__()
        self.network = network
        self.samples = samples
        self.encoding = encoding
        self.preset = preset
        self.seed = seed
        self.threads = session.threads
        self.steps = preset.epochs * -(-len(labels) // preset.batch_size)
        begins = hashlib.sha256(labels.tobytes())
        for tensor in network.state_dict().values():  # another --from is another training
            begins.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.identity = repr((preset, encoding, seed, session.devices, session.precision, begins.hexdigest()))
        classes = list(network.chain())[-1].synapse.weight.shape[0]
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def setup(self, stage: str) -> None:
        """What each process makes for itself: generators cannot be sent to another, and settings are not."""
        if self.trainer.world_size > 1:
            torch.set_num_threads(self.threads)
            logging.getLogger(LIGHTNING).setLevel(logging.ERROR)
            warnings.filterwarnings("ignore", message=FEW_WORKERS)
        self.random = torch.Generator().manual_seed(self.seed)
        self.order = torch.Generator().manual_seed(self.seed)

    def train_dataloader(self) -> Any:
        """Batches in an order drawn from the seed; of several devices each takes its part of a batch."""
        count, size = self.trainer.world_size, self.preset.batch_size
        if count == 1:
            return DataLoader(self.samples, batch_size=size, shuffle=True, generator=self.order)
        sampler: Any = DistributedSampler(self.samples, count, self.trainer.global_rank, seed=seed_of(self.seed))
        return DataLoader(self.samples, batch_size=size // count, sampler=sampler)

    def on_train_epoch_start(self) -> None:
        """Spikes and augmentation of each device are drawn anew in each epoch: only one device's state is kept."""
        if self.trainer.world_size > 1:
            drawn = seed_of(self.seed, self.trainer.global_rank, self.current_epoch)
            self.random.manual_seed(drawn)
            torch.manual_seed(drawn)

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
        """Go on drawing where the state was kept."""
        spikes, order, everything_else = checkpoint["random"]
        self.random.set_state(spikes)
        self.order.set_state(order)
        torch.set_rng_state(everything_else)


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
        samples = AugmentedImages(samples, preset.cutout)
    if preset.batch_size % session.devices:
        raise InputError(f"{session.devices} devices cannot share batches of {preset.batch_size}: give --batch-size")
    if session.precision != "32-true":  # what the kernels of half the width are made for
        _arrange(network, torch.channels_last)
    training = _Training(network, samples, split.y, encoding, preset, seed, session)
    with _quiet_lightning(), _interrupts(session):
        files = None if session.state is None else StateFiles(session.state)
        _run(_trainer(preset.epochs, session, files), training, session, files)
    _arrange(network.cpu(), torch.contiguous_format)


def _arrange(network: SpikingNetwork, layout: torch.memory_format) -> None:
    to: Callable[..., Any] = network.to  # torch's types lack this form of it, in some releases
    to(memory_format=layout)


def _trainer(epochs: int, session: Session, files: StateFiles | None) -> lightning.Trainer:
    loggers, callbacks = _loggers(session), _callbacks(session)
    try:
        return lightning.Trainer(
            accelerator=session.accelerator,
            devices=session.devices,
            strategy=SpawnedProcesses() if session.devices > 1 else "auto",
            precision=session.precision,  # type: ignore[arg-type]
            max_epochs=epochs,
            logger=loggers or False,
            callbacks=callbacks,
            plugins=None if files is None else [files],
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=session.progress,
        )
    except (MisconfigurationException, ValueError) as exc:
        raise InputError(
            f"accelerator {session.accelerator!r} with precision {session.precision!r} is not available "
            f"on this machine: {exc}"
        ) from exc


def _run(trainer: lightning.Trainer, training: _Training, session: Session, files: StateFiles | None) -> None:
    partial = None if files is None else files.partial
    if not session.resume or session.state is None:
        with processes_ended(trainer, partial):
            trainer.fit(training)
        return
    another = f"{session.state}: not the state of this training"
    remedy = "give the same arguments, or train anew without --resume"
    try:
        kept = read_state(session.state)
    except CheckpointError as exc:
        raise CheckpointError(f"{another} ({exc}); {remedy}") from exc
    if kept.get("training") != training.identity:
        raise CheckpointError(f"{another}; {remedy}")
    del kept
    try:
        with processes_ended(trainer, partial):
            trainer.fit(training, ckpt_path=session.state, weights_only=True)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as exc:
        raise CheckpointError(f"{another} ({type(exc).__name__}); {remedy}") from exc


def _callbacks(session: Session) -> list[Any]:
    callbacks: list[Any] = []
    if session.state is not None:
        callbacks.append(KeepState(session.state))
    if session.patience is not None:
        callbacks.append(EarlyStopping("loss", patience=session.patience, check_on_train_epoch_end=True))
    if (told := session.after_epoch) is not None and session.devices == 1:
        callbacks.append(LambdaCallback(on_train_epoch_end=lambda *trained: told()))
    return callbacks


def _loggers(session: Session) -> list[Logger]:
    makers: dict[Log, Any] = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}
    try:
        return [makers[log](session.log_folder, name="") for log in session.logs]
    except ModuleNotFoundError as exc:
        raise InputError(
            "--log tensorboard needs tensorboard, which is not installed: pip install tensorboard"
        ) from exc


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's banner, and its advice about worker processes, which this small data does not need."""
    logger = logging.getLogger(LIGHTNING)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=FEW_WORKERS)
            warnings.filterwarnings("ignore", message=LEAVES, category=FutureWarning)
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
