"""Backend: what runs a network, what it can do, and how one is found by its name.

A backend of another package is a class with the members of `Backend`, registered under the entry points
"spikecut.backends"; those that come with spikecut are registered in pyproject.toml in the same way.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.stream import StreamDecisions, StreamSettings
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import CapabilityError, InputError, Refusal
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork
from spikecut.registry import Registry

Record = Literal["output", "events", "all"]
RECORDS: tuple[Record, ...] = get_args(Record)
LavaModels = Literal["stock", "fast", "fused"]
MODES: tuple[Mode, ...] = get_args(Mode)
MODELS: tuple[LavaModels, ...] = get_args(LavaModels)
Advance = Callable[[int], None]
"""Takes the number of samples that have been done since the last call."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do; the defaults are what every backend must.

    Attributes
    ----------
    records: what it records. `spikecut run` needs "events"; with "all" a verification compares every layer, without it
        the output's scores only.
    modes: how samples follow each other; see RunTrace.mode.
    models: sets of Lava's ProcessModels that it can run with; empty for whatever is not Lava.
    resumable: gives finished samples while it runs, and begins at any of them: an interrupted run can be resumed.
    """

    records: tuple[Record, ...] = RECORDS
    modes: tuple[Mode, ...] = ("isolated",)
    models: tuple[LavaModels, ...] = ()
    resumable: bool = False


@dataclass(frozen=True)
class RunSettings:
    """How samples are run.

    Attributes
    ----------
    policy: ends a sample's run early; None runs all T timesteps.
    record: "output" (scores), "events" (counts per layer and step as well) or "all" (every message).
    mode, models: among those of the backend's capabilities, or the defaults.
    net_file: the network's netx file, where there is one: a backend need not write it again.
    first: the sample to begin at; 0 unless the backend is resumable.
    progress: called with the number of samples finished since its last call.
    """

    policy: CutoffPolicy | None = None
    record: Record = "output"
    mode: Mode = "isolated"
    models: LavaModels = "fast"
    net_file: Path | None = None
    first: int = 0
    progress: Advance | None = None


@runtime_checkable
class Backend(Protocol):
    """What runs an integer network; every one gives the same integers, in algorithmic time.

    A class that names this one as its base inherits `require`, `refusals` and `verify`.
    """

    name: ClassVar[str]
    """The name under which it is registered, and RunTrace.backend of its runs."""
    capabilities: ClassVar[Capabilities]

    def require(self) -> None:
        """Raise BackendError, with the remedy, where this backend cannot run here, whatever the network.

        Called before any long work; it may import what `run` needs.
        """

    def refusals(self, network: IntegerNetwork) -> tuple[Refusal, ...]:
        """What the network needs and this backend lacks, layer by layer; empty where the network may be run."""
        return ()

    def run(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> Iterable[RunTrace]:
        """Run encoded samples [T, N, *network.input_shape], each from rest.

        Gives the samples in their order, in one part or several; before a failure come those that were finished.

        Raises
        ------
        DataError: inputs that do not fit. InputError: a policy for another horizon. BackendError: it failed, or
            something that it needs is not installed.
        """
        ...

    def verify(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> RunTrace:
        """The run that is compared with the golden twin: with all that the backend records, by its own arithmetic."""
        record: Record = "all" if "all" in self.capabilities.records else "output"
        return joined(list(self.run(network, inputs, replace(settings, record=record))))


@runtime_checkable
class StreamingBackend(Protocol):
    """A backend that also plays streams without an end; its monitor gives a verdict and begins anew."""

    def stream(
        self, network: IntegerNetwork, pieces: Iterable[Integers], settings: StreamSettings, models: LavaModels
    ) -> Iterator[StreamDecisions]:
        """What the monitor says of each frame, as it says it.

        pieces: encoded frames [F, *network.input_shape], one after the other. models: as of RunSettings.

        Raises
        ------
        DataError: frames that do not fit, when they come. InputError: settings that do not fit. BackendError: it
            failed.
        """
        ...


def _backend(loaded: object) -> Backend:
    made = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(made, Backend):
        wanted = ("name", "capabilities", "require", "refusals", "run", "verify")
        raise TypeError(f"it lacks {', '.join(each for each in wanted if not hasattr(made, each))}")
    return made


BACKENDS = Registry("spikecut.backends", "backend", _backend)


def backend_named(name: object, asked: str = "backend") -> Backend:
    """The backend of this name; InputError, naming the known ones, if there is none or it cannot be loaded.

    asked: what the user chose it with.
    """
    backend = BACKENDS.get(name, asked)
    if backend.name != name:
        raise InputError(f"backend {name!r} calls itself {backend.name!r}: its package must register it as that")
    return backend


def check_options(
    backend: Backend, mode: Mode, models: LavaModels, words: tuple[str, str] = ("mode", "lava_models")
) -> None:
    """Raise InputError for a mode or models that nobody knows, or that this backend has no use for.

    words: what the user chose the two with.
    """
    can, default = backend.capabilities, RunSettings()
    for word, value, known, usable in (
        (words[0], mode, MODES, (*can.modes, default.mode)),
        (words[1], models, MODELS, can.models or (default.models,)),
    ):
        if value not in known:
            raise InputError(f"{word} {value!r}: expected one of {', '.join(known)}")
        if value not in usable:
            raise InputError(f"{word} {value}: the {backend.name} engine has no choice of it; leave it out")


def check_network(backend: Backend, network: IntegerNetwork) -> None:
    """Raise CapabilityError, naming the first layer and the reason, for a network that the backend refuses."""
    for refusal in backend.refusals(network):
        raise CapabilityError(str(refusal))


def check_run(backend: Backend, network: IntegerNetwork) -> None:
    """Check that a backend may run a network, and can here; what nothing installed would mend is said first.

    Raises
    ------
    CapabilityError: see check_network. BackendError: see Backend.require.
    """
    check_network(backend, network)
    backend.require()
