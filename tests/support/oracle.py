"""An independent, slow and obvious integer oracle: Python integers, written from Loihi's published equations.

It shares no code with the engines. Sources: Davies et al. 2018 (12-bit decays, 24-bit states, thresholds aligned by 6
bits) and the docstrings of Lava's AbstractPyLifModelFixed.
"""

from itertools import product

import numpy as np

HALF = 8388608


def decayed(value, decay):
    magnitude = abs(value) * (4096 - decay) // 4096
    return magnitude if value >= 0 else -magnitude


def wrapped(value):
    if value > HALF:
        return value - 2 * HALF
    if value <= -HALF:
        return value + 2 * HALF
    return value


def wrapped32(value):
    """The simulator computes in int32."""
    return (value + 2**31) % 2**32 - 2**31


def clipped(value):
    return max(-HALF + 1, min(HALF - 1, value))


def gained(values, gain, t):
    """The gain of step t, in 4096ths: sign and magnitude apart, and the magnitude's fraction dropped."""
    factor = gain[t] if t < len(gain) else gain[-1]
    products = [abs(int(value)) * abs(factor) // 4096 for value in values]
    return [p if (value >= 0) == (factor >= 0) else -p for p, value in zip(products, values, strict=True)]


def dense_sums(layer, frames, t, spikes):
    """Each synapse (o, i) carries the message of step t - delay; a recurrent one the layer's own spike of t - 1."""
    sums = []
    for o, row in enumerate(layer.weight):
        total = 0
        for i, weight in enumerate(row):
            delay = 0 if layer.delay is None else int(layer.delay[o, i])
            if t >= delay:
                total += int(weight) * int(frames[t - delay].reshape(-1)[i])
        if layer.recurrent is not None and t:
            total += sum(int(w) * int(s) for w, s in zip(layer.recurrent[o], spikes[t - 1], strict=True))
        sums.append(total)
    return sums


def conv_sums(layer, frame):
    _, height, width = layer.input_shape
    outputs, rows, columns = layer.output_shape
    _, per_group, kernel_h, kernel_w = layer.weight.shape
    sums = []
    for o, y, x in product(range(outputs), range(rows), range(columns)):
        group = o // (outputs // layer.groups)
        total = 0
        for i, a, b in product(range(per_group), range(kernel_h), range(kernel_w)):
            row = y * layer.stride[0] - layer.padding[0] + a * layer.dilation[0]
            column = x * layer.stride[1] - layer.padding[1] + b * layer.dilation[1]
            if 0 <= row < height and 0 <= column < width:
                total += int(layer.weight[o, i, a, b]) * int(frame[group * per_group + i, row, column])
        sums.append((total + HALF) % (2 * HALF) - HALF)
    return sums


def back_sums(layer, spikes):
    """A layer of maps to itself: the kernel's middle lies on the neuron, what lies beyond the map sends nothing."""
    channels, rows, columns = layer.output_shape
    _, per_group, kernel_h, kernel_w = layer.recurrent.shape
    sums = []
    for o, y, x in product(range(channels), range(rows), range(columns)):
        first = o // per_group * per_group  # as many channels of a group come in as go out
        total = 0
        for i, a, b in product(range(per_group), range(kernel_h), range(kernel_w)):
            row, column = y + a - kernel_h // 2, x + b - kernel_w // 2
            if 0 <= row < rows and 0 <= column < columns:
                total += int(layer.recurrent[o, i, a, b]) * int(spikes[first + i, row, column])
        sums.append((total + HALF) % (2 * HALF) - HALF)
    return sums


def skip_sums(skip, frame):
    """A further synapse: messages of the same step from an earlier layer, never delayed in this time."""
    if skip.kind == "conv":
        return conv_sums(skip, frame)
    flat = frame.reshape(-1)
    return [sum(int(w) * int(s) for w, s in zip(row, flat, strict=True)) for row in skip.weight]


def of_each(parameter, layer):
    """One number for a layer, one per channel or per neuron → a Python integer for every neuron, in torch's order."""
    neurons = int(np.prod(layer.output_shape))
    flat = [int(value) for value in np.ravel(parameter)]
    return [flat[n * len(flat) // neurons] for n in range(neurons)]


def starts(neuron, count):
    """Sigma, activation, residue and error of each neuron before the first step."""
    first = neuron.sigma_delta.start
    flat = [[0] * count] * 4 if first is None else [[int(value) for value in np.ravel(each)] for each in first]
    return [[state[n] for state in flat] for n in range(count)]


def changes(neuron, sums, bias, states):
    """One step of sigma-delta neurons, after Lava's docstrings: what each sends, and its states."""
    given, sent, after = neuron.sigma_delta, [], []
    up = 2 ** (given.spike_exponent + given.state_exponent)
    for total, b, (sigma, act, residue, error) in zip(sums, bias, states, strict=True):
        if given.decodes:
            sigma = wrapped32(sigma + total)
            if neuron.reset == "none":
                sent.append(sigma)
                after.append([sigma, act, residue, error])
                continue
            new = wrapped32(sigma + b)
            new = 0 if given.activation == "relu" and new < 0 else new
        else:
            new = wrapped32(total * up)
        delta = wrapped32(new - act + residue)
        error = wrapped32(error + delta) if given.cumulative_error else error
        judged = error if given.cumulative_error else delta
        message = delta if wrapped32(abs(judged)) >= neuron.threshold * up else 0
        sent.append(message // 2**given.state_exponent)
        after.append([sigma, new, wrapped32(delta - message), 0 if given.cumulative_error and message else error])
    return sent, after


def run_layer(layer, frames, around=()):
    """Frames [T, *input_shape] of one sample → messages [T, *output_shape]; around: those that each skip takes."""
    neuron = layer.neuron
    count = int(np.prod(layer.output_shape))
    exponent = neuron.bias_exponent
    if neuron.sigma_delta is not None:
        exponent = neuron.sigma_delta.spike_exponent + neuron.sigma_delta.state_exponent
    bias = [mantissa * 2**exponent for mantissa in of_each(neuron.bias_mantissa, layer)]
    u, v = of_each(0 if neuron.u_init is None else neuron.u_init, layer), of_each(neuron.v_init, layer)
    decay_u, decay_v = of_each(neuron.decay_u, layer), of_each(neuron.decay_v, layer)
    threshold = of_each(neuron.threshold, layer)
    amount = [64 * each for each in threshold] if neuron.reset_amount is None else of_each(neuron.reset_amount, layer)
    result = np.zeros((len(frames), count), dtype=np.int64)
    last = [-1000] * count  # the step of each neuron's last spike
    raised, held = [0] * count, [0] * count  # of thresholds that adapt
    for t, frame in enumerate(frames):
        sums = dense_sums(layer, frames, t, result) if layer.kind == "dense" else conv_sums(layer, frame)
        if layer.kind == "conv" and layer.recurrent is not None and t:
            back = back_sums(layer, result[t - 1].reshape(layer.output_shape))
            sums = [own + other for own, other in zip(sums, back, strict=True)]
        for skip, messages in zip(layer.skips, around, strict=True):
            sums = [own + other for own, other in zip(sums, skip_sums(skip, messages[t]), strict=True)]
        if neuron.sigma_delta is not None:
            result[t], held = changes(neuron, sums, bias, held if t else [*starts(neuron, count)])
            continue
        for n in range(count):
            u[n] = wrapped(wrapped32(decayed(u[n], decay_u[n]) + wrapped32(64 * sums[n])))
        driven = [u[n] + bias[n] for n in range(count)]
        if neuron.gain is not None:
            driven = gained(driven, neuron.gain, t)
        for n in range(count):
            if t - last[n] <= neuron.refractory:
                continue
            v[n] = clipped(decayed(v[n], decay_v[n]) + driven[n])
            if neuron.reset == "none":
                result[t, n] = v[n]
            elif neuron.reset == "adapt":
                raised[n] = decayed(raised[n], neuron.adaptation.threshold_decay)
                held[n] = decayed(held[n], neuron.adaptation.refractory_decay)
                level = 64 * threshold[n] + raised[n]
                if v[n] >= level + held[n]:
                    result[t, n] = 1
                    held[n] += 2 * level
                    raised[n] += 64 * neuron.adaptation.threshold_step
            elif v[n] > 64 * threshold[n]:
                result[t, n], last[n] = 1, t
                v[n] = v[n] - amount[n] if neuron.reset == "subtract" else 0
    return result.reshape(len(frames), *layer.output_shape)


def run_network(network, inputs):
    """Encoded samples [T, N, *shape] → messages of every layer, [T, N, *shape] each."""
    per_sample = []
    for n in range(inputs.shape[1]):
        frames, messages, sent = inputs[:, n], [], {"input": inputs[:, n]}
        for layer in network.layers:
            taken = frames if layer.source is None else sent[layer.source]
            frames = run_layer(layer, taken, [sent[skip.source] for skip in layer.skips])
            sent[layer.name] = frames
            messages.append(frames)
        per_sample.append(messages)
    return [np.stack([messages[k] for messages in per_sample], axis=1) for k in range(len(network.layers))]


def longest_way(network, name):
    """Layers on the longest way from the input to a layer, itself included: its distance in hardware steps."""
    if name == "input":
        return 0
    names = ["input", *(layer.name for layer in network.layers)]
    layer = network.layers[names.index(name) - 1]
    before = layer.source or names[names.index(name) - 1]
    return 1 + max(longest_way(network, source) for source in (before, *(skip.source for skip in layer.skips)))
