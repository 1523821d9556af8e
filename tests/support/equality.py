"""Equality of dataclasses that hold arrays."""

from dataclasses import fields, is_dataclass

import numpy as np


def equal(one, other):
    """== of dataclasses that hold arrays and dataclasses."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if is_dataclass(one) and type(one) is type(other):
        return all(equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return type(one) is type(other) and one == other
