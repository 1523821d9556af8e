"""One fuzz comparison: a random network through the batched engine and through Lava's own models, with ==.

Layer by layer, both get the same messages. Of every step u, v, the synaptic sums and the messages are compared. Only
slots (a neuron in a step of a sample) of layers that fire in 1 to 60 % of them count; the rest is compared all the
same, and so is a membrane readout, which never fires. Then the whole network runs through `run_batched`, cut off early
in half of the cases, and gives Lava's messages and events.
"""

import hashlib
from collections import Counter
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from fuzz_graphs import MOST_OPERATIONS, graph_features, operations, oracle_differs, streamable, streams_differ
from fuzz_networks import MAXIMUM, fuzz_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from lava_layers import LavaLayer
from networks import VARIABLE

from spikecut.deploy.backends.batched.engine import Tuning, run_batched
from spikecut.deploy.backends.batched.slots import LayerPlan, LayerSlots
from spikecut.deploy.backends.kernels.arithmetic import PRECISIONS, Arithmetic, import_torch
from spikecut.deploy.backends.kernels.product import channels_last
from spikecut.deploy.backends.kernels.reference import scores_of, synapse, wrap32
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.cutoff.base import apply_policy
from spikecut.deploy.cutoff.topk import TopK
from spikecut.errors import BackendError
from spikecut.export.network.arrays import size
from spikecut.fixed_point import ALIGNMENT_SHIFT, STATE_LIMIT

LEAST, MOST = 0.01, 0.6
BATCH = 25


class Different(AssertionError):
    """Engine and Lava part."""


def compare(network, inputs, precision, policy_gap, tally, gaps=()):
    """Compare a network on encoded samples [T, N, *shape]; adds to `tally`, raises Different.

    precision: of the engine's products, where it is exact; else "auto". policy_gap: of a TopK cutoff, or None. gaps:
    after how many steps each sample is followed by the next one, in a stream through Lava's and our models, or ().
    """
    messages = [inputs]
    names = ["input", *(layer.name for layer in network.layers)]
    for depth, layer in enumerate(network.layers):
        begins = [depth if layer.source is None else names.index(layer.source)]
        begins += [names.index(skip.source) for skip in layer.skips]
        frames, *around = (messages[number] for number in begins)
        lava = LavaLayer(layer, 0 if begins[0] else network.input.bits, network.input.bits)
        runs = [lava.run(frames[:, n], [each[:, n] for each in around]) for n in range(frames.shape[1])]
        ranges = [(0, 1) if number else (network.input.minimum, network.input.maximum) for number in begins]
        slots = _slots(layer, ranges, frames.shape, precision)
        _compare_steps(layer, slots, frames, around, runs)
        sent = np.stack([run.messages for run in runs], axis=1)
        _count(tally, network, depth, slots, runs, sent)
        if depth == 0:
            _count_sums(tally, layer, frames, slots)
        messages.append(_torch_order(sent, layer.output_shape))
    tally["networks"] += 1
    _compare_alike(network, messages, gaps, tally)
    _compare_whole(network, messages, precision, policy_gap, tally)


def _compare_alike(network, messages, gaps, tally):
    """Streams of halted samples through every set of models, and the oracle, where the network is small enough."""
    slots = sum(size(layer.output_shape) for layer in network.layers) * network.horizon
    if gaps and streamable(network):
        try:
            differs = streams_differ(network, messages[0], messages, gaps)
        except BackendError:  # sums that Lava's own Conv cannot cast, which stock refuses
            differs = ""
        if differs:
            raise Different(f"a stream of halted samples: {differs}")
        tally["networks streamed through stock, fast and fused"] += 1
        tally["slots streamed, each by three sets of models"] += slots * len(gaps)
    if operations(network) <= MOST_OPERATIONS:
        differs = oracle_differs(network, messages[0], messages)
        if differs:
            raise Different(f"{differs}: the oracle sends other messages than Lava")
        tally["networks compared with the oracle"] += 1
        tally["slots compared with the oracle"] += slots


def _slots(layer, ranges, shape, precision):
    for wanted in (precision, "auto"):
        try:
            arithmetic = Arithmetic(wanted, import_torch())
            return LayerSlots(LayerPlan(layer, *ranges[0], shape[0], arithmetic, ranges[1:]), shape[1])
        except BackendError:
            if wanted == "auto":
                raise
    return None


def _compare_steps(layer, slots, frames, around, runs):
    """The engine's state after every step against Lava's."""
    halved = slots.plan.neurons.shift > ALIGNMENT_SHIFT
    for t, frame in enumerate(frames):
        rows = channels_last(frame, layer.input_shape).astype(slots.input_dtype)
        others = [channels_last(each[t], skip.input_shape) for each, skip in zip(around, layer.skips, strict=True)]
        given = slots.sums(rows, others)
        sums = given.astype(np.int64) * (2 if halved else 1)
        if layer.kind == "conv" and not around and layer.recurrent is None:  # the engine wraps them on their way into u
            sums = (sums + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT
        sums = wrap32(sums)  # Lava's are int32, and the engine makes them so on the same way
        found = {"sums": sums, "messages": slots.fire(given), "v": slots.v}
        if len(slots.u):  # where all of u decays in each step, the engine keeps none: it is the sum
            found["u"] = slots.u
        for what, values in found.items():
            expected = np.stack([getattr(run, what)[t] for run in runs])
            if not np.array_equal(values, expected):
                n, i = np.argwhere(values != expected)[0]
                raise Different(
                    f"{layer.name}, step {t + 1}, sample {n}, element {i}: {what} {values[n, i]}, Lava {expected[n, i]}"
                )


def _torch_order(sent, shape):
    """Messages [T, N, elements], channels last → int32 [T, N, *shape]."""
    if len(shape) == 1:
        return sent.astype(np.int32)
    planes = sent.reshape(*sent.shape[:2], *shape[1:], shape[0])
    return np.ascontiguousarray(np.moveaxis(planes, -1, 2), dtype=np.int32)


def _compare_whole(network, messages, precision, policy_gap, tally):
    """run_batched, slots refilled and perhaps cut off, against Lava's messages until each sample's exit."""
    policy = None
    if policy_gap is not None and network.classes > 1:
        policy = TopK((policy_gap,) * network.horizon)
    exits = apply_policy(policy, scores_of(network, messages[-1]))
    for wanted in (precision, "auto"):
        try:
            trace = run_batched(network, messages[0], policy, "all", tuning=Tuning(wanted, slots=2, threads=1))
            break
        except BackendError:
            if wanted == "auto":
                raise
    if not (np.array_equal(trace.timesteps, exits.timesteps) and np.array_equal(trace.totals, exits.totals)):
        raise Different(f"exits at {trace.timesteps}, Lava's scores say {exits.timesteps}")
    for expected, (name, found) in zip(messages, trace.spikes.items(), strict=True):
        if not np.array_equal(found[trace.valid], expected[trace.valid]):
            raise Different(f"{name}: run_batched sends other messages than Lava")
    tally["exits before T"] += int((exits.timesteps < network.horizon).sum())


def _count(tally, network, depth, slots, runs, sent):
    """Add a layer to the table of features if it fires in LEAST to MOST of its slots, or is a membrane readout."""
    neuron = network.layers[depth].neuron
    if neuron.reset == "none":
        tally["membrane readout"] += 1
        tally["slots of membrane readouts, compared beside"] += sent.size
        return
    if not LEAST <= sent.mean() <= MOST:
        tally["slots of silent or saturated layers, compared beside"] += sent.size
        return
    tally["slots"] += sent.size
    tally["layers"] += 1
    tally["spikes"] += int(sent.sum())
    tally["slots in which u wrapped"] += sum(run.wraps for run in runs)
    tally["slots in which v clipped"] += sum(run.clips for run in runs)
    for name, value in _features(network, depth, slots, runs).items():
        tally[name] += int(bool(value))


def _features(network, depth, slots, runs):
    """What a layer has, and what happened in it."""
    layer, neuron = network.layers[depth], network.layers[depth].neuron
    conv = layer.kind == "conv"
    mantissa, weight = neuron.bias_mantissa, layer.weight
    product = slots.plan.temporal or slots.plan.product
    has = {
        "u wrap hit": any(run.wraps for run in runs),
        "v clip hit": any(run.clips for run in runs),
        "dense": not conv,
        "dense behind an image": not conv and len(layer.input_shape) == 3,
        "convolution": conv,
        "groups": conv and layer.groups > 1,
        "depthwise": conv and layer.groups == layer.input_shape[0] > 1,
        "stride": conv and layer.stride != (1, 1),
        "dilation": conv and layer.dilation != (1, 1),
        "padding": conv and layer.padding != (0, 0),
        "kernel not square": conv and weight.shape[2] != weight.shape[3],
        "delay": layer.delay is not None and layer.delay.any(),
        "recurrent": layer.recurrent is not None,
        "graded input": depth == 0 and network.input.bits > 0,
        "signed input": depth == 0 and network.input.signed,
        "hard reset": neuron.reset == "zero",
        "soft reset": neuron.reset == "subtract",
        "soft reset by another amount": neuron.reset_amount is not None,
        "soft reset by more than the threshold": neuron.subtracts_more,
        "bias": mantissa.any(),
        "bias exponent other than 6": mantissa.any() and neuron.bias_exponent != 6,
        "bias mantissa of 13 bits": (mantissa >= 2**11).any() or (mantissa < -(2**11)).any(),
        "v(0) not 0": np.any(neuron.v_init),
        "u(0) not 0": neuron.u_init is not None,
        "gain per timestep": neuron.gain is not None,
        "threshold 0": np.any(neuron.threshold == 0),
        "threshold 2^16 or more": np.any(neuron.threshold >= 2**16),
        "weight -256": weight.min() == -256,
        "weight 254": weight.max() == 254,
        "weights of one sign": weight.min() >= 0 or weight.max() <= 0,
        "sums by int8": getattr(product, "name", "") == "int8",
        "sums by float32": product.dtype == np.float32,
        "sums by float64": product.dtype == np.float64,
        "u and v proven within 24 bits": slots.plan.neurons.bounded,
        "behind another layer": depth > 0,
        "maximum of spikes": (weight == MAXIMUM[0]).all() and np.all(neuron.threshold == MAXIMUM[1]),
        **graph_features(network, depth + 1),
    }
    for key, decay in (("u", neuron.decay_u), ("v", neuron.decay_v)):
        has[f"decay of {key} 0"] = np.any(decay == 0)
        has[f"decay of {key} between"] = np.any((decay > 0) & (decay < 4096))
        has[f"decay of {key} 4096"] = np.any(decay == 4096)
    return has | _differences(neuron) | _rests(layer)


def _rests(layer):
    """What a layer has that remembers its spikes."""
    neuron = layer.neuron
    rests = neuron.refractory > 0
    return {
        "refractory period": rests,
        "refractory period of a soft reset": rests and neuron.reset == "subtract",
        "refractory period of a current with a memory": rests and np.any(neuron.decay_u < 4096),
        "refractory period in recurrence": rests and layer.recurrent is not None,
        "threshold that adapts": neuron.adaptation is not None,
        "threshold that adapts in recurrence": neuron.adaptation is not None and layer.recurrent is not None,
        "threshold that adapts in a convolution": neuron.adaptation is not None and layer.kind == "conv",
    }


def _differences(neuron):
    """Which parameters differ between the channels or the neurons of a layer."""
    has = {}
    for key in VARIABLE:
        value = np.asarray(getattr(neuron, key))
        has[f"{key} per neuron of a map"] = value.ndim == 3
        if key not in ("u_init", "bias_mantissa"):
            has[f"{key} per channel"] = value.ndim == 1
            if key != "decay_u":
                has[f"{key} that differs, with a gain"] = value.ndim > 0 and neuron.gain is not None
    return has


def _count_sums(tally, layer, frames, slots):
    """Add how far the sums of a layer reach, before any wraps, whether it fires or not."""
    sums = np.abs(synapse(layer, frames.reshape(-1, *layer.input_shape), wrap=False))
    product = slots.plan.temporal or slots.plan.product
    for power in (17, 23, 24, 25):
        tally[f"sums beside 2^{power}"] += int((np.abs(sums - 2**power) < 2 ** (power - 8)).any())
        tally[f"sums from 2^{power} on"] += int((sums >= 2**power).any())
    tally["sums of a dense layer from 2^31 on"] += int((sums >= 2**31).any())
    tally["sums of a convolution from 2^23 on by int8"] += int(
        layer.kind == "conv" and getattr(product, "name", "") == "int8" and bool((sums >= STATE_LIMIT).any())
    )
    tally["groups of 128 or more"] += int(layer.kind == "conv" and layer.groups >= 128)


def merged(tallies):
    """The sum of several tallies."""
    total = Counter()
    for tally in tallies:
        total.update(tally)
    return total


def never(tally):
    """Features that did not occur."""
    return sorted(key for key, count in tally.items() if count == 0)


def compare_in_the_runtime(network, inputs, policy_gap, tally):
    """The whole network through Lava's runtime with Lava's stock models, and through the engine: all messages."""
    policy = None
    if policy_gap is not None and network.classes > 1:
        policy = TopK((policy_gap,) * network.horizon)
    lava = run_lava(network, inputs, policy, record="all", models="stock")
    engine = run_batched(network, inputs, policy, record="all")
    for what in ("timesteps", "totals", "hardware_steps"):
        if not np.array_equal(getattr(lava, what), getattr(engine, what)):
            raise Different(f"{what}: {getattr(engine, what)}, Lava's runtime {getattr(lava, what)}")
    for ours, theirs in zip(engine.events, lava.events, strict=True):
        if not (np.array_equal(ours.raster, theirs.raster) and np.array_equal(ours.synops, theirs.synops)):
            raise Different(f"{ours.name}: run_batched sends other messages than Lava's runtime")
    tally["networks in the runtime"] += 1
    tally["slots in the runtime"] += sum(
        int(engine.hardware_steps.sum()) * size(layer.shape) for layer in lava.events[1:]
    )


def digest(network):
    """A fingerprint: networks with the same one are the same network."""
    found = hashlib.blake2b(repr((network.input, network.readout, network.horizon)).encode(), digest_size=16)
    for layer in network.layers:
        found.update(repr((layer.neuron.reset, layer.neuron.bias_exponent, layer.neuron.gain)).encode())
        found.update(repr((layer.neuron.refractory, layer.neuron.adaptation)).encode())
        found.update(repr((layer.kind, layer.stride, layer.padding, layer.dilation, layer.groups)).encode())
        found.update(repr([(s.source, s.stride, s.padding, s.groups) for s in layer.skips]).encode())
        found.update(repr(layer.source).encode())
        for array in (
            layer.weight,
            *(getattr(layer.neuron, key) for key in VARIABLE),
            layer.delay,
            layer.recurrent,
            *(skip.weight for skip in layer.skips),
        ):
            array = np.asarray(array)
            found.update(b"none" if array.dtype == object else repr(array.shape).encode() + array.tobytes())
    return found.hexdigest()


def campaign(seed, slots, **bounds):
    """Compare random networks until so many slots are counted: the tally, and the digests of the networks.

    bounds: of `fuzz_cases`. Everything follows from the seed.
    """
    tally, digests = Counter(), set()

    def one(case, precision, policy_gap, halts):
        network, inputs = case
        rng = np.random.default_rng(halts)
        longest = network.horizon + network.depth
        gaps = [] if halts % 3 else rng.integers(1, longest + 1, inputs.shape[1]).tolist()
        compare(network, inputs, precision, policy_gap, tally, gaps)
        digests.add(digest(network))

    draws = (
        fuzz_cases(**bounds),
        st.sampled_from(PRECISIONS),
        st.sampled_from([None, 0, 2, 10**6]),
        st.integers(0, 2**16),
    )
    _repeat(one, draws, seed, lambda: tally["slots"] < slots)
    return tally, digests


def runtime_campaign(seed, networks, **bounds):
    """Compare so many random networks in Lava's own runtime: the tally."""
    tally = Counter()

    def one(case, policy_gap):
        compare_in_the_runtime(*case, policy_gap, tally)

    draws = fuzz_cases(**bounds), st.sampled_from([None, 0, 2])
    _repeat(one, draws, seed, lambda: tally["networks in the runtime"] < networks)
    return tally


def _repeat(check, draws, seed, wanted):
    """Let hypothesis draw, BATCH examples at a time, each batch with a seed of its own, as long as more are wanted.

    Once an example differs, hypothesis tries it and smaller ones again: these are compared, wanted or not.
    """
    batch, differs = 0, False

    def one(*drawn):
        nonlocal differs
        try:
            if differs or wanted():
                check(*drawn)
        except Different:
            differs = True
            raise

    while wanted():
        chosen = settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        )
        with drawn_alike():
            hypothesis_seed(1000 * seed + batch)(chosen(given(st.tuples(*draws))(lambda drawn: one(*drawn))))()
        batch += 1


@contextmanager
def drawn_alike():
    """Draws that hang on their seed alone: hypothesis mixes in constants of whatever sources are loaded."""
    found = getattr(providers, "_get_local_constants", None)
    if found is None:  # an older one, which does not
        yield
        return
    providers.CONSTANTS_CACHE.cache.clear()
    with patch.object(providers, "_get_local_constants", lambda: providers.Constants()):
        yield
    providers.CONSTANTS_CACHE.cache.clear()
