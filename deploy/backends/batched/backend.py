"""The batched engine as a backend."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from spikecut.deploy.backends.base import Backend, Capabilities, LavaModels, RunSettings
from spikecut.deploy.cutoff.stream import StreamDecisions, StreamSettings
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


class Batched(Backend):
    """Many samples at once, on all cores; needs nothing that is not installed with spikecut."""

    name: ClassVar[str] = "batched"
    capabilities: ClassVar[Capabilities] = Capabilities()

    def run(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> Iterable[RunTrace]:
        """All samples in one part; see engine.run_batched."""
        from spikecut.deploy.backends.batched.engine import run_batched

        return [run_batched(network, inputs, settings.policy, settings.record, settings.progress)]

    def stream(
        self, network: IntegerNetwork, pieces: Iterable[Integers], settings: StreamSettings, models: LavaModels
    ) -> Iterator[StreamDecisions]:
        """See batched.stream.stream_network."""
        from spikecut.deploy.backends.batched.stream import stream_network

        return stream_network(network, (piece[:, None] for piece in pieces), settings)
