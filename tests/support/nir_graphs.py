"""NIR files made node by node, with the package nir itself or, where it would refuse, straight into HDF5."""

from itertools import pairwise

import h5py
import nir
import numpy as np


def write(path, nodes, edges=None):
    """A chain of (name, node), or a graph with these edges, without the package's type check."""
    names = [name for name, _ in nodes]
    edges = list(pairwise(names)) if edges is None else edges
    nir.write(path, nir.NIRGraph(dict(nodes), edges, type_check=False), compression=None)
    return path


def chain(*nodes, shape=(3,), out=None):
    """Input, nodes, Output, with names."""
    named = [(f"n{index}", node) for index, node in enumerate(nodes)]
    output = np.array([1] if out is None else out)
    return [("input", nir.Input(np.array(shape))), *named, ("output", nir.Output(output))]


def full(value, shape):
    """A parameter of every neuron."""
    return np.full(shape, value, dtype=np.float64)


def lif(shape, decay=0.5, r=None, v_leak=0.0, v_reset=0.0, threshold=1.0, dt=1.0):
    """LIF whose v loses `decay` per timestep of dt."""
    tau = dt / decay
    return nir.LIF(
        tau=full(tau, shape),
        r=full(tau / dt if r is None else r, shape),
        v_leak=full(v_leak, shape),
        v_threshold=full(threshold, shape),
        v_reset=full(v_reset, shape),
    )


def cuba(shape, decay_u=0.5, decay_v=0.25, v_leak=0.0, fires=True):
    """CubaLIF or CubaLI with a timestep of 1 and unscaled input."""
    values = {
        "tau_syn": full(1 / decay_u, shape),
        "tau_mem": full(1 / decay_v, shape),
        "r": full(1 / decay_v, shape),
        "v_leak": full(v_leak, shape),
        "w_in": full(1 / decay_u, shape),
    }
    return nir.CubaLIF(v_threshold=full(1.0, shape), **values) if fires else nir.CubaLI(**values)


def conv(weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, shape=(6, 6)):
    """Conv2d."""
    bias = np.zeros(len(weight)) if bias is None else bias
    return nir.Conv2d(shape, weight, stride, padding, dilation, groups, bias)


def flatten(*shape, start=0, end=-1):
    """Flatten of an input of this shape."""
    return nir.Flatten(np.array(shape), start, end)


def pool(kind, kernel=2, stride=2, padding=0):
    """SumPool2d or AvgPool2d, square."""
    return getattr(nir, kind)(*(np.array([side, side]) for side in (kernel, stride, padding)))


def replace_dataset(file, key, value, **options):
    """Another dataset in the place of one."""
    del file[key]
    file.create_dataset(key, data=value, **options)


def link(file, key, target):
    """A link in the place of something."""
    del file[key]
    file[key] = target


def external(path, name="/x"):
    """A link into another file."""
    return h5py.ExternalLink(str(path), name)
