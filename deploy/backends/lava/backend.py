"""Lava's CPU simulator as a backend."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from spikecut.deploy.backends.base import MODELS, MODES, Backend, Capabilities, LavaModels, RunSettings
from spikecut.deploy.cutoff.stream import StreamDecisions, StreamSettings
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


class Lava(Backend):
    """Every layer as Processes, the cutoff as a monitor among them."""

    name: ClassVar[str] = "lava"
    capabilities: ClassVar[Capabilities] = Capabilities(modes=MODES, models=MODELS, resumable=True)

    def require(self) -> None:
        """BackendError where Lava is not installed; where it is, its import, which takes seconds, waits for the run."""
        try:
            for distribution in ("lava-nc", "lava-dl"):
                version(distribution)
        except PackageNotFoundError:
            from spikecut.deploy.backends.lava.blocks import require_lava

            require_lava()  # it may be there all the same, on the path

    def run(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> Iterable[RunTrace]:
        """Parts of a few samples; see cpu.lava_parts."""
        from spikecut.deploy.backends.lava.cpu import lava_parts

        return lava_parts(network, inputs, settings)

    def verify(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> RunTrace:
        """Every message, by Lava's own arithmetic: the proof is of that."""
        return super().verify(network, inputs, replace(settings, models="stock"))

    def stream(
        self, network: IntegerNetwork, pieces: Iterable[Integers], settings: StreamSettings, models: LavaModels
    ) -> Iterator[StreamDecisions]:
        """See lava.stream.stream_on_lava."""
        from spikecut.deploy.backends.lava.stream import stream_on_lava

        return stream_on_lava(network, pieces, settings, models)
