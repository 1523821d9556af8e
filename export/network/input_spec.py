"""How a user's floats become the integers that enter a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spikecut.errors import ExportError, InputError
from spikecut.export.network.arrays import Shape, size, whole
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS
from spikecut.export.network.names import check_name
from spikecut.text import brief, sides

Encoding = Literal["direct", "bernoulli", "latency", "events"]
MAXIMUM_BITS = 24
"""Of a graded message's magnitude, the chip's own width."""


@dataclass(frozen=True)
class InputSpec:
    """How a user's floats x become the integers that enter the network.

    direct:     q = round((x - zero) / scale), the same frame at every timestep (graded when bits > 0)
    bernoulli:  a spike with probability (x - zero) / scale, drawn independently per timestep from `seed`
    latency:    one spike per input; the larger the value the earlier (see export/encode.py)
    events:     x holds whole numbers [N, T, ...], one frame of them a step

    Attributes
    ----------
    shape: (C, H, W) or (F,) of one frame.
    bits: width of a graded message's magnitude in bits; 0 means binary spikes.
    signed: whether graded messages may be negative.
    labels: the classes' names, printable, in the order of the output neurons.
    """

    shape: Shape
    encoding: Encoding
    bits: int = 0
    signed: bool = False
    scale: float = 1.0
    zero: float = 0.0
    seed: int = 0
    labels: tuple[str, ...] = ()

    __repr__ = brief

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "InputSpec":
        """From fields as a file holds them; InputError if one is unknown, missing or of another type."""
        try:
            return cls(**{**fields, "shape": tuple(fields["shape"]), "labels": tuple(fields["labels"])})
        except (ExportError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"the input's description is damaged ({error})") from error

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(whole(side, "input shape") for side in self.shape))
        for key in ("bits", "seed"):
            object.__setattr__(self, key, whole(getattr(self, key), f"input {key}"))
        for label in self.labels:
            check_name(label, "label")
        if len(self.shape) not in (1, 3) or min(self.shape) < 1 or size(self.shape) > MAXIMUM_ELEMENTS:
            raise InputError(f"input shape {self.shape}: expected (features,) or (channels, height, width)")
        if self.encoding not in ("direct", "bernoulli", "latency", "events"):
            raise InputError(f"input encoding {self.encoding!r}: expected direct, bernoulli, latency or events")
        if not 0 <= self.bits <= MAXIMUM_BITS:
            raise InputError(f"input bits {self.bits}: expected 0 (binary spikes) to {MAXIMUM_BITS}")
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.zero)):
            raise InputError(f"input scale {self.scale}, zero {self.zero}: expected a positive and a finite number")

    def __str__(self) -> str:
        """One line: input 1×8×8, direct, 4 bits."""
        graded = f"{self.bits} bits{', signed' * self.signed}" if self.bits else "binary"
        return f"input {sides(self.shape)}, {self.encoding}, {graded}"

    @property
    def maximum(self) -> int:
        """Largest integer that a message may carry."""
        return 1 if self.bits == 0 else 2**self.bits - 1

    @property
    def minimum(self) -> int:
        """Smallest integer that a message may carry."""
        return -self.maximum if self.signed and self.bits else 0
