"""How samples enter the float network; export's InputSpec says the same of the integer one."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spikecut.errors import InputError
from spikecut.models.data import Split

Encoding = Literal["bernoulli", "direct", "events"]
DIRECT_MAXIMUM = 31  # magnitude of a graded input: more bits would leave 24-bit currents no headroom


@dataclass(frozen=True)
class InputEncoding:
    """How samples enter the network; the fields are those of export's InputSpec.

    bernoulli: a spike with probability (x - zero) / scale at each step; direct: x itself at every step in the float
    network, round((x - zero) / scale) in the integer one; events: the samples' own frames, one a step.
    """

    encoding: Encoding
    bits: int
    signed: bool
    scale: float
    zero: float
    seed: int


def encoding_for(kind: Encoding, train: Split, seed: int) -> InputEncoding:
    """The encoding of this kind that fits these training samples; samples of events are always taken as events.

    bernoulli: between the smallest (0 if none is negative) and the largest value. direct: the numbers themselves if
    they are integers of at most 5 bits, else in units of 1/31 of the largest magnitude; one bit more leaves room for
    samples beyond those seen in training. events: the counts, with the bits that the largest needs.

    InputError if the samples are all the same number, or are no events.
    """
    lowest, highest = min(0.0, float(train.x.min())), float(train.x.max())
    if lowest == highest:
        raise InputError("the training samples are all the same number: nothing can be learned")
    if train.events:
        bits = int(highest).bit_length()
        return InputEncoding("events", 0 if bits == 1 else bits, False, 1.0, 0.0, seed)
    if kind == "events":
        raise InputError("the samples hold no events: choose an emulated or recorded data set")
    if kind == "bernoulli":
        return InputEncoding("bernoulli", 0, False, highest - lowest, lowest, seed)
    largest = max(highest, -lowest)
    if largest <= DIRECT_MAXIMUM and np.array_equal(train.x, np.rint(train.x)):
        return InputEncoding("direct", int(largest).bit_length(), lowest < 0, 1.0, 0.0, seed)
    return InputEncoding("direct", DIRECT_MAXIMUM.bit_length() + 1, lowest < 0, largest / DIRECT_MAXIMUM, 0.0, seed)


def frames(x: Tensor, encoding: InputEncoding, timesteps: int, generator: torch.Generator) -> Tensor:
    """Samples [N, *shape], or events [N, T, *shape] → what the float network sees, float32 [T, N, *shape].

    generator: of the CPU, for bernoulli; x may lie elsewhere.
    """
    if encoding.encoding == "events":
        return x.transpose(0, 1).float()
    repeated = x.expand(timesteps, *x.shape)
    if encoding.encoding == "direct":
        return repeated
    probability = (repeated - encoding.zero) / encoding.scale
    return (torch.rand(repeated.shape, generator=generator).to(x.device) < probability).to(x.dtype)
