"""Samples that a network which is read is looked at with: how they become its input."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError, InputError
from spikecut.export.encode import encode_samples
from spikecut.export.network.arrays import Shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.models.data import Dataset
from spikecut.models.training.encoding import encoding_for

GOLDEN_SAMPLES = 64


def input_fields(data: Dataset, dataset: str, encoding: str | None, default: str) -> tuple[dict[str, Any], str]:
    """The input's description in a recipe, and a line on what was assumed of it.

    encoding: how samples become input; None takes the default. Events are taken as they are.

    Raises InputError for an encoding that is unknown, or of events.
    """
    if data.frames is not None:
        if encoding is not None:
            raise InputError(f"--encoding {encoding}: {dataset} holds events, which need none; leave it out")
        return asdict(encoding_for("events", data.train, 0)), f"input events in {data.frames} frames"
    chosen = encoding or default
    if chosen not in ("direct", "bernoulli", "latency"):
        raise InputError(f"--encoding {encoding!r}: expected direct, bernoulli or latency")
    fields = asdict(encoding_for("direct" if chosen == "direct" else "bernoulli", data.train, 0))
    fields["encoding"] = chosen  # latency scales like bernoulli
    said = (
        f"{fields['bits']} bits, unit {fields['scale']:.4g}" if chosen == "direct" else f"scale {fields['scale']:.4g}"
    )
    return fields, f"input {chosen}, {said}{'' if encoding else ': no --encoding given'}"


def sample_frames(data: Dataset, dataset: str, encoding: str | None, horizon: int) -> npt.NDArray[np.generic]:
    """The golden samples as a module takes them, [T, N, *shape]; see input_fields for what is raised."""
    images = data.calibration.x[:GOLDEN_SAMPLES]
    fields, _ = input_fields(data, dataset, encoding, "direct")
    spec = InputSpec(shape=data.shape, **fields)
    if spec.encoding == "direct":
        return np.broadcast_to(images, (horizon, *images.shape))
    return encode_samples(images, spec, horizon)


def matching_data(data: Dataset, dataset: str, shape: Shape, classes: int) -> Dataset:
    """The data set; DataError for samples or classes that do not fit the network."""
    if data.shape != tuple(shape):
        raise DataError(f"{dataset}: samples of shape {data.shape}, but the network takes {tuple(shape)}")
    if len(data.labels) > classes:
        raise DataError(f"{dataset}: {len(data.labels)} classes, but the network has {classes} outputs")
    return data
