"""How much memory a run's results and messages take."""

from spikecut.deploy.backends.base import Record
from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerNetwork
from spikecut.memory import check_memory

PART_BYTES = 2**27
"""What the messages of the samples that are held at once may take; several copies are made of them."""
CHUNK_BYTES = 2**26
"""What the encoded samples of a chunk of a run, and its scores and counts, may take."""
MOST_AT_ONCE = 4096
"""Samples of a tiny network that are held at once: beyond that nothing gets faster, and each takes kilobytes."""


def raster_bytes(network: IntegerNetwork) -> int:
    """Bytes of all messages of one sample: int32, every element of every layer in every hardware step."""
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    return 4 * (network.horizon + network.depth) * sum(size(shape) for shape in shapes)


def samples_at_once(network: IntegerNetwork) -> int:
    """How many samples' messages are held at once."""
    return max(1, min(MOST_AT_ONCE, PART_BYTES // raster_bytes(network)))


def result_bytes(network: IntegerNetwork, record: Record) -> int:
    """Bytes of what is kept of one sample, its messages apart."""
    counted = 0 if record == "output" else 32 * (len(network.layers) + 1) * (network.horizon + network.depth)
    return network.horizon * (16 * network.classes + 1) + counted


def samples_of_a_chunk(network: IntegerNetwork) -> int:
    """How many samples of a run are encoded, run and written at once."""
    frames = 1 if network.input.encoding == "direct" else network.horizon
    encoded = 4 * frames * size(network.input_shape)
    return max(1, min(MOST_AT_ONCE, CHUNK_BYTES // (encoded + 2 * result_bytes(network, "events"))))


def check_run_memory(network: IntegerNetwork, samples: int, record: Record) -> None:
    """InputError unless the results of so many samples fit into the memory."""
    need = samples * result_bytes(network, record)
    if record == "all":
        need += 2 * samples * raster_bytes(network)
    what = {"output": "the scores", "events": "scores and event counts", "all": "all messages"}[record]
    less = "" if record == "output" else ", or record='output'"
    check_memory(
        need,
        f"{network.name}: {what} of {samples:,} samples over {network.horizon:,} timesteps",
        f"take fewer samples (--samples){less}",
    )
