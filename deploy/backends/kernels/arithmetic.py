"""What the synaptic sums are computed with: a precision, and torch, once the work is worth its import."""

import sys
from dataclasses import dataclass
from typing import Any, Literal

from spikecut.errors import BackendError
from spikecut.export.network.layers import IntegerNetwork

Precision = Literal["auto", "int8", "float32", "float64"]
PRECISIONS = ("auto", "int8", "float32", "float64")
WORTH_TORCH = 3 * 10**8
"""Multiply-accumulates for which numpy takes about as long as the import of torch, a second."""


@dataclass(frozen=True)
class Arithmetic:
    """How products are computed; no result depends on it.

    Attributes
    ----------
    precision: of the sums; "auto" takes the fastest that is exact, per layer.
    torch: the module; None to compute in numpy.
    """

    precision: Precision = "auto"
    torch: Any = None


def import_torch() -> Any:
    """torch if it is installed, else None: the products then run in numpy. BackendError for one that does not work."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        raise BackendError(f"torch is installed and cannot be imported ({error}): install it again") from error
    return torch


class _Work:
    """Multiply-accumulates that this process has left to numpy."""

    done = 0


def arithmetic_for(precision: Precision, work: int) -> Arithmetic:
    """What to compute with; work: multiply-accumulates that are about to be done.

    torch's import takes longer than numpy takes for a few small samples: it waits until all work so far is worth it.
    """
    if precision == "auto" and "torch" not in sys.modules and _Work.done + work < WORTH_TORCH:
        _Work.done += work
        return Arithmetic(precision)
    return Arithmetic(precision, import_torch())


def multiply_accumulates(network: IntegerNetwork) -> int:
    """Of one timestep of one sample, dense."""
    total = 0
    for path in (path for paths in network.paths for path in paths):
        rows, columns = path.synapse.output_shape[1:] or (1, 1)
        total += path.synapse.weight.size * rows * columns
    return total
