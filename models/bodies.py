"""The synapses of the architectures: convolutions, poolings and dense layers, whatever neurons they get."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """3 × 3 convolution, padding 1, of a chain; pool: side of the average pooling before it."""

    channels: int
    stride: int = 1
    pool: int = 1


@dataclass(frozen=True)
class Body:
    """Convolutions, then the pooling before the first dense layer, hidden dense layers, and the output."""

    convolutions: tuple[Convolution, ...]
    pool: int = 1
    hidden: tuple[int, ...] = ()


BODIES = {
    "digits": Body((Convolution(16), Convolution(32, stride=2))),
    "mlp": Body((), hidden=(128,)),
    "small": Body((Convolution(8, stride=2), Convolution(16, stride=2)), hidden=(48,)),
    "conv": Body(
        (Convolution(32), Convolution(32, stride=2), Convolution(64), Convolution(64, stride=2)), hidden=(128,)
    ),
    "strided": Body((Convolution(32, stride=2), Convolution(64), Convolution(64, stride=2)), hidden=(128,)),
    "vgg6": Body(
        (
            Convolution(64),
            Convolution(64),
            Convolution(128, pool=2),
            Convolution(160, pool=2),
            Convolution(160),
            Convolution(192, pool=2),
        ),
        pool=4,
    ),
    "vgg": Body(
        (
            Convolution(64),
            Convolution(64),
            Convolution(128, pool=2),
            Convolution(128),
            Convolution(256, pool=2),
            Convolution(256),
        ),
        pool=4,
    ),
    "vggsnn": Body(
        (
            Convolution(64),
            Convolution(128),
            Convolution(256, pool=2),
            Convolution(256),
            Convolution(512, pool=2),
            Convolution(512),
            Convolution(512, pool=2),
            Convolution(512),
        ),
        pool=2,
    ),
}
RESIDUAL_BODIES = {
    "residual": ((16, 1), (32, 2)),
    "resnet20": ((16, 3), (32, 3), (64, 3)),
    "resnet18": ((64, 2), (128, 2), (256, 2), (512, 2)),
}
"""Groups of blocks: channels, and how many blocks; all groups but the first begin with stride 2."""

ARCHITECTURES = (
    *(f"{body}-{neuron}" for body in (*BODIES, *RESIDUAL_BODIES) for neuron in ("lif", "qcfs")),
    *(f"{body}-cuba" for body in ("digits", "mlp", "small", "conv")),
)
"""Names of the architectures: a body, and the neurons that it gets."""
