"""Hyper-parameters by name: one preset per data set and training method."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from spikecut.errors import InputError
from spikecut.models.data import DEFAULT_FRAMES, EMULATED, MAXIMUM_HORIZON, Dataset

if TYPE_CHECKING:  # torch takes seconds, and the names are listed without it
    from spikecut.models.architectures import Normalisation
    from spikecut.models.network import Readout
    from spikecut.models.neurons.leaky import Reset
    from spikecut.models.training.encoding import Encoding

Method = Literal["ce", "qcfs", "slayer", "tebn", "tet"]
Optimiser = Literal["adamw", "sgd"]
METHODS: tuple[Method, ...] = ("ce", "qcfs", "slayer", "tebn", "tet")
NEURONS = {"qcfs": "qcfs", "slayer": "cuba"}
"""What the architectures of a method end in; \"lif\" for the others."""


SIZES = ("small", "residual", "resnet20")
"""What stands between data set and method in the name of a preset with another network than the data set's first."""

_FOUR_STEP_METHODS = tuple(method for method in METHODS if method != "slayer")


@dataclass(frozen=True)
class Preset:
    """How a network is trained.

    Attributes
    ----------
    method: "qcfs" (Bu et al., ICLR 2022; trained without time, then converted), "tet" (Deng et al., ICLR 2022), "tebn"
        (the loss of tet under temporal effective batch norm, Duan et al., NeurIPS 2022), "ce" (cross entropy of the
        mean output), "slayer" (lava-dl's blocks and gradient, Shrestha & Orchard, NeurIPS 2018; cross entropy of the
        spike rates).
    arch, readout, norm, reset, surrogate: see architectures.build.
    timesteps: T. levels: L of the QCFS activations.
    optimiser: "adamw" or "sgd" (with Nesterov momentum of 0.9), both under a one-cycle schedule up to learning_rate.
    weight_decay: with adamw of all parameters, with sgd of synaptic weights only.
    encoding: how samples enter; events enter as events whatever it says.
    logit_scale: of a firing output (see firing_rate_logits); without meaning where the output does not fire.
    rcs_alpha: weight α of the regulariser RCS, 0 for none.
    augment: whether training images are shifted by up to 4 pixels and mirrored at random.
    cutout: side of a square that augmentation hides as well, 0 for none. label_smoothing: of the cross entropy.
    bias_samples: of how many training samples the biases of a converted network are corrected (see correct_biases), 0
        for none.
    train_samples: how many training samples are used, the first of the split; None for all.
    weight_bits: of weights that are rounded while they are trained, 5 to 8 (see quantisation_aware); None for floats.
    """

    method: Method
    arch: str
    epochs: int
    timesteps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-2
    optimiser: Optimiser = "adamw"
    encoding: "Encoding" = "direct"
    readout: "Readout" = "membrane"
    norm: "Normalisation" = "batch"
    levels: int = 4
    reset: "Reset" = "zero"
    surrogate: str = "triangle"
    logit_scale: float = 40.0
    rcs_alpha: float = 0.0
    augment: bool = False
    cutout: int = 0
    label_smoothing: float = 0.0
    bias_samples: int = 0
    train_samples: int | None = None
    weight_bits: int | None = None

    def __post_init__(self) -> None:
        if self.optimiser not in get_args(Optimiser):
            raise InputError(f"optimiser {self.optimiser!r}: expected adamw or sgd")
        for name in ("epochs", "timesteps", "batch_size", "levels", "train_samples"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name} {number}: expected at least 1")
        if self.timesteps > MAXIMUM_HORIZON:
            raise InputError(f"timesteps {self.timesteps}: at most {MAXIMUM_HORIZON} can be exported")
        for name in ("rcs_alpha", "weight_decay", "cutout", "bias_samples"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} {getattr(self, name)}: expected 0 or more")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing {self.label_smoothing}: expected at least 0 and less than 1")
        if self.cutout and not self.augment:
            raise InputError("cutout is a part of the augmentation: give --cutout 0, or augment")
        if self.bias_samples and self.method != "qcfs":
            raise InputError(f"biases are corrected after a conversion, and {self.method} converts nothing")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate {self.learning_rate}: expected a positive number")


def _four_steps(method: Method, body: str, epochs: int, batch_size: int = 128, augment: bool = False) -> Preset:
    """T = 4 with direct input: the setting of the papers."""
    neuron = "qcfs" if method == "qcfs" else "lif"
    norm: Normalisation = "tebn" if method == "tebn" else "batch"
    return Preset(method, f"{body}-{neuron}", epochs, 4, batch_size, learning_rate=3e-3, norm=norm, augment=augment)


def _slayer(body: str, epochs: int, batch_size: int) -> Preset:
    """T = 16 with spikes as input: slayer's neurons take messages, not floats."""
    return Preset(
        "slayer",
        f"{body}-cuba",
        epochs,
        16,
        batch_size,
        learning_rate=1e-2,
        encoding="bernoulli",
        readout="count",
        norm="none",
        logit_scale=20.0,
    )


def _digits() -> dict[str, Preset]:
    return {
        "digits-tet": Preset(
            "tet", "digits-lif", 25, 16, 64, learning_rate=5e-3, encoding="bernoulli", readout="count"
        ),
        "digits-qcfs": Preset("qcfs", "digits-qcfs", 40, 8, 32, learning_rate=5e-3, norm="none", levels=8),
        "digits-residual-qcfs": Preset("qcfs", "residual-qcfs", 15, 8, 64, learning_rate=5e-3, levels=8),
        "digits-tebn": replace(_four_steps("tebn", "digits", 20, batch_size=32), learning_rate=5e-3),
        "digits-ce": replace(_four_steps("ce", "digits", 20, batch_size=32), learning_rate=5e-3),
    }


def _vision() -> dict[str, Preset]:
    presets = {}
    for method in _FOUR_STEP_METHODS:
        for name in ("mnist", "fashion-mnist"):
            body, epochs = ("conv", 8) if method == "qcfs" else ("strided", 5)  # over time a sample costs T passes
            presets[f"{name}-{method}"] = _four_steps(method, body, epochs)
            small = _four_steps(method, "small", epochs=15, batch_size=64)
            presets[f"{name}-small-{method}"] = replace(small, train_samples=10_000)
        for name in ("cifar10", "cifar100"):
            for size, body in (("", "vgg"), ("-small", "vgg6")):
                preset = _four_steps(method, body, epochs=45, augment=True)
                presets[f"{name}{size}-{method}"] = _long(preset) if method == "qcfs" else preset
    return presets


def _long(preset: Preset) -> Preset:
    """For many epochs on few images. Measured for cifar10-small-qcfs only; the others that take it were not run."""
    return replace(
        preset,
        optimiser="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.1,
        cutout=8,
        bias_samples=1000,
    )


def _deep() -> dict[str, Preset]:
    """ResNet-20: few parameters for its depth, so neither cutout nor label smoothing. Nothing was searched."""
    presets: dict[str, Preset] = {}
    for method in _FOUR_STEP_METHODS:
        epochs = 45 if method == "qcfs" else 20  # over time a sample costs T passes
        preset = replace(
            _four_steps(method, "resnet20", epochs, augment=True),
            optimiser="sgd",
            learning_rate=0.1,
            weight_decay=5e-4,
            bias_samples=1000 if method == "qcfs" else 0,
        )
        presets |= {f"{name}-resnet20-{method}": preset for name in ("cifar10", "cifar100")}
    return presets


def _events() -> dict[str, Preset]:
    bodies = dict.fromkeys(EMULATED, "conv") | {"n-mnist": "conv", "shd": "mlp"}
    bodies |= {"emulated-digits": "digits", "emulated-cifar10": "vgg", "emulated-cifar100": "vgg"}
    bodies |= dict.fromkeys(("dvs128-gesture", "cifar10-dvs"), "vggsnn")
    presets = {}
    for name, body in bodies.items():
        for method in _FOUR_STEP_METHODS:
            if method != "qcfs":  # conversion averages a still input over time; events are none
                preset = _four_steps(method, body, epochs=20, batch_size=64)
                presets[f"{name}-{method}"] = replace(preset, timesteps=DEFAULT_FRAMES, encoding="events")
    return presets


def _slayer_everywhere() -> dict[str, Preset]:
    """On all data but those whose bodies pool."""
    presets = {"digits-slayer": _slayer("digits", epochs=12, batch_size=32)}
    for name in ("mnist", "fashion-mnist"):
        presets[f"{name}-slayer"] = _slayer("conv", epochs=8, batch_size=128)
        small = _slayer("small", epochs=15, batch_size=64)
        presets[f"{name}-small-slayer"] = replace(small, train_samples=10_000)
    bodies = {"emulated-digits": "digits", "n-mnist": "conv", "shd": "mlp"}
    for name, body in (bodies | {f"emulated-{name}": "conv" for name in ("mnist", "fashion-mnist")}).items():
        preset = _slayer(body, epochs=20, batch_size=64)
        presets[f"{name}-slayer"] = replace(preset, timesteps=DEFAULT_FRAMES, encoding="events")
    return presets


PRESETS: dict[str, Preset] = _digits() | _vision() | _deep() | _events() | _slayer_everywhere()


def preset_named(name: str) -> tuple[str, Preset]:
    """The data set and the preset of this name, DATASET-METHOD or DATASET-SIZE-METHOD; SIZE is one of SIZES.

    InputError if there is none.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown: choose one of {', '.join(sorted(PRESETS))}")
    dataset = name.rsplit("-", 1)[0]
    for size in SIZES:
        dataset = dataset.removesuffix(f"-{size}")
    return dataset, PRESETS[name]


def preset_for(method: str, dataset: Dataset) -> Preset:
    """The preset of this method and data set; for data of one's own that of the digits, with an mlp for vectors.

    InputError for an unknown method, or QCFS on events.
    """
    if method not in METHODS:
        raise InputError(f"training method {method!r} is unknown: choose one of {', '.join(METHODS)}")
    if dataset.train.events and method == "qcfs":
        raise InputError("qcfs is trained without time and cannot learn from events: choose tet, tebn or ce")
    if f"{dataset.name}-{method}" in PRESETS:
        return PRESETS[f"{dataset.name}-{method}"]
    preset = PRESETS[f"digits-{method}"]
    if len(dataset.shape) == 1:
        preset = replace(preset, arch=preset.arch.replace("digits", "mlp"))
    return preset
