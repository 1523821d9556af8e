"""Where the engine's time goes: products and neurons of every layer, one thread, against the time of whole runs."""

import time
from typing import Any

import numpy as np
import torch
from engine_measure import spread, written
from engine_networks import NAMES, network, spikes

from spikecut.deploy.backends.batched.engine import Tuning, run_batched
from spikecut.deploy.backends.batched.slots import LayerSlots, plan_network
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, import_torch
from spikecut.export.network.arrays import size

SLOTS = {"mlp": 256, "convnet": 32, "vgg": 8}
STEPS = 30


def _layer(slots: LayerSlots, frames: list[Any]) -> tuple[float, float, list[Any]]:
    """Seconds of the products and of the neurons over all frames, and what the layer sends."""
    products, neurons, sent = 0.0, 0.0, []
    for frame in frames:
        began = time.perf_counter()
        sums = slots.sums(frame)
        between = time.perf_counter()
        out = slots.fire(sums)
        neurons += time.perf_counter() - between
        products += between - began
        sent.append(out.copy())
    return products, neurons, sent


def profile(repetitions: int) -> dict[str, Any]:
    """Microseconds a step and sample, of products and neurons per layer."""
    print("\nWhere the time goes, µs a step and sample on one thread (multiply-accumulates a second of the products):")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    try:
        for name in NAMES:
            result[name] = {precision: _network(name, precision, repetitions) for precision in ("auto", "float32")}
    finally:
        torch.set_num_threads(threads)
    return result


def _network(name: str, precision: Any, repetitions: int) -> dict[str, Any]:
    net, count = network(name), SLOTS[name]
    encoded = spikes((STEPS, count, *net.input_shape))
    layers = [LayerSlots(plan, count) for plan in plan_network(net, net.horizon, Arithmetic(precision, import_torch()))]
    scale = 1e6 / (STEPS * count)
    rows: dict[str, Any] = {layer.plan.layer.name: {"product": [], "neurons": []} for layer in layers}
    whole = []
    with torch.inference_mode():
        for repetition in range(-1, repetitions):
            frames = [np.ascontiguousarray(frame, dtype=layers[0].input_dtype) for frame in _rows(encoded)]
            for layer in layers:
                products, neurons, frames = _layer(layer, frames)
                if repetition >= 0:
                    rows[layer.plan.layer.name]["product"].append(products * scale)
                    rows[layer.plan.layer.name]["neurons"].append(neurons * scale)
            began = time.perf_counter()
            run_batched(net, encoded[: net.horizon], tuning=Tuning(precision, count, 1))
            if repetition >= 0:
                whole.append((time.perf_counter() - began) * 1e6 / (net.horizon * count))
    print(f"  {name}, {precision}: a whole run {written(spread(whole))}")
    found: dict[str, Any] = {"whole run": spread(whole), "layers": {}}
    for layer in layers:
        one = layer.plan.layer
        medians = {key: float(np.median(values)) for key, values in rows[one.name].items()}
        rate = one.weight.size * size(one.output_shape[1:]) / medians["product"] * 1e6
        product = (layer.plan.temporal or layer.plan.product).name
        found["layers"][one.name] = {**medians, "by": product, "multiply-accumulates a second": rate}
        print(
            f"    {one.name:8} {product:8} product {medians['product']:8.2f} ({rate / 1e9:,.0f} G/s), "
            f"neurons {medians['neurons']:7.2f}"
        )
    return found


def _rows(encoded: Any) -> Any:
    """Frames [N, elements], channels last."""
    for frame in encoded:
        yield (np.moveaxis(frame, 1, -1) if frame.ndim == 4 else frame).reshape(len(frame), -1)
