"""The synaptic products against plain sums, over geometries in which oneDNN's private operators err or read too far."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikecut.deploy.backends.kernels.arithmetic import Arithmetic
from spikecut.deploy.backends.kernels.product import Int8Product, channels_last, make_product
from spikecut.errors import BackendError
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron


@st.composite
def convolutions(draw):
    """(channels a group in, out), groups, image, kernel, stride, padding, dilation."""
    pair = lambda *values: (draw(st.sampled_from(values)), draw(st.sampled_from(values)))  # noqa: E731
    return (
        pair(1, 2, 3, 4, 16),
        draw(st.sampled_from((1, 1, 2, 3))),
        pair(1, 2, 3, 5, 8, 12),
        pair(1, 2, 3, 4, 5),
        pair(1, 2, 3),
        pair(0, 1, 2, 3, 4),
        pair(1, 1, 2, 3),
    )


def layer_of(channels, groups, image, kernel, stride, padding, dilation):
    """The layer, with random weights; None where the kernel does not fit the image."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(side + 2 * pad < span for side, pad, span in zip(image, padding, spans, strict=True)):
        return None
    out = [
        (side + 2 * pad - span) // step + 1 for side, pad, span, step in zip(image, padding, spans, stride, strict=True)
    ]
    given_channels, maps = channels[0] * groups, channels[1] * groups
    weight = 2 * np.random.default_rng(0).integers(-16, 16, (maps, channels[0], *kernel))
    return IntegerLayer(
        "conv",
        "conv",
        weight,
        IntegerNeuron(64, np.zeros(maps, dtype=np.int64)),
        (given_channels, *image),
        (maps, *out),
        stride,
        padding,
        dilation,
        groups,
    )


def soil_memory():
    """Numbers in memory that is free."""
    kept = [np.full(2**bits, fill, dtype=np.uint8) for bits in range(6, 17) for fill in (255, 70)]
    del kept


IN_PADDING = ((16, 8), 1, (1, 8), (2, 2), (2, 2), (1, 3), (2, 3))
"""By dilation all taps of the rows lie in the padding: oneDNN read memory that is not there."""

ONE_COLUMN = (
    # One column that is stepped to: oneDNN summed what nobody wrote; in the first, as the fuzz campaign found it.
    ((2, 2), 3, (3, 1), (5, 4), (1, 2), (3, 3), (1, 2)),
    ((8, 8), 4, (12, 2), (3, 4), (2, 3), (2, 1), (3, 1)),
    ((3, 2), 2, (12, 3), (1, 2), (2, 3), (0, 0), (3, 2)),
)


def check(layer, product):
    """The product of random messages, in memory that holds other numbers, is torch's in float64."""
    frames = np.random.default_rng(1).integers(0, 256, (3, *layer.input_shape))
    arguments = layer.stride, layer.padding, layer.dilation, layer.groups
    images, kernels = (torch.from_numpy(array.astype(np.float64)) for array in (frames, layer.weight))
    sums = torch.nn.functional.conv2d(images, kernels, None, *arguments).numpy()
    expected = channels_last(sums, layer.output_shape)
    rows = channels_last(frames, layer.input_shape).astype(product.dtype)
    for batch in (1, 3, 30):
        soil_memory()
        found = product(np.tile(rows, (10, 1))[:batch]).astype(np.float64) * (2 if product.halved else 1)
        assert np.array_equal(found, np.tile(expected, (10, 1))[:batch])


@pytest.mark.parametrize("precision", ["int8", "float32", "float64"])
@settings(max_examples=150)
@given(convolutions())
@example(IN_PADDING)
@example(ONE_COLUMN[0])
def test_a_convolution_is_exact_whatever_memory_holds(precision, drawn):
    layer = layer_of(*drawn)
    if layer is None:
        return
    try:
        product = make_product(layer, 0, 255, Arithmetic(precision, torch))
    except BackendError:
        return
    check(layer, product)


@pytest.mark.parametrize(("limit", "wider"), [(2**24, "float64"), (2**53, None)])
def test_from_the_limit_on_a_float_product_is_not_taken(limit, wider):
    """Of two synapses, of 2 and -2: sums may reach four times the largest message."""
    weight = np.array([[2, -2]], dtype=np.int64)
    layer = IntegerLayer("dense", "dense", weight, IntegerNeuron(64, np.zeros(1, dtype=np.int64)), (2,), (1,))
    below = make_product(layer, 0, limit // 4 - 1, Arithmetic())
    assert below.name == ("float32" if wider else "float64")
    if wider:
        assert make_product(layer, 0, limit // 4, Arithmetic()).name == wider
    else:
        with pytest.raises(BackendError, match="beyond 2\\^53"):
            make_product(layer, 0, limit // 4, Arithmetic())


def test_taps_in_the_padding_alone_do_not_end_the_process():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("drawn", ONE_COLUMN)
def test_a_step_to_a_single_column_is_refused(drawn):
    with pytest.raises(BackendError, match="to only one"):
        make_product(layer_of(*drawn), 0, 255, Arithmetic("int8", torch))


if __name__ == "__main__":
    check(layer_of(*IN_PADDING), Int8Product(layer_of(*IN_PADDING), torch))
