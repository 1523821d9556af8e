"""Messages in, scores out, slot by slot: frames gathered for the first layer, events counted, scores added.

Compiled once and cached on disk; all release Python's lock, so that workers run side by side.
"""

from typing import Any

from spikecut.deploy.backends.kernels.compiled import compiled


@compiled()
def gather_frames(inputs: Any, steps: Any, samples: Any, rows: Any) -> None:
    """Frame `steps[n]` of sample `samples[n]` into row n, channels last, cast to the rows' type; 0 where a step is < 0.

    inputs: [T, N, C, positions] of any integers; steps, samples: int64 [n]; rows: [n, positions · C].
    """
    channels, positions = inputs.shape[2], inputs.shape[3]
    for n in range(rows.shape[0]):
        if steps[n] < 0:
            rows[n] = 0
        elif channels == 1:
            frame = inputs[steps[n], samples[n], 0]
            for p in range(positions):
                rows[n, p] = frame[p]
        else:
            for c in range(channels):
                frame = inputs[steps[n], samples[n], c]
                for p in range(positions):
                    rows[n, p * channels + c] = frame[p]


@compiled()
def count_events(sent: Any, fan_out: Any, spikes: Any, synops: Any) -> None:
    """Per row of `sent` [N, elements]: messages into spikes [N], and the synapses they reach into synops [N]."""
    for n in range(sent.shape[0]):
        count = 0
        reached = 0
        for i in range(sent.shape[1]):
            fired = sent[n, i] != 0
            count += fired
            reached += fan_out[i] if fired else 0
        spikes[n] = count
        synops[n] = reached


@compiled()
def add_scores(
    messages: Any, membrane: Any, samples: Any, timesteps: Any, exits: Any, totals: Any, scores: Any
) -> None:
    """Add what each running slot's output sent to `totals` [slots, classes] and to `scores` [T, N, classes].

    A slot runs while it has a sample (≥ 0) and its timestep lies before its exit. Of a membrane the increment counts.
    """
    for n in range(messages.shape[0]):
        if samples[n] < 0 or timesteps[n] >= exits[n]:
            continue
        for c in range(totals.shape[1]):
            score = messages[n, c] - totals[n, c] if membrane else messages[n, c]
            totals[n, c] += score
            scores[timesteps[n], samples[n], c] = score
