"""Sequential models of Keras in HDF5: their scores, computed here channels last, and files that are none."""

import json

import h5py
import numpy as np
import pytest
import torch

from spikecut.errors import BundleError, InputError, SpikecutError, UnsupportedError
from spikecut.export.importers.keras import read_keras

RNG = np.random.default_rng(0)


def conv(name, kernel, inputs, out, bias=True, **more):
    tensors = {"kernel": RNG.normal(size=(*kernel, inputs, out)), **({"bias": RNG.normal(size=out)} if bias else {})}
    given = {"kernel_size": list(kernel), "filters": out, "strides": [1, 1], "padding": "valid", **more}
    return "Conv2D", {"name": name, "activation": "relu", "data_format": "channels_last", **given}, tensors


def dense(name, inputs, out, activation):
    tensors = {"kernel": RNG.normal(size=(inputs, out)), "bias": RNG.normal(size=out)}
    return "Dense", {"name": name, "units": out, "activation": activation}, tensors


def norm(name, channels):
    keys = ("gamma", "beta", "moving_mean", "moving_variance")
    tensors = {key: RNG.uniform(0.5, 1.5, channels) for key in keys}
    return "BatchNormalization", {"name": name, "axis": [3], "epsilon": 0.001}, tensors


def layers():
    """A convolution of stride 2 that TensorFlow pads unevenly, depthwise, batch norm, pooling, two dense layers."""
    depthwise = {"depthwise_kernel": RNG.normal(size=(3, 3, 4, 1)), "bias": RNG.normal(size=4)}
    about = {"name": "depth", "depth_multiplier": 1, "padding": "same", "strides": [1, 1], "activation": "linear"}
    return [
        ("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 12, 2]}, {}),
        conv("c1", (3, 4), 2, 4, padding="same", strides=[2, 2]),
        ("DepthwiseConv2D", about, depthwise),
        norm("bn", 4),
        ("Activation", {"name": "act", "activation": "relu"}, {}),
        ("AveragePooling2D", {"name": "pool", "pool_size": [2, 3], "padding": "valid"}, {}),
        ("Dropout", {"name": "drop", "rate": 0.5}, {}),
        ("Flatten", {"name": "flat"}, {}),
        dense("d1", 2 * 2 * 4, 6, "relu"),
        dense("d2", 6, 3, "softmax"),
    ]


def save(path, entries, kind="Sequential"):
    """As Keras' model.save does: the configuration as an attribute, tensors below model_weights/layer/layer."""
    config = {"class_name": kind, "config": {"layers": [{"class_name": k, "config": c} for k, c, _ in entries]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        for _, about, tensors in entries:
            group = file.create_group(f"model_weights/{about['name']}")
            for key, value in tensors.items():
                group.create_dataset(f"{about['name']}/{key}:0", data=value.astype(np.float32))
    return path


def scores(entries, x):
    """Channels last, window by window, as TensorFlow does it."""
    for kind, about, tensors in entries:
        tensors = {key: value.astype(np.float32).astype(np.float64) for key, value in tensors.items()}
        if kind in ("Conv2D", "DepthwiseConv2D"):
            kernel = tensors["kernel"] if kind == "Conv2D" else tensors["depthwise_kernel"]
            if kind == "DepthwiseConv2D":
                kernel = kernel * np.eye(kernel.shape[2])[None, None]
            (high, wide), (down, right) = kernel.shape[:2], about["strides"]
            out = [-(-x.shape[1] // down), -(-x.shape[2] // right)]
            total = [
                max((n - 1) * s + k - m, 0)
                for n, s, k, m in zip(out, (down, right), (high, wide), x.shape[1:3], strict=True)
            ]
            x = np.pad(x, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)))
            x = (
                np.stack(
                    [
                        np.stack(
                            [
                                np.tensordot(x[:, i * down : i * down + high, j * right : j * right + wide], kernel, 3)
                                for j in range(out[1])
                            ],
                            1,
                        )
                        for i in range(out[0])
                    ],
                    1,
                )
                + tensors["bias"]
            )
        elif kind == "BatchNormalization":
            scale = tensors["gamma"] / np.sqrt(tensors["moving_variance"] + 0.001)
            x = (x - tensors["moving_mean"]) * scale + tensors["beta"]
        elif kind == "AveragePooling2D":
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 3, 3, -1).mean((2, 4))
        elif kind == "Flatten":
            x = x.reshape(len(x), -1)
        elif kind == "Dense":
            x = x @ tensors["kernel"] + tensors["bias"]
        x = np.maximum(x, 0) if about.get("activation") == "relu" else x
    return x


def test_scores_are_those_of_channels_last(tmp_path):
    entries, x = layers(), RNG.normal(size=(5, 8, 12, 2))
    network = read_keras(save(tmp_path / "net.h5", entries))
    assert network.input_shape == (2, 8, 12) and network.classes == 3
    found = network.scores(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found, scores(entries, x), rtol=1e-9, atol=1e-9)
    whole = [*entries[:5], ("GlobalAveragePooling2D", {"name": "mean"}, {}), dense("d", 4, 3, "linear")]
    network = read_keras(save(tmp_path / "mean.h5", whole))
    expected = scores(entries[:5], x).mean((1, 2)) @ whole[-1][2]["kernel"].astype(np.float32) + whole[-1][2][
        "bias"
    ].astype(np.float32)
    found = network.scores(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda e: e.insert(2, ("MaxPooling2D", {"name": "m"}, {})),
            UnsupportedError,
            r"layer m \(MaxPool2d\): .*AvgPool",
        ),
        (lambda e: e[1][1].update(activation="tanh"), UnsupportedError, r"c1.activation \(tanh\): train with ReLU"),
        (lambda e: e[4][1].update(activation="softmax"), UnsupportedError, r"layer act \(softmax\): leave it out"),
        (lambda e: e[1][1].update(data_format="channels_first"), UnsupportedError, "only channels_last"),
        (lambda e: e[3][1].update(axis=[1]), UnsupportedError, "normalises along axis 1"),
        (lambda e: e.pop(0), InputError, "does not tell its input's shape"),
        (lambda e: e[0][1].update(batch_input_shape=[None, None, None, 2]), InputError, r"input of shape \[None"),
        (lambda e: e[0][1].update(batch_input_shape=[None, 8, 12, 3]), InputError, "does not fit 3 channels"),
        (lambda e: e[1][2].pop("kernel"), BundleError, "c1: kernel is missing"),
        (lambda e: e[8][2].update(kernel=np.ones((7, 6))), InputError, r"d1: a kernel of \(7, 6\) does not fit"),
        (lambda e: e[1][1].update(strides=[0, 1]), InputError, "c1: 0: expected a whole number from 1"),
        (lambda e: e[1][2].update(kernel=np.full((3, 4, 2, 4), np.nan)), InputError, "c1: weight holds a NaN"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_layer(tmp_path, change, error, message):
    entries = layers()
    change(entries)
    with pytest.raises(error, match=message):
        read_keras(save(tmp_path / "net.h5", entries))


def test_files_that_are_none_and_that_are_damaged(tmp_path):
    path = save(tmp_path / "net.h5", layers(), kind="Functional")
    with pytest.raises(UnsupportedError, match="class 'Functional'; only Sequential is read"):
        read_keras(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
    with pytest.raises(InputError, match="weights alone, which tell no layers"):
        read_keras(path)
    save(path, layers())
    with h5py.File(path, "r+") as file:
        del file["model_weights/c1/c1/kernel:0"]
        file["model_weights/c1/c1/kernel:0"] = h5py.SoftLink("/model_weights/d1/d1/kernel:0")
    with pytest.raises(BundleError, match="is a link; spikecut follows none"):
        read_keras(path)
    save(path, layers())
    with h5py.File(path, "r+") as file:
        del file["model_weights/d1/d1/kernel:0"]
        file.create_dataset("model_weights/d1/d1/kernel:0", (2**40, 2**20), "f4", chunks=(64, 64))
    with pytest.raises(BundleError, match="claims"):
        read_keras(path)
    for text in (b"\xff", b"[" * 500, b"{}", b"[]", b'{"class_name": "Sequential", "config": {"layers": [3]}}'):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = text
        with pytest.raises(SpikecutError):
            read_keras(path)
    whole = save(path, layers()).read_bytes()
    for length in range(0, len(whole), 2000):
        path.write_bytes(whole[:length])
        with pytest.raises(SpikecutError):
            read_keras(path)
